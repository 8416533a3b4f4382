//! The backup's side: what received entries make of connections and templates (kernel: `ip_vs_proc_conn`).

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use super::{Entry, FLAG_NO_CLIENT_PORT, FLAG_SYNC, FLAGS_SEQUENCE, FLAGS_TAKEN, Mark};
use crate::connection::{
    Adopted, Connection, FLAG_INACTIVE, FLAG_NO_OUTPUT, FlowKey, METHOD_MASK, NewConnection,
};
use crate::destination::{Destination, DestinationConfig, Method, TunnelConfig};
use crate::director::{Director, Worker};
use crate::persistence;
use crate::protocol::{Direction, Protocol};
use crate::service::{Family, ServiceKey};
use crate::services::Services;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::sysctl::Sysctl;
use crate::template::{NewTemplate, Synced, TemplateKey};
use crate::time::Instant;

/// Lifetime of a template whose message does not tell it (version 0), seconds.
const TEMPLATE_TIMEOUT: u32 = 180;

impl Director {
    /// Takes in one entry of a received message: creates or updates the connection or template that it tells of.
    /// What cannot be (an unknown protocol, state or persistence engine) is passed over.
    ///
    /// A connection belongs to the worker that its client's packets reach; templates are everybody's.
    pub fn accept(&mut self, now: Instant, entry: &Entry) {
        let (services, worker) = self.parts();
        let flags = entry.flags & FLAGS_TAKEN | FLAG_SYNC;
        if entry.is_template() {
            worker.shared.accept_template(services, entry, flags, now);
        } else {
            worker.accept_connection(services, entry, flags, now);
        }
    }
}

impl Worker {
    fn accept_connection(&mut self, services: &Services, entry: &Entry, flags: u32, now: Instant) {
        let Some(state) = entry.state() else {
            return;
        };
        let flags = u16::try_from(flags).unwrap_or(0);
        let threshold = self.shared.sysctls.get(Sysctl::SyncThreshold);
        let adopted = |flags| Adopted {
            state,
            flags,
            packets: u32::try_from(threshold).unwrap_or(0),
            timeout: match entry.timeout {
                0 => state.timeout(self.timeouts),
                seconds => seconds,
            },
            told: Mark::of_state(state.number()),
        };
        let key = FlowKey {
            protocol: entry.protocol,
            source: entry.client,
            destination: entry.virtual_server,
        };
        if let Some((id, Direction::ToServer)) = self.connections.find(&key)
            && let Some(connection) = self.connections.get_mut(id)
        {
            if connection.server() == entry.server {
                let updated = FLAG_INACTIVE | u16::try_from(FLAGS_SEQUENCE).unwrap_or(0);
                let flags = flags & updated | connection.flags() & !updated;
                if connection.destination().is_none()
                    && let Some(destination) = find_destination(services, entry)
                {
                    connection.bind(destination);
                }
                connection.adopt(adopted(flags));
                self.connections.refresh(id, now);
                return;
            }
            if flags & FLAG_INACTIVE != 0 {
                // The last message of a connection that has been replaced already.
                return;
            }
            self.connections.expire_now(id, now);
        }
        let destination = find_destination(services, entry);
        let (connection, flags) = new_connection(entry, destination, state.protocol(), flags);
        let mut connection = Connection::new(connection);
        connection.adopt(adopted(flags));
        // A full table has room for no more; the master's next message tries again.
        let inserted = if entry.client.1 == 0 && entry.flags & FLAG_NO_CLIENT_PORT != 0 {
            self.connections.insert_awaiting(connection, now)
        } else {
            self.connections.insert(connection, now)
        };
        if let Ok(id) = inserted {
            self.follow(id);
        }
    }
}

/// The connection of an entry, and its flags. A known real server's forwarding method counts, not the message's.
fn new_connection(
    entry: &Entry,
    destination: Option<Arc<Destination>>,
    protocol: Protocol,
    flags: u16,
) -> (NewConnection, u16) {
    let told = Method::from_number(u32::from(flags & METHOD_MASK)).unwrap_or(Method::Masq);
    let method = destination.as_ref().map_or(told, |server| server.method());
    let kept = flags & !(METHOD_MASK | FLAG_NO_OUTPUT);
    let no_output = match (&destination, method) {
        (None, _) => flags & FLAG_NO_OUTPUT,
        (Some(_), Method::Masq) => 0,
        (Some(_), _) => FLAG_NO_OUTPUT,
    };
    if let Some(server) = &destination {
        server.bind(false);
    }
    let connection = NewConnection {
        protocol,
        client: entry.client,
        virtual_server: entry.virtual_server,
        server: entry.server,
        destination,
        template: None,
        method,
        mark: entry.mark,
        client_interface: 0,
        client_vlan: 0,
    };
    (connection, kept | method as u16 | no_output)
}

impl Shared {
    fn accept_template(&self, services: &Services, entry: &Entry, flags: u32, now: Instant) {
        let protocol = Protocol::from_number(entry.protocol);
        if protocol.is_none() && entry.protocol != 0 {
            return;
        }
        let data = match &entry.engine {
            Some((name, _)) if persistence::find(name).is_none() => return,
            engine => engine.as_ref().map(|(_, data)| data.clone()),
        };
        let key = TemplateKey {
            protocol,
            client: entry.client.0,
            virtual_address: entry.virtual_server.0,
            virtual_port: entry.virtual_server.1,
            data,
        };
        let seconds = match entry.timeout {
            0 => TEMPLATE_TIMEOUT,
            seconds => seconds,
        };
        let threshold = self.sysctls.get(Sysctl::SyncThreshold);
        let synced = Synced {
            is_assured: entry.state == 1,
            timeout: Duration::from_secs(seconds.into()),
            packets: u32::try_from(threshold).unwrap_or(0),
        };
        let known = find_destination(services, entry);
        let (key, mut shard) = self.templates.shard(key);
        if let Some(template) = shard.find(&key, now) {
            if template.destination.is_available() || known.is_none() {
                template.adopt(&synced, now);
                return;
            }
            // Its real server is there at last.
            shard.replace(&template, &key);
        }
        if !self.templates.has_room() {
            return;
        }
        let destination = known.unwrap_or_else(|| unknown(entry.server, flags));
        destination.bind(true);
        let made = NewTemplate {
            destination,
            port: entry.server.1,
            timeout: synced.timeout,
            is_synced: true,
        };
        let template = shard.insert(key, made, &self.templates, now);
        template.adopt(&synced, now);
    }
}

/// A real server that no service has: the template is kept and shown, and gives way when a connection asks for it.
fn unknown((address, port): (IpAddr, u16), flags: u32) -> Arc<Destination> {
    let config = DestinationConfig {
        address,
        port,
        method: Method::from_number(flags & u32::from(METHOD_MASK)).unwrap_or(Method::Masq),
        tunnel: TunnelConfig::default(),
        weight: 0,
        upper_threshold: 0,
        lower_threshold: 0,
    };
    let destination = Destination::new(&config, Arc::new(Stats::new(1)), 1);
    destination.retire();
    Arc::new(destination)
}

const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// The real server that an entry means, if a service has it (kernel: `ip_vs_find_dest`).
fn find_destination(services: &Services, entry: &Entry) -> Option<Arc<Destination>> {
    let (vip, vport) = entry.virtual_server;
    let (address, port) = entry.server;
    let service = match Protocol::from_number(entry.protocol) {
        Some(protocol) => services.lookup(protocol, vip, vport, entry.mark),
        None => services.get(&ServiceKey::Mark {
            family: family(vip),
            mark: entry.mark,
        }),
    }?;
    let masquerades = entry.flags & u32::from(METHOD_MASK) == Method::Masq as u32;
    let first = if entry.mark != 0 && !masquerades {
        0
    } else {
        port
    };
    let found = service.destination(address, first);
    found
        .or_else(|| service.destination(address, first ^ port))
        .cloned()
}

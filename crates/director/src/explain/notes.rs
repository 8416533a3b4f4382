//! What there is to say before the packet goes its way: connection, services, template, scheduler.

use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use packet::{Headers, Packet};

use super::Notes;
use super::fork::{Dry, flow_of};
use crate::assign::template_key;
use crate::connection::{Connection, FlowKey};
use crate::destination::Destination;
use crate::director::is_for_us;
use crate::forward::METHODS;
use crate::protocol::{Direction, Protocol};
use crate::request::{is_cut_off, may_be_client, persistence_data_of};
use crate::scheduler::Flow;
use crate::service::{FLAG_ONE_PACKET, NO_SCHEDULER, Service, ServiceConfig, ServiceKey};
use crate::template::TemplateKey;
use crate::time::Instant;

/// Real servers, and services that are not meant, that are told one by one.
const MOST: usize = 32;

impl Dry {
    /// Says what the packet meets, read from the copy.
    pub(super) fn note_before(
        &self,
        now: Instant,
        mark: u32,
        interface: u32,
        packet: &Packet<'_>,
        notes: &mut Notes,
    ) {
        self.note_arrival(mark, interface, packet, notes);
        let director = &self.director;
        let Some(headers) = director.headers_of(packet) else {
            return;
        };
        if !is_for_us(&director.network, headers.destination) {
            let text = format!(
                "{} is neither a VIP nor an address of this host",
                headers.destination
            );
            notes.say("arrival", text);
        }
        let has_connection = self.note_connections(now, packet, &headers, notes);
        let Some(flow) = flow_of(packet, &headers) else {
            notes.say("service", "none: the protocol is not balanced");
            return;
        };
        let found = self.note_services(&flow, mark, notes);
        if has_connection {
            notes.say("service", "not asked while the connection takes the packet");
            return;
        }
        if let Some(service) = found
            && self.note_beginning(&headers, notes)
        {
            self.note_template(now, &service, &flow, &headers, packet, notes);
            self.note_scheduler(now, &service, &flow, notes);
        }
    }

    /// Says where the packet comes in.
    fn note_arrival(&self, mark: u32, interface: u32, packet: &Packet<'_>, notes: &mut Notes) {
        let (network, worker) = (&self.director.network, &self.director.worker);
        let Some(interface) = network.interface(interface) else {
            return;
        };
        let link = if interface.link_len > 0 {
            format!(" ({})", interface.mac)
        } else {
            String::new()
        };
        let worker = if worker.shared.options.workers > 1 {
            format!(", worker {}", worker.index)
        } else {
            String::new()
        };
        let text = format!("{}{link}, mark {mark}{worker}", interface.name);
        notes.say("arrival", text);
        let destination = packet
            .bytes()
            .first_chunk::<6>()
            .map(|mac| packet::Mac(*mac));
        if let Some(mac) = destination
            .filter(|mac| packet.link_len > 0 && *mac != interface.mac && !mac.is_multicast())
        {
            notes.say("arrival", format!("addressed to {mac}: not this host's"));
        }
    }

    /// Says which service is meant, and why the others are not; the one that is.
    fn note_services(&self, flow: &Flow, mark: u32, notes: &mut Notes) -> Option<Arc<Service>> {
        let services = &self.director.services;
        let meant = services.lookup(flow.protocol, flow.destination, flow.destination_port, mark);
        let text = meant.map_or_else(|| "none matches".to_owned(), |it| rule(&it.config));
        notes.say("service", text);
        let mut left = 0_usize;
        let mut told = 0;
        for service in self.services.in_order() {
            let key = &service.config.key;
            if meant.is_some_and(|meant| meant.config.key == *key) {
                continue;
            }
            let near = match *key {
                ServiceKey::Address { address, .. } => address == flow.destination,
                ServiceKey::Mark { .. } => true,
            };
            if near && told < MOST {
                told += 1;
                let reason = why_not(key, flow, mark, meant.map(|it| it.config.key));
                notes.say("not", format!("{}: {reason}", name(key)));
            } else {
                left += 1;
            }
        }
        if left > 0 {
            notes.say("not", format!("{left} more, of other addresses"));
        }
        meant.cloned()
    }

    /// Says which connections the packet meets; whether one of them is its own.
    fn note_connections(
        &self,
        now: Instant,
        packet: &Packet<'_>,
        headers: &Headers,
        notes: &mut Notes,
    ) -> bool {
        let connections = &self.director.worker.connections;
        let own = connections.find(&FlowKey::of(headers));
        let ids = self.director.ids_of(packet);
        if ids.is_empty() {
            notes.say("connection", "none");
        }
        for id in ids {
            let Some(connection) = connections.get(id) else {
                continue;
            };
            let role = match own {
                Some((own, Direction::ToServer)) if own == id => "the client's packet",
                Some((own, Direction::ToClient)) if own == id => "the real server's answer",
                _ => "of the packet that is quoted, or the other direction",
            };
            notes.say(
                "connection",
                format!("{}: {role}", connection_text(connection, now)),
            );
            if connection.is_orphaned() {
                notes.say("connection", "its real server was deleted");
            }
        }
        own.is_some()
    }

    /// Says why the packet cannot begin a connection; whether it can.
    fn note_beginning(&self, headers: &Headers, notes: &mut Notes) -> bool {
        let worker = &self.director.worker;
        let network = &self.director.network;
        let reason = if !is_for_us(network, headers.destination) {
            "the destination is no address of this host: it is not delivered here"
        } else if !may_be_client(network, headers.source) {
            "nobody can come from this source address"
        } else if is_cut_off(&headers.transport) {
            "its upper-layer header is cut off"
        } else if !worker.may_begin(&headers.transport) {
            "it cannot begin a connection (no SYN or INIT; sloppy_tcp and sloppy_sctp are for such)"
        } else {
            return true;
        };
        notes.say("service", format!("does not schedule the packet: {reason}"));
        false
    }

    fn note_template(
        &self,
        now: Instant,
        service: &Service,
        flow: &Flow,
        headers: &Headers,
        packet: &Packet<'_>,
        notes: &mut Notes,
    ) {
        if !service.config.is_persistent() {
            return;
        }
        let data = persistence_data_of(service, headers, packet.bytes());
        if let Some(engine) = &service.config.persistence_engine
            && data.is_none()
        {
            notes.say(
                "template",
                format!("the engine {engine} finds nothing in the packet"),
            );
            return;
        }
        let key = template_key(service, flow, data);
        let text = key_text(&key);
        let shared = &self.director.worker.shared;
        let Some(found) = shared.templates.peek(&key, now) else {
            notes.say(
                "template",
                format!("{text}: none yet, the scheduler decides"),
            );
            return;
        };
        let server = endpoint(&found.destination);
        let seconds = found.expires().since(now).as_secs();
        let held = found.connections();
        notes.say(
            "template",
            format!("{text}: {server}, {held} connections, {seconds} s left"),
        );
        let text = if shared.may_follow(&found.destination) {
            "followed: the scheduler is not asked"
        } else {
            "given up: its real server was deleted, or has weight 0 (expire_quiescent_template)"
        };
        notes.say("template", text);
    }

    fn note_scheduler(&self, now: Instant, service: &Service, flow: &Flow, notes: &mut Notes) {
        let scheduler = &service.config.scheduler;
        if scheduler == NO_SCHEDULER {
            notes.say("scheduler", "none: no real server is picked");
        } else {
            notes.say("scheduler", scheduler.clone());
        }
        if self.inexact.contains(&service.number) {
            notes.say(
                "scheduler",
                "it cannot be copied: a new one is asked here, which may pick another real server",
            );
        }
        let lifetime = self.director.worker.shared.cache_lifetime(service);
        for (what, text) in service.explain_scheduler(flow, now, lifetime) {
            notes.say("scheduler", format!("{what}: {text}"));
        }
        for server in service.destinations.iter().take(MOST) {
            let (active, inactive) = (server.active(), server.inactive());
            let unusable = match (server.weight() > 0, server.is_overloaded()) {
                (false, _) => ", not usable: weight 0",
                (true, true) => ", not usable: over its threshold",
                (true, false) => "",
            };
            let text = format!(
                "{} weight {}, {active} active, {inactive} inactive{unusable}",
                endpoint(server),
                server.weight()
            );
            notes.say("server", text);
        }
        if service.destinations.len() > MOST {
            let more = service.destinations.len() - MOST;
            notes.say("server", format!("{more} more"));
        } else if service.destinations.is_empty() {
            notes.say("server", "there is none");
        }
    }
}

/// Address and port of a real server.
pub(super) fn endpoint(server: &Destination) -> SocketAddr {
    SocketAddr::new(server.address, server.port)
}

/// A service as a rule has it, without the scheduler's own flags, which the scheduler tells.
fn rule(config: &ServiceConfig) -> String {
    let mut text = format!("{} -s {}", name(&config.key), config.scheduler);
    if config.is_persistent() {
        text += &format!(" -p {}", config.timeout);
    }
    if let Some(engine) = &config.persistence_engine {
        text += &format!(" --pe {engine}");
    }
    if config.flags & FLAG_ONE_PACKET != 0 {
        text += " -o";
    }
    text
}

/// A service as it is called here.
fn name(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => format!("{} {}", protocol.name(), SocketAddr::new(address, port)),
        ServiceKey::Mark { family, mark } => format!("mark {mark} ({family:?})"),
    }
}

/// Why a service does not answer to a new connection that another one, or none, answers to.
fn why_not(key: &ServiceKey, flow: &Flow, mark: u32, meant: Option<ServiceKey>) -> String {
    match *key {
        ServiceKey::Address { protocol, .. } if protocol != flow.protocol => {
            format!(
                "its protocol is {}, not {}",
                protocol.name(),
                flow.protocol.name()
            )
        }
        ServiceKey::Address { address, .. } if address != flow.destination => {
            format!("its address is not {}", flow.destination)
        }
        ServiceKey::Address { port, .. } if port != 0 && port != flow.destination_port => {
            format!("its port is not {}", flow.destination_port)
        }
        ServiceKey::Address { .. } if matches!(meant, Some(ServiceKey::Mark { .. })) => {
            "a service of the packet's mark comes first".to_owned()
        }
        ServiceKey::Address { .. } => "another one is more specific".to_owned(),
        ServiceKey::Mark { mark: own, .. } if own != mark => {
            format!("the packet's mark is {mark}")
        }
        ServiceKey::Mark { .. } => "the packet is of the other family".to_owned(),
    }
}

fn connection_text(connection: &Connection, now: Instant) -> String {
    let at = |(address, port): (IpAddr, u16)| SocketAddr::new(address, port);
    let method = METHODS[connection.method() as usize].name;
    format!(
        "{} {} > {} > {} by {method}, {}, {} s left",
        connection.protocol().name(),
        at(connection.client()),
        at(connection.virtual_server()),
        at(connection.server()),
        connection.state().name(),
        connection.expires_in(now).as_secs()
    )
}

fn key_text(key: &TemplateKey) -> String {
    let protocol = key.protocol.map_or("any protocol", Protocol::name);
    let data = key.data.as_deref().map_or_else(String::new, |data| {
        format!(", {:?}", String::from_utf8_lossy(data))
    });
    format!(
        "{protocol} {} > {}{data}",
        key.client,
        SocketAddr::new(key.virtual_address, key.virtual_port)
    )
}

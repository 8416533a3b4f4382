//! Dialogues that a real server begins (kernel: `conn_out` of a persistence engine): its first datagram makes the
//! connection that the client's answers belong to, as if the client had begun it.
//!
//! Only services with a persistence engine, over UDP, by NAT; recordings: `sip.nat_ops`, `found.sip_out_*`.

use core::time::Duration;
use std::sync::Arc;

use crate::connection::{Connection, ConnectionId, NewConnection};
use crate::destination::{Destination, Method};
use crate::director::{Batch, Datagram, Worker};
use crate::frame::Output;
use crate::protocol::Protocol;
use crate::request::persistence_data;
use crate::service::{Service, ServiceKey};
use crate::shared::Shared;
use crate::template::{NewTemplate, Template, TemplateKey};
use crate::time::Instant;
use crate::verdict::Verdict;

/// A dialogue that has begun.
pub(crate) struct Begun {
    id: ConnectionId,
    /// It ends with the datagram.
    one_packet: bool,
}

impl Worker {
    /// Sends the datagram that began a dialogue.
    pub(crate) fn send_outgoing<'a>(
        &mut self,
        batch: &Batch<'_>,
        begun: Begun,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let verdict = self.reply(batch, begun.id, datagram, output);
        if begun.one_packet
            && let Some(connection) = self.connections.remove(begun.id)
        {
            self.release(connection.template());
        }
        verdict
    }

    /// Makes the connection of a datagram that is on its way through the host, if it begins a dialogue.
    pub(crate) fn begin_outgoing(
        &mut self,
        batch: &Batch<'_>,
        datagram: &Datagram<'_, '_>,
    ) -> Option<Begun> {
        let headers = &datagram.headers;
        let is_udp = headers.protocol == Protocol::Udp.number();
        if !is_udp || !batch.services.has_engines() || self.connections.is_full() {
            return None;
        }
        // What the host cannot forward never comes as far.
        let hop = self.hop(batch, headers.destination).ok()?;
        if headers.ttl <= 1 || datagram.is_too_big(hop.mtu) {
            return None;
        }
        let (service, destination) = self.dialogue_server(batch, datagram)?;
        let ServiceKey::Address { address, port, .. } = service.config.key else {
            return None;
        };
        let data = persistence_data(service, datagram)?;
        let key = TemplateKey {
            protocol: Some(Protocol::Udp),
            client: service.config.masked(headers.destination),
            virtual_address: address,
            virtual_port: port,
            data: Some(Box::from(data)),
        };
        let shared = &self.shared;
        let template = shared.outgoing_template(service, destination, key, batch.now)?;
        shared.count_connection(self.index, destination);
        let connection = Connection::new(NewConnection {
            protocol: Protocol::Udp,
            client: (headers.destination, headers.ports().1),
            virtual_server: (address, port),
            server: (destination.address, destination.port),
            destination: Some(Arc::clone(destination)),
            template: Some(template),
            method: Method::Masq,
            mark: datagram.ingress.mark,
            client_interface: hop.interface,
            client_vlan: 0,
        });
        self.retract_same(&connection);
        let id = self.connections.insert(connection, batch.now).ok()?;
        self.connections.tell_made(id, true, batch.now);
        let one_packet = service.config.is_one_packet(Protocol::Udp);
        Some(Begun { id, one_packet })
    }

    /// The real server that sent the datagram, of the service that it was added to last.
    fn dialogue_server<'s>(
        &self,
        batch: &Batch<'s>,
        datagram: &Datagram<'_, '_>,
    ) -> Option<(&'s Arc<Service>, &'s Arc<Destination>)> {
        let headers = &datagram.headers;
        let (address, port) = (headers.source, headers.ports().0);
        let keys = self.shared.services_of(Protocol::Udp, address, port);
        keys.iter().find_map(|key| {
            let service = batch.services.get(key)?;
            let destination = service.destination(address, port)?;
            (destination.method() == Method::Masq).then_some((service, destination))
        })
    }
}

impl Shared {
    /// The template of a dialogue that `destination` begins, told of a connection that `destination` is told of, too;
    /// one that leads elsewhere is given up. None when there are as many as may be.
    fn outgoing_template(
        &self,
        service: &Service,
        destination: &Arc<Destination>,
        key: TemplateKey,
        now: Instant,
    ) -> Option<Arc<Template>> {
        let (key, mut shard) = self.templates.shard(key);
        let mut found = shard.find(&key, now);
        if let Some(template) = &found {
            let same = Arc::ptr_eq(&template.destination, destination);
            if !same || !self.may_follow(destination) {
                shard.invalidate(template, &key);
                found = None;
            }
        }
        if found.is_none() && !self.templates.has_room() {
            return None;
        }
        destination.bind(false);
        let template = found.unwrap_or_else(|| {
            destination.bind(true);
            let made = NewTemplate {
                destination: Arc::clone(destination),
                port: destination.port,
                timeout: Duration::from_secs(service.config.timeout.into()),
                is_synced: false,
            };
            shard.insert(key, made, &self.templates, now)
        });
        template.hold(now);
        Some(template)
    }
}

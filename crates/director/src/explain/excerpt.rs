//! What is taken out of a worker to answer a question: the connections and fragments that the packet can meet. All that the
//! worker has to do, some microseconds' work; everything else is copied from what all workers share, elsewhere.

use core::net::IpAddr;
use std::sync::Arc;

use packet::{Headers, Packet, Quoted};

use super::{HEADROOM, Probe, Question, QuestionError};
use crate::connection::{Bound, Connection, ConnectionId, FlowKey, Table};
use crate::director::{Director, Host, ISAKMP_PORT};
use crate::net::Network;
use crate::protocol::Protocol;
use crate::reassembly::{Datagram, Reassembly};
use crate::shared::Shared;
use crate::time::Instant;

/// What a worker has that one packet can meet, and the packet.
#[derive(Debug)]
pub struct Excerpt {
    pub(super) now: Instant,
    /// Index of the interface that the packet arrives on.
    pub(super) interface: u32,
    /// Its firewall mark.
    pub(super) mark: u32,
    /// Octets of its link header.
    pub(super) link_len: usize,
    /// The packet, behind [`HEADROOM`].
    pub(super) buffer: Vec<u8>,
    /// The datagram that it completes, where it is the last fragment.
    pub(super) whole: Option<Datagram>,
    /// Its headers, or its datagram's; those of its datagram's first fragment where others are missing.
    pub(super) headers: Option<Headers>,
    /// Addresses of services and real servers that it may have to do with.
    pub(super) addresses: Vec<IpAddr>,
    /// Of the worker.
    pub(super) index: usize,
    pub(super) network: Arc<Network>,
    pub(super) shared: Arc<Shared>,
    pub(super) host: Arc<Host>,
    pub(super) connections: Table,
    /// What those connections are bound to.
    pub(super) bound: Vec<Bound>,
    pub(super) reassembly: Reassembly,
    pub(super) next_id: u32,
}

impl Director {
    /// What is needed to say what [`Director::handle`] would do at `now` with the packet that is asked about. `marks` gives
    /// a packet on an interface of this index its firewall mark, where the question does not.
    ///
    /// # Errors
    /// A sentence: there is no such interface.
    pub fn excerpt(
        &self,
        now: Instant,
        question: &Question,
        marks: impl Fn(u32, &Packet<'_>) -> u32,
    ) -> Result<Excerpt, QuestionError> {
        let interface = question.arrival(&self.network)?;
        let is_known = |probe: &Probe| self.connections().find(&probe.key()).is_some();
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&question.frame(interface, is_known));
        let end = buffer.len();
        let packet = Packet::new(&mut buffer, HEADROOM..end, interface.link_len);
        let mark = (question.mark).unwrap_or_else(|| marks(interface.index, &packet));
        let headers = Headers::parse(&packet).ok();
        let worker = &self.worker;
        let reassembly = worker.reassembly.fork(headers.as_ref());
        let mut whole = worker.reassembly.completed_by(mark, &packet);
        let (headers, ids, addresses) = match &mut whole {
            Some(datagram) => datagram.frame.edit(|whole| self.meets(whole)),
            None => self.meets(&packet),
        };
        let (connections, bound) = worker.connections.fork(&ids, now);
        Ok(Excerpt {
            now,
            interface: interface.index,
            mark,
            link_len: interface.link_len,
            whole,
            headers,
            addresses,
            index: worker.index,
            network: Arc::clone(&self.network),
            shared: Arc::clone(&worker.shared),
            host: Arc::clone(&worker.host),
            connections,
            bound,
            reassembly,
            next_id: worker.next_id,
            buffer,
        })
    }

    /// The headers that count for a packet, the connections that it may have to do with, and the addresses of services.
    fn meets(&self, packet: &Packet<'_>) -> (Option<Headers>, Vec<ConnectionId>, Vec<IpAddr>) {
        let ids = self.ids_of(packet);
        let addresses = self.addresses_of(packet, &ids);
        (self.headers_of(packet), ids, addresses)
    }

    /// The headers of the datagram that a packet is, or is a fragment of.
    pub(super) fn headers_of(&self, packet: &Packet<'_>) -> Option<Headers> {
        let headers = Headers::parse(packet).ok()?;
        let first = self.worker.reassembly.first_of(&headers);
        Some(first.copied().unwrap_or(headers))
    }

    /// Whether the first fragment of the datagram that this packet is a fragment of waits here.
    #[must_use]
    pub fn has_first_of(&self, packet: &Packet<'_>) -> bool {
        let headers = Headers::parse(packet);
        headers.is_ok_and(|headers| self.worker.reassembly.first_of(&headers).is_some())
    }

    /// The connections that a packet may have to do with: its own, and that of the packet that it quotes.
    pub(super) fn ids_of(&self, packet: &Packet<'_>) -> Vec<ConnectionId> {
        let Some(headers) = self.headers_of(packet) else {
            return Vec::new();
        };
        let own = FlowKey::of(&headers);
        let companion = FlowKey {
            protocol: Protocol::Udp.number(),
            source: (headers.source, ISAKMP_PORT),
            destination: (headers.destination, ISAKMP_PORT),
        };
        let mut keys = vec![own, own.reversed(), companion];
        for quoted in quoted(packet, &headers) {
            let key = key_of(&quoted);
            keys.extend([key, key.reversed()]);
        }
        let table = &self.worker.connections;
        let mut ids: Vec<ConnectionId> = Vec::new();
        for (id, _) in keys.iter().filter_map(|key| table.find(key)) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    fn addresses_of(&self, packet: &Packet<'_>, ids: &[ConnectionId]) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        if let Ok(headers) = Headers::parse(packet) {
            addresses.extend([headers.source, headers.destination]);
            for quoted in quoted(packet, &headers) {
                addresses.extend([quoted.source, quoted.destination]);
            }
        }
        let connections = ids.iter().filter_map(|id| self.worker.connections.get(*id));
        addresses.extend(connections.map(|connection: &Connection| connection.virtual_server().0));
        addresses
    }
}

/// The packet that an ICMP error quotes, and the one inside that where it is a tunnel's.
pub(super) fn quoted(packet: &Packet<'_>, headers: &Headers) -> impl Iterator<Item = Quoted> {
    let quoted = Quoted::of(packet, headers);
    let inner = quoted.and_then(|quoted| quoted.tunnelled(packet));
    quoted.into_iter().chain(inner)
}

pub(super) fn key_of(quoted: &Quoted) -> FlowKey {
    let (source, destination) = quoted.ports.unwrap_or_default();
    FlowKey {
        protocol: quoted.protocol,
        source: (quoted.source, source),
        destination: (quoted.destination, destination),
    }
}

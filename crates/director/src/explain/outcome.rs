//! What there is to say afterwards: the real server, the rewriting, where the packet goes; and what verdicts mean.

use core::net::{IpAddr, SocketAddr};

use packet::{Headers, Malformed, Packet, protocol};

use super::fork::Dry;
use super::notes::endpoint;
use super::{Notes, describe};
use crate::destination::Method;
use crate::forward::METHODS;
use crate::frame::{Frame, Outgoing, Output};
use crate::service::FLAG_ONE_PACKET;
use crate::verdict::{DropReason, Verdict};

/// The real server of the packet's connection.
#[derive(Clone, Copy)]
struct Chosen {
    address: IpAddr,
    method: Method,
}

impl Dry {
    /// Says what the packet led to; `before` is the frame as it came.
    pub(super) fn note_after(
        &self,
        before: &[u8],
        link_len: usize,
        verdict: Verdict,
        output: &Output<'_>,
        notes: &mut Notes,
    ) {
        let chosen = self.note_choice(notes);
        let mut before = before.to_vec();
        let end = before.len();
        let came = Headers::parse(&Packet::new(&mut before, 0..end, link_len)).ok();
        // Else what leaves is an answer to it.
        let came = came.filter(|_| verdict == Verdict::Forwarded);
        for outgoing in &output.frames {
            let left = with_packet(&outgoing.frame, Headers::parse);
            if let (Some(came), Ok(left)) = (&came, left) {
                note_rewriting(came, &left, chosen, notes);
            }
            notes.say("output", self.frame_text(outgoing));
        }
        if output.frames.is_empty() {
            notes.say("output", "nothing is sent");
        }
    }

    /// Says where the packet's connection goes, be it an old or a new one.
    fn note_choice(&self, notes: &mut Notes) -> Option<Chosen> {
        let worker = &self.director.worker;
        let found = self.key.and_then(|key| worker.connections.find(&key));
        let snapshot = worker.shared.snapshot();
        let mut services = snapshot.iter().flat_map(|service| {
            let servers = service.destinations.iter();
            servers.map(move |server| (service, server))
        });
        let new = services.find(|(_, server)| server.stats.current().connections > 0);
        let (server, method, whose) = if let Some((service, server)) = new {
            let is_alone = service.config.flags & FLAG_ONE_PACKET != 0 && found.is_none();
            let whose = if is_alone {
                "for this packet alone (-o)"
            } else {
                "a new connection"
            };
            (endpoint(server), server.method(), whose)
        } else {
            let connection = found.and_then(|(id, _)| worker.connections.get(id))?;
            let (address, port) = connection.server();
            let server = SocketAddr::new(address, port);
            (server, connection.method(), "the connection's own")
        };
        let name = METHODS[method as usize].name;
        notes.say("choice", format!("{server} by {name}, {whose}"));
        Some(Chosen {
            address: server.ip(),
            method,
        })
    }

    /// A frame that leaves: interface, link address, and what it is.
    pub(super) fn frame_text(&self, outgoing: &Outgoing<'_>) -> String {
        let name = self.interface_name(outgoing.interface);
        let frame = with_packet(&outgoing.frame, describe::frame);
        let to = outgoing.frame.bytes().first_chunk::<6>();
        match to.filter(|_| outgoing.frame.link_len() > 0) {
            Some(mac) => format!("{name} to {}: {frame}", packet::Mac(*mac)),
            None => format!("{name}: {frame}"),
        }
    }

    /// The name of the interface of this index.
    pub(super) fn interface_name(&self, index: u32) -> &str {
        let interface = self.director.network.interface(index);
        interface.map_or("?", |interface| interface.name.as_str())
    }
}

/// What `read` reads of a frame that leaves.
pub(super) fn with_packet<T>(frame: &Frame<'_>, read: impl FnOnce(&Packet<'_>) -> T) -> T {
    let mut octets = frame.bytes().to_vec();
    let end = octets.len();
    read(&Packet::new(&mut octets, 0..end, frame.link_len()))
}

/// Says what differs between a packet that came and what leaves for it.
fn note_rewriting(came: &Headers, left: &Headers, chosen: Option<Chosen>, notes: &mut Notes) {
    let is_tunnelled = chosen.is_some_and(|chosen| {
        chosen.method == Method::Tunnel && chosen.address == left.destination
    });
    if is_tunnelled {
        let kind = match left.protocol {
            protocol::GRE => "GRE",
            protocol::UDP => "GUE",
            _ => "IPIP",
        };
        let (from, to) = (left.source, left.destination);
        notes.say("rewrite", format!("put into {kind} from {from} to {to}"));
        return;
    }
    if came.protocol != left.protocol {
        // An ICMP error or a request for a link address beside it.
        return;
    }
    let ends = |headers: &Headers| {
        let (source, destination) = headers.ports();
        [
            SocketAddr::new(headers.source, source),
            SocketAddr::new(headers.destination, destination),
        ]
    };
    let pairs = ends(came).into_iter().zip(ends(left));
    for (what, (old, new)) in ["source", "destination"].into_iter().zip(pairs) {
        if old != new {
            notes.say("rewrite", format!("{what} {old} becomes {new}"));
        }
    }
    if came.ttl != left.ttl {
        notes.say("rewrite", format!("TTL {} becomes {}", came.ttl, left.ttl));
    }
}

/// What a verdict means; `waits`: for a link address.
pub(super) const fn meaning(verdict: Verdict, waits: bool) -> &'static str {
    match verdict {
        Verdict::Forwarded => "sent on",
        Verdict::Held if waits => "kept until the next hop's link address is known",
        Verdict::Held => "kept until the other fragments of its datagram are there",
        Verdict::Answered => {
            "answered by the director itself, or silently taken as a host's stack would"
        }
        Verdict::Pass => "left to the host's own stack, as if there were no director",
        Verdict::Drop(reason) => meaning_of_drop(reason),
    }
}

/// Why a packet is dropped for this reason.
const fn meaning_of_drop(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Malformed(malformed) => meaning_of_fault(malformed),
        DropReason::DestinationUnavailable => "its connection's real server was deleted",
        DropReason::IpOptions => "its IP options forbid forwarding",
        DropReason::NoDestination => {
            "no real server may be used: the client is told that the port is unreachable"
        }
        DropReason::TtlExpired => "its TTL has run out, which the client is told",
        DropReason::TooBig => {
            "it is too big for the path and must not be fragmented, which the client is told"
        }
        DropReason::NoRoute => "there is no route to the real server",
        DropReason::NeighbourUnreachable => "the next hop did not answer",
        DropReason::NeighbourQueueFull => "too many packets wait for the next hop's link address",
        DropReason::TableFull => "there are as many connections or persistence templates as may be",
        DropReason::Reassembly => "its fragments overlap, are too many, or did not come in time",
        DropReason::Defence => "drop_packet gives up one in so many new connections",
        DropReason::BadIcmp => "it is an ICMP error that is broken or quotes what cannot be read",
        DropReason::PersistenceData => {
            "the persistence engine finds nothing in it (SIP: no Call-ID)"
        }
        DropReason::BadChecksum => "it belongs to an FTP connection, and its TCP checksum is wrong",
        DropReason::Handshake => "it belongs to an FTP connection whose ends have not agreed to it",
        DropReason::NoInterface => "the director does not work on the interface",
    }
}

const fn meaning_of_fault(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::LinkTruncated => "it is shorter than a link header",
        Malformed::NotIp => "it is neither IPv4 nor IPv6",
        Malformed::NetworkTruncated => "it ends within the IP header",
        Malformed::BadVersion => "the IP version is not that of the link header",
        Malformed::BadLength => "the IP header's length is not that of the frame",
        Malformed::BadHeaderChecksum => "the IPv4 header's checksum is wrong",
        Malformed::ExtensionTruncated => "it ends within an IPv6 extension header",
        Malformed::TransportTruncated => "it ends within the upper-layer header",
    }
}

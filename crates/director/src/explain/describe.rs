//! A frame as the start of a line: what it is, from where, to where.

use packet::arp::{Arp, Operation};
use packet::{Headers, Packet, Transport, protocol};

/// Names of TCP's flags, from the lowest bit on, as tcpdump abbreviates them.
const TCP_FLAGS: [char; 8] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'];

/// What this frame is, in a few words.
#[must_use]
pub fn frame(packet: &Packet<'_>) -> String {
    if let Some(arp) = Arp::of(packet) {
        return match arp.operation {
            Operation::Request => format!("ARP who has {}, tell {}", arp.target, arp.sender),
            Operation::Reply => format!("ARP {} is at {}", arp.sender, arp.sender_mac),
        };
    }
    match Headers::parse(packet) {
        Ok(headers) => datagram(&headers),
        Err(_) => format!("{} octets, no IP", packet.len()),
    }
}

fn datagram(headers: &Headers) -> String {
    let octets = headers.end.saturating_sub(headers.network_offset);
    let endpoints = |name: &str| {
        let (source, destination) = headers.ports();
        let source = core::net::SocketAddr::new(headers.source, source);
        let destination = core::net::SocketAddr::new(headers.destination, destination);
        format!("{name} {source} > {destination}")
    };
    let addresses = |name: &str| format!("{name} {} > {}", headers.source, headers.destination);
    match headers.transport {
        Transport::Tcp { flags, .. } => {
            let names = TCP_FLAGS.iter().enumerate();
            let set = names.filter(|(bit, _)| flags >> bit & 1 == 1);
            let set: String = set.map(|(_, name)| *name).collect();
            format!("{} [{set}] {octets}", endpoints("TCP"))
        }
        Transport::Udp { .. } => format!("{} {octets}", endpoints("UDP")),
        Transport::Sctp { .. } => format!("{} {octets}", endpoints("SCTP")),
        Transport::Icmp { kind, code } => {
            format!("{} type {kind} code {code} {octets}", addresses("ICMP"))
        }
        Transport::Fragment => format!("{} {octets}", addresses("fragment")),
        Transport::Truncated { .. } | Transport::Other => {
            let name = match headers.protocol {
                protocol::TCP => "TCP".to_owned(),
                protocol::UDP => "UDP".to_owned(),
                other => format!("protocol {other}"),
            };
            format!("{} {octets}", addresses(&name))
        }
    }
}

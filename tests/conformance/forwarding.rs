//! What the kernel of a forwarding host does with a packet that the director passes on to it: a lower
//! TTL, a new link header, out by its route. In a recording the two are one kernel, and its frames stand
//! side by side.

use std::net::IpAddr;

use director::net::{Interface, Network, RouteKind};
use packet::{Headers, IcmpError, Packet, decrement_ttl, icmp_error, set_link};

use crate::host::port;
use crate::recording::{Frame, Port};

/// What a host tells the sender of a packet whose hop limit ran out.
fn time_exceeded(
    network: &Network,
    packet: &Packet<'_>,
    headers: &Headers,
) -> Option<(Port, Frame)> {
    let route = network.routes.lookup(headers.source)?;
    let next_hop = route.gateway.unwrap_or(headers.source);
    let link = network.neighbours.get(&(route.interface, next_hop))?;
    let egress = network.interface(route.interface)?;
    let source = network.source_for(headers.source)?;
    let mut bytes = vec![0; 1500];
    let written = icmp_error(
        packet,
        headers,
        IcmpError::TimeExceeded,
        source,
        0,
        &mut bytes,
    )?;
    bytes.truncate(written);
    let ether_type: [u8; 2] = if source.is_ipv4() {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    let frame = [&link.0[..], &egress.mac.0, &ether_type, &bytes].concat();
    Some((port(route.interface)?, Frame(frame)))
}

/// What a host asks when it does not know the link address of `address`. The frame itself waits, for ever as far as
/// recordings go.
fn arp_request(network: &Network, egress: &Interface, address: IpAddr) -> Option<Frame> {
    let IpAddr::V4(target) = address else {
        return None;
    };
    let IpAddr::V4(source) = network.interface_source(egress.index, address)? else {
        return None;
    };
    let own = egress.mac.0;
    let fixed = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    let frame = [
        &[0xff; 6],
        &own[..],
        &fixed,
        &own,
        &source.octets(),
        &[0; 6],
        &target.octets(),
    ];
    Some(Frame(frame.concat()))
}

/// Forwards a frame as the host's own stack would; `None` where it keeps or drops it.
pub(crate) fn forward(network: &Network, interface: u32, frame: &[u8]) -> Option<(Port, Frame)> {
    let mut bytes = frame.to_vec();
    let len = bytes.len();
    let mut packet = Packet::new(&mut bytes, 0..len, 14);
    let own = network.interface(interface)?.mac;
    if packet.bytes().get(..6)? != own.0 {
        return None;
    }
    let headers = Headers::parse(&packet).ok()?;
    // A sender that the host itself is ("martian") is not believed; IPv6 has no such rule.
    let source = network.routes.lookup(headers.source);
    if headers.source.is_ipv4() && source.is_some_and(|route| route.kind == RouteKind::Local) {
        return None;
    }
    let route = network.routes.lookup(headers.destination)?;
    let is_multicast = match headers.destination {
        IpAddr::V4(address) => address.is_multicast(),
        IpAddr::V6(address) => address.is_multicast(),
    };
    if route.kind != RouteKind::Unicast || is_multicast {
        return None;
    }
    packet.truncate(headers.end);
    if decrement_ttl(&mut packet, &headers).is_none() {
        return time_exceeded(network, &packet, &headers);
    }
    let next_hop = route.gateway.unwrap_or(headers.destination);
    let egress = network.interface(route.interface)?;
    let Some(link) = network.neighbours.get(&(route.interface, next_hop)) else {
        let request = arp_request(network, egress, next_hop)?;
        return Some((port(route.interface)?, request));
    };
    set_link(&mut packet, *link, egress.mac);
    let sent = Frame(packet.bytes().to_vec());
    Some((port(route.interface)?, sent))
}

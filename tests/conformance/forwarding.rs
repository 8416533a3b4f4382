//! What the kernel of a forwarding host does with a packet that the director passes on to it: a lower
//! TTL, a new link header, out by its route. In a recording the two are one kernel, and its frames stand
//! side by side.

use std::net::IpAddr;

use director::net::{Network, RouteKind};
use packet::{Headers, Packet, decrement_ttl, set_link};

use crate::host::port;
use crate::recording::{Frame, Port};

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
    let route = network.routes.lookup(headers.destination)?;
    let is_multicast = match headers.destination {
        IpAddr::V4(address) => address.is_multicast(),
        IpAddr::V6(address) => address.is_multicast(),
    };
    if route.kind != RouteKind::Unicast || is_multicast {
        return None;
    }
    packet.truncate(headers.end);
    decrement_ttl(&mut packet, &headers)?;
    let next_hop = route.gateway.unwrap_or(headers.destination);
    let link = network.neighbours.get(&(route.interface, next_hop))?;
    let egress = network.interface(route.interface)?;
    set_link(&mut packet, *link, egress.mac);
    let sent = Frame(packet.bytes().to_vec());
    Some((port(route.interface)?, sent))
}

//! What the director must know of its host: interfaces, routes, neighbours, and who answers for which VIP.
//!
//! A [`Network`] is an immutable value: the driver builds a new one when the host changes and swaps it
//! whole. Next hops that the kernel does not know are resolved by [`neighbour`].

pub mod neighbour;
pub mod path_mtu;
pub mod route;
pub(crate) mod waiting;

use core::net::IpAddr;
use std::collections::HashSet;

use foldhash::HashMap;
use packet::{Mac, Vlan};

pub use neighbour::NeighbourTable;
pub use path_mtu::PathMtus;
pub use route::{Route, RouteKind, Routes};

/// An interface the director may receive on and transmit by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Kernel ifindex.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Link-layer address; zero on TUN.
    pub mac: Mac,
    /// Largest IP datagram, octets.
    pub mtu: u32,
    /// Octets of link-layer header: 14 on Ethernet, 0 on TUN.
    pub link_len: usize,
    /// Addresses with their prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Administratively up with carrier.
    pub up: bool,
}

/// Who answers ARP, NDP, ping and refusals for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ulvs: the host does not have the address.
    Owned,
    /// The host's kernel: the address is one of its own.
    Local,
}

/// The host as the director sees it. One value holds for a whole batch.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Interfaces, any order.
    pub interfaces: Vec<Interface>,
    /// Routes of both families; local addresses are routes of kind [`RouteKind::Local`].
    pub routes: Routes,
    /// Changes whenever routes or addresses change (kernel: `fib_genid`).
    pub route_generation: u32,
    /// Link addresses known to the kernel, by interface and next hop.
    pub neighbours: HashMap<(u32, IpAddr), Mac>,
    /// VIPs and who answers for each. Addresses of services that are missing here are [`Answer::Local`] when
    /// the host has them.
    pub vips: HashMap<IpAddr, Answer>,
    /// 802.1Q interfaces of the host: index of the interface below and VLAN identifier. Frames with such a tag belong
    /// to the interface above, where they are received too, without the tag.
    pub vlan_interfaces: HashSet<(u32, u16)>,
    /// `net.ipv4.icmp_ratelimit` in milliseconds between ICMP errors to one peer; 0 = no limit.
    pub icmp_ratelimit_ms: u32,
    /// Interfaces by index that tell a neighbour of a shorter way (`net.ipv4.conf.INTERFACE.send_redirects`), of a
    /// host that forwards.
    pub redirects: HashSet<u32>,
}

/// The VLAN identifier in the tag control information (IEEE 802.1Q section 9.6).
const VLAN_IDENTIFIER: u16 = 0x0fff;

impl Network {
    /// Whether a frame with this tag belongs to an 802.1Q interface of the host, which receives it too.
    pub(crate) fn is_for_vlan_interface(&self, interface: &Interface, vlan: Option<Vlan>) -> bool {
        vlan.is_some_and(|vlan| {
            self.vlan_interfaces
                .contains(&(interface.index, vlan.tci & VLAN_IDENTIFIER))
        })
    }

    /// The interface with this index.
    #[must_use]
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.index == index)
    }

    /// Whether the host itself has `address`.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.interfaces
            .iter()
            .any(|i| i.addresses.iter().any(|&(own, _)| own == address))
    }

    /// Whether ulvs answers for `address` itself.
    #[must_use]
    pub fn is_owned(&self, address: IpAddr) -> bool {
        self.vips.get(&address) == Some(&Answer::Owned)
    }

    /// The source address for a packet the director sends to `destination`: the route's preferred
    /// source, else an address of the egress interface (on the next hop's subnet when there is one).
    #[must_use]
    pub fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        let route = self.routes.lookup(destination)?;
        if let Some(source) = route.source {
            return Some(source);
        }
        self.interface_source(route.interface, route.gateway.unwrap_or(destination))
    }

    /// An address of `interface` to speak to `peer` from: one on the peer's subnet first, then any other of
    /// the family (global before link-local), then one of any interface.
    #[must_use]
    pub fn interface_source(&self, interface: u32, peer: IpAddr) -> Option<IpAddr> {
        let own = self
            .interface(interface)
            .map_or(&[][..], |i| &i.addresses[..]);
        let family = |&&(address, _): &&(IpAddr, u8)| address.is_ipv4() == peer.is_ipv4();
        own.iter()
            .filter(family)
            .find(|&&(address, len)| route::prefix(address, len) == route::prefix(peer, len))
            .or_else(|| own.iter().filter(family).find(|(a, _)| !is_link_local(*a)))
            .or_else(|| own.iter().find(family))
            .or_else(|| {
                let all = self.interfaces.iter().flat_map(|i| &i.addresses);
                all.filter(family)
                    .find(|(a, _)| !a.is_loopback() && !is_link_local(*a))
            })
            .map(|&(address, _)| address)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

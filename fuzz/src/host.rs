//! A random host: two networks, clients behind a router on one, real servers on the other, and any of it missing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use director::net::{Answer, Interface, Network, Route, RouteKind};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use packet::Mac;

/// Interface of the clients' side.
pub const CLIENTS: u32 = 2;
/// Interface of the servers' side.
pub const SERVERS: u32 = 3;
/// Octets of an Ethernet header.
const ETHERNET: usize = 14;

/// What does not change while frames are on their way.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Links {
    /// The two lowest bits set: as the other fields say; else two Ethernet links.
    odd: u8,
    /// One bit a side: TUN, without a link header.
    tun: u8,
    /// Clients and servers on one interface.
    one_arm: bool,
    client_mtu: u16,
    server_mtu: u16,
}

/// What may change at any time.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Tables {
    /// The two lowest bits set: as the other fields say; else all is known.
    odd: u8,
    icmp_ratelimit: bool,
    /// Two bits a virtual address: owned, owned, local, foreign.
    answers: u8,
    /// One bit a real server (or its gateway): the kernel does not know its link address.
    unknown: u8,
    /// One bit a kind of route that is missing, or worse.
    routes: u8,
    /// MTU of the routes to the servers, where the lowest bit is set.
    route_mtu: u8,
}

impl Links {
    /// Mostly ordinary links.
    #[must_use]
    pub fn mostly_ordinary(self) -> Self {
        if self.odd & 3 == 3 {
            return self;
        }
        Self {
            tun: 0,
            one_arm: self.odd & 12 == 12,
            client_mtu: 0,
            ..self
        }
    }
}

impl Tables {
    fn mostly_ordinary(self) -> Self {
        if self.odd & 3 == 3 {
            return self;
        }
        Self {
            // The last address is the host's own.
            answers: 0x80,
            // The fourth server of each family answers nobody.
            unknown: 8,
            routes: 0,
            ..self
        }
    }
}

/// Address of a virtual service; two of each family.
#[must_use]
pub fn virtual_address(choice: u8) -> IpAddr {
    if choice & 2 == 0 {
        Ipv4Addr::new(10, 8, 0, 1 + (choice & 1)).into()
    } else {
        Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, 0, 1 + u16::from(choice & 1)).into()
    }
}

/// Address of a real server; four of each family. The third is a virtual address.
#[must_use]
pub fn server_address(choice: u8) -> IpAddr {
    if choice & 0x1b == 0x1a {
        return virtual_address(choice >> 1 & 2);
    }
    if choice & 4 == 0 {
        Ipv4Addr::new(10, 2, 0, 11 + (choice & 3)).into()
    } else {
        Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x11 + u16::from(choice & 3)).into()
    }
}

/// Address of a client: two of each family, one on the link, and some that no host has.
#[must_use]
pub fn client_address(v6: bool, choice: u8) -> IpAddr {
    if v6 {
        match choice & 0x0f {
            13 => Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x77),
            14 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
            15 => return virtual_address(2),
            _ => Ipv6Addr::new(0x2001, 0xdb8, 12, 0, 0, 0, 0, 0x10 + u16::from(choice & 1)),
        }
        .into()
    } else {
        match choice & 0x0f {
            13 => Ipv4Addr::new(10, 1, 0, 77),
            14 => Ipv4Addr::new(224, 0, 0, 5),
            15 => return virtual_address(0),
            _ => Ipv4Addr::new(192, 0, 2, 10 + (choice & 1)),
        }
        .into()
    }
}

/// The director's link address on an interface.
#[must_use]
pub fn own_mac(interface: u32) -> Mac {
    Mac([2, 0, 0, 0, if interface == SERVERS { 2 } else { 1 }, 1])
}

/// Octets of the link header on an interface.
#[must_use]
pub fn link_len(links: &Links, interface: u32) -> usize {
    let bit = u8::from(interface == SERVERS);
    if links.tun >> bit & 1 == 1 {
        0
    } else {
        ETHERNET
    }
}

/// The interface on which the servers are.
#[must_use]
pub fn server_side(links: &Links) -> u32 {
    if links.one_arm { CLIENTS } else { SERVERS }
}

/// The host with these links and tables.
#[must_use]
pub fn network(links: &Links, tables: &Tables) -> Network {
    let tables = &tables.mostly_ordinary();
    let mut network = Network {
        icmp_ratelimit_ms: if tables.icmp_ratelimit { 1000 } else { 0 },
        ..Network::default()
    };
    add_interfaces(&mut network, links, tables);
    let servers = server_side(links);
    if tables.routes & 2 == 0 {
        for gateway in ["10.1.0.254", "fd00:1::fe"].map(address) {
            let any = address(if gateway.is_ipv4() { "0.0.0.0" } else { "::" });
            let route = route(RouteKind::Unicast, CLIENTS, Some(gateway));
            network.routes.insert(any, 0, route);
            if tables.unknown & 0x80 == 0 {
                let mac = Mac([2, 0, 0, 0, 1, 0xfe]);
                network.neighbours.insert((CLIENTS, gateway), mac);
            }
        }
    }
    for number in 0..8 {
        let server = server_address(number);
        let known = tables.unknown >> (number & 3) & 1 == 0;
        if known {
            let mac = Mac([2, 0, 0, 0, 2, number]);
            network.neighbours.insert((servers, server), mac);
        }
    }
    if tables.routes & 4 != 0 {
        // The second server of each family is nowhere, or behind the clients' router.
        let kind = if tables.routes & 8 == 0 {
            RouteKind::Blackhole
        } else {
            RouteKind::Unreachable
        };
        network
            .routes
            .insert(server_address(1), 32, route(kind, 0, None));
        let gateway = Some(address("fd00:1::fe"));
        let around = route(RouteKind::Unicast, CLIENTS, gateway);
        network.routes.insert(server_address(5), 128, around);
    }
    for choice in 0..4 {
        let answer = match tables.answers >> (2 * choice) & 3 {
            0 | 1 => Answer::Owned,
            2 => Answer::Local,
            _ => continue,
        };
        network.vips.insert(virtual_address(choice), answer);
    }
    network
}

fn add_interfaces(network: &mut Network, links: &Links, tables: &Tables) {
    let sides = [
        (CLIENTS, links.client_mtu, ["10.1.0.1", "fd00:1::1"]),
        (SERVERS, links.server_mtu, ["10.2.0.1", "fd00:2::1"]),
    ];
    for (index, mtu, texts) in sides {
        let with_len = |own: IpAddr| (own, if own.is_ipv4() { 24 } else { 64 });
        let addresses = texts.map(address).map(with_len).to_vec();
        let servers = index == SERVERS;
        let egress = if servers { server_side(links) } else { index };
        for &(own, length) in &addresses {
            let whole = if own.is_ipv4() { 32 } else { 128 };
            if !(servers && tables.routes & 1 != 0) {
                let mut subnet = route(RouteKind::Unicast, egress, None);
                if servers && tables.route_mtu & 1 == 1 {
                    subnet.mtu = Some(u32::from(tables.route_mtu) * 8);
                }
                network.routes.insert(own, length, subnet);
            }
            let local = route(RouteKind::Local, 1, None);
            network.routes.insert(own, whole, local);
        }
        if tables.routes & 0x40 != 0 && servers && !links.one_arm {
            // A route by an interface that is not the director's.
            network
                .routes
                .insert(server_address(2), 32, route(RouteKind::Unicast, 9, None));
        }
        network.interfaces.push(Interface {
            index,
            name: format!("if{index}"),
            mac: own_mac(index),
            mtu: mtu_of(mtu),
            link_len: link_len(links, index),
            addresses: if tables.routes & 0x80 == 0 {
                addresses
            } else {
                Vec::new()
            },
            up: true,
        });
    }
}

/// Mostly an ordinary MTU, seldom a tiny one.
fn mtu_of(choice: u16) -> u32 {
    match choice % 8 {
        0..=3 => 1500,
        4 => 9000,
        5 => u32::from(choice / 8 % 700),
        _ => 576 + u32::from(choice / 8 % 1500),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn route(kind: RouteKind, interface: u32, gateway: Option<IpAddr>) -> Route {
    Route {
        kind,
        interface,
        gateway,
        source: None,
        mtu: None,
        metric: 0,
    }
}

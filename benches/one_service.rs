//! What the benches in memory have in common: one TCP service with sixteen real servers on one interface, and the
//! segments that clients send to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use director::connection::{HashKind, TableConfig};
use director::destination::{DestinationConfig, Method, TunnelConfig};
use director::net::{Answer, Interface, Network, Route, RouteKind};
use director::protocol::Protocol;
use director::service::{ServiceConfig, ServiceKey};
use packet::{Family, Mac, checksum};

/// Octets in front of a frame.
pub(crate) const HEADROOM: usize = 64;
/// Octets of a frame's memory.
pub(crate) const ROOM: usize = HEADROOM + 74;
/// Link address of the director.
pub(crate) const OWN: Mac = Mac([2, 0, 0, 0, 1, 1]);
/// Real servers.
pub(crate) const SERVERS: u8 = 16;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// An address and port.
pub(crate) type Endpoint = (IpAddr, u16);

pub(crate) const fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, 0, 1)),
    }
}

/// A real server, 253 the router, or 254 the director.
pub(crate) fn server(family: Family, last: u8) -> IpAddr {
    match family {
        Family::V4 => [10, 2, 0, last].into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// Where client number `client` sends from.
pub(crate) fn client(family: Family, client: u32) -> Endpoint {
    let [_, a, b, c] = client.to_be_bytes();
    let address = match family {
        Family::V4 => IpAddr::from([11, a, b, c]),
        Family::V6 => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(client)).into(),
    };
    (address, 1025)
}

/// Port 80 of the VIP.
pub(crate) const fn key(family: Family) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: vip(family),
        port: 80,
    }
}

pub(crate) fn service(key: ServiceKey, scheduler: &str) -> ServiceConfig {
    ServiceConfig {
        key,
        scheduler: scheduler.to_owned(),
        flags: 0,
        timeout: 0,
        netmask: match key.family() {
            Family::V4 => u32::MAX,
            Family::V6 => 128,
        },
        persistence_engine: None,
    }
}

pub(crate) fn real_server(address: IpAddr, method: Method, weight: i32) -> DestinationConfig {
    DestinationConfig {
        address,
        port: 80,
        method,
        tunnel: TunnelConfig::default(),
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

/// A worker's connection table.
pub(crate) fn table() -> TableConfig {
    TableConfig {
        max_connections: 1 << 24,
        hash: HashKind::default(),
        seed: [1, 2],
    }
}

/// One interface to real servers and clients, and a default route.
pub(crate) fn network(family: Family) -> Network {
    let own = server(family, 254);
    let (len, anywhere) = match family {
        Family::V4 => (16, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        Family::V6 => (64, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
    };
    let mut network = Network {
        interfaces: vec![Interface {
            index: 1,
            name: "eth0".to_owned(),
            mac: OWN,
            mtu: 1500,
            link_len: 14,
            addresses: vec![(own, len)],
            up: true,
        }],
        ..Network::default()
    };
    let route = |gateway| Route {
        kind: RouteKind::Unicast,
        interface: 1,
        gateway,
        source: None,
        mtu: None,
        metric: 0,
    };
    let router = server(family, 253);
    network.routes.insert(own, len, route(None));
    network.routes.insert(anywhere, 0, route(Some(router)));
    network.vips.insert(vip(family), Answer::Owned);
    for last in (1..=SERVERS).chain([253]) {
        let mac = Mac([2, 0, 0, 0, 2, last]);
        network.neighbours.insert((1, server(family, last)), mac);
    }
    network
}

/// Octets of a segment's frame: link, IP and TCP header.
pub(crate) const fn frame_len(family: Family) -> usize {
    match family {
        Family::V4 => 54,
        Family::V6 => 74,
    }
}

/// Writes the frame of a TCP segment to the director, of [`frame_len`] octets. Families are not mixed.
pub(crate) fn write(frame: &mut [u8], source: Endpoint, destination: Endpoint, flags: u8) {
    frame[..6].copy_from_slice(&OWN.0);
    let transport = match (source.0, destination.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame[12..14].copy_from_slice(&[8, 0]);
            frame[14..26].copy_from_slice(&[0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]);
            frame[26..30].copy_from_slice(&source.octets());
            frame[30..34].copy_from_slice(&destination.octets());
            let sum = checksum::Sum::of(&frame[14..34]).finish();
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            34
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame[12..14].copy_from_slice(&[0x86, 0xdd]);
            frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame[22..38].copy_from_slice(&source.octets());
            frame[38..54].copy_from_slice(&destination.octets());
            54
        }
        _ => unreachable!("families are not mixed"),
    };
    let segment = &mut frame[transport..];
    segment[..2].copy_from_slice(&source.1.to_be_bytes());
    segment[2..4].copy_from_slice(&destination.1.to_be_bytes());
    segment[4..20].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0]);
}

//! A director with services and clients in memory, driven as a worker drives it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use director::connection::{HashKind, TableConfig};
use director::destination::{DestinationConfig, Method, TunnelConfig};
use director::director::{Director, Host};
use director::frame::Output;
use director::net::{Answer, Interface, Network, Route, RouteKind};
use director::protocol::Protocol;
use director::service::{FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use director::shared::{Options, Shared};
use director::time::Instant;
use director::verdict::Verdict;
use packet::{Family, Mac, Packet, checksum};

use crate::gauge::Gauge;

/// Octets in front of a frame.
const HEADROOM: usize = 64;
/// Octets of a frame's memory.
const ROOM: usize = HEADROOM + 74;
/// Frames that a worker receives in one go.
pub(crate) const BATCH: u32 = 64;
const OWN: Mac = Mac([2, 0, 0, 0, 1, 1]);
const SERVERS: u8 = 16;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

pub(crate) const fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, 0, 1)),
    }
}

pub(crate) fn server(family: Family, last: u8) -> IpAddr {
    match family {
        Family::V4 => [10, 2, 0, last].into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// Port 80 of the VIP.
pub(crate) const fn key(family: Family) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: vip(family),
        port: 80,
    }
}

pub(crate) fn service(key: ServiceKey, scheduler: &str, persistent: bool) -> ServiceConfig {
    ServiceConfig {
        key,
        scheduler: scheduler.to_owned(),
        flags: if persistent { FLAG_PERSISTENT } else { 0 },
        timeout: if persistent { 50 } else { 0 },
        netmask: match key.family() {
            Family::V4 => u32::MAX,
            Family::V6 => 128,
        },
        persistence_engine: None,
    }
}

pub(crate) fn real_server(address: IpAddr, weight: i32) -> DestinationConfig {
    DestinationConfig {
        address,
        port: 80,
        method: Method::Masq,
        tunnel: TunnelConfig::default(),
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

/// A director, the memory of a batch, and the time.
pub(crate) struct World {
    pub(crate) director: Director,
    pub(crate) shared: Arc<Shared>,
    pub(crate) now: Instant,
    family: Family,
    buffers: Vec<[u8; ROOM]>,
}

impl World {
    /// One TCP service on port 80 with so many real servers by NAT, at most sixteen.
    pub(crate) fn new(family: Family, persistent: bool, servers: u8) -> Self {
        let shared = Arc::new(Shared::new(Options {
            max_templates: 1 << 21,
            ..Options::default()
        }));
        let key = key(family);
        let config = service(key, "wlc", persistent);
        shared.add_service(config).expect("a new service");
        for last in 1..=servers.min(SERVERS) {
            let server = real_server(server(family, last), 1);
            let added = shared.add_destination(&key, &server);
            added.expect("a new real server");
        }
        let host = Arc::new(Host::default());
        host.network.store(Arc::new(network(family)));
        let table = TableConfig {
            max_connections: 1 << 24,
            hash: HashKind::default(),
            seed: [1, 2],
        };
        Self {
            director: Director::new(Arc::clone(&shared), host, 0, &table),
            shared,
            now: Instant::START.after(Duration::from_secs(1)),
            family,
            buffers: vec![[0; ROOM]; BATCH as usize],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.director.connections().len()
    }

    /// One batch, as a worker handles it: a segment of each of these clients.
    pub(crate) fn batch(&mut self, first: u32, count: u32, flags: u8) -> Verdict {
        let len = self.fill(first, count, flags);
        self.director.refresh();
        let mut output = Output::default();
        let count = usize::try_from(count).unwrap_or_default();
        let mut packets: Vec<Packet<'_>> = (self.buffers.iter_mut().take(count))
            .map(|buffer| Packet::new(buffer, HEADROOM..HEADROOM + len, 14))
            .collect();
        self.director.prefetch(&packets);
        let mut verdict = Verdict::Pass;
        for packet in packets.drain(..) {
            verdict = self.director.handle(self.now, 1, 0, packet, &mut output);
        }
        verdict
    }

    /// Connections of the clients below `count`, all of them half open, in batches that `gauge` measures.
    pub(crate) fn open(&mut self, count: u32, gauge: &mut Gauge) {
        for first in (0..count).step_by(BATCH as usize) {
            let size = BATCH.min(count - first);
            let (verdict, _) = gauge.step(|| self.batch(first, size, SYN));
            assert_eq!(verdict, Verdict::Forwarded);
        }
    }

    /// What a worker does beside its packets, if something is due.
    pub(crate) fn tick(&mut self) {
        if self
            .director
            .next_deadline()
            .is_some_and(|due| due <= self.now)
        {
            self.director.refresh();
            self.director.tick(self.now, &mut Output::default());
        }
    }

    /// Whether a tick has something to do by this time.
    pub(crate) fn is_due(&self) -> bool {
        self.director
            .next_deadline()
            .is_some_and(|due| due <= self.now)
    }

    /// Writes the frames; octets of each.
    fn fill(&mut self, first: u32, count: u32, flags: u8) -> usize {
        let len = match self.family {
            Family::V4 => 54,
            Family::V6 => 74,
        };
        for (client, buffer) in (first..first + count).zip(&mut self.buffers) {
            write(
                self.family,
                client,
                flags,
                &mut buffer[HEADROOM..HEADROOM + len],
            );
        }
        len
    }
}

/// A TCP segment of client number `client` to the VIP.
fn write(family: Family, client: u32, flags: u8, frame: &mut [u8]) {
    frame[..6].copy_from_slice(&OWN.0);
    let [_, a, b, c] = client.to_be_bytes();
    let transport = match vip(family) {
        IpAddr::V4(vip) => {
            frame[12..14].copy_from_slice(&[8, 0]);
            frame[14..26].copy_from_slice(&[0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]);
            frame[26..30].copy_from_slice(&[11, a, b, c]);
            frame[30..34].copy_from_slice(&vip.octets());
            let sum = checksum::Sum::of(&frame[14..34]).finish();
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            34
        }
        IpAddr::V6(vip) => {
            let source = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(client));
            frame[12..14].copy_from_slice(&[0x86, 0xdd]);
            frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame[22..38].copy_from_slice(&source.octets());
            frame[38..54].copy_from_slice(&vip.octets());
            54
        }
    };
    let segment = &mut frame[transport..];
    segment[..4].copy_from_slice(&[4, 1, 0, 80]);
    segment[4..20].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0]);
}

/// One interface to real servers and clients, and a default route.
fn network(family: Family) -> Network {
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

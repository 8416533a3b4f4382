//! A small world for tests: a director between a client network and a server network, a clock to set, frames in
//! and frames out.
//!
//! Client side: interface 1, 10.1.0.1/24 and fd00:1::1/64, clients behind 10.1.0.254. Server side: interface 2,
//! 10.2.0.1/24 and fd00:2::1/64. VIPs 10.8.0.1 and fd00:8::1 are owned.
#![allow(dead_code, reason = "each test binary uses its own part of the world")]

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use director::connection::{HashKind, TableConfig};
use director::destination::{DestinationConfig, Method, TunnelConfig};
use director::director::{Director, Host};
use director::explain::{About, Explanation, Question};
use director::frame::Output;
use director::net::{Answer, Interface, Network, Route, RouteKind};
use director::protocol::Protocol;
use director::service::{ServiceConfig, ServiceKey};
use director::shared::{Options, Shared};
use director::sync::Entry;
use director::time::Instant;
use director::verdict::Verdict;
use etherparse::PacketBuilder;
use packet::{Mac, Packet};

pub(crate) const CLIENTS: u32 = 1;
pub(crate) const SERVERS: u32 = 2;
pub(crate) const CLIENT_SIDE: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(crate) const SERVER_SIDE: Mac = Mac([2, 0, 0, 0, 2, 1]);
pub(crate) const GATEWAY: Mac = Mac([2, 0, 0, 0, 1, 0xfe]);
pub(crate) const VIP: &str = "10.8.0.1";
pub(crate) const VIP6: &str = "fd00:8::1";

/// Frames of a world that the director is asked about first.
const ASKED: u32 = 200;
/// Octets in front of a frame, as a link leaves them.
const HEADROOM: usize = 128;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The SYN of a client (address and port) to a port of [`VIP`], as its gateway hands it on.
pub(crate) fn syn(client: ([u8; 4], u16), port: u16, ttl: u8) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4(client.0, [10, 8, 0, 1], ttl)
        .tcp(client.1, port, 1000, 64240)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: Arc<Host>,
    pub(crate) director: Director,
    pub(crate) now: Instant,
    /// Frames so far.
    asked: u32,
}

/// Frames that left: interface and bytes.
pub(crate) type Sent = Vec<(u32, Vec<u8>)>;

impl World {
    pub(crate) fn new() -> Self {
        Self::with_connections(1000)
    }

    /// A world with a TCP service on port 80 of the VIP and one real server.
    pub(crate) fn with_server(method: Method) -> Self {
        let mut world = Self::new();
        let key = world.service(Protocol::Tcp, VIP, 80);
        world.server(&key, "10.2.0.11", 80, method);
        world
    }

    pub(crate) fn with_connections(max_connections: usize) -> Self {
        Self::with(Options::default(), max_connections)
    }

    pub(crate) fn with_options(options: Options) -> Self {
        Self::with(options, 1000)
    }

    pub(crate) fn with(options: Options, max_connections: usize) -> Self {
        let shared = Arc::new(Shared::new(options));
        let host = Arc::new(Host::default());
        host.network.store(Arc::new(network()));
        let table = TableConfig {
            max_connections,
            hash: HashKind::default(),
            seed: [1, 2],
        };
        let director = Director::new(Arc::clone(&shared), Arc::clone(&host), 0, &table);
        Self {
            shared,
            host,
            director,
            now: Instant::START,
            asked: 0,
        }
    }

    /// Changes the host.
    pub(crate) fn network(&mut self, change: impl FnOnce(&mut Network)) {
        let mut network = Network::clone(&self.host.network.load());
        change(&mut network);
        self.host.network.store(Arc::new(network));
    }

    pub(crate) fn service(&mut self, protocol: Protocol, address: &str, port: u16) -> ServiceKey {
        let key = ServiceKey::Address {
            protocol,
            address: ip(address),
            port,
        };
        let netmask = if ip(address).is_ipv4() { u32::MAX } else { 128 };
        let config = ServiceConfig {
            key,
            scheduler: "rr".to_owned(),
            flags: 0,
            timeout: 0,
            netmask,
            persistence_engine: None,
        };
        self.shared.add_service(config).unwrap();
        key
    }

    pub(crate) fn server(&mut self, key: &ServiceKey, address: &str, port: u16, method: Method) {
        self.shared
            .add_destination(key, &server(address, port, method))
            .unwrap();
    }

    /// A frame arrives. What the director says beforehand that it would do with it is what it does, and the asking
    /// changes nothing: else the tests that ask would see it. Asked about the first frames alone, as it takes a copy.
    pub(crate) fn receive(&mut self, interface: u32, frame: &[u8]) -> (Verdict, Sent) {
        self.asked += 1;
        let asks = self.asked <= ASKED;
        let explanation = asks.then(|| self.explain(interface, frame)).flatten();
        let (verdict, sent) = self.receive_as(interface, frame, |_| ());
        if let Some(explanation) = explanation {
            assert_eq!(explanation.at_once, verdict, "{explanation}");
        }
        (verdict, sent)
    }

    /// What the director says of a frame; `None` without the interface, and where it is no Ethernet.
    pub(crate) fn explain(&mut self, interface: u32, frame: &[u8]) -> Option<Explanation> {
        self.director.refresh();
        let network = self.host.network.load();
        let ethernet = network.interface(interface).filter(|it| it.link_len == 14);
        let name = ethernet?.name.clone();
        let question = Question {
            about: About::Frame(frame.to_vec()),
            mark: None,
            interface: Some(name),
        };
        self.director.explain(self.now, &question, |_, _| 0).ok()
    }

    /// A frame arrives, with what the link says beside its bytes.
    pub(crate) fn receive_as(
        &mut self,
        interface: u32,
        frame: &[u8],
        beside: impl FnOnce(&mut Packet<'_>),
    ) -> (Verdict, Sent) {
        self.director.refresh();
        let mut buffer = vec![0xa5; HEADROOM];
        buffer.extend_from_slice(frame);
        let end = buffer.len();
        let mut packet = Packet::new(&mut buffer, HEADROOM..end, 14);
        beside(&mut packet);
        let mut output = Output::default();
        let verdict = self
            .director
            .handle(self.now, interface, 0, packet, &mut output);
        (verdict, sent(&output))
    }

    /// Time passes.
    pub(crate) fn sleep(&mut self, time: Duration) -> Sent {
        let mut all = Sent::new();
        let end = self.now.after(time);
        while self.now < end {
            self.now = self.now.after(Duration::from_millis(100)).min(end);
            self.director.refresh();
            let mut output = Output::default();
            self.director.tick(self.now, &mut output);
            all.extend(sent(&output));
        }
        all
    }
}

pub(crate) fn server(address: &str, port: u16, method: Method) -> DestinationConfig {
    DestinationConfig {
        address: ip(address),
        port,
        method,
        tunnel: TunnelConfig::default(),
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

fn sent(output: &Output<'_>) -> Sent {
    output
        .frames
        .iter()
        .map(|out| (out.interface, out.frame.bytes().to_vec()))
        .collect()
}

fn network() -> Network {
    let interface = |index, name: &str, mac, addresses: [(&str, u8); 2]| Interface {
        index,
        name: name.to_owned(),
        mac,
        mtu: 1500,
        link_len: 14,
        addresses: addresses.map(|(address, len)| (ip(address), len)).to_vec(),
        up: true,
    };
    let mut network = Network {
        interfaces: vec![
            interface(
                CLIENTS,
                "cl0",
                CLIENT_SIDE,
                [("10.1.0.1", 24), ("fd00:1::1", 64)],
            ),
            interface(
                SERVERS,
                "sv0",
                SERVER_SIDE,
                [("10.2.0.1", 24), ("fd00:2::1", 64)],
            ),
        ],
        ..Network::default()
    };
    for (prefix, len, interface, gateway) in [
        ("10.1.0.0", 24, CLIENTS, None),
        ("10.2.0.0", 24, SERVERS, None),
        ("0.0.0.0", 0, CLIENTS, Some("10.1.0.254")),
        ("fd00:1::", 64, CLIENTS, None),
        ("fd00:2::", 64, SERVERS, None),
        ("::", 0, CLIENTS, Some("fd00:1::fe")),
    ] {
        let route = Route {
            kind: RouteKind::Unicast,
            interface,
            gateway: gateway.map(ip),
            source: None,
            mtu: None,
            metric: 0,
        };
        network.routes.insert(ip(prefix), len, route);
    }
    for vip in [VIP, VIP6] {
        network.vips.insert(ip(vip), Answer::Owned);
    }
    network
        .neighbours
        .insert((CLIENTS, ip("10.1.0.254")), GATEWAY);
    network
        .neighbours
        .insert((CLIENTS, ip("fd00:1::fe")), GATEWAY);
    for last in 0x11..0x19_u8 {
        let mac = Mac([2, 0, 0, 0, 2, last]);
        network
            .neighbours
            .insert((SERVERS, ip(&format!("10.2.0.{}", last - 6))), mac);
        network
            .neighbours
            .insert((SERVERS, ip(&format!("fd00:2::{last:x}"))), mac);
    }
    network
}

/// What another director tells of a client's connection to the VIP's port 80 by the first real server.
pub(crate) fn told(flags: u32) -> Entry {
    Entry {
        protocol: 6,
        flags,
        state: 0,
        client: (ip("192.0.2.10"), 1001),
        virtual_server: (ip(VIP), 80),
        server: (ip("10.2.0.11"), 80),
        mark: 0,
        timeout: 10,
        shifts: None,
        engine: None,
    }
}

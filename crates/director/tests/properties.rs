//! What holds for every packet: NAT and its reverse are the identity, and no packet has two outcomes.

mod world;

use core::net::IpAddr;

use director::destination::Method;
use director::protocol::Protocol;
use director::verdict::{Counters, Verdict};
use etherparse::PacketBuilder;
use packet::{Mac, checksum};
use proptest::prelude::*;
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, SERVER_SIDE, SERVERS, VIP, VIP6, World, ip};

const LINK: usize = 14;
const TTL: u8 = 64;

/// A client's packet to a VIP.
#[derive(Clone, Debug)]
struct Spec {
    client: [u8; 16],
    v6: bool,
    tcp: bool,
    port: u16,
    to: u16,
    flags: u8,
    ttl: u8,
    data: Vec<u8>,
}

fn specs() -> impl Strategy<Value = Spec> {
    let few = prop::sample::select(vec![80, 53, 8080]);
    let ttl = prop_oneof![8 => Just(TTL), 1 => 0..3_u8];
    let data = prop::collection::vec(any::<u8>(), 0..200);
    (
        any::<[u8; 16]>(),
        any::<bool>(),
        any::<bool>(),
        1..4_u16,
        few,
        0..64_u8,
        ttl,
        data,
    )
        .prop_map(|(client, v6, tcp, port, to, flags, ttl, data)| Spec {
            client,
            v6,
            tcp,
            port,
            to,
            flags,
            ttl,
            data,
        })
}

impl Spec {
    fn client(&self) -> IpAddr {
        if self.v6 {
            // Any address behind the router of the clients.
            let mut octets = self.client;
            octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
            octets.into()
        } else {
            [192, 0, 2, self.client[0]].into()
        }
    }

    /// The same with few clients, so that packets meet.
    fn of_few(mut self) -> Self {
        self.client = [self.client[0] & 1; 16];
        self
    }

    fn frame(&self) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0);
        let builder = match (self.client(), ip(if self.v6 { VIP6 } else { VIP })) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                builder.ipv4(from.octets(), to.octets(), self.ttl)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                builder.ipv6(from.octets(), to.octets(), self.ttl)
            }
            _ => unreachable!("one family"),
        };
        let mut frame = Vec::new();
        if self.tcp {
            let mut header = etherparse::TcpHeader::new(self.port, self.to, 1000, 64240);
            (header.fin, header.syn) = (self.flags & 1 != 0, self.flags & 2 != 0);
            (header.rst, header.ack) = (self.flags & 4 != 0, self.flags & 16 != 0);
            builder
                .tcp_header(header)
                .write(&mut frame, &self.data)
                .unwrap();
        } else {
            builder
                .udp(self.port, self.to)
                .write(&mut frame, &self.data)
                .unwrap();
        }
        frame
    }
}

/// The packet that somebody sends back who swaps the ends and keeps all else: no checksum of the upper layer changes.
fn echoed(frame: &[u8], to: Mac, from: Mac) -> Vec<u8> {
    let mut echo = [&to.0[..], &from.0, &frame[12..]].concat();
    let v4 = frame[LINK] >> 4 == 4;
    let (at, len, ports) = if v4 {
        (LINK + 12, 4, LINK + 20)
    } else {
        (LINK + 8, 16, LINK + 40)
    };
    let (source, destination) = (&frame[at..at + len], &frame[at + len..at + 2 * len]);
    echo[at..at + len].copy_from_slice(destination);
    echo[at + len..at + 2 * len].copy_from_slice(source);
    echo[ports..ports + 2].copy_from_slice(&frame[ports + 2..ports + 4]);
    echo[ports + 2..ports + 4].copy_from_slice(&frame[ports..ports + 2]);
    if v4 {
        echo[LINK + 8] = TTL;
        echo[LINK + 10..LINK + 12].fill(0);
        let sum = checksum::Sum::of(&echo[LINK..LINK + 20]).finish();
        echo[LINK + 10..LINK + 12].copy_from_slice(&sum.to_be_bytes());
    } else {
        echo[LINK + 7] = TTL;
    }
    echo
}

/// Services of both protocols and families on ports 80 and 53, with real servers of these methods.
fn world(methods: &[Method], port: u16) -> World {
    let mut world = World::new();
    for (protocol, to) in [(Protocol::Tcp, 80), (Protocol::Udp, 53)] {
        for (vip, v6) in [(VIP, false), (VIP6, true)] {
            let key = world.service(protocol, vip, to);
            for (number, &method) in methods.iter().enumerate() {
                let server = if v6 {
                    format!("fd00:2::{:x}", 0x11 + number)
                } else {
                    format!("10.2.0.{}", 11 + number)
                };
                let port = if method == Method::Masq { port } else { to };
                world.server(&key, &server, port, method);
            }
        }
    }
    world
}

/// How many packets had any outcome.
fn outcomes(counters: &Counters) -> u64 {
    let Counters {
        forwarded,
        held,
        answered,
        passed,
        dropped,
        ..
    } = counters;
    forwarded + held + answered + passed + dropped.iter().sum::<u64>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Client to server and back: what a server returns as it came, the client gets as it was sent.
    #[test]
    fn nat_and_its_reverse_are_the_identity(spec in specs(), port in 1..=u16::MAX) {
        let spec = Spec {
            to: if spec.tcp { 80 } else { 53 },
            flags: 2,
            ttl: TTL,
            ..spec
        };
        let mut world = world(&[Method::Masq], port);
        let sent = spec.frame();
        let (verdict, out) = world.receive(CLIENTS, &sent);
        prop_assert_eq!(verdict, Verdict::Forwarded);
        let [(SERVERS, there)] = &out[..] else {
            return Err(TestCaseError::fail(format!("{out:x?}")));
        };
        prop_assert_ne!(&there[LINK..], &sent[LINK..]);
        let (verdict, out) = world.receive(SERVERS, &echoed(there, SERVER_SIDE, GATEWAY));
        prop_assert_eq!(verdict, Verdict::Forwarded);
        let [(CLIENTS, back)] = &out[..] else {
            return Err(TestCaseError::fail(format!("{out:x?}")));
        };
        prop_assert_eq!(echoed(back, CLIENT_SIDE, GATEWAY), sent);
        prop_assert_eq!(world.director.connections().len(), 1);
    }

    /// Each packet has one verdict, is counted once, and leaves at most once.
    #[test]
    fn no_packet_has_two_outcomes(specs in prop::collection::vec(specs(), 1..30)) {
        let methods = [Method::Masq, Method::DirectRoute, Method::Tunnel];
        let mut world = world(&methods, 8080);
        for spec in specs {
            let spec = spec.of_few();
            let before = world.director.counters().clone();
            let (verdict, sent) = world.receive(CLIENTS, &spec.frame());
            let after = world.director.counters();
            prop_assert_eq!(after.received, before.received + 1);
            prop_assert_eq!(outcomes(after), outcomes(&before) + 1);
            let to_servers = sent.iter().filter(|(interface, _)| *interface == SERVERS).count();
            let expected = match verdict {
                Verdict::Forwarded => (1, 1),
                Verdict::Answered | Verdict::Drop(_) => (0, 1),
                Verdict::Pass | Verdict::Held => (0, 0),
            };
            prop_assert_eq!(to_servers, expected.0);
            prop_assert!(sent.len() <= expected.1, "{:?} and {} frames", verdict, sent.len());
        }
        let table = world.director.connections();
        let mut active_and_inactive = 0;
        for service in world.shared.snapshot().iter() {
            let servers = service.destinations.iter();
            active_and_inactive += servers.map(|s| s.active() + s.inactive()).sum::<i32>();
        }
        prop_assert_eq!(usize::try_from(active_and_inactive), Ok(table.len()));
    }
}

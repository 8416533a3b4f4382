//! Established flows that a kernel sends on by itself: which are offered, what is counted, and when they end.

mod hand_over;
mod notes;
#[path = "../world/mod.rs"]
mod world;

use core::time::Duration;
use std::sync::{Arc, Mutex};

use director::assist::{Kernel, Scope};
use director::connection::{Connection, Cursor};
use director::destination::Method;
use director::net::neighbour::Lookup;
use director::protocol::Protocol;
use director::time::Instant;
use director::verdict::Verdict;
use etherparse::PacketBuilder;
use notes::{Notes, Told};
use packet::{Mac, Vlan};
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, SERVER_SIDE, SERVERS, VIP, World, ip};

const CLIENT: [u8; 4] = [192, 0, 2, 10];
const SERVER: [u8; 4] = [10, 2, 0, 11];
const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 2, 0x11]);
const PORT: u16 = 1001;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN: u8 = 0x11;

struct Assisted {
    world: World,
    notes: Notes,
}

impl Assisted {
    fn new(protocol: Protocol, method: Method) -> Self {
        Self::within(Scope::All, protocol, method)
    }

    fn within(scope: Scope, protocol: Protocol, method: Method) -> Self {
        let mut world = World::new();
        let key = world.service(protocol, VIP, 80);
        world.server(&key, "10.2.0.11", 8080, method);
        let told = Told {
            generation: 1,
            room: 100,
            ..Told::default()
        };
        let notes = Notes(Arc::new(Mutex::new(told)));
        world.director.set_assist(Box::new(notes.clone()), scope);
        Self { world, notes }
    }

    fn arrive(&mut self, interface: u32, frame: &[u8]) -> Verdict {
        let verdict = self.world.receive(interface, frame).0;
        let now = self.world.now;
        self.world.director.install_offers(now);
        verdict
    }

    fn segment(&mut self, flags: u8) {
        let frame = tcp(CLIENT, PORT, flags);
        assert_eq!(self.arrive(CLIENTS, &frame), Verdict::Forwarded);
    }

    fn answer(&mut self, flags: u8) {
        let link = PacketBuilder::ethernet2(SERVER_MAC.0, SERVER_SIDE.0);
        let builder = link.ipv4(SERVER, CLIENT, 64).tcp(8080, PORT, 1, 1000);
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        set_flags(&mut frame, flags);
        assert_eq!(self.arrive(SERVERS, &frame), Verdict::Forwarded);
    }

    /// An established connection whose flows are installed: the client's, and with NAT the server's.
    fn established(method: Method) -> Self {
        let mut world = Self::new(Protocol::Tcp, method);
        world.segment(SYN);
        if method == Method::Masq {
            world.answer(SYN | ACK);
        }
        for _ in 0..7 {
            world.segment(ACK);
        }
        if method == Method::Masq {
            world.answer(ACK);
        }
        world
    }

    fn fold(&mut self) {
        let now = self.world.now;
        assert_eq!(self.world.director.fold(now, None), None);
    }

    fn connection<T>(&self, tell: impl Fn(&Connection) -> T) -> Vec<T> {
        let mut told = Vec::new();
        let table = self.world.director.connections();
        table.list(Cursor::default(), 1000, |_, connection| {
            told.push(tell(connection))
        });
        told
    }
}

fn set_flags(frame: &mut [u8], flags: u8) {
    frame[47] = flags;
}

fn tcp(client: [u8; 4], port: u16, flags: u8) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4(client, [10, 8, 0, 1], 64)
        .tcp(port, 80, 1000, 64240);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    set_flags(&mut frame, flags);
    frame
}

fn udp() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4(CLIENT, [10, 8, 0, 1], 64)
        .udp(PORT, 80);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"x").unwrap();
    frame
}

#[test]
fn a_flow_is_offered_with_its_eighth_packet() {
    let mut world = Assisted::new(Protocol::Tcp, Method::DirectRoute);
    world.segment(SYN);
    for _ in 0..6 {
        world.segment(ACK);
        assert_eq!(world.notes.ways(), []);
    }
    world.segment(ACK);
    assert_eq!(world.notes.ways(), [(CLIENTS, SERVERS)]);
    let flow = world.notes.flow(CLIENTS);
    assert_eq!(flow.key.source, (ip("192.0.2.10"), PORT));
    assert_eq!(flow.key.destination, (ip(VIP), 80));
    assert_eq!((flow.next_hop, flow.sender), (SERVER_MAC, SERVER_SIDE));
    assert_eq!(
        (flow.mtu, flow.translation),
        (1500, packet::Translation::default())
    );
}

#[test]
fn nat_gives_both_directions() {
    let world = Assisted::established(Method::Masq);
    assert_eq!(world.notes.ways(), [(CLIENTS, SERVERS), (SERVERS, CLIENTS)]);
    let (there, back) = (world.notes.flow(CLIENTS), world.notes.flow(SERVERS));
    assert_eq!(there.translation.destination, Some((ip("10.2.0.11"), 8080)));
    assert_eq!(there.translation.source, None);
    assert_eq!(back.key.source, (ip("10.2.0.11"), 8080));
    assert_eq!(back.translation.source, Some((ip(VIP), 80)));
    assert_eq!((back.next_hop, back.sender), (GATEWAY, CLIENT_SIDE));
}

#[test]
fn what_the_kernel_did_is_counted_everywhere() {
    let mut world = Assisted::established(Method::Masq);
    let before = world.world.shared.stats.current();
    let forwarded = world.world.director.counters().forwarded;
    let now = world.world.now.after(Duration::from_secs(5));
    world.notes.take(CLIENTS, 10, 1000, now);
    world.notes.take(SERVERS, 3, 4500, now);
    world.fold();
    world.fold();
    let after = world.world.shared.stats.current().since(&before);
    assert_eq!((after.in_packets, after.in_bytes), (10, 1000));
    assert_eq!((after.out_packets, after.out_bytes), (3, 4500));
    let services = world.world.shared.snapshot();
    let service = services.iter().next().unwrap();
    for stats in [
        &service.stats,
        &service.destinations.iter().next().unwrap().stats,
    ] {
        assert_eq!(stats.current().in_packets, 8 + 10);
        assert_eq!(stats.current().out_bytes, 2 * 40 + 4500);
    }
    assert_eq!(world.connection(Connection::packets), [18]);
    let counters = world.world.director.counters();
    assert_eq!((counters.forwarded, counters.assisted), (forwarded, 13));
}

#[test]
fn a_connection_lives_by_the_kernels_packets() {
    let mut world = Assisted::established(Method::DirectRoute);
    for minute in 1..40 {
        world.world.sleep(Duration::from_secs(60));
        world.notes.take(CLIENTS, 1, 40, world.world.now);
        assert_eq!(world.connection(|_| ()).len(), 1, "after {minute} minutes");
    }
    // Without a packet it ends, ESTABLISHED after 15 minutes, and the kernel has nothing of it any more.
    world.world.sleep(Duration::from_secs(899));
    assert_eq!(world.connection(|_| ()).len(), 1);
    world.world.sleep(Duration::from_secs(2));
    assert_eq!(world.connection(|_| ()).len(), 0);
    world.fold();
    assert!(world.notes.told().flows.is_empty());
}

#[test]
fn a_change_of_state_takes_the_flows_back() {
    let mut world = Assisted::established(Method::Masq);
    world.notes.take(CLIENTS, 10, 1000, world.world.now);
    world.segment(FIN);
    assert!(world.notes.told().flows.is_empty());
    assert_eq!(world.connection(Connection::packets), [19]);
    // Acknowledgments in another state are never offered.
    for _ in 0..20 {
        world.segment(ACK);
        world.answer(ACK);
    }
    assert!(world.notes.told().flows.is_empty());
}

#[test]
fn void_flows_come_again() {
    let mut world = Assisted::established(Method::Masq);
    world.notes.invalidate();
    assert_eq!(world.notes.ways(), []);
    world.notes.take(CLIENTS, 1, 40, world.world.now);
    for _ in 0..8 {
        world.segment(ACK);
    }
    world.answer(ACK);
    assert_eq!(world.notes.ways(), [(CLIENTS, SERVERS), (SERVERS, CLIENTS)]);
    assert_eq!(world.notes.told().flows.len(), 2);
    // The packet that was taken before is counted.
    assert_eq!(world.connection(Connection::packets), [17]);
    world.notes.invalidate();
    world.fold();
    assert!(world.notes.told().flows.is_empty());
}

#[test]
fn what_is_decided_from_an_old_snapshot_is_void() {
    let mut world = Assisted::new(Protocol::Udp, Method::DirectRoute);
    for _ in 0..7 {
        let _ = world.arrive(CLIENTS, &udp());
    }
    // The host changes between the packet and the installation.
    let _ = world.world.receive(CLIENTS, &udp());
    world.notes.invalidate();
    let now = world.world.now;
    world.world.director.install_offers(now);
    assert_eq!(world.notes.told().flows.len(), 1);
    assert_eq!(world.notes.ways(), []);
}

#[test]
fn datagrams_are_left_to_the_director_where_only_tcp_is_wanted() {
    let mut world = Assisted::within(Scope::Tcp, Protocol::Udp, Method::DirectRoute);
    for _ in 0..40 {
        assert_eq!(world.arrive(CLIENTS, &udp()), Verdict::Forwarded);
    }
    assert_eq!(world.notes.ways(), []);
}

#[test]
fn idle_flows_make_room() {
    let mut world = Assisted::established(Method::DirectRoute);
    world.world.now = world.world.now.after(Duration::from_secs(9));
    world.fold();
    assert_eq!(world.notes.ways().len(), 1);
    world.notes.take(CLIENTS, 1, 40, world.world.now);
    world.world.now = world.world.now.after(Duration::from_secs(9));
    world.fold();
    assert_eq!(world.notes.ways().len(), 1);
    world.world.now = world.world.now.after(Duration::from_secs(2));
    world.fold();
    assert!(world.notes.told().flows.is_empty());
    for _ in 0..8 {
        world.segment(ACK);
    }
    assert_eq!(world.notes.ways().len(), 1);
}

#[test]
fn what_needs_every_packet_is_not_offered() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 5] = [
        ("a defence", |world| {
            world.shared.sysctls.write("drop_entry", "1").unwrap();
        }),
        ("a synchronisation master", |world| {
            world.shared.sync.set_master(true)
        }),
        ("a tunnel device to the server", |world| {
            world.network(|network| network.interfaces[1].link_len = 0);
        }),
        ("no link address", |world| {
            world.network(|network| network.neighbours.retain(|(at, _), _| *at == CLIENTS));
            world
                .host
                .neighbours
                .learn(SERVERS, ip("10.2.0.11"), SERVER_MAC, Instant::START);
            world.now = Instant::START.after(Duration::from_secs(31));
        }),
        ("another hop for answers", |world| {
            world.network(|network| network.interfaces[0].link_len = 0);
        }),
    ];
    for (what, change) in changes {
        let mut world = Assisted::new(Protocol::Udp, Method::Masq);
        change(&mut world.world);
        for _ in 0..30 {
            let _ = world.arrive(CLIENTS, &udp());
        }
        assert_eq!(world.notes.ways(), [], "{what}");
    }
    for method in [Method::Tunnel] {
        let mut world = Assisted::new(Protocol::Udp, method);
        for _ in 0..30 {
            let _ = world.arrive(CLIENTS, &udp());
        }
        assert_eq!(world.notes.ways(), [], "{method:?}");
    }
    let mut world = Assisted::new(Protocol::Udp, Method::DirectRoute);
    for _ in 0..30 {
        let tag = Vlan {
            tpid: 0x8100,
            tci: 5,
        };
        let _ = world
            .world
            .receive_as(CLIENTS, &udp(), |packet| packet.vlan = Some(tag));
        let now = world.world.now;
        world.world.director.install_offers(now);
    }
    assert_eq!(world.notes.ways(), [], "a tag");
}

#[test]
fn a_new_connection_with_the_same_answers_gets_them() {
    let mut world = Assisted::established(Method::Masq);
    world.network_has_second_vip();
    let mut frame = tcp(CLIENT, PORT, SYN);
    frame[33] = 2;
    fix(&mut frame);
    assert_eq!(world.arrive(CLIENTS, &frame), Verdict::Forwarded);
    // Both VIPs' connections have the same server, port and client.
    assert_eq!(world.connection(|_| ()).len(), 2);
    assert_eq!(world.notes.ways(), []);
}

/// Makes the IPv4 header's checksum right.
fn fix(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let checksum = packet::checksum::Sum::of(&frame[14..34]).finish();
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
}

impl Assisted {
    fn network_has_second_vip(&mut self) {
        let key = self.world.service(Protocol::Tcp, "10.8.0.2", 80);
        self.world.server(&key, "10.2.0.11", 8080, Method::Masq);
        self.world.network(|network| {
            let answer = network.vips[&ip(VIP)];
            network.vips.insert(ip("10.8.0.2"), answer);
        });
    }
}

#[test]
fn another_link_address_makes_flows_void() {
    let mut world = Assisted::new(Protocol::Udp, Method::DirectRoute);
    world
        .world
        .network(|network| network.neighbours.retain(|(at, _), _| *at == CLIENTS));
    let arp = |mac: Mac| {
        let mut frame = [SERVER_SIDE.0, mac.0].concat();
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        frame.extend(mac.0);
        frame.extend(SERVER);
        frame.extend(SERVER_SIDE.0);
        frame.extend([10, 2, 0, 1]);
        frame
    };
    let _ = world.world.receive(CLIENTS, &udp());
    let _ = world.world.receive(SERVERS, &arp(SERVER_MAC));
    let host = Arc::clone(&world.world.host);
    let known = host
        .neighbours
        .lookup(SERVERS, ip("10.2.0.11"), world.world.now);
    assert!(matches!(known, Lookup::Known(mac) if mac == SERVER_MAC));
    for _ in 0..7 {
        let _ = world.arrive(CLIENTS, &udp());
    }
    assert_eq!(world.notes.ways().len(), 1);
    let _ = world.world.receive(SERVERS, &arp(SERVER_MAC));
    assert_eq!(world.notes.ways().len(), 1);
    let other = Mac([2, 0, 0, 0, 2, 0x99]);
    let _ = world.world.receive(SERVERS, &arp(other));
    assert_eq!(world.notes.ways(), []);
    for _ in 0..8 {
        let _ = world.arrive(CLIENTS, &udp());
    }
    assert_eq!(world.notes.flow(CLIENTS).next_hop, other);
    // Once it is to be asked for again, packets must come by here.
    world.world.now = world.world.now.after(Duration::from_secs(31));
    world.notes.take(CLIENTS, 1, 40, world.world.now);
    world.fold();
    assert!(world.notes.told().flows.is_empty());
}

#[test]
fn a_full_kernel_changes_nothing() {
    let mut world = Assisted::new(Protocol::Udp, Method::DirectRoute);
    world.notes.told().room = 0;
    for _ in 0..30 {
        assert_eq!(world.arrive(CLIENTS, &udp()), Verdict::Forwarded);
    }
    assert_eq!(world.connection(Connection::packets), [30]);
}

//! What the network can make the director keep, and do, is bounded; and what it was made to keep is given back.

mod world;

use core::time::Duration;

use director::destination::Method;
use director::net::{Route, RouteKind};
use director::protocol::Protocol;
use director::service::{FLAG_PERSISTENT, ServiceConfig};
use director::shared::{Options, Shared};
use director::sync::{Entry, FLAG_TEMPLATE};
use director::verdict::{DropReason, Verdict};
use etherparse::{Ipv4Header, PacketBuilder};
use packet::GsoKind;
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, VIP, World, ip, syn, told};

const CLIENT: [u8; 4] = [192, 0, 2, 10];
const VIP4: [u8; 4] = [10, 8, 0, 1];

/// A fragment of a UDP datagram to the VIP.
fn fragment(id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let protocol = etherparse::ip_number::UDP;
    let len = u16::try_from(payload.len()).unwrap();
    let mut header = Ipv4Header::new(len, 64, protocol, CLIENT, VIP4).unwrap();
    header.identification = id;
    header.fragment_offset = u16::try_from(offset / 8).unwrap().try_into().unwrap();
    header.more_fragments = more;
    header.header_checksum = header.calc_header_checksum();
    let mut frame = [&CLIENT_SIDE.0[..], &GATEWAY.0, &[8, 0]].concat();
    header.write(&mut frame).unwrap();
    frame.extend_from_slice(payload);
    frame
}

/// A hole of as many octets as stand behind the end is still a hole (RFC 791 has no datagram like that).
#[test]
fn octets_behind_the_end_do_not_fill_a_hole() {
    let mut world = World::with_server(Method::DirectRoute);
    let pieces = [(24, true), (0, true)];
    for (offset, more) in pieces {
        let (verdict, _) = world.receive(CLIENTS, &fragment(1, offset, more, &[7; 8]));
        assert_eq!(verdict, Verdict::Held);
    }
    let (verdict, _) = world.receive(CLIENTS, &fragment(1, 16, false, &[7; 8]));
    assert_eq!(verdict, Verdict::Drop(DropReason::Reassembly));
}

/// What is over leaves no deadline behind, however many there were.
#[test]
fn finished_datagrams_are_forgotten() {
    let mut world = World::with_server(Method::DirectRoute);
    for id in 0..2000 {
        let _ = world.receive(CLIENTS, &fragment(id, 0, true, &[7; 16]));
        let (verdict, _) = world.receive(CLIENTS, &fragment(id, 16, false, &[7; 8]));
        assert_ne!(verdict, Verdict::Held);
        let (verdict, _) = world.receive(CLIENTS, &fragment(id, 0, true, &[]));
        assert_eq!(verdict, Verdict::Drop(DropReason::Reassembly));
    }
    world.sleep(Duration::from_secs(31));
    assert_eq!(world.director.next_deadline(), None);
    assert_eq!(
        world.director.counters().dropped(DropReason::Reassembly),
        2000
    );
}

/// An address that asks itself would go round between the director and its router.
#[test]
fn a_vip_is_no_client() {
    let mut world = World::with_server(Method::Masq);
    for source in [
        VIP4,
        [10, 1, 0, 1],
        [224, 0, 0, 1],
        [127, 0, 0, 1],
        [255; 4],
    ] {
        let (verdict, sent) = world.receive(CLIENTS, &syn((source, 80), 80, 64));
        assert_eq!((verdict, sent.len()), (Verdict::Pass, 0), "{source:?}");
    }
    assert!(world.director.connections().is_empty());
    assert_eq!(
        world.receive(CLIENTS, &syn((CLIENT, 80), 80, 64)).0,
        Verdict::Forwarded
    );
}

/// A full table moves neither the scheduler nor makes templates that nothing holds.
#[test]
fn a_full_table_makes_no_templates() {
    let mut world = World::with_connections(2);
    let key = world.service(Protocol::Tcp, VIP, 80);
    persistent(&world.shared, &key);
    world.server(&key, "10.2.0.11", 80, Method::DirectRoute);
    for last in 0..100 {
        let (verdict, _) = world.receive(CLIENTS, &syn(([192, 0, 2, last], 1001), 80, 64));
        let expected = if last < 2 {
            Verdict::Forwarded
        } else {
            Verdict::Drop(DropReason::TableFull)
        };
        assert_eq!(verdict, expected);
    }
    let mut templates = 0;
    world.shared.for_each_template(|_| templates += 1);
    assert_eq!(templates, 2);
}

fn persistent(shared: &Shared, key: &director::service::ServiceKey) {
    let snapshot = shared.snapshot();
    let service = snapshot.get(key).unwrap();
    let config = ServiceConfig {
        flags: FLAG_PERSISTENT,
        timeout: 300,
        ..service.config.clone()
    };
    shared.edit_service(config).unwrap();
}

/// Forged clients of a persistent service cannot fill the memory with templates.
#[test]
fn templates_are_bounded() {
    let options = Options {
        max_templates: 64,
        ..Options::default()
    };
    let mut world = World::with_options(options);
    let key = world.service(Protocol::Tcp, VIP, 80);
    persistent(&world.shared, &key);
    world.server(&key, "10.2.0.11", 80, Method::DirectRoute);
    let mut refused = 0;
    for last in 0..=u8::MAX {
        let (verdict, _) = world.receive(CLIENTS, &syn(([192, 0, 2, last], 1001), 80, 64));
        refused += usize::from(verdict == Verdict::Drop(DropReason::TableFull));
    }
    let mut templates = 0;
    world.shared.for_each_template(|_| templates += 1);
    assert!(templates <= 64, "{templates}");
    assert_eq!(templates + refused, 256);
    let servers = world.shared.snapshot();
    let server = &servers.get(&key).unwrap().destinations[0];
    assert_eq!(usize::try_from(server.persistent()), Ok(templates));
}

/// A ping that came in fragments is answered in fragments.
#[test]
fn a_long_echo_is_answered_within_the_mtu() {
    let mut world = World::with_server(Method::DirectRoute);
    let mut request = vec![8, 0, 0, 0, 0, 1, 0, 1];
    request.resize(3008, 0x5a);
    let checksum = packet::checksum::Sum::of(&request).finish();
    request[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frames = Vec::new();
    for (number, piece) in request.chunks(1480).enumerate() {
        let offset = number * 1480;
        let mut frame = fragment(9, offset, offset + piece.len() < request.len(), piece);
        frame[23] = 1;
        frame[24..26].fill(0);
        let header = packet::checksum::Sum::of(&frame[14..34]).finish();
        frame[24..26].copy_from_slice(&header.to_be_bytes());
        frames.push(frame);
    }
    let mut answers = Vec::new();
    for frame in &frames {
        answers = world.receive(CLIENTS, frame).1;
    }
    let lengths: Vec<usize> = answers.iter().map(|(_, frame)| frame.len() - 14).collect();
    assert_eq!(lengths, [1500, 1500, 68]);
    let payload: Vec<u8> = answers
        .iter()
        .flat_map(|(_, frame)| frame[34..].to_vec())
        .collect();
    assert_eq!(payload[8..], request[8..]);
}

/// A super-frame of one octet a segment is not cut into tens of thousands of frames.
#[test]
fn a_super_frame_becomes_a_bounded_number_of_segments() {
    let mut world = World::with_server(Method::Tunnel);
    assert_eq!(
        world.receive(CLIENTS, &syn((CLIENT, 1001), 80, 64)).0,
        Verdict::Forwarded
    );
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4(CLIENT, VIP4, 64)
        .tcp(1001, 80, 1001, 64240)
        .ack(1);
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![7; 60_000]).unwrap();
    let (verdict, sent) = world.receive_as(CLIENTS, &frame, |packet| {
        packet.offload.gso = Some(GsoKind::TcpV4);
        packet.offload.gso_size = 1;
    });
    assert_eq!(verdict, Verdict::Drop(DropReason::TooBig));
    assert!(sent.len() <= 1, "{} frames", sent.len());
}

/// A packet that waited in vain and was the VIP's own is nobody's to hear of.
#[test]
fn no_error_about_the_directors_own_packets() {
    let mut world = World::with_server(Method::DirectRoute);
    world.network(|network| {
        let route = Route {
            kind: RouteKind::Unicast,
            interface: CLIENTS,
            gateway: Some(ip("10.1.0.99")),
            source: None,
            mtu: None,
            metric: 0,
        };
        network.routes.insert(ip("192.0.2.0"), 24, route);
    });
    let mut frame = syn((CLIENT, 1001), 80, 64);
    frame[37] = 81;
    let checksum = !packet::checksum::Sum::of(&frame[34..50])
        .bytes(&frame[52..])
        .pseudo_header(CLIENT.into(), VIP4.into(), 6, 20)
        .fold();
    frame[50..52].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(world.receive(CLIENTS, &frame).0, Verdict::Answered);
    let sent = world.sleep(Duration::from_secs(4));
    let spoken: Vec<_> = sent
        .iter()
        .filter(|(_, frame)| frame[12..14] != [8, 6])
        .collect();
    assert!(spoken.is_empty(), "{spoken:?}");
    assert_eq!(
        world
            .director
            .counters()
            .dropped(DropReason::NeighbourUnreachable),
        1
    );
}

/// Tiny fragments of many datagrams: what they take up is bounded, and so is the work when their time runs out.
#[test]
fn fragments_are_bounded_and_given_up_little_by_little() {
    let mut world = World::with_server(Method::DirectRoute);
    for id in 0..20_000 {
        let (verdict, _) = world.receive(CLIENTS, &fragment(id, 8, true, &[7; 8]));
        assert_eq!(verdict, Verdict::Held);
    }
    world.now = world.now.after(Duration::from_secs(31));
    let mut calls = 0;
    while world
        .director
        .next_deadline()
        .is_some_and(|due| due <= world.now)
    {
        let mut output = director::frame::Output::default();
        world.director.tick(world.now, &mut output);
        calls += 1;
    }
    assert!((10..40).contains(&calls), "{calls} calls");
    assert_eq!(world.director.next_deadline(), None);
}

/// Forged synchronisation messages cannot fill the memory with templates.
#[test]
fn told_templates_are_bounded() {
    let options = Options {
        max_templates: 64,
        ..Options::default()
    };
    let mut world = World::with_options(options);
    for last in 0..=u8::MAX {
        let entry = Entry {
            client: ([192, 0, 2, last].into(), 0),
            ..told(FLAG_TEMPLATE)
        };
        world.director.accept(world.now, &entry);
    }
    let mut templates = 0;
    world.shared.for_each_template(|_| templates += 1);
    assert!((1..=64).contains(&templates), "{templates}");
}

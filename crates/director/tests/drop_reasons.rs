//! Every reason to drop a packet can be produced, is counted under its own name, and sends nothing on.

mod world;

use core::time::Duration;

use director::destination::Method;
use director::net::{Route, RouteKind};
use director::protocol::Protocol;
use director::service::ServiceConfig;
use director::verdict::{DropReason, Kept, Verdict};
use etherparse::PacketBuilder;
use packet::Malformed;
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, SERVERS, VIP, World, ip};

const CLIENT: [u8; 4] = [192, 0, 2, 10];
const VIP4: [u8; 4] = [10, 8, 0, 1];

/// A SYN from the client to the VIP.
fn syn(ttl: u8, port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4(CLIENT, VIP4, ttl)
        .tcp(1001, port, 1000, 64240)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

fn udp(payload: usize, dont_fragment: bool) -> Vec<u8> {
    let mut header = etherparse::Ipv4Header::new(
        u16::try_from(payload + 8).unwrap(),
        64,
        etherparse::ip_number::UDP,
        CLIENT,
        VIP4,
    )
    .unwrap();
    header.dont_fragment = dont_fragment;
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ip(etherparse::IpHeaders::Ipv4(
            header,
            etherparse::Ipv4Extensions::default(),
        ))
        .udp(1001, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![7; payload]).unwrap();
    frame
}

#[track_caller]
fn assert_dropped(world: &mut World, frame: &[u8], reason: DropReason) {
    let before = world.director.counters().dropped(reason);
    let said = world.explain(CLIENTS, frame);
    let said = said.map_or_else(String::new, |said| said.to_string());
    let expected = format!("verdict\tdropped\nreason\t{}\nmeaning\t", reason.name());
    assert!(said.starts_with(&expected), "explained: {said}");
    let (verdict, _) = world.receive(CLIENTS, frame);
    assert_eq!(verdict, Verdict::Drop(reason));
    assert_eq!(
        world.director.counters().dropped(reason),
        before + 1,
        "{}",
        reason.name()
    );
}

#[test]
fn malformed_frames() {
    let good = syn(64, 80);
    let change = |at: usize, octet: u8| {
        let mut frame = good.clone();
        frame[at] = octet;
        frame
    };
    let mut extension = vec![0; 14 + 40 + 4];
    extension[..12].copy_from_slice(&[CLIENT_SIDE.0, GATEWAY.0].concat());
    extension[12..14].copy_from_slice(&[0x86, 0xdd]);
    extension[14] = 0x60;
    extension[19] = 4;
    for (frame, malformed) in [
        (good[..10].to_vec(), Malformed::LinkTruncated),
        (good[..20].to_vec(), Malformed::NetworkTruncated),
        (change(14, 0x65), Malformed::BadVersion),
        (change(16, 0xff), Malformed::BadLength),
        (change(24, !good[24]), Malformed::BadHeaderChecksum),
        (extension, Malformed::ExtensionTruncated),
    ] {
        assert_dropped(
            &mut World::with_server(Method::Masq),
            &frame,
            DropReason::Malformed(malformed),
        );
    }
}

#[test]
fn a_transport_header_cut_off() {
    let mut header =
        etherparse::Ipv4Header::new(4, 64, etherparse::ip_number::TCP, CLIENT, VIP4).unwrap();
    header.header_checksum = header.calc_header_checksum();
    let mut frame = syn(64, 80)[..14].to_vec();
    header.write(&mut frame).unwrap();
    frame.extend([0; 4]);
    let reason = DropReason::Malformed(Malformed::TransportTruncated);
    assert_dropped(&mut World::with_server(Method::Masq), &frame, reason);
}

#[test]
fn neither_ip_nor_arp_is_passed() {
    let mut frame = syn(64, 80);
    frame[12..14].copy_from_slice(&[0x88, 0xcc]);
    let (verdict, sent) = World::with_server(Method::Masq).receive(CLIENTS, &frame);
    assert_eq!(verdict, Verdict::Pass);
    assert!(sent.is_empty());
    assert_eq!(DropReason::Malformed(Malformed::NotIp).name(), "not_ip");
}

#[test]
fn destination_unavailable() {
    let mut world = World::with_server(Method::Masq);
    let (verdict, _) = world.receive(CLIENTS, &syn(64, 80));
    assert_eq!(verdict, Verdict::Forwarded);
    let services = world.shared.snapshot();
    let key = services.iter().next().unwrap().config.key;
    world
        .shared
        .delete_destination(&key, ip("10.2.0.11"), 80)
        .unwrap();
    assert_dropped(&mut world, &syn(64, 80), DropReason::DestinationUnavailable);
}

#[test]
fn no_destination() {
    let mut world = World::new();
    world.service(Protocol::Tcp, VIP, 80);
    assert_dropped(&mut world, &syn(64, 80), DropReason::NoDestination);
}

#[test]
fn ip_options() {
    let mut header =
        etherparse::Ipv4Header::new(20, 64, etherparse::ip_number::TCP, CLIENT, VIP4).unwrap();
    header.options = [131, 7, 4, 1, 2, 3, 4, 0].as_slice().try_into().unwrap();
    header.set_payload_len(20).unwrap();
    header.header_checksum = header.calc_header_checksum();
    let mut frame = syn(64, 80)[..14].to_vec();
    header.write(&mut frame).unwrap();
    frame.extend(&syn(64, 80)[34..]);
    let mut world = World::with_server(Method::Masq);
    assert_dropped(&mut world, &frame, DropReason::IpOptions);
    assert!(world.director.connections().is_empty());
}

#[test]
fn ttl_expired() {
    assert_dropped(
        &mut World::with_server(Method::DirectRoute),
        &syn(1, 80),
        DropReason::TtlExpired,
    );
}

#[test]
fn too_big() {
    let mut world = World::new();
    let key = world.service(Protocol::Udp, VIP, 53);
    world.server(&key, "10.2.0.11", 53, Method::Tunnel);
    assert_dropped(&mut world, &udp(1472, true), DropReason::TooBig);
}

#[test]
fn no_route() {
    let mut world = World::with_server(Method::DirectRoute);
    world.network(|network| {
        let blackhole = Route {
            kind: RouteKind::Blackhole,
            interface: 0,
            gateway: None,
            source: None,
            mtu: None,
            metric: 0,
        };
        network.routes.insert(ip("10.2.0.11"), 32, blackhole);
    });
    assert_dropped(&mut world, &syn(64, 80), DropReason::NoRoute);
}

#[test]
fn neighbour_unreachable() {
    let mut world = World::with_server(Method::DirectRoute);
    world.network(|network| network.neighbours.clear());
    let (verdict, sent) = world.receive(CLIENTS, &syn(64, 80));
    assert_eq!(verdict, Verdict::Held);
    assert_eq!(sent.len(), 1, "one ARP request");
    world.sleep(Duration::from_secs(4));
    assert_eq!(
        world
            .director
            .counters()
            .dropped(DropReason::NeighbourUnreachable),
        1
    );
}

#[test]
fn neighbour_queue_full() {
    let mut world = World::with_server(Method::DirectRoute);
    world.network(|network| network.neighbours.clear());
    for _ in 0..director::net::neighbour::QUEUE_MAX {
        assert_eq!(world.receive(CLIENTS, &syn(64, 80)).0, Verdict::Held);
    }
    assert_dropped(&mut world, &syn(64, 80), DropReason::NeighbourQueueFull);
}

#[test]
fn table_full() {
    let mut world = World::with_connections(0);
    let key = world.service(Protocol::Tcp, VIP, 80);
    world.server(&key, "10.2.0.11", 80, Method::Masq);
    assert_dropped(&mut world, &syn(64, 80), DropReason::TableFull);
    let services = world.shared.snapshot();
    let destination = services.iter().next().unwrap().destinations[0].clone();
    assert_eq!((destination.active(), destination.inactive()), (0, 0));
}

#[test]
fn reassembly() {
    let mut world = World::with_server(Method::Masq);
    let fragment = |offset: u16, more: bool, payload: usize| {
        let mut header = etherparse::Ipv4Header::new(
            u16::try_from(payload).unwrap(),
            64,
            etherparse::ip_number::UDP,
            CLIENT,
            VIP4,
        )
        .unwrap();
        header.identification = 7;
        header.more_fragments = more;
        header.fragment_offset = etherparse::IpFragOffset::try_new(offset).unwrap();
        header.header_checksum = header.calc_header_checksum();
        let mut frame = syn(64, 80)[..14].to_vec();
        header.write(&mut frame).unwrap();
        frame.extend(vec![1; payload]);
        frame
    };
    assert_eq!(
        world.receive(CLIENTS, &fragment(0, true, 64)).0,
        Verdict::Held
    );
    // Overlaps the first one, which goes with it.
    assert_eq!(
        world.receive(CLIENTS, &fragment(4, true, 64)).0,
        Verdict::Drop(DropReason::Reassembly)
    );
    assert_eq!(world.director.counters().dropped(DropReason::Reassembly), 2);
    // Incomplete until its time runs out.
    assert_eq!(
        world.receive(CLIENTS, &fragment(0, true, 64)).0,
        Verdict::Held
    );
    assert_eq!(world.director.waiting_fragments(), 1);
    world.sleep(Duration::from_secs(31));
    let counters = world.director.counters();
    assert_eq!(counters.dropped(DropReason::Reassembly), 3);
    let kept = Kept {
        taken: 2,
        released: 0,
        dropped: 2,
    };
    assert_eq!((counters.fragments, counters.received), (kept, 3));
    assert_eq!(world.director.waiting_fragments(), 0);
}

#[test]
fn no_headroom() {
    let mut world = World::with_server(Method::Tunnel);
    world.director.refresh();
    let mut frame = syn(64, 80);
    let end = frame.len();
    let packet = packet::Packet::new(&mut frame, 0..end, 14);
    let mut output = director::frame::Output::default();
    let verdict = world
        .director
        .handle(world.now, CLIENTS, 0, packet, &mut output);
    assert_eq!(verdict, Verdict::Drop(DropReason::NoHeadroom));
}

#[test]
fn bad_icmp() {
    let mut world = World::with_server(Method::Masq);
    let _ = world.receive(CLIENTS, &syn(64, 80));
    // The real server refuses the client's packet, with a wrong ICMP checksum.
    let mut quoted = syn(63, 80)[14..].to_vec();
    quoted[16..20].copy_from_slice(&[10, 2, 0, 11]);
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 2, 0x11], world::SERVER_SIDE.0)
        .ipv4([10, 2, 0, 11], CLIENT, 64)
        .icmpv4_raw(3, 1, [0; 4]);
    let mut frame = Vec::new();
    builder.write(&mut frame, &quoted[..28]).unwrap();
    frame[14 + 20 + 2] ^= 0xff;
    let (verdict, sent) = world.receive(SERVERS, &frame);
    assert_eq!(verdict, Verdict::Drop(DropReason::BadIcmp));
    assert!(sent.is_empty());
}

#[test]
fn persistence_data() {
    let mut world = World::new();
    let key = world.service(Protocol::Udp, VIP, 53);
    world.server(&key, "10.2.0.11", 53, Method::Masq);
    let services = world.shared.snapshot();
    let config = services.get(&key).unwrap().config.clone();
    let sip = ServiceConfig {
        flags: director::service::FLAG_PERSISTENT,
        timeout: 300,
        persistence_engine: Some("sip".to_owned()),
        ..config
    };
    world.shared.edit_service(sip).unwrap();
    assert_dropped(&mut world, &udp(20, false), DropReason::PersistenceData);
}

#[test]
fn defence() {
    let mut world = World::with_server(Method::Masq);
    world.shared.set_sysctl("drop_packet", "3").unwrap();
    assert_dropped(&mut world, &syn(64, 80), DropReason::Defence);
}

#[test]
fn no_interface() {
    let mut world = World::with_server(Method::Masq);
    world.network(|network| network.interfaces.truncate(1));
    assert_dropped(&mut world, &syn(64, 80), DropReason::NoInterface);
}

#[test]
fn a_super_frame_that_cannot_be_cut_is_too_big() {
    let mut world = World::with_server(Method::Tunnel);
    let frame = syn(64, 80);
    let (verdict, _) = world.receive_as(CLIENTS, &frame, |packet| {
        packet.offload.gso = Some(packet::GsoKind::UdpL4);
        packet.offload.gso_size = 100;
    });
    assert_eq!(verdict, Verdict::Drop(DropReason::TooBig));
}

#[test]
fn names_are_unique_and_indices_match() {
    for (index, reason) in DropReason::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), index);
        assert!(
            DropReason::ALL[..index]
                .iter()
                .all(|other| other.name() != reason.name())
        );
    }
}

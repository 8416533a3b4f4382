//! Every reason to drop a packet can be produced, is told beforehand, and is counted under its own name.

mod world;

use core::time::Duration;

use director::destination::Method;
use director::net::{Route, RouteKind};
use director::protocol::Protocol;
use director::service::{ServiceConfig, ServiceKey};
use director::verdict::{DropReason, Kept, Verdict};
use etherparse::PacketBuilder;
use packet::Malformed;
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, SERVERS, VIP, World, ip};

const CLIENT: [u8; 4] = [192, 0, 2, 10];
const VIP4: [u8; 4] = [10, 8, 0, 1];

const BLACKHOLE: Route = Route {
    kind: RouteKind::Blackhole,
    interface: 0,
    gateway: None,
    source: None,
    mtu: None,
    metric: 0,
};

/// A SYN from the client to the VIP.
fn syn(ttl: u8, port: u16) -> Vec<u8> {
    world::syn((CLIENT, 1001), port, ttl)
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

/// A fragment of a UDP datagram of the client's; `offset` in units of 8 octets.
fn fragment(offset: u16, more: bool, payload: usize) -> Vec<u8> {
    let len = u16::try_from(payload).unwrap();
    let udp = etherparse::ip_number::UDP;
    let mut header = etherparse::Ipv4Header::new(len, 64, udp, CLIENT, VIP4).unwrap();
    header.identification = 7;
    header.more_fragments = more;
    header.fragment_offset = etherparse::IpFragOffset::try_new(offset).unwrap();
    header.header_checksum = header.calc_header_checksum();
    let mut frame = syn(64, 80)[..14].to_vec();
    header.write(&mut frame).unwrap();
    frame.extend(vec![1; payload]);
    frame
}

/// The client's SYN with this octet in place of the one at `at`.
fn changed(at: usize, octet: u8) -> Vec<u8> {
    let mut frame = syn(64, 80);
    frame[at] = octet;
    frame
}

/// A frame that cannot be read for this reason; the last one can, but is no IP.
fn unreadable(malformed: Malformed) -> Vec<u8> {
    let good = syn(64, 80);
    match malformed {
        Malformed::LinkTruncated => good[..10].to_vec(),
        Malformed::NetworkTruncated => good[..20].to_vec(),
        Malformed::BadVersion => changed(14, 0x65),
        Malformed::BadLength => changed(16, 0xff),
        Malformed::BadHeaderChecksum => changed(24, !good[24]),
        Malformed::ExtensionTruncated => {
            let mut frame = vec![0; 14 + 40 + 4];
            frame[..12].copy_from_slice(&[CLIENT_SIDE.0, GATEWAY.0].concat());
            frame[12..14].copy_from_slice(&[0x86, 0xdd]);
            frame[14] = 0x60;
            frame[19] = 4;
            frame
        }
        Malformed::TransportTruncated => {
            let tcp = etherparse::ip_number::TCP;
            let mut header = etherparse::Ipv4Header::new(4, 64, tcp, CLIENT, VIP4).unwrap();
            header.header_checksum = header.calc_header_checksum();
            let mut frame = good[..14].to_vec();
            header.write(&mut frame).unwrap();
            frame.extend([0; 4]);
            frame
        }
        Malformed::NotIp => {
            let mut frame = good;
            frame[12..14].copy_from_slice(&[0x88, 0xcc]);
            frame
        }
    }
}

/// A SYN with a source route.
fn source_routed() -> Vec<u8> {
    let tcp = etherparse::ip_number::TCP;
    let mut header = etherparse::Ipv4Header::new(20, 64, tcp, CLIENT, VIP4).unwrap();
    header.options = [131, 7, 4, 1, 2, 3, 4, 0].as_slice().try_into().unwrap();
    header.set_payload_len(20).unwrap();
    header.header_checksum = header.calc_header_checksum();
    let mut frame = syn(64, 80)[..14].to_vec();
    header.write(&mut frame).unwrap();
    frame.extend(&syn(64, 80)[34..]);
    frame
}

/// The real server refuses the client's packet, with a wrong ICMP checksum.
fn broken_refusal() -> Vec<u8> {
    let mut quoted = syn(63, 80)[14..].to_vec();
    quoted[16..20].copy_from_slice(&[10, 2, 0, 11]);
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 2, 0x11], world::SERVER_SIDE.0)
        .ipv4([10, 2, 0, 11], CLIENT, 64)
        .icmpv4_raw(3, 1, [0; 4]);
    let mut frame = Vec::new();
    builder.write(&mut frame, &quoted[..28]).unwrap();
    frame[14 + 20 + 2] ^= 0xff;
    frame
}

/// A segment of a client of the FTP service.
fn ftp(flags: u8, numbers: (u32, u32), payload: &[u8]) -> Vec<u8> {
    let mut builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
        .ipv4(CLIENT, VIP4, 64)
        .tcp(1001, 21, numbers.0, 64240);
    if flags & packet::tcp::SYN != 0 {
        builder = builder.syn();
    }
    if flags & packet::tcp::ACK != 0 {
        builder = builder.ack(numbers.1);
    }
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// A world with an FTP service, whose client has sent a SYN.
fn ftp_world() -> World {
    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 21);
    world.server(&key, "10.2.0.11", 21, Method::Masq);
    let _ = world.receive(CLIENTS, &ftp(packet::tcp::SYN, (1000, 0), &[]));
    world
}

/// A world whose real servers' link addresses nobody knows.
fn without_neighbours() -> World {
    let mut world = World::with_server(Method::DirectRoute);
    world.network(|network| network.neighbours.clear());
    world
}

fn with_udp_server(method: Method) -> (World, ServiceKey) {
    let mut world = World::new();
    let key = world.service(Protocol::Udp, VIP, 53);
    world.server(&key, "10.2.0.11", 53, method);
    (world, key)
}

/// A world with a SIP service.
fn sip_world() -> World {
    let (world, key) = with_udp_server(Method::Masq);
    let config = world.shared.snapshot().get(&key).unwrap().config.clone();
    let sip = ServiceConfig {
        flags: director::service::FLAG_PERSISTENT,
        timeout: 300,
        persistence_engine: Some("sip".to_owned()),
        ..config
    };
    world.shared.edit_service(sip).unwrap();
    world
}

/// A world, and a frame that it drops for this reason. Whoever adds a reason must say here how it comes about.
fn scene(reason: DropReason) -> (World, u32, Vec<u8>) {
    let mut world = World::with_server(Method::Masq);
    let mut interface = CLIENTS;
    let mut frame = syn(64, 80);
    match reason {
        DropReason::Malformed(malformed) => frame = unreadable(malformed),
        DropReason::DestinationUnavailable => {
            let _ = world.receive(CLIENTS, &frame);
            let key = world.shared.snapshot().iter().next().unwrap().config.key;
            let deleted = world.shared.delete_destination(&key, ip("10.2.0.11"), 80);
            deleted.unwrap();
        }
        DropReason::IpOptions => frame = source_routed(),
        DropReason::NoDestination => {
            world = World::new();
            world.service(Protocol::Tcp, VIP, 80);
        }
        DropReason::TtlExpired => frame = syn(1, 80),
        DropReason::TooBig => {
            (world, _) = with_udp_server(Method::Tunnel);
            frame = udp(1472, true);
        }
        DropReason::NoRoute => {
            world.network(|network| network.routes.insert(ip("10.2.0.11"), 32, BLACKHOLE));
        }
        DropReason::NeighbourUnreachable => {
            world = without_neighbours();
            let _ = world.receive(CLIENTS, &frame);
            world.sleep(Duration::from_secs(4));
        }
        DropReason::NeighbourQueueFull => {
            world = without_neighbours();
            for _ in 0..director::net::neighbour::QUEUE_MAX {
                assert_eq!(world.receive(CLIENTS, &frame).0, Verdict::Held);
            }
        }
        DropReason::TableFull => {
            world = World::with_connections(0);
            let key = world.service(Protocol::Tcp, VIP, 80);
            world.server(&key, "10.2.0.11", 80, Method::Masq);
        }
        DropReason::Reassembly => {
            let _ = world.receive(CLIENTS, &fragment(0, true, 64));
            frame = fragment(4, true, 64);
        }
        DropReason::Defence => world.shared.set_sysctl("drop_packet", "3").unwrap(),
        DropReason::BadIcmp => {
            let _ = world.receive(CLIENTS, &frame);
            (interface, frame) = (SERVERS, broken_refusal());
        }
        DropReason::PersistenceData => {
            world = sip_world();
            frame = udp(20, false);
        }
        DropReason::BadChecksum => {
            world = ftp_world();
            let _ = world.receive(SERVERS, &greeting());
            let _ = world.receive(CLIENTS, &ftp(packet::tcp::ACK, (1001, 5001), &[]));
            frame = ftp(packet::tcp::ACK, (1001, 5001), b"PASV\r\n");
            frame[58] ^= 1;
        }
        DropReason::Handshake => {
            world = ftp_world();
            frame = ftp(packet::tcp::ACK, (1001, 5001), &[]);
        }
        DropReason::NoInterface => world.network(|network| network.interfaces.truncate(1)),
    }
    (world, interface, frame)
}

/// The FTP server's SYN and ACK.
fn greeting() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GATEWAY.0, world::SERVER_SIDE.0)
        .ipv4([10, 2, 0, 11], CLIENT, 64)
        .tcp(21, 1001, 5000, 64240)
        .syn()
        .ack(1001);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

#[test]
fn every_reason_is_produced_told_and_counted() {
    for reason in DropReason::ALL {
        let name = reason.name();
        let (mut world, interface, frame) = scene(reason);
        let dropped = |world: &World| world.director.counters().dropped(reason);
        let before = dropped(&world);
        let said = world.explain(interface, &frame);
        let said = said.map_or_else(String::new, |said| said.to_string());
        let expected = format!("verdict\tdropped\nreason\t{name}\nmeaning\t");
        assert!(said.starts_with(&expected), "{name}: {said}");
        assert_eq!(dropped(&world), before, "{name}: asking changes nothing");
        let (verdict, _) = world.receive(interface, &frame);
        if verdict == Verdict::Held {
            // What waits in vain is dropped when its time has come.
            world.sleep(Duration::from_secs(4));
        } else {
            assert_eq!(verdict, Verdict::Drop(reason));
        }
        assert!(dropped(&world) > before, "{name}");
    }
}

#[test]
fn neither_ip_nor_arp_is_passed() {
    let frame = unreadable(Malformed::NotIp);
    let (verdict, sent) = World::with_server(Method::Masq).receive(CLIENTS, &frame);
    assert_eq!(verdict, Verdict::Pass);
    assert!(sent.is_empty());
}

#[test]
fn refused_options_and_a_full_table_make_no_connection() {
    for reason in [DropReason::IpOptions, DropReason::TableFull] {
        let (mut world, interface, frame) = scene(reason);
        let _ = world.receive(interface, &frame);
        assert!(world.director.connections().is_empty());
        let services = world.shared.snapshot();
        let server = services.iter().next().unwrap().destinations[0].clone();
        assert_eq!((server.active(), server.inactive()), (0, 0));
    }
}

#[test]
fn a_next_hop_is_held_against_a_packet_only_once_it_has_not_answered() {
    let mut world = without_neighbours();
    let frame = syn(64, 80);
    let said = world.explain(CLIENTS, &frame).unwrap();
    assert_eq!((said.verdict, said.at_once), (Verdict::Held, Verdict::Held));
    let about = "\nneighbour\t10.2.0.11 by sv0: its link address is asked for\n\
                 neighbour\twithout an answer: dropped after 3 s as neighbour_unreachable\n";
    assert!(said.to_string().contains(about), "{said}");
    let (verdict, sent) = world.receive(CLIENTS, &frame);
    assert_eq!((verdict, sent.len()), (Verdict::Held, 1), "one ARP request");
    // A second later there are two seconds left.
    world.sleep(Duration::from_millis(1500));
    let said = world.explain(CLIENTS, &frame).unwrap().to_string();
    assert!(said.contains("dropped after 2 s"), "{said}");
    world.network(|network| {
        let gateway = (CLIENTS, ip("10.1.0.254"));
        network.neighbours.insert(gateway, GATEWAY);
    });
    let told = world.sleep(Duration::from_secs(4));
    let (interface, refusal) = told.last().unwrap();
    assert_eq!((*interface, refusal[14 + 20]), (CLIENTS, 3), "{told:?}");
    let reason = DropReason::NeighbourUnreachable;
    assert_eq!(world.director.counters().dropped(reason), 1);
    let said = world.explain(CLIENTS, &frame).unwrap();
    assert_eq!(said.verdict, Verdict::Drop(reason));
    let text = said.to_string();
    let refused = format!("\nneighbour\tthen cl0 to {GATEWAY}: ICMP 10.1.0.1 > 192.0.2.10 type 3");
    assert!(
        text.contains("nobody answered 2 s ago") && text.contains(&refused),
        "{text}"
    );
    // Much later it may answer, and a next hop that has answered is no longer suspected.
    let later = director::net::neighbour::REACHABLE_TIME + Duration::from_secs(1);
    let mut other = without_neighbours();
    let _ = other.receive(CLIENTS, &frame);
    other.sleep(Duration::from_secs(4) + later);
    assert_eq!(
        other.explain(CLIENTS, &frame).unwrap().verdict,
        Verdict::Held
    );
    let learned = packet::Mac([2, 0, 0, 0, 2, 0x11]);
    world
        .host
        .neighbours
        .learn(SERVERS, ip("10.2.0.11"), learned, world.now);
    assert_eq!(
        world.explain(CLIENTS, &frame).unwrap().verdict,
        Verdict::Forwarded
    );
}

#[test]
fn an_answer_that_cannot_be_sent_is_not_the_reason() {
    let mut world = World::with_server(Method::Masq);
    world.network(|network| {
        let _ = network.neighbours.remove(&(CLIENTS, ip("10.1.0.254")));
    });
    let frame = syn(1, 80);
    let _ = world.receive(CLIENTS, &frame);
    world.sleep(Duration::from_secs(4));
    let said = world.explain(CLIENTS, &frame).unwrap();
    assert_eq!(
        said.verdict,
        Verdict::Drop(DropReason::TtlExpired),
        "{said}"
    );
}

#[test]
fn reassembly() {
    let mut world = World::with_server(Method::Masq);
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

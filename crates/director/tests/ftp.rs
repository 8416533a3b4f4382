//! The FTP helper where the recordings do not reach: answers that grow, checksums left to the device, retransmissions,
//! how long control connections live, and which worker owns data connections.

mod world;

use core::time::Duration;

use director::connection::Cursor;
use director::destination::Method;
use director::protocol::Protocol;
use director::sync::{Entry, FLAG_NO_CLIENT_PORT};
use director::verdict::{DropReason, Verdict};
use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};
use packet::{Headers, Offload, Packet, checksum};
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, SERVER_SIDE, SERVERS, VIP, World, ip};

const CLIENT: [u8; 4] = [192, 0, 2, 10];
const VIP4: [u8; 4] = [10, 8, 0, 1];
const SERVER: [u8; 4] = [10, 2, 0, 11];
const SYN: u8 = 2;
const FIN: u8 = 1;
const ACK: u8 = 16;

/// A segment before it is bytes.
#[derive(Clone, Copy)]
struct Segment<'t> {
    ports: (u16, u16),
    numbers: (u32, u32),
    flags: u8,
    payload: &'t str,
}

fn segment(ports: (u16, u16), numbers: (u32, u32), flags: u8, payload: &str) -> Segment<'_> {
    Segment {
        ports,
        numbers,
        flags,
        payload,
    }
}

impl Segment<'_> {
    fn bytes(self, from_server: bool, options: &[TcpOptionElement]) -> Vec<u8> {
        let (mac, from, to) = if from_server {
            (SERVER_SIDE, SERVER, CLIENT)
        } else {
            (CLIENT_SIDE, CLIENT, VIP4)
        };
        let mut builder = PacketBuilder::ethernet2(GATEWAY.0, mac.0)
            .ipv4(from, to, 64)
            .tcp(self.ports.0, self.ports.1, self.numbers.0, 8192);
        if self.flags & SYN != 0 {
            builder = builder.syn();
        }
        if self.flags & FIN != 0 {
            builder = builder.fin();
        }
        if self.flags & ACK != 0 {
            builder = builder.ack(self.numbers.1);
        }
        let mut frame = Vec::new();
        let builder = builder.options(options).unwrap();
        builder.write(&mut frame, self.payload.as_bytes()).unwrap();
        frame
    }
}

/// What left: numbers, SACK edges, payload; the frame must be right.
#[track_caller]
fn read(mut frame: Vec<u8>) -> (u32, u32, Vec<u32>, String) {
    let len = frame.len();
    let packet = Packet::new(&mut frame, 0..len, 14);
    let headers = Headers::parse(&packet).unwrap();
    assert!(headers.end == len && checksum::is_valid(&packet, &headers));
    let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
        panic!("not TCP");
    };
    let sack = |option| match option {
        Ok(TcpOptionElement::SelectiveAcknowledgement((from, to), _)) => Some([from, to]),
        _ => None,
    };
    let edges = tcp.options_iterator().find_map(sack);
    let text = String::from_utf8(tcp.payload().to_vec()).unwrap();
    (
        tcp.sequence_number(),
        tcp.acknowledgment_number(),
        edges.map_or_else(Vec::new, Vec::from),
        text,
    )
}

#[track_caller]
fn pass(world: &mut World, from_server: bool, segment: Segment<'_>) -> (u32, u32, String) {
    let interface = if from_server { SERVERS } else { CLIENTS };
    let (verdict, mut sent) = world.receive(interface, &segment.bytes(from_server, &[]));
    assert_eq!(verdict, Verdict::Forwarded);
    let (sequence, acknowledgment, _, text) = read(sent.remove(0).1);
    (sequence, acknowledgment, text)
}

/// An established control connection: the client's next octet is 1001, the server's 5001.
fn control() -> World {
    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 21);
    world.server(&key, "10.2.0.11", 21, Method::Masq);
    pass(&mut world, false, segment((1001, 21), (1000, 0), SYN, ""));
    pass(
        &mut world,
        true,
        segment((21, 1001), (5000, 1001), SYN | ACK, ""),
    );
    pass(
        &mut world,
        false,
        segment((1001, 21), (1001, 5001), ACK, ""),
    );
    world
}

/// The connections as client port, virtual port, state and seconds left.
fn listed(world: &World) -> Vec<(u16, u16, &'static str, u64)> {
    let mut all = Vec::new();
    let connections = world.director.connections();
    connections.list(Cursor::default(), u32::MAX, |_, it| {
        let left = it.expires_in(world.now).as_secs();
        all.push((
            it.client().1,
            it.virtual_server().1,
            it.state().name(),
            left,
        ));
    });
    all.sort_unstable();
    all
}

const GROWING: &str = "227 Entering Passive Mode (1,1,1,1,195,80).\r\n";
const GROWN: &str = "227 Entering Passive Mode (10,8,0,1,195,80).\r\n";

#[test]
fn an_answer_may_grow() {
    let mut world = control();
    pass(
        &mut world,
        false,
        segment((1001, 21), (1001, 5001), ACK, "PASV\r\n"),
    );
    let answer = segment((21, 1001), (5001, 1007), ACK, GROWING);
    let sent = pass(&mut world, true, answer);
    assert_eq!(sent, (5001, 1007, GROWN.to_owned()));
    let behind = 5001 + u32::try_from(GROWING.len()).unwrap();
    let more = segment((21, 1001), (behind, 1007), ACK, "150 ok\r\n");
    let sent = pass(&mut world, true, more);
    assert_eq!(sent, (behind + 1, 1007, "150 ok\r\n".to_owned()));
    // The client acknowledges, and what it has of later octets.
    let acknowledged = segment((1001, 21), (1007, behind + 1), ACK, "");
    let option = TcpOptionElement::SelectiveAcknowledgement((behind + 5, behind + 9), [None; 3]);
    let (_, mut sent) = world.receive(CLIENTS, &acknowledged.bytes(false, &[option]));
    let (sequence, acknowledgment, edges, _) = read(sent.remove(0).1);
    assert_eq!((sequence, acknowledgment), (1007, behind));
    assert_eq!(edges, [behind + 4, behind + 8]);
}

#[test]
fn a_checksum_left_to_the_device_stays_so() {
    let mut world = control();
    pass(
        &mut world,
        false,
        segment((1001, 21), (1001, 5001), ACK, "PASV\r\n"),
    );
    let mut frame = segment((21, 1001), (5001, 1007), ACK, GROWING).bytes(true, &[]);
    let sum = |from: [u8; 4], payload: &str| {
        let len = 20 + payload.len();
        !checksum::Sum::of(&[])
            .pseudo_header(from.into(), CLIENT.into(), 6, len)
            .finish()
    };
    frame[50..52].copy_from_slice(&sum(SERVER, GROWING).to_be_bytes());
    let (verdict, sent) = world.receive_as(SERVERS, &frame, |packet| {
        packet.offload = Offload {
            partial_checksum: Some(16),
            checksum_start: 34,
            ..Offload::default()
        };
    });
    assert_eq!(verdict, Verdict::Forwarded);
    assert_eq!(&sent[0].1[54..], GROWN.as_bytes());
    assert_eq!(sent[0].1[50..52], sum(VIP4, GROWN).to_be_bytes());
}

#[test]
fn an_answer_is_changed_once() {
    let mut world = control();
    pass(
        &mut world,
        false,
        segment((1001, 21), (1001, 5001), ACK, "PASV\r\n"),
    );
    let answer = segment((21, 1001), (5001, 1007), ACK, GROWING);
    pass(&mut world, true, answer);
    let sent = pass(&mut world, true, answer);
    assert_eq!(sent, (5001, 1007, GROWING.to_owned()));
    assert_eq!(listed(&world).len(), 2);
}

#[test]
fn the_first_packet_says_the_port() {
    let mut world = control();
    pass(
        &mut world,
        false,
        segment((1001, 21), (1001, 5001), ACK, "EPSV\r\n"),
    );
    let answer = segment((21, 1001), (5001, 1007), ACK, "229 Go (|||50000|)\r\n");
    pass(&mut world, true, answer);
    assert_eq!(listed(&world)[0], (0, 50000, "LISTEN", 120));
    pass(&mut world, false, segment((1002, 50000), (1, 0), SYN, ""));
    assert_eq!(listed(&world)[1], (1002, 50000, "SYN_RECV", 60));
    // Nobody else is expected there.
    let other = segment((1003, 50000), (1, 0), SYN, "").bytes(false, &[]);
    let (verdict, _) = world.receive(CLIENTS, &other);
    assert_eq!(verdict, Verdict::Answered);
    let sent = pass(
        &mut world,
        true,
        segment((50000, 1002), (7, 2), SYN | ACK, ""),
    );
    assert_eq!((sent.0, sent.1), (7, 2));
    pass(&mut world, false, segment((1002, 50000), (2, 8), ACK, ""));
    assert_eq!(listed(&world)[1], (1002, 50000, "ESTABLISHED", 900));
}

#[test]
fn a_control_connection_outlives_its_data_connections() {
    let mut world = control();
    let port = "PORT 192,0,2,10,200,1\r\n";
    pass(
        &mut world,
        false,
        segment((1001, 21), (1001, 5001), ACK, port),
    );
    pass(
        &mut world,
        false,
        segment((1001, 21), (1024, 5001), FIN | ACK, ""),
    );
    // CLOSE_WAIT ends after 60 s, LISTEN after 120 s.
    world.sleep(Duration::from_secs(61));
    assert_eq!(
        listed(&world),
        [(1001, 21, "CLOSE_WAIT", 59), (51201, 20, "LISTEN", 59)]
    );
    let owner = |world: &World| world.shared.owners.find((ip("192.0.2.10"), 51201), 20);
    assert_eq!(owner(&world), Some(0));
    // It looks again whether it is needed every 60 s.
    world.sleep(Duration::from_secs(61));
    assert!(listed(&world).len() <= 1);
    assert_eq!(owner(&world), None);
    world.sleep(Duration::from_secs(60));
    assert_eq!(listed(&world), []);
}

#[test]
fn only_established_connections_of_the_port_by_nat() {
    for (port, method) in [(21, Method::DirectRoute), (2121, Method::Masq)] {
        let mut world = World::new();
        let key = world.service(Protocol::Tcp, VIP, port);
        world.server(&key, "10.2.0.11", port, method);
        let send = |world: &mut World, from_server, segment: Segment<'_>| {
            let interface = if from_server { SERVERS } else { CLIENTS };
            let _ = world.receive(interface, &segment.bytes(from_server, &[]));
        };
        send(&mut world, false, segment((1001, port), (1000, 0), SYN, ""));
        send(
            &mut world,
            true,
            segment((port, 1001), (5000, 1001), SYN | ACK, ""),
        );
        let text = "PORT 192,0,2,10,200,1\r\n";
        send(
            &mut world,
            false,
            segment((1001, port), (1001, 5001), ACK, text),
        );
        assert_eq!(listed(&world).len(), 1, "{port}");
    }
}

#[test]
fn what_the_helper_cannot_trust_is_dropped() {
    let mut world = control();
    let mut frame = segment((1001, 21), (1001, 5001), ACK, "PASV\r\n").bytes(false, &[]);
    frame[58] ^= 1;
    let (verdict, _) = world.receive(CLIENTS, &frame);
    assert_eq!(verdict, Verdict::Drop(DropReason::BadChecksum));

    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 21);
    world.server(&key, "10.2.0.11", 21, Method::Masq);
    pass(&mut world, false, segment((1001, 21), (1000, 0), SYN, ""));
    let frame = segment((1001, 21), (1001, 5001), ACK, "").bytes(false, &[]);
    let (verdict, _) = world.receive(CLIENTS, &frame);
    assert_eq!(verdict, Verdict::Drop(DropReason::Handshake));
    assert_eq!(world.director.counters().dropped(DropReason::Handshake), 1);
}

#[test]
fn the_server_connects_to_the_client() {
    let mut world = control();
    let port = "PORT 192,0,2,10,200,1\r\n";
    pass(
        &mut world,
        false,
        segment((1001, 21), (1001, 5001), ACK, port),
    );
    pass(&mut world, true, segment((20, 51201), (7000, 0), SYN, ""));
    pass(
        &mut world,
        false,
        segment((51201, 20), (8000, 7001), SYN | ACK, ""),
    );
    pass(
        &mut world,
        true,
        segment((20, 51201), (7001, 8001), ACK, ""),
    );
    assert_eq!(listed(&world)[1], (51201, 20, "ESTABLISHED", 900));
    assert_eq!(world.director.connections().len(), 2);
}

/// A backup learns of a data connection before its first packet; it follows it, and forgets it, like one of its own.
#[test]
fn a_message_may_announce_a_data_connection() {
    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 21);
    world.server(&key, "10.2.0.11", 21, Method::Masq);
    let entry = Entry {
        protocol: 6,
        flags: FLAG_NO_CLIENT_PORT,
        state: 9,
        client: (ip("192.0.2.10"), 0),
        virtual_server: (ip(VIP), 50000),
        server: (ip("10.2.0.11"), 50000),
        mark: 0,
        timeout: 0,
        shifts: None,
        engine: None,
    };
    world.director.accept(world.now, &entry);
    assert_eq!(listed(&world), [(0, 50000, "LISTEN", 120)]);
    let owner = |world: &World| world.shared.owners.find((ip("192.0.2.10"), 1), 50000);
    assert_eq!(owner(&world), Some(0));
    pass(&mut world, false, segment((1002, 50000), (1, 0), SYN, ""));
    assert_eq!(listed(&world), [(1002, 50000, "SYN_RECV", 60)]);
    world.director.accept(world.now, &entry);
    world.sleep(Duration::from_secs(121));
    assert_eq!((listed(&world), owner(&world)), (Vec::new(), None));
}

/// A server that listens on the port that active data connections come from: the entry's owner is forgotten with it all
/// the same, once the client's port is known.
#[test]
fn a_server_that_listens_on_port_20() {
    let mut world = control();
    pass(
        &mut world,
        false,
        segment((1001, 21), (1001, 5001), ACK, "EPSV\r\n"),
    );
    let answer = segment((21, 1001), (5001, 1007), ACK, "229 Go (|||20|)\r\n");
    pass(&mut world, true, answer);
    assert!(!world.shared.owners.is_empty());
    pass(&mut world, false, segment((1002, 20), (1, 0), SYN, ""));
    world.sleep(Duration::from_secs(1200));
    assert_eq!(listed(&world), []);
    assert!(world.shared.owners.is_empty());
}

//! AF_XDP on veth: what is sent arrives, with checksums that the receiver really verifies, and in
//! order whichever way a frame takes.

use std::net::UdpSocket;
use std::time::Duration;

use link::af_xdp::Scope;
use link::{Frame, Outgoing, Transmit};
use packet::checksum::Sum;
use packet::{GsoKind, Headers, Offload, Packet, Translation, translate};

use crate::af_packet::{collect, open as open_packet, udp_super_frame};
use crate::af_xdp::{guarded, is_service, rules};
use crate::guard::{Topology, VIPS, topology};
use crate::namespace::mac;

/// A datagram from the director to the client's port 9 with so many octets, its checksum left to the
/// interface.
fn partial(address_v6: bool, payload: usize, first: u8) -> Frame {
    let mut bytes = [mac(1), mac(2)].concat();
    let len = u16::try_from(8 + payload).expect("short");
    let mut body = vec![first; payload];
    if let Some(last) = body.last_mut() {
        *last = 1;
    }
    let pseudo = if address_v6 {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(len.to_be_bytes());
        bytes.extend([17, 64]);
        for last in [2_u8, 1] {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
            address[15] = last;
            bytes.extend(address);
        }
        Sum::of(&bytes[22..54]).u16(17).u16(len).fold()
    } else {
        bytes.extend([8, 0]);
        let total = (len + 20).to_be_bytes();
        let mut header = [
            0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1,
        ];
        let sum = Sum::of(&header).finish();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(header);
        Sum::of(&bytes[26..34]).u16(17).u16(len).fold()
    };
    let start = u16::try_from(bytes.len()).expect("short");
    bytes.extend(7_u16.to_be_bytes());
    bytes.extend(9_u16.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes.extend(pseudo.to_be_bytes());
    bytes.extend(body);
    let mut frame = Frame::new(&bytes, 14);
    frame.offload = Offload {
        partial_checksum: Some(6),
        checksum_start: start,
        ..Offload::default()
    };
    frame
}

/// Port 9 of the client, whose interface verifies what it gets.
fn verifying_sink(topology: &Topology) -> UdpSocket {
    topology.client.offloads("c0", "tx off rx off");
    let sink = topology
        .client
        .enter("a sink", || UdpSocket::bind("[::]:9").expect("bind"));
    sink.set_read_timeout(Some(Duration::from_secs(2)))
        .expect("timeout");
    sink
}

fn transmit(sender: &dyn Transmit, frames: &[Frame]) -> link::Transmitted {
    let outgoing: Vec<Outgoing<'_>> = frames.iter().cloned().map(Outgoing::from).collect();
    sender.transmit(&outgoing)
}

#[test]
fn partial_checksums_are_finished_before_they_leave() {
    let topology = topology();
    let (_guard, link) = guarded(&topology, &rules(), Scope::Automatic);
    let sink = verifying_sink(&topology);
    let frames: Vec<Frame> = (0..200_u8)
        .map(|at| partial(at % 2 == 0, 20 + usize::from(at) * 7, at))
        .collect();
    let mut buffer = [0; 2000];
    // As many at a time as fit in the receiver's memory.
    for some in frames.chunks(50) {
        let result = transmit(&*link.sender, some);
        assert_eq!((result.sent, result.failed()), (50, 0), "{result:?}");
        for frame in some {
            let len = sink
                .recv(&mut buffer)
                .expect("a datagram whose checksum is right");
            assert!(frame.bytes().ends_with(&buffer[..len]) && len >= 20);
        }
    }
    // The receiver does verify: a wrong sum does not arrive.
    let mut wrong = partial(false, 100, 7);
    wrong.offload = Offload::default();
    assert_eq!(transmit(&*link.sender, &[wrong]).sent, 1);
    sink.set_read_timeout(Some(Duration::from_millis(300)))
        .expect("timeout");
    assert!(sink.recv(&mut buffer).is_err());
}

#[test]
fn frames_keep_their_order_whichever_way_they_go() {
    let topology = topology();
    let (_guard, link) = guarded(&topology, &rules(), Scope::Automatic);
    let sink = topology
        .client
        .enter("a sink", || UdpSocket::bind("[::]:9").expect("bind"));
    sink.set_read_timeout(Some(Duration::from_secs(2)))
        .expect("timeout");
    // Super-frames, one of which is no longer than an ordinary frame.
    let super_frame = |count, size: u16| {
        let mut bytes = udp_super_frame(count, usize::from(size));
        bytes[..12].copy_from_slice(&[mac(1), mac(2)].concat());
        bytes[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
        let mut frame = Frame::new(&bytes, 14);
        frame.offload = Offload {
            partial_checksum: Some(6),
            checksum_start: 34,
            gso: Some(GsoKind::UdpL4),
            gso_size: size,
            gso_ecn: false,
        };
        frame
    };
    let (long, small) = (super_frame(45, 1400), super_frame(2, 400));
    let short = |at| partial(false, 30, at);
    let too_long = Frame::new(partial(false, 1600, 9).bytes(), 14);
    let frames = [
        short(1),
        short(2),
        long,
        short(3),
        too_long,
        small,
        short(4),
    ];
    let result = transmit(&*link.sender, &frames);
    assert_eq!(
        (result.sent, result.too_big, result.failed()),
        (6, 1, 1),
        "{result:?}"
    );
    let mut seen = Vec::new();
    let mut buffer = [0; 2000];
    for _ in 0..51 {
        let len = sink.recv(&mut buffer).expect("a datagram");
        seen.push((len, buffer[0]));
    }
    let long = [(1400, b'u'); 45];
    let wanted = [
        &[(30, 1), (30, 2)][..],
        &long,
        &[(30, 3), (400, b'u'), (400, b'u'), (30, 4)],
    ]
    .concat();
    assert_eq!(seen, wanted);
}

#[test]
fn many_more_than_the_socket_has_room_for_are_sent() {
    let topology = topology();
    let (_guard, link) = guarded(&topology, &rules(), Scope::Automatic);
    let mut tap = open_packet(&topology.client, "c0");
    let frames: Vec<Frame> = (0..60).map(|at| partial(false, 100, at)).collect();
    let mut sent = 0;
    let mut seen = 0;
    let ours = |packet: &Packet<'_>| packet.bytes().get(36..38) == Some(&[0, 9]);
    for _ in 0..200 {
        let result = transmit(&*link.sender, &frames);
        assert_eq!(result.sent + result.failed(), 60, "{result:?}");
        sent += result.sent;
        seen += collect(&mut *tap.receiver, 60, ours).len();
    }
    assert_eq!((sent, seen), (12_000, 12_000));
}

#[test]
fn a_datagram_translated_in_place_is_right_on_the_wire() {
    let topology = topology();
    let (_guard, mut link) = guarded(&topology, &rules(), Scope::Automatic);
    let sink = verifying_sink(&topology);
    // `tx off` is for what the client gets; what it sends is to come with a partial checksum again.
    topology.client.offloads("c0", "tx on");
    let vip: std::net::IpAddr = VIPS[0].parse().expect("an address");
    let client = topology.client.enter("a client", || {
        UdpSocket::bind("10.0.0.1:7777").expect("bind")
    });
    client.send_to(b"there and back", (vip, 53)).expect("send");
    let sender = std::sync::Arc::clone(&link.sender);
    let mut done = 0;
    for _ in 0..100 {
        let mut batch = Vec::new();
        link.receiver.receive(&mut batch).expect("receive");
        let mut outgoing = Vec::new();
        for mut packet in batch.drain(..).filter(is_service) {
            let headers = Headers::parse(&packet).expect("a packet");
            assert_eq!(packet.offload.partial_checksum, Some(6));
            // Back to the client's port 9, as if from its peer.
            let translation = Translation {
                source: Some((vip, 53)),
                destination: Some((headers.source, 9)),
            };
            translate(&mut packet, &headers, translation).expect("translated");
            packet.bytes_mut()[..12].copy_from_slice(&[mac(1), mac(2)].concat());
            outgoing.push(Outgoing::from(packet));
        }
        done += sender.transmit(&outgoing).sent;
        if done > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut buffer = [0; 100];
    let len = sink
        .recv(&mut buffer)
        .expect("a datagram whose checksum is right");
    assert_eq!(&buffer[..len], b"there and back");
}

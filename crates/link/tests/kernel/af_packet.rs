//! Receive ring and sending on veth: plain, tagged and long frames, and links that come and go.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use link::steering::Steering;
use link::sys::poll;
use link::{Frame, HEADROOM, Link, Outgoing, Receive, Statistics, af_packet};
use packet::checksum::Sum;
use packet::{GsoKind, Offload, Packet, Vlan};

use crate::namespace::{Namespace, mac, veth};

/// What a test keeps of a received frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offload: Offload,
    pub(crate) vlan: Option<Vlan>,
    pub(crate) headroom: usize,
}

impl From<&Packet<'_>> for Seen {
    fn from(packet: &Packet<'_>) -> Self {
        Self {
            bytes: packet.bytes().to_vec(),
            offload: packet.offload,
            vlan: packet.vlan,
            headroom: packet.headroom(),
        }
    }
}

/// Frames that `wanted` picks, until there are `count` of them or two seconds have passed.
pub(crate) fn collect(
    receiver: &mut dyn Receive,
    count: usize,
    wanted: impl Fn(&Packet<'_>) -> bool,
) -> Vec<Seen> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut seen = Vec::new();
    while seen.len() < count && Instant::now() < deadline {
        let mut batch = Vec::new();
        if receiver.receive(&mut batch).expect("receive") == 0 {
            drop(batch);
            let fd = receiver.fd().expect("a kernel link has a descriptor");
            poll::readable(&[fd], Some(Duration::from_millis(50))).expect("poll");
            continue;
        }
        seen.extend(batch.iter().filter(|packet| wanted(packet)).map(Seen::from));
    }
    seen
}

/// One link without fanout on an interface of the namespace.
pub(crate) fn open(namespace: &Namespace, interface: &'static str) -> Link {
    namespace.enter("opening a link", move || {
        let (mut links, _) = af_packet::open(interface, 1, &steering()).expect("open");
        links.pop().expect("one worker, one link")
    })
}

fn steering() -> Steering {
    Steering::new(&[], 0)
}

/// Ethernet frame of a local experimental type (RFC 5342) that no kernel answers.
fn experimental(payload: usize) -> Vec<u8> {
    let mut bytes = [mac(2), mac(1)].concat();
    bytes.extend([0x88, 0xb5]);
    bytes.extend((0..payload).map(|at| at.to_le_bytes()[0]));
    bytes
}

fn is_experimental(packet: &Packet<'_>) -> bool {
    packet.bytes().get(12..14) == Some(&[0x88, 0xb5])
}

fn pair() -> (Namespace, Namespace) {
    let (left, right) = (Namespace::new("l"), Namespace::new("r"));
    veth((&left, "v0", 1), (&right, "v1", 2));
    (left, right)
}

#[test]
fn plain_frames_arrive_as_sent_with_headroom() {
    let (left, right) = pair();
    let (sender, mut receiver) = (open(&left, "v0"), open(&right, "v1"));
    let frames: Vec<_> = (46..346)
        .map(|payload| Frame::new(&experimental(payload), 14))
        .collect();
    let outgoing: Vec<Outgoing<'_>> = frames.iter().cloned().map(Outgoing::from).collect();
    let result = sender.sender.transmit(&outgoing);
    assert_eq!((result.sent, result.failed()), (300, 0), "{result:?}");

    let seen = collect(&mut *receiver.receiver, 300, is_experimental);
    assert_eq!(seen.len(), 300);
    for (frame, seen) in frames.iter().zip(&seen) {
        assert_eq!(frame.bytes(), seen.bytes);
        assert_eq!((seen.offload, seen.vlan), (Offload::default(), None));
        assert!(seen.headroom >= HEADROOM, "{}", seen.headroom);
    }
    // The sender's own frames do not come back to it.
    let mut sender = sender;
    assert_eq!(collect(&mut *sender.receiver, 1, is_experimental), []);
    let Statistics {
        received,
        overrun: 0,
        truncated: 0,
        ..
    } = receiver.receiver.statistics()
    else {
        panic!("frames were lost")
    };
    assert!(received >= 300);
}

#[test]
fn tags_travel_beside_the_frame() {
    let (left, right) = pair();
    let (sender, mut receiver) = (open(&left, "v0"), open(&right, "v1"));
    for vlan in [
        Vlan {
            tpid: 0x8100,
            tci: 0x6064,
        },
        Vlan {
            tpid: 0x88a8,
            tci: 1,
        },
    ] {
        // As long as the interface carries: the tag comes on top of the MTU.
        let mut frame = Frame::new(&experimental(1500), 14);
        frame.vlan = Some(vlan);
        let result = sender.sender.transmit(&[frame.clone().into()]);
        if vlan.tpid == 0x8100 {
            assert_eq!(result.sent, 1, "{result:?}");
        } else {
            // The kernel grants the four extra octets to 0x8100 only.
            assert_eq!(result.too_big, 1, "{result:?}");
            frame = Frame::new(&experimental(1496), 14);
            frame.vlan = Some(vlan);
            assert_eq!(sender.sender.transmit(&[frame.clone().into()]).sent, 1);
        }
        let seen = collect(&mut *receiver.receiver, 1, is_experimental);
        assert_eq!(seen.len(), 1);
        assert_eq!(
            (seen[0].vlan, &seen[0].bytes[..]),
            (Some(vlan), frame.bytes())
        );
    }
}

#[test]
fn super_frames_pass_whole() {
    let (left, right) = pair();
    left.ip("addr add 10.0.0.1/24 dev v0");
    right.ip("addr add 10.0.0.2/24 dev v1");
    let mut receiver = open(&right, "v1");
    let sink = right.enter("a sink", || UdpSocket::bind("10.0.0.2:9").expect("bind"));
    sink.set_read_timeout(Some(Duration::from_secs(2)))
        .expect("timeout");
    // A TCP download makes super-frames by itself; see bulk.rs. Here one is made by hand: 45 UDP
    // datagrams of 1400 octets, which the receiving kernel must take apart.
    let mut frame = Frame::new(&udp_super_frame(45, 1400), 14);
    frame.offload = Offload {
        partial_checksum: Some(6),
        checksum_start: 34,
        gso: Some(GsoKind::UdpL4),
        gso_size: 1400,
        gso_ecn: false,
    };
    let mut sender = open(&left, "v0");
    for vlan in [
        None,
        Some(Vlan {
            tpid: 0x8100,
            tci: 7,
        }),
    ] {
        frame.vlan = vlan;
        let result = sender.sender.transmit(&[frame.clone().into()]);
        assert_eq!(result.sent, 1, "{result:?}");
        let seen = collect(&mut *receiver.receiver, 1, |packet| packet.len() > 60_000);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].offload, frame.offload);
        assert_eq!((seen[0].vlan, &seen[0].bytes[..]), (vlan, frame.bytes()));
        assert!(seen[0].headroom >= HEADROOM);
    }
    // The untagged one reached the socket as 45 datagrams.
    for _ in 0..45 {
        assert_eq!(sink.recv(&mut [0; 2000]).expect("a datagram"), 1400);
    }
    assert_eq!(
        collect(&mut *sender.receiver, 1, |packet| packet.len() > 60_000),
        []
    );
}

/// A frame of UDP datagrams in one, its checksum field holding the pseudo-header sum.
pub(crate) fn udp_super_frame(datagrams: usize, size: usize) -> Vec<u8> {
    let mut bytes = [mac(2), mac(1)].concat();
    bytes.extend([8, 0]);
    let udp = u16::try_from(8 + datagrams * size).expect("below 64 KiB");
    let total = (udp + 20).to_be_bytes();
    let mut header = [
        0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let sum = Sum::of(&header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(header);
    let pseudo = [
        10,
        0,
        0,
        1,
        10,
        0,
        0,
        2,
        0,
        17,
        udp.to_be_bytes()[0],
        udp.to_be_bytes()[1],
    ];
    bytes.extend(7_u16.to_be_bytes());
    bytes.extend(9_u16.to_be_bytes());
    bytes.extend(udp.to_be_bytes());
    bytes.extend(Sum::of(&pseudo).fold().to_be_bytes());
    bytes.resize(42 + datagrams * size, b'u');
    bytes
}

#[test]
fn what_the_interface_cannot_carry_is_counted_and_the_rest_is_sent() {
    let (left, right) = pair();
    let (sender, mut receiver) = (open(&left, "v0"), open(&right, "v1"));
    let frames: Vec<Outgoing<'_>> = (0..150)
        .map(|at| Frame::new(&experimental(if at % 3 == 1 { 1600 } else { 100 }), 14).into())
        .collect();
    let result = sender.sender.transmit(&frames);
    assert_eq!(
        (result.sent, result.too_big, result.failed()),
        (100, 50, 50),
        "{result:?}"
    );
    assert_eq!(
        collect(&mut *receiver.receiver, 100, is_experimental).len(),
        100
    );
}

#[test]
fn a_full_ring_counts_what_is_lost() {
    let (left, right) = pair();
    let (sender, mut receiver) = (open(&left, "v0"), open(&right, "v1"));
    let frame = Frame::new(&experimental(100), 14);
    let batch: Vec<Outgoing<'_>> = (0..1000).map(|_| frame.clone().into()).collect();
    let sent: usize = (0..5).map(|_| sender.sender.transmit(&batch).sent).sum();
    assert_eq!(sent, 5000);
    let received = collect(&mut *receiver.receiver, 5000, is_experimental).len();
    let lost = usize::try_from(receiver.receiver.statistics().overrun).expect("few");
    assert!(
        lost >= 900 - 100 && received + lost >= 5000,
        "{received} received, {lost} lost"
    );
}

#[test]
fn an_interface_that_goes_down_comes_back_and_one_that_is_removed_is_an_error() {
    let (left, right) = pair();
    let (sender, mut receiver) = (open(&left, "v0"), open(&right, "v1"));
    let frame = [Outgoing::from(Frame::new(&experimental(100), 14))];
    right.ip("link set v1 down");
    assert_eq!(collect(&mut *receiver.receiver, 1, is_experimental), []);
    assert_eq!(receiver.receiver.statistics().link_down, 1);
    assert_eq!(receiver.sender.transmit(&frame).down, 1);
    right.ip("link set v1 up");
    // Sending took the second report of the interface going down; from here on all is well.
    assert_eq!(sender.sender.transmit(&frame).sent, 1);
    assert_eq!(
        collect(&mut *receiver.receiver, 1, is_experimental).len(),
        1
    );
    assert_eq!(receiver.sender.transmit(&frame).sent, 1);

    right.ip("link del v1");
    // What arrived before comes first.
    let error = loop {
        match receiver.receiver.receive(&mut Vec::new()) {
            Ok(0) => panic!("the link did not notice that its interface is gone"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        error.starts_with("cannot receive on v1: No such device"),
        "{error}"
    );
}

#[test]
fn refusals_say_what_to_do() {
    let namespace = Namespace::new("e");
    let error = namespace.enter("opening", || {
        af_packet::open("nowhere0", 1, &steering())
            .expect_err("no such interface")
            .to_string()
    });
    assert_eq!(
        error,
        "cannot look up the interface on nowhere0: No such device (os error 19); there is no \
         interface nowhere0: `ip link` lists those of this network namespace"
    );
}

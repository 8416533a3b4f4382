//! What must hold for every frame that leaves the director.

use crate::bytes::{ICMP, ICMPV6};
use director::frame::{Outgoing, Output};
use director::net::Network;
use director::verdict::{DropReason, Verdict};
use packet::arp::Arp;
use packet::{Family, Headers, Malformed, Packet, Transport, checksum, finish_checksum};

/// Frames that one packet may become: a whole datagram in the smallest fragments or segments.
const FRAMES_MAX: usize = 66_000;
/// Octets of the smallest MTU that carries what the director itself says.
const OWN_V4: usize = 576;
const OWN_V6: usize = 1280;
/// UDP port of GUE.
const GUE: u16 = 6080;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// ARP or neighbour discovery.
    Neighbour,
    /// An ICMP error.
    Error,
    Other,
}

/// Every frame can be read by its receiver and fits its link.
pub fn frames(network: &Network, output: &Output<'_>, is_right: bool) {
    assert!(
        output.frames.len() <= FRAMES_MAX,
        "{} frames",
        output.frames.len()
    );
    for outgoing in &output.frames {
        frame(network, outgoing, is_right);
    }
}

/// A packet's verdict agrees with what was sent.
pub fn outcome(verdict: Verdict, output: &Output<'_>, link_len: impl Fn(u32) -> usize) {
    let kinds: Vec<Kind> = output
        .frames
        .iter()
        .map(|outgoing| kind(outgoing.frame.bytes(), link_len(outgoing.interface)))
        .collect();
    let only = |allowed: &[Kind]| kinds.iter().all(|kind| allowed.contains(kind));
    match verdict {
        Verdict::Forwarded => assert!(!kinds.is_empty(), "forwarded nothing"),
        Verdict::Pass => assert!(kinds.is_empty(), "passed on and sent {kinds:?}"),
        // A super-frame that is cut may get an error beside.
        Verdict::Held => assert!(
            only(&[Kind::Neighbour, Kind::Error]),
            "held and sent {kinds:?}"
        ),
        Verdict::Answered => assert!(kinds.len() < 200, "{} answers", kinds.len()),
        Verdict::Drop(
            DropReason::NoDestination
            | DropReason::TtlExpired
            | DropReason::TooBig
            | DropReason::NoRoute
            | DropReason::IpOptions,
        ) => {
            assert!(
                only(&[Kind::Neighbour, Kind::Error]),
                "{verdict:?} and sent {kinds:?}"
            )
        }
        Verdict::Drop(DropReason::NeighbourQueueFull) => {}
        Verdict::Drop(_) => assert!(kinds.is_empty(), "{verdict:?} and sent {kinds:?}"),
    }
}

fn kind(bytes: &[u8], link_len: usize) -> Kind {
    let Ok(headers) = parse(bytes, link_len) else {
        return if link_len > 0 && bytes.get(12..14) == Some(&[8, 6]) {
            Kind::Neighbour
        } else {
            Kind::Other
        };
    };
    if headers.fragment.is_some() && matches!(headers.protocol, ICMP | ICMPV6) {
        return Kind::Error;
    }
    match (headers.family, headers.transport) {
        (
            Family::V6,
            Transport::Icmp {
                kind: 133..=137, ..
            },
        ) => Kind::Neighbour,
        (Family::V6, Transport::Icmp { kind: 1..=4, .. })
        | (
            Family::V4,
            Transport::Icmp {
                kind: 3 | 4 | 11 | 12,
                ..
            },
        ) => Kind::Error,
        _ => Kind::Other,
    }
}

fn parse(bytes: &[u8], link_len: usize) -> Result<Headers, Malformed> {
    let mut copy = bytes.to_vec();
    let whole = copy.len();
    Headers::parse(&Packet::new(&mut copy, 0..whole, link_len))
}

fn frame(network: &Network, outgoing: &Outgoing<'_>, is_right: bool) {
    let interface = network.interface(outgoing.interface);
    let interface = interface.expect("an interface of the director's");
    let mut bytes = outgoing.frame.bytes().to_vec();
    let whole = bytes.len();
    let link_len = interface.link_len;
    if link_len > 0 {
        assert_eq!(bytes[6..12], interface.mac.0, "another's source address");
        assert_ne!(bytes[..6], [0; 6], "to nobody");
        if bytes[12..14] == [8, 6] {
            let packet = Packet::new(&mut bytes, 0..whole, link_len);
            Arp::of(&packet).expect("ARP that can be read");
            return;
        }
    }
    let mut packet = Packet::new(&mut bytes, 0..whole, link_len);
    packet.offload = outgoing.frame.offload();
    let headers = match Headers::parse(&packet) {
        Ok(headers) => headers,
        // The first fragment of a datagram may end within its transport header.
        Err(Malformed::TransportTruncated) => return,
        Err(malformed) => panic!("sent a malformed frame: {malformed:?}"),
    };
    assert_eq!(headers.end, packet.len(), "padding was sent");
    let mtu = usize::try_from(interface.mtu).expect("an MTU");
    let mtu = match headers.family {
        Family::V4 => mtu.max(OWN_V4),
        Family::V6 => mtu.max(OWN_V6),
    };
    let len = whole - link_len;
    match packet.offload.gso {
        None => assert!(len <= mtu, "{len} octets over an MTU of {mtu}"),
        Some(_) => assert!(packet.offload.gso_size > 0, "segments of nothing"),
    }
    if is_right && headers.fragment.is_none() && packet.offload.gso.is_none() {
        assert!(
            finish_checksum(&mut packet),
            "an unfinished checksum nowhere"
        );
        assert!(
            checksum::is_valid(&packet, &headers),
            "a wrong checksum was sent"
        );
        inner(&packet, &headers);
    }
}

/// What is in a tunnel must be right as well.
fn inner(packet: &Packet<'_>, headers: &Headers) {
    let tunnelled = match headers.transport {
        Transport::Udp { destination, .. } => destination == GUE,
        _ => matches!(headers.protocol, 4 | 41 | 47),
    };
    if !tunnelled {
        return;
    }
    let range = packet::decapsulate(packet.network()).expect("a tunnel that can be opened");
    let mut bytes = packet.network()[range].to_vec();
    let whole = bytes.len();
    let packet = Packet::new(&mut bytes, 0..whole, 0);
    let headers = Headers::parse(&packet).expect("a datagram in the tunnel");
    assert_eq!(headers.end, whole);
    if !matches!(headers.transport, Transport::Fragment) && headers.protocol != 17 {
        // UDP inside GUE may have a checksum that the tunnel's end finishes; TCP too, told by its flags.
        let remote = packet.offload.partial_checksum.is_some();
        assert!(remote || checksum::is_valid(&packet, &headers) || is_remote(&packet));
    }
}

/// Whether the checksum field holds a mere pseudo-header sum: the tunnel's end finishes it.
fn is_remote(packet: &Packet<'_>) -> bool {
    let Ok(headers) = Headers::parse(packet) else {
        return false;
    };
    let field = match headers.transport {
        Transport::Tcp { .. } => headers.transport_offset + 16,
        Transport::Udp { .. } => headers.transport_offset + 6,
        _ => return false,
    };
    let len = headers.end - headers.transport_offset;
    let sum = crate::bytes::partial(headers.protocol, headers.source, headers.destination, len);
    packet.bytes().get(field..field + 2) == Some(&sum.to_be_bytes())
}

//! The kernel assist: what it takes, what it makes of it, and that the rest stays the director's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use etherparse::PacketBuilder;
use link::assist::{Assist, FLOWS_MAX, Flow, FlowId, Flows};
use link::steering::Steering;
use link::sys::interface;
use link::{Frame, Link, Outgoing, af_packet};

use packet::checksum::Sum;
use packet::{Headers, Mac, Packet, Translation, decrement_ttl, translate};

use crate::af_packet::{collect, open};
use crate::namespace::{Namespace, mac, veth};

const CLIENTS: [&str; 2] = ["10.0.0.1", "2001:db8::1"];
const VIPS: [&str; 2] = ["10.0.0.100", "2001:db8::100"];
const SERVERS: [&str; 2] = ["10.1.0.2", "2001:db8:1::2"];
const PORTS: (u16, u16) = (40_000, 53);
const SERVER_PORT: u16 = 5353;
const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const ACK: u8 = 0x10;

/// client c0 - d0 director d1 - r0 server, without addresses: frames alone.
pub(crate) struct Bench {
    pub(crate) client: Link,
    server: Link,
    pub(crate) director: Link,
    pub(crate) assist: Assist,
    indices: [u32; 2],
    _kept: ([Namespace; 3], af_packet::Group),
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn bench() -> Bench {
    let spaces = ["c", "d", "s"].map(Namespace::new);
    let [client, director, server] = &spaces;
    veth((client, "c0", 1), (director, "d0", 2));
    veth((director, "d1", 3), (server, "r0", 4));
    let (assist, links, group, indices) = director.enter("attaching", || {
        let mut assist = Assist::load().expect("load");
        for name in ["d0", "d1"] {
            assist.attach(name).expect("attach");
        }
        let (links, group) = af_packet::open("d0", 1, &Steering::new(&[], 0)).expect("open");
        group.assist(assist.filter()).expect("filter");
        let indices = ["d0", "d1"].map(|name| interface::index(name).expect("index"));
        (assist, links, group, indices)
    });
    Bench {
        client: open(client, "c0"),
        server: open(server, "r0"),
        director: links.into_iter().next().expect("a link"),
        assist,
        indices,
        _kept: (spaces, group),
    }
}

impl Bench {
    pub(crate) fn flow(&self, family: usize, protocol: u8, translation: Translation) -> Flow {
        Flow {
            protocol,
            source: (ip(CLIENTS[family]), PORTS.0),
            destination: (ip(VIPS[family]), PORTS.1),
            ingress: self.indices[0],
            egress: self.indices[1],
            next_hop: Mac(mac(4)),
            sender: Mac(mac(3)),
            mtu: 1500,
            translation,
        }
    }

    fn install(&self, flow: &Flow) -> FlowId {
        let flows: &Arc<Flows> = self.assist.flows();
        let id = flows.install(flow, flows.generation()).expect("room");
        assert!(flows.take_over(&id, 0), "nothing came in between");
        id
    }

    /// Sends a frame from the client and tells where it came out: at the server, or at the director.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let frame = Frame::new(bytes, 14);
        assert_eq!(
            self.client.sender.transmit(&[Outgoing::Owned(frame)]).sent,
            1
        );
        let mut marker = bytes[..12].to_vec();
        marker.extend([0x88, 0xb5, 7]);
        let marker = Frame::new(&marker, 14);
        assert_eq!(
            self.client.sender.transmit(&[Outgoing::Owned(marker)]).sent,
            1
        );
        // Whatever comes before the marker.
        let is_marker = |bytes: &Vec<u8>| bytes[12..14] == [0x88, 0xb5];
        let mut at_director: Vec<Vec<u8>> = Vec::new();
        while !at_director.last().is_some_and(is_marker) {
            let seen = collect(&mut *self.director.receiver, 1, |_| true);
            assert!(!seen.is_empty(), "the marker comes");
            at_director.extend(seen.into_iter().map(|seen| seen.bytes));
        }
        at_director.pop();
        // What the client's kernel says to its IPv6 neighbours by itself.
        at_director.retain(|bytes| bytes[..2] != [0x33, 0x33]);
        let mut at_server = Vec::new();
        let mut batch = Vec::new();
        self.server.receiver.receive(&mut batch).expect("receive");
        at_server.extend(batch.iter().map(|packet| packet.bytes().to_vec()));
        at_server.retain(|bytes| bytes[..6] == mac(4));
        (at_server, at_director)
    }
}

/// A frame of the flow to the director.
pub(crate) fn frame(family: usize, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(mac(1), mac(2));
    let (IpAddr::V4(client), IpAddr::V4(vip)) = (ip(CLIENTS[0]), ip(VIPS[0])) else {
        panic!("IPv4")
    };
    let (IpAddr::V6(client6), IpAddr::V6(vip6)) = (ip(CLIENTS[1]), ip(VIPS[1])) else {
        panic!("IPv6")
    };
    let link = match family {
        0 => link.ipv4(client.octets(), vip.octets(), 60),
        _ => link.ipv6(client6.octets(), vip6.octets(), 60),
    };
    let mut bytes = Vec::new();
    match protocol {
        TCP => link
            .tcp(PORTS.0, PORTS.1, 77, 1000)
            .ack(55)
            .write(&mut bytes, payload),
        _ => link.udp(PORTS.0, PORTS.1).write(&mut bytes, payload),
    }
    .expect("a frame");
    bytes
}

/// What the director makes of it.
fn expected(bytes: &[u8], translation: Translation) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let len = bytes.len();
    let mut packet = Packet::new(&mut bytes, 0..len, 14);
    let headers = Headers::parse(&packet).expect("headers");
    packet.truncate(headers.end);
    decrement_ttl(&mut packet, &headers).expect("TTL");
    translate(&mut packet, &headers, translation).expect("translate");
    packet.bytes_mut()[..6].copy_from_slice(&mac(4));
    packet.bytes_mut()[6..12].copy_from_slice(&mac(3));
    packet.bytes().to_vec()
}

/// Nothing, a new destination, a new source.
pub(crate) fn translations(family: usize) -> [Translation; 3] {
    let endpoint = Some((ip(SERVERS[family]), SERVER_PORT));
    [
        Translation::default(),
        Translation {
            destination: endpoint,
            ..Translation::default()
        },
        Translation {
            source: endpoint,
            ..Translation::default()
        },
    ]
}

#[test]
fn plain_packets_are_rewritten_as_the_director_does() {
    let mut bench = bench();
    for family in [0, 1] {
        for protocol in [TCP, UDP] {
            for translation in translations(family) {
                let id = bench.install(&bench.flow(family, protocol, translation));
                let (mut packets, mut octets) = (0, 0);
                for len in [0, 1, 7, 600, 1400] {
                    let payload: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[0]).collect();
                    let bytes = frame(family, protocol, &payload);
                    let (out, left) = bench.send(&bytes);
                    let what = (family, protocol, translation, len);
                    assert_eq!(out, [expected(&bytes, translation)], "{what:?}");
                    assert_eq!(left, Vec::<Vec<u8>>::new(), "{what:?}");
                    packets += 1;
                    octets += u64::try_from(bytes.len() - 14).expect("length");
                }
                let taken = bench.assist.flows().remove(&id);
                assert_eq!((taken.packets, taken.octets), (packets, octets));
                assert!(taken.last > Duration::ZERO);
                let bytes = frame(family, protocol, b"x");
                assert_eq!(bench.send(&bytes), (vec![], vec![bytes]));
            }
        }
    }
    assert_eq!(bench.assist.flows().count(), 0);
}

/// A change to a frame that makes it one to be judged.
type Change = (&'static str, fn(&mut Vec<u8>));

/// Sets the IPv4 header's checksum right.
fn seal(bytes: &mut [u8]) {
    bytes[24..26].fill(0);
    let checksum = Sum::of(&bytes[14..34]).finish();
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
}

const OF_ANY: [Change; 3] = [
    ("to another host's link address", |bytes| bytes[5] = 9),
    ("to all link addresses", |bytes| bytes[..6].fill(0xff)),
    ("cut short", |bytes| bytes.truncate(bytes.len() - 1)),
];

const OF_IPV4: [Change; 7] = [
    ("with its last hop behind it", |bytes| {
        bytes[22] = 1;
        seal(bytes);
    }),
    ("a first fragment", |bytes| {
        bytes[20] = 0x20;
        seal(bytes);
    }),
    ("a later fragment", |bytes| {
        bytes[21] = 1;
        seal(bytes);
    }),
    ("with a wrong header checksum", |bytes| bytes[24] ^= 1),
    ("with options", |bytes| {
        bytes.splice(34..34, [1, 1, 1, 1]);
        bytes[14] = 0x46;
        let len = u16::try_from(bytes.len() - 14).expect("length");
        bytes[16..18].copy_from_slice(&len.to_be_bytes());
        bytes[24..26].fill(0);
        let checksum = Sum::of(&bytes[14..38]).finish();
        bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    }),
    ("of another version", |bytes| {
        bytes[14] = 0x55;
        seal(bytes);
    }),
    ("of another protocol", |bytes| {
        bytes[23] = 132;
        seal(bytes);
    }),
];

const OF_IPV6: [Change; 3] = [
    ("with its last hop behind it", |bytes| bytes[21] = 1),
    ("with options", |bytes| {
        let next = std::mem::replace(&mut bytes[20], 0);
        bytes.splice(54..54, [next, 0, 1, 4, 0, 0, 0, 0]);
        let len = u16::try_from(bytes.len() - 54).expect("length");
        bytes[18..20].copy_from_slice(&len.to_be_bytes());
    }),
    ("of another protocol", |bytes| bytes[20] = 132),
];

fn transport(family: usize) -> usize {
    [34, 54][family]
}

#[test]
fn what_needs_judgement_stays_the_directors() {
    let mut bench = bench();
    for (family, changes) in [(0, &OF_IPV4[..]), (1, &OF_IPV6)] {
        for protocol in [TCP, UDP] {
            bench.install(&bench.flow(family, protocol, translations(family)[1]));
            let plain = frame(family, protocol, &[7; 100]);
            for (what, change) in OF_ANY.iter().chain(changes) {
                let mut bytes = plain.clone();
                change(&mut bytes);
                let (out, left) = bench.send(&bytes);
                assert!(out.is_empty(), "{family} {protocol} {what}: {out:?}");
                assert_eq!(left, [bytes], "{family} {protocol} {what}");
            }
            let (out, left) = bench.send(&plain);
            assert_eq!((out.len(), left.len()), (1, 0), "{family} {protocol}");
        }
        let flags = transport(family) + 13;
        for (value, taken) in [
            (ACK, true),
            (ACK | 0x08, true),
            (ACK | 0xc0, true),
            (ACK | 0x01, false),
            (ACK | 0x02, false),
            (ACK | 0x04, false),
            (ACK | 0x20, false),
            (0x08, false),
            (0, false),
        ] {
            let mut bytes = frame(family, TCP, b"data");
            bytes[flags] = value;
            let (out, left) = bench.send(&bytes);
            assert_eq!(
                (out.len(), left.len()),
                (taken.into(), (!taken).into()),
                "{value:#x}"
            );
        }
        // A header of fewer octets than there can be.
        let mut bytes = frame(family, TCP, b"data");
        bytes[flags - 1] = 0x40;
        assert_eq!(bench.send(&bytes).1.len(), 1);
        // A translated datagram's checksum would have to be computed; one that stays is nobody's business.
        let checksum = transport(family) + 6;
        let mut bytes = frame(family, UDP, b"data");
        bytes[checksum..checksum + 2].fill(0);
        assert_eq!(bench.send(&bytes).1.len(), 1);
        bench.install(&bench.flow(family, UDP, Translation::default()));
        assert_eq!(bench.send(&bytes).0.len(), 1);
    }
}

#[test]
fn other_flows_are_the_directors() {
    let mut bench = bench();
    for family in [0, 1] {
        let flow = bench.flow(family, UDP, Translation::default());
        let elsewhere = Flow {
            ingress: bench.indices[1],
            ..flow.clone()
        };
        let id = bench.install(&elsewhere);
        let bytes = frame(family, UDP, b"data");
        assert_eq!(bench.send(&bytes).1.len(), 1, "it arrives elsewhere");
        bench.assist.flows().remove(&id);
        bench.install(&flow);
        for at in [0, 1] {
            let mut other = bytes.clone();
            other[transport(family) + 2 * at] ^= 0x40;
            assert_eq!(bench.send(&other).1.len(), 1, "port {at}");
        }
        let tcp = frame(family, TCP, b"data");
        assert_eq!(bench.send(&tcp).1.len(), 1, "another protocol");
        assert_eq!(bench.send(&bytes).0.len(), 1);
    }
}

#[test]
fn what_does_not_fit_is_the_directors() {
    let mut bench = bench();
    for family in [0, 1] {
        let flow = bench.flow(family, UDP, Translation::default());
        let headers = [28, 48][family];
        bench.install(&Flow {
            mtu: 1000 + headers,
            ..flow
        });
        for (len, fits) in [(1000, true), (1001, false)] {
            let (out, left) = bench.send(&frame(family, UDP, &vec![7; len]));
            assert_eq!(
                (out.len(), left.len()),
                (fits.into(), (!fits).into()),
                "{len}"
            );
        }
    }
}

#[test]
fn padding_goes() {
    let mut bench = bench();
    let translation = translations(0)[1];
    bench.install(&bench.flow(0, UDP, translation));
    let exact = frame(0, UDP, b"x");
    let mut padded = exact.clone();
    padded.resize(60, 0);
    let (out, left) = bench.send(&padded);
    assert_eq!((out, left), (vec![expected(&exact, translation)], vec![]));
}

#[test]
fn a_change_makes_all_flows_void_until_they_are_installed_again() {
    let mut bench = bench();
    let flow = bench.flow(0, UDP, Translation::default());
    let flows = Arc::clone(bench.assist.flows());
    let old = flows.generation();
    let id = bench.install(&flow);
    let bytes = frame(0, UDP, b"data");
    assert_eq!(bench.send(&bytes).0.len(), 1);
    flows.invalidate();
    assert_eq!(bench.send(&bytes).1.len(), 1);
    // What was decided before the change stays void.
    flows.remove(&id);
    let id = flows.install(&flow, old).expect("room");
    assert!(flows.take_over(&id, 0));
    assert_eq!(bench.send(&bytes).1.len(), 1);
    flows.remove(&id);
    bench.install(&flow);
    assert_eq!(bench.send(&bytes).0.len(), 1);
}

#[test]
fn flows_that_cannot_be_are_refused() {
    let bench = bench();
    let flows = bench.assist.flows();
    let generation = flows.generation();
    let plain = bench.flow(0, TCP, Translation::default());
    let [v4, v6] = [0, 1].map(|family| (ip(SERVERS[family]), 80));
    let both = Translation {
        source: Some(v4),
        destination: Some(v4),
    };
    let mixed = Translation {
        source: None,
        destination: Some(v6),
    };
    for flow in [
        Flow {
            protocol: 132,
            ..plain.clone()
        },
        Flow {
            ingress: 99_999,
            ..plain.clone()
        },
        Flow {
            egress: 99_999,
            ..plain.clone()
        },
        Flow {
            translation: both,
            ..plain.clone()
        },
        Flow {
            translation: mixed,
            ..plain.clone()
        },
    ] {
        assert_eq!(flows.install(&flow, generation), None, "{flow:?}");
    }
    assert_eq!(flows.count(), 0);
    assert!(flows.install(&plain, generation).is_some());
    assert_eq!(flows.count(), 1);
}

#[test]
fn the_map_has_an_end_and_entries_come_back() {
    let bench = bench();
    let flows = bench.assist.flows();
    let generation = flows.generation();
    let flow = |number: u32| Flow {
        source: (
            IpAddr::from((0x0a00_0000 + (number >> 8)).to_be_bytes()),
            u16::try_from(number & 0xff).expect("a port"),
        ),
        ..bench.flow(0, TCP, Translation::default())
    };
    let ids: Vec<FlowId> = (0..FLOWS_MAX)
        .map(|number| flows.install(&flow(number), generation).expect("room"))
        .collect();
    assert_eq!(flows.install(&flow(FLOWS_MAX), generation), None);
    flows.remove(&ids[77]);
    std::thread::sleep(Duration::from_millis(30));
    assert!(flows.install(&flow(FLOWS_MAX), generation).is_some());
    assert_eq!(flows.count(), FLOWS_MAX);
}

#[test]
fn nothing_is_taken_once_it_ends() {
    let mut bench = bench();
    bench.install(&bench.flow(0, UDP, Translation::default()));
    let bytes = frame(0, UDP, b"data");
    assert_eq!(bench.send(&bytes).0.len(), 1);
    bench._kept.1.end_assist();
    let index = bench.indices[0];
    bench.assist.detach(index);
    assert_eq!(bench.assist.interfaces().collect::<Vec<_>>(), ["d1"]);
    assert_eq!(bench.send(&bytes).1.len(), 1);
}

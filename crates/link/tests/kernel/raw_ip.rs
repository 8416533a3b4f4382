//! Raw IP sockets: tunnelled packets in, whole packets out.

use std::io::IoSlice;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use link::sys::batch::Batch;
use link::sys::multicast::{Membership, solicited_node};
use link::sys::{interface, poll, raw_ip};
use packet::checksum::Sum;

use crate::namespace::{Namespace, veth};

const IPIP: u8 = 4;
const IPV6_IN_IP: u8 = 41;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An IP header in front of `payload`, IPv4 without checksum (the kernel fills it in).
fn packet(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let len = u16::try_from(20 + payload.len())
                .expect("short")
                .to_be_bytes();
            let start = [0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, protocol, 0, 0];
            [&start[..], &from.octets(), &to.octets()].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let len = u16::try_from(payload.len()).expect("short").to_be_bytes();
            let start = [0x60, 0, 0, 0, len[0], len[1], protocol, 64];
            [&start[..], &from.octets(), &to.octets()].concat()
        }
        _ => panic!("one family"),
    };
    [&header, payload].concat()
}

/// What `ulvs decap` does: a tunnelled datagram comes in, the inner packet reaches a local socket
/// with its own source address, whatever rp_filter says.
#[test]
fn tunnelled_packets_come_in_and_inner_ones_go_to_the_host() {
    let (director, server) = (Namespace::new("d"), Namespace::new("s"));
    veth((&director, "d0", 1), (&server, "r0", 2));
    for (namespace, interface, addresses) in [
        (&director, "d0", ["10.0.0.1/24", "2001:db8::1/64"]),
        (&server, "r0", ["10.0.0.2/24", "2001:db8::2/64"]),
        (&server, "lo", ["10.0.0.100/32", "2001:db8::100/128"]),
    ] {
        for address in addresses {
            namespace.ip(&format!("addr add {address} dev {interface} nodad"));
        }
    }
    server.sysctl("net/ipv4/conf/all/rp_filter", "1");
    for (from, to, vip, client, protocol) in [
        ("10.0.0.1", "10.0.0.2", "10.0.0.100", "192.0.2.9", IPIP),
        (
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8::100",
            "2001:db8:9::9",
            IPV6_IN_IP,
        ),
    ] {
        let (from, to, vip, client) = (ip(from), ip(to), ip(vip), ip(client));
        let v6 = to.is_ipv6();
        let (receiver, injector, socket) = server.enter("opening", move || {
            let socket = UdpSocket::bind((vip, 53)).expect("bind");
            socket
                .set_read_timeout(Some(Duration::from_secs(2)))
                .expect("timeout");
            let receiver = raw_ip::Receiver::open(v6, protocol).expect("receiver");
            (
                receiver,
                raw_ip::Injector::open(v6).expect("injector"),
                socket,
            )
        });
        let mut batch = Batch::new();
        assert_eq!(batch.receive(receiver.fd()).expect("receive"), 0);
        let inner = packet(client, vip, 17, &datagram(client, vip));
        let outer = packet(from, to, protocol, &inner);
        director.enter("sending", {
            let outer = outer.clone();
            move || {
                let injector = raw_ip::Injector::open(v6).expect("injector");
                injector.send(&[IoSlice::new(&outer)], to).expect("send");
                let other = if v6 {
                    ip("10.0.0.2")
                } else {
                    ip("2001:db8::2")
                };
                let refused = injector.send(&[IoSlice::new(&outer)], other);
                refused.expect_err("the other family");
            }
        });
        assert!(poll::readable(&[receiver.fd()], Some(Duration::from_secs(2))).expect("poll")[0]);
        assert_eq!(batch.receive(receiver.fd()).expect("receive"), 1);
        let tunnelled = &batch.datagram(0)[if v6 { 0 } else { 20 }..];
        assert_eq!(tunnelled, inner);

        let (head, rest) = tunnelled.split_at(30);
        let pieces = [IoSlice::new(head), IoSlice::new(rest)];
        injector.send(&pieces, vip).expect("send");
        let mut payload = [0; 20];
        let (len, peer) = socket.recv_from(&mut payload).expect("the inner datagram");
        assert_eq!(
            (&payload[..len], peer.ip(), peer.port()),
            (&b"hello"[..], client, 4000)
        );
    }
}

/// A UDP datagram from port 4000 to 53 with its checksum.
fn datagram(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let mut udp = [&[0x0f, 0xa0, 0, 53, 0, 13, 0, 0][..], b"hello"].concat();
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let pseudo = [&octets(from)[..], &octets(to), &[0, 17, 0, 13], &udp, &[0]].concat();
    let sum = Sum::of(&pseudo).finish();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    udp
}

/// Linux answers what no raw socket takes, and a full one takes nothing.
#[test]
fn a_full_receiver_lets_nothing_be_answered() {
    let namespace = Namespace::new("s");
    namespace.ip("addr add 10.0.0.2/32 dev lo");
    namespace.ip("addr add 2001:db8::2/128 dev lo nodad");
    namespace.enter("flooding", || {
        for (to, control, answer) in [("10.0.0.2", 1, 3), ("2001:db8::2", 58, 4)] {
            let to = ip(to);
            let errors = raw_ip::Receiver::open(to.is_ipv6(), control).expect("receiver");
            let receiver = raw_ip::Receiver::open(to.is_ipv6(), IPIP).expect("receiver");
            let injector = raw_ip::Injector::open(to.is_ipv6()).expect("injector");
            let bytes = packet(to, to, IPIP, &[0; 1400]);
            let mut sent = 0_u32;
            while raw_ip::lost(receiver.fd()).expect("a count") < 10 {
                let pieces = [IoSlice::new(&bytes)];
                injector.send(&pieces, to).expect("send");
                sent += 1;
                assert!(sent < 100_000, "it is never full");
            }
            let mut batch = Batch::new();
            batch.receive(errors.fd()).expect("receive");
            let at = if to.is_ipv6() { 0 } else { 20 };
            let kinds: Vec<u8> = batch.datagrams().map(|datagram| datagram[at]).collect();
            assert!(!kinds.contains(&answer), "{to} is answered: {kinds:?}");
        }
    });
}

#[test]
fn a_membership_joins_and_leaves() {
    let (left, right) = (Namespace::new("l"), Namespace::new("r"));
    veth((&left, "v0", 1), (&right, "v1", 2));
    let group = solicited_node("2001:db8::12:3456".parse().expect("IPv6"));
    let joined = |file: &'static str, line: &'static str| {
        left.enter("looking", move || {
            std::fs::read_to_string(format!("/proc/thread-self/net/{file}"))
                .expect("a list")
                .contains(line)
        })
    };
    let membership = left.enter("joining", move || {
        Membership::join(interface::index("v0").expect("an index"), group).expect("join")
    });
    assert!(joined("igmp6", "ff0200000000000000000001ff123456"));
    assert!(joined("dev_mcast", "3333ff123456"));
    drop(membership);
    assert!(!joined("igmp6", "ff0200000000000000000001ff123456"));
    assert!(!joined("dev_mcast", "3333ff123456"));
}

#[test]
fn interfaces_are_looked_up() {
    let (left, right) = (Namespace::new("l"), Namespace::new("r"));
    veth((&left, "v0", 0x17), (&right, "v1", 2));
    left.ip("link set v0 mtu 1400");
    left.enter("looking", || {
        let found = interface::lookup("v0").expect("there");
        assert_eq!(
            (found.mac, found.mtu, found.up),
            ([2, 0, 0, 0, 0, 0x17], 1400, true)
        );
        assert!(found.ethernet);
        assert_eq!(found.index, interface::index("v0").expect("there"));
        interface::set_up("v0", false).expect("down");
        assert!(!interface::lookup("v0").expect("there").up);
        for name in ["", "none", "a-name-of-sixteen"] {
            let error = interface::lookup(name).expect_err("not there");
            assert_eq!(error.raw_os_error(), Some(19), "{name}");
        }
    });
}

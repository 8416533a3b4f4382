//! AF_XDP on veth: what the sockets get, what passes, and what both receive together.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use link::af_xdp::{self, Mode, Scope};
use link::guard::{Guard, Method, Rules};
use link::steering::Steering;
use link::{Frame, HEADROOM, Link, Outgoing};
use packet::checksum::is_valid;
use packet::{Headers, Packet, Vlan, finish_checksum};

use crate::af_packet::{Seen, collect, open as open_packet};
use crate::guard::{
    CLIENTS, SERVERS, Topology, VIPS, ask, attach, connect, endpoints, locals, topology,
};
use crate::namespace::Namespace;

const UDP: u8 = 17;
const TCP: u8 = 6;
/// The service of the tests.
pub(crate) const PORT: u16 = 53;

/// A datagram service on the host's addresses, and the real servers whose replies are translated.
pub(crate) fn rules() -> Rules {
    Rules {
        services: [endpoints(&VIPS, UDP, PORT), endpoints(&VIPS, TCP, 80)].concat(),
        real_servers: endpoints(&SERVERS, UDP, PORT),
        locals: locals(),
        ..Rules::default()
    }
}

/// Links for `workers` on an interface of the namespace.
pub(crate) fn open(
    namespace: &Namespace,
    interface: &'static str,
    (guard, workers, scope): (&Guard, usize, Scope),
) -> af_xdp::Links {
    let flows = guard.flows().expect("a map").clone();
    namespace.enter("opening a link", move || {
        let steering = Steering::new(&[], 0);
        af_xdp::open(interface, workers, &steering, &flows, scope).expect("open")
    })
}

/// Generic mode with UDP alone, and native mode with TCP too: what each gives on veth.
pub(crate) const SCOPES: [Scope; 2] = [Scope::Automatic, Scope::All];

/// A guard with these rules, and the link of one worker on d0.
pub(crate) fn guarded(topology: &Topology, rules: &Rules, scope: Scope) -> (Guard, Link) {
    let mut guard = attach(topology, Method::Tcx);
    guard.update(rules).expect("update");
    let mut all = open(&topology.director, "d0", (&guard, 1, scope));
    let expected = match scope {
        Scope::Automatic => (Mode::Generic, 1, false),
        Scope::All => (Mode::Native, 1, true),
    };
    let got = all.status;
    assert_eq!((got.mode, got.queues, got.tcp), expected);
    (guard, all.links.pop().expect("one worker, one link"))
}

/// Sends datagrams from the namespace.
pub(crate) fn send(namespace: &Namespace, to: (&str, u16), payloads: Vec<Vec<u8>>) {
    let to: (IpAddr, u16) = (to.0.parse().expect("an address"), to.1);
    namespace.enter("sending", move || {
        let any: IpAddr = if to.0.is_ipv4() {
            [0; 4].into()
        } else {
            [0; 16].into()
        };
        let socket = UdpSocket::bind((any, 0)).expect("bind");
        for payload in payloads {
            socket.send_to(&payload, to).expect("send");
        }
    });
}

/// The port that an unfragmented packet is to.
fn port(packet: &Packet<'_>) -> Option<u16> {
    let headers = Headers::parse(packet).ok()?;
    (headers.fragment.is_none()).then(|| headers.ports().1)
}

pub(crate) fn is_service(packet: &Packet<'_>) -> bool {
    port(packet) == Some(PORT)
}

/// The frame as it would be on a wire: its checksum finished, and right.
pub(crate) fn finished(seen: &Seen) -> Vec<u8> {
    let mut frame = Frame::new(&seen.bytes, 14);
    frame.offload = seen.offload;
    let mut packet = frame.packet();
    assert!(finish_checksum(&mut packet));
    let headers = Headers::parse(&packet).expect("a packet");
    assert!(is_valid(&packet, &headers), "{seen:?}");
    packet.bytes().to_vec()
}

#[test]
fn datagrams_for_services_never_reach_the_host() {
    for scope in SCOPES {
        datagrams_for_services_never_reach_the_host_with(scope);
    }
}

fn datagrams_for_services_never_reach_the_host_with(scope: Scope) {
    let topology = topology();
    let (_guard, mut link) = guarded(&topology, &rules(), scope);
    let mut tap = open_packet(&topology.director, "d0");
    for vip in VIPS {
        let payloads: Vec<Vec<u8>> = (0..100).map(|len| vec![b'x'; 10 + len]).collect();
        send(&topology.client, (vip, PORT), payloads.clone());
        let seen = collect(&mut *link.receiver, 100, is_service);
        assert_eq!(seen.len(), 100, "{vip}");
        for (payload, seen) in payloads.iter().zip(&seen) {
            // The sender left the checksum to the interface.
            assert_eq!(seen.offload.partial_checksum, Some(6), "{vip}");
            assert!(finished(seen).ends_with(payload));
            assert!(seen.headroom >= HEADROOM && seen.vlan.is_none());
        }
        // The host has the address, no such socket, and would say so.
        assert_eq!(ask(&topology.client, vip, PORT), ErrorKind::WouldBlock);
        assert_eq!(collect(&mut *link.receiver, 1, is_service).len(), 1);
    }
    assert_eq!(collect(&mut *tap.receiver, 1, is_service), []);
}

#[test]
fn complete_checksums_are_left_alone() {
    for scope in SCOPES {
        complete_checksums_are_left_alone_with(scope);
    }
}

fn complete_checksums_are_left_alone_with(scope: Scope) {
    let topology = topology();
    let (_guard, mut link) = guarded(&topology, &rules(), scope);
    topology.client.offloads("c0", "tx off");
    for vip in VIPS {
        send(&topology.client, (vip, PORT), vec![b"complete".to_vec()]);
        let seen = collect(&mut *link.receiver, 1, is_service);
        assert_eq!(seen[0].offload.partial_checksum, None, "{vip}");
        assert!(finished(&seen[0]).ends_with(b"complete"));
    }
}

#[test]
fn what_is_not_for_services_reaches_the_host() {
    for scope in SCOPES {
        what_is_not_for_services_reaches_the_host_with(scope);
    }
}

fn what_is_not_for_services_reaches_the_host_with(scope: Scope) {
    let topology = topology();
    let (mut guard, mut link) = guarded(&topology, &rules(), scope);
    let listener = topology.director.enter("a listener", || {
        std::net::TcpListener::bind("[::]:2222").expect("bind")
    });
    for (vip, client) in VIPS.into_iter().zip(CLIENTS) {
        // ARP or neighbour discovery, and ping both ways.
        for (namespace, to) in [(&topology.client, vip), (&topology.director, client)] {
            let ping = Command::new("ip")
                .args([
                    "netns",
                    "exec",
                    &namespace.name,
                    "ping",
                    "-c",
                    "1",
                    "-W",
                    "2",
                    to,
                ])
                .output()
                .expect("ping (iputils)");
            assert!(ping.status.success(), "{to}: {ping:?}");
        }
        assert_eq!(connect(&topology.client, vip, 2222), Ok(()));
        let refused = ErrorKind::ConnectionRefused;
        assert_eq!(connect(&topology.client, vip, 81), Err(refused));
        assert_eq!(ask(&topology.client, vip, PORT + 1), refused);
        // The director sees that too, and TCP to its service, as by packet socket alone.
        let echo = |packet: &Packet<'_>| {
            Headers::parse(packet).is_ok_and(|one| matches!(one.protocol, 1 | 58))
        };
        assert!(!collect(&mut *link.receiver, 1, echo).is_empty(), "{vip}");
        assert_eq!(connect(&topology.client, vip, 80), Err(ErrorKind::TimedOut));
        let web = |packet: &Packet<'_>| port(packet) == Some(80);
        assert!(!collect(&mut *link.receiver, 1, web).is_empty(), "{vip}");
    }
    // A service that is none any more is the host's again.
    guard.update(&Rules::default()).expect("update");
    for vip in VIPS {
        assert_eq!(
            ask(&topology.client, vip, PORT),
            ErrorKind::ConnectionRefused
        );
    }
    drop(listener);
}

#[test]
fn replies_of_real_servers_are_the_directors_unless_they_are_to_the_host() {
    let topology = topology();
    let mut guard = attach(&topology, Method::Tcx);
    guard.update(&rules()).expect("update");
    let mut all = open(&topology.director, "d1", (&guard, 1, Scope::Automatic));
    let mut link = all.links.pop().expect("one link");
    let mut tap = open_packet(&topology.director, "d1");
    let to = [("10.1.0.1", "[::]:5353"), ("2001:db8:1::1", "[::]:5353")];
    for ((server, client), (host, bind)) in SERVERS.into_iter().zip(CLIENTS).zip(to) {
        let server: IpAddr = server.parse().expect("an address");
        let (client, host): (IpAddr, IpAddr) = (
            client.parse().expect("address"),
            host.parse().expect("address"),
        );
        let sink = topology
            .director
            .enter("a sink", move || UdpSocket::bind(bind).expect("bind"));
        sink.set_read_timeout(Some(Duration::from_secs(2)))
            .expect("timeout");
        topology.server.enter("a reply", move || {
            let socket = UdpSocket::bind((server, PORT)).expect("bind");
            socket
                .send_to(b"to the client", (client, 1000))
                .expect("send");
            socket.send_to(b"to the host", (host, 5353)).expect("send");
        });
        let mut buffer = [0; 99];
        let len = sink.recv(&mut buffer).expect("the host gets its own");
        assert_eq!(&buffer[..len], b"to the host");
        let reply = |packet: &Packet<'_>| port(packet) == Some(1000);
        let seen = collect(&mut *link.receiver, 1, reply);
        assert!(finished(&seen[0]).ends_with(b"to the client"));
        assert_eq!(collect(&mut *tap.receiver, 1, reply), []);
    }
}

#[test]
fn fragments_and_long_datagrams_come_by_the_packet_socket() {
    for scope in SCOPES {
        fragments_and_long_datagrams_come_by_the_packet_socket_with(scope);
    }
}

fn fragments_and_long_datagrams_come_by_the_packet_socket_with(scope: Scope) {
    let topology = topology();
    for (namespace, interface) in [(&topology.client, "c0"), (&topology.director, "d0")] {
        namespace.ip(&format!("link set {interface} mtu 9000"));
    }
    let (_guard, mut link) = guarded(&topology, &rules(), scope);
    let fragment = |packet: &Packet<'_>| {
        Headers::parse(packet).is_ok_and(|headers| headers.fragment.is_some())
    };
    let mut tap = open_packet(&topology.director, "d0");
    for vip in VIPS {
        // The first of them has ports, and is short enough.
        topology.client.ip("link set c0 mtu 1500");
        send(&topology.client, (vip, PORT), vec![vec![b'f'; 4000]]);
        topology.client.ip("link set c0 mtu 9000");
        assert_eq!(collect(&mut *link.receiver, 3, fragment).len(), 3, "{vip}");
        assert_eq!(collect(&mut *tap.receiver, 3, fragment).len(), 3, "{vip}");
        // Either side of what a chunk holds.
        for len in [1400, 3000, 3600, 8000] {
            send(&topology.client, (vip, PORT), vec![vec![b'j'; len]]);
            let seen = collect(&mut *link.receiver, 1, is_service);
            assert!(
                finished(&seen[0]).ends_with(&vec![b'j'; len]),
                "{vip} {len}"
            );
            if len > 3500 {
                let passed = collect(&mut *tap.receiver, 1, is_service);
                assert_eq!(passed[0].bytes, seen[0].bytes, "{vip} {len}");
            }
        }
    }
}

#[test]
fn a_flood_of_datagrams_does_not_keep_other_packets_waiting() {
    let topology = topology();
    let (_guard, mut link) = guarded(&topology, &rules(), Scope::Automatic);
    let client = open_packet(&topology.client, "c0");
    let frame = Frame::new(&datagram(&topology, &mut link), 14);
    let batch: Vec<Outgoing<'_>> = (0..1000).map(|_| frame.clone().into()).collect();
    assert_eq!(client.sender.transmit(&batch).sent, 1000);
    let other = [&frame.bytes()[..12], &[0x88, 0xb5], &[0; 46]].concat();
    let other = Frame::new(&other, 14);
    assert_eq!(client.sender.transmit(&[other.into()]).sent, 1);
    let before_all_others = (0..12).any(|_| {
        let mut batch = Vec::new();
        link.receiver.receive(&mut batch).expect("receive");
        batch
            .iter()
            .any(|packet| packet.bytes()[12..14] == [0x88, 0xb5])
    });
    assert!(before_all_others);
}

/// A datagram of the client for the service on the first address, as it is on the wire.
pub(crate) fn datagram(topology: &Topology, link: &mut Link) -> Vec<u8> {
    send(
        &topology.client,
        (VIPS[0], PORT),
        vec![b"a datagram".to_vec()],
    );
    finished(&collect(&mut *link.receiver, 1, is_service)[0])
}

#[test]
fn tags_travel_beside_the_frame() {
    for scope in SCOPES {
        tags_travel_beside_the_frame_with(scope);
    }
}

fn tags_travel_beside_the_frame_with(scope: Scope) {
    let topology = topology();
    let (_guard, mut link) = guarded(&topology, &rules(), scope);
    let mut client = open_packet(&topology.client, "c0");
    let bytes = datagram(&topology, &mut link);
    for tpid in [0x8100, 0x88a8] {
        let vlan = Some(Vlan { tpid, tci: 0x6064 });
        let mut frame = Frame::new(&bytes, 14);
        frame.vlan = vlan;
        assert_eq!(client.sender.transmit(&[frame.clone().into()]).sent, 1);
        let seen = collect(&mut *link.receiver, 1, is_service);
        assert_eq!((seen[0].vlan, &seen[0].bytes), (vlan, &bytes));
        assert!(seen[0].headroom >= HEADROOM);
        // And out again.
        assert_eq!(link.sender.transmit(&[frame.into()]).sent, 1);
        let seen = collect(&mut *client.receiver, 1, is_service);
        assert_eq!((seen[0].vlan, &seen[0].bytes), (vlan, &bytes));
    }
}

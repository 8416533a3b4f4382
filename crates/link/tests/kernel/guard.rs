//! The guard, by both methods: what it drops, what it lets pass, and that it ends with its process.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use link::Frame;
use link::guard::{Endpoint, Guard, Method, Rules};
use packet::checksum::Sum;

use crate::af_packet::{collect, open};
use crate::namespace::{Namespace, mac, veth};

pub(crate) const METHODS: [Method; 2] = [Method::Tcx, Method::Nftables];
pub(crate) const VIPS: [&str; 2] = ["10.0.0.100", "2001:db8:0::100"];
pub(crate) const SERVERS: [&str; 2] = ["10.1.0.2", "2001:db8:1::2"];
pub(crate) const CLIENTS: [&str; 2] = ["10.0.0.1", "2001:db8:0::1"];
/// Long enough for an answer on veth under load, short enough to wait for one that never comes.
const PATIENCE: Duration = Duration::from_millis(300);

/// client c0 - d0 director d1 - r0 server; the director forwards and has the virtual addresses.
pub(crate) struct Topology {
    pub(crate) client: Namespace,
    pub(crate) director: Namespace,
    pub(crate) server: Namespace,
}

pub(crate) fn topology() -> Topology {
    let (client, director, server) = (
        Namespace::new("c"),
        Namespace::new("d"),
        Namespace::new("s"),
    );
    veth((&client, "c0", 1), (&director, "d0", 2));
    veth((&director, "d1", 3), (&server, "r0", 4));
    for (namespace, interface, addresses) in [
        (&client, "c0", ["10.0.0.1/24", "2001:db8:0::1/64"]),
        (&director, "d0", ["10.0.0.2/24", "2001:db8:0::2/64"]),
        (&director, "d0", ["10.0.0.100/32", "2001:db8:0::100/128"]),
        (&director, "d1", ["10.1.0.1/24", "2001:db8:1::1/64"]),
        (&server, "r0", ["10.1.0.2/24", "2001:db8:1::2/64"]),
    ] {
        for address in addresses {
            namespace.ip(&format!("addr add {address} dev {interface} nodad"));
        }
    }
    for (namespace, gateways) in [
        (&client, ["10.0.0.2", "2001:db8:0::2"]),
        (&server, ["10.1.0.1", "2001:db8:1::1"]),
    ] {
        for gateway in gateways {
            namespace.ip(&format!("route add default via {gateway}"));
        }
    }
    director.sysctl("net/ipv4/ip_forward", "1");
    director.sysctl("net/ipv6/conf/all/forwarding", "1");
    Topology {
        client,
        director,
        server,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn endpoints(addresses: &[&str], protocol: u8, port: u16) -> Vec<Endpoint> {
    addresses
        .iter()
        .map(|text| Endpoint {
            protocol,
            address: ip(text),
            port,
        })
        .collect()
}

pub(crate) fn locals() -> Vec<IpAddr> {
    ["10.0.0.2", "2001:db8:0::2", "10.1.0.1", "2001:db8:1::1"]
        .into_iter()
        .chain(VIPS)
        .map(ip)
        .collect()
}

/// What a client that connects there gets: `ConnectionRefused` from a host without a listener,
/// `TimedOut` from one that keeps silent.
pub(crate) fn connect(namespace: &Namespace, to: &str, port: u16) -> Result<(), ErrorKind> {
    connect_within(PATIENCE, namespace, to, port)
}

fn connect_within(
    patience: Duration,
    namespace: &Namespace,
    to: &str,
    port: u16,
) -> Result<(), ErrorKind> {
    let to = SocketAddr::new(ip(to), port);
    namespace.enter("connecting", move || {
        TcpStream::connect_timeout(&to, patience)
            .map(drop)
            .map_err(|error| error.kind())
    })
}

/// What a client that sends a datagram there gets back.
pub(crate) fn ask(namespace: &Namespace, to: &str, port: u16) -> ErrorKind {
    let to = SocketAddr::new(ip(to), port);
    namespace.enter("asking", move || {
        let any: IpAddr = if to.is_ipv4() {
            [0; 4].into()
        } else {
            [0; 16].into()
        };
        let socket = UdpSocket::bind((any, 0)).expect("bind");
        socket.connect(to).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        socket.send(b"?").expect("send");
        socket.recv(&mut [0; 9]).expect_err("nobody answers").kind()
    })
}

pub(crate) fn attach(topology: &Topology, method: Method) -> Guard {
    topology.director.enter("attaching", move || {
        let guard = Guard::attach_by(method, &["d0", "d1"]).expect("attach");
        assert_eq!(guard.method(), method);
        guard
    })
}

#[test]
fn the_host_answers_for_a_local_address_only_where_no_service_is() {
    let topology = topology();
    let listener = topology.director.enter("a listener", || {
        TcpListener::bind("[::]:2222").expect("bind")
    });
    for method in METHODS {
        let mut guard = attach(&topology, method);
        let mut tap = open(&topology.director, "d0");
        let rules = Rules {
            services: [endpoints(&VIPS, 6, 80), endpoints(&VIPS, 17, 53)].concat(),
            locals: locals(),
            ..Rules::default()
        };
        for vip in VIPS {
            assert_eq!(
                connect(&topology.client, vip, 80),
                Err(ErrorKind::ConnectionRefused)
            );
            assert_eq!(ask(&topology.client, vip, 53), ErrorKind::ConnectionRefused);
        }
        guard.update(&rules).expect("update");
        collect(&mut *tap.receiver, usize::MAX, |_| true);
        for vip in VIPS {
            let silent = Err(ErrorKind::TimedOut);
            assert_eq!(connect(&topology.client, vip, 80), silent, "{method} {vip}");
            assert_eq!(
                ask(&topology.client, vip, 53),
                ErrorKind::WouldBlock,
                "{method} {vip}"
            );
            // The director still sees what the host does not.
            let port = |frame: &packet::Packet<'_>| {
                let at = if frame.bytes()[12] == 8 { 36 } else { 56 };
                frame.bytes().get(at..at + 2) == Some(&[0, 80])
            };
            assert!(
                !collect(&mut *tap.receiver, 1, port).is_empty(),
                "{method} {vip}"
            );
            // What is no service is the host's.
            assert_eq!(
                connect(&topology.client, vip, 2222),
                Ok(()),
                "{method} {vip}"
            );
            let refused = Err(ErrorKind::ConnectionRefused);
            assert_eq!(
                connect(&topology.client, vip, 81),
                refused,
                "{method} {vip}"
            );
            assert_eq!(ask(&topology.client, vip, 80), ErrorKind::ConnectionRefused);
        }
    }
    drop(listener);
}

#[test]
fn rules_change_while_the_guard_is_on() {
    let topology = topology();
    for method in METHODS {
        let mut guard = attach(&topology, method);
        let both = Rules {
            services: endpoints(&VIPS, 6, 80),
            ..Rules::default()
        };
        guard.update(&both).expect("update");
        assert_eq!(
            connect(&topology.client, VIPS[1], 80),
            Err(ErrorKind::TimedOut)
        );
        let fewer = Rules {
            services: endpoints(&VIPS[..1], 6, 80),
            ..Rules::default()
        };
        guard.update(&fewer).expect("update");
        assert_eq!(
            connect(&topology.client, VIPS[0], 80),
            Err(ErrorKind::TimedOut)
        );
        assert_eq!(
            connect(&topology.client, VIPS[1], 80),
            Err(ErrorKind::ConnectionRefused)
        );
        let any = Rules {
            services: endpoints(&VIPS, 6, 0),
            ..Rules::default()
        };
        guard.update(&any).expect("update");
        for vip in VIPS {
            assert_eq!(
                connect(&topology.client, vip, 2222),
                Err(ErrorKind::TimedOut)
            );
            assert_eq!(ask(&topology.client, vip, 53), ErrorKind::ConnectionRefused);
        }
        drop(guard);
        for vip in VIPS {
            let refused = Err(ErrorKind::ConnectionRefused);
            assert_eq!(
                connect(&topology.client, vip, 2222),
                refused,
                "{method} {vip}"
            );
        }
    }
}

#[test]
fn a_forwarding_host_neither_answers_for_owned_addresses_nor_leaks_replies() {
    let topology = topology();
    let owned = ["10.0.77.1", "2001:db8:77::1"];
    for method in METHODS {
        let mut guard = attach(&topology, method);
        // The client's way to the owned addresses leads to the director, which knows no further.
        for address in owned {
            // The answer to the first SYN comes while the client is still in connect(2), which then
            // takes no notice of it; so wait for the second, after a second.
            let patience = Duration::from_millis(2500);
            let error = connect_within(patience, &topology.client, address, 80);
            assert_ne!(
                error,
                Err(ErrorKind::TimedOut),
                "{method} {address}: the host answers"
            );
        }
        assert!(
            replies_reach_the_client(&topology),
            "{method}: the host forwards"
        );
        guard
            .update(&Rules {
                owned: owned.map(ip).to_vec(),
                real_servers: endpoints(&SERVERS, 17, 8080),
                locals: locals(),
                ..Rules::default()
            })
            .expect("update");
        for address in owned {
            let silent = Err(ErrorKind::TimedOut);
            assert_eq!(
                connect(&topology.client, address, 80),
                silent,
                "{method} {address}"
            );
        }
        assert!(
            !replies_reach_the_client(&topology),
            "{method}: nothing leaks"
        );
        // A director's own question to a real server is answered.
        for server in SERVERS {
            assert!(health_check(&topology, server), "{method} {server}");
        }
    }
}

/// Whether datagrams from the real servers' port 8080 get to the client.
fn replies_reach_the_client(topology: &Topology) -> bool {
    let reached: Vec<bool> = SERVERS
        .into_iter()
        .zip(CLIENTS)
        .map(|(server, client)| {
            let (server, client) = (
                SocketAddr::new(ip(server), 8080),
                SocketAddr::new(ip(client), 4000),
            );
            let receiver = topology.client.enter("binding", move || {
                let socket = UdpSocket::bind(client).expect("bind");
                socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
                socket
            });
            topology.server.enter("replying", move || {
                UdpSocket::bind(server)
                    .expect("bind")
                    .send_to(b"!", client)
                    .expect("send")
            });
            receiver.recv(&mut [0; 9]).is_ok()
        })
        .collect();
    assert_eq!(reached[0], reached[1], "both families alike");
    reached[0]
}

fn health_check(topology: &Topology, server: &str) -> bool {
    let server = SocketAddr::new(ip(server), 8080);
    let socket = topology
        .server
        .enter("binding", move || UdpSocket::bind(server).expect("bind"));
    let answering = std::thread::spawn(move || {
        let (_, from) = socket.recv_from(&mut [0; 9]).expect("receive");
        socket.send_to(b"!", from).expect("send");
    });
    let answered = topology.director.enter("asking", move || {
        let any: IpAddr = if server.is_ipv4() {
            [0; 4].into()
        } else {
            [0; 16].into()
        };
        let socket = UdpSocket::bind((any, 0)).expect("bind");
        socket.connect(server).expect("connect");
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("timeout");
        socket.send(b"?").expect("send");
        socket.recv(&mut [0; 9]).is_ok()
    });
    answering.join().expect("answered");
    answered
}

#[test]
fn extension_headers_do_not_get_past_the_guard() {
    let topology = topology();
    let mut client = open(&topology.client, "c0");
    topology
        .client
        .ip("neigh add 2001:db8:0::100 lladdr 02:00:00:00:00:02 dev c0");
    let unreachable = |frame: &packet::Packet<'_>| {
        let bytes = frame.bytes();
        bytes.get(12..14) == Some(&[0x86, 0xdd]) && bytes[20] == 58 && bytes[54] == 1
    };
    let mut answers = |dropped: bool, method: Option<Method>| {
        for chain in [
            &[][..],
            &[0],
            &[60],
            &[0, 60, 44],
            &[44],
            &[0, 60, 60, 60, 60],
        ] {
            let frame = Frame::new(&datagram_behind(chain), 14);
            assert_eq!(client.sender.transmit(&[frame.into()]).sent, 1);
            let count = collect(&mut *client.receiver, 1, unreachable).len();
            assert_eq!(count, usize::from(!dropped), "{method:?} {chain:?}");
        }
    };
    // The host limits how many errors it sends to one destination.
    topology.director.sysctl("net/ipv6/icmp/ratelimit", "0");
    answers(false, None);
    for method in METHODS {
        let mut guard = attach(&topology, method);
        let services = endpoints(&VIPS, 17, 53);
        guard
            .update(&Rules {
                services,
                ..Rules::default()
            })
            .expect("update");
        answers(true, Some(method));
    }
}

/// A datagram to the second virtual address, port 53, behind the extension headers given.
fn datagram_behind(chain: &[u8]) -> Vec<u8> {
    let (from, to): (Ipv6Addr, Ipv6Addr) = (
        CLIENTS[1].parse().expect("IPv6"),
        VIPS[1].parse().expect("IPv6"),
    );
    let mut udp = vec![0x30, 0, 0, 53, 0, 8, 0, 0];
    let pseudo = [
        &from.octets()[..],
        &to.octets(),
        &[0, 0, 0, 8, 0, 0, 0, 17],
        &udp,
    ]
    .concat();
    let sum = Sum::of(&pseudo).finish();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut extensions = Vec::new();
    for at in 0..chain.len() {
        let next = chain.get(at + 1).copied().unwrap_or(17);
        if chain[at] == 44 {
            // An atomic fragment (RFC 6946).
            extensions.extend([next, 0, 0, 0, 0, 0, 0, 9]);
        } else {
            extensions.extend([next, 0, 1, 4, 0, 0, 0, 0]);
        }
    }
    let len = u16::try_from(extensions.len() + udp.len())
        .expect("short")
        .to_be_bytes();
    let first = chain.first().copied().unwrap_or(17);
    let ethernet = [&mac(2)[..], &mac(1), &[0x86, 0xdd]].concat();
    let header = [0x60, 0, 0, 0, len[0], len[1], first, 64];
    [
        &ethernet[..],
        &header,
        &from.octets(),
        &to.octets(),
        &extensions,
        &udp,
    ]
    .concat()
}

#[test]
fn thousands_of_services() {
    let topology = topology();
    for method in METHODS {
        let mut guard = attach(&topology, method);
        let many: Vec<Endpoint> = (1..=3000)
            .flat_map(|port| endpoints(&VIPS, 6, port))
            .collect();
        let rules = Rules {
            services: many,
            ..Rules::default()
        };
        guard.update(&rules).expect("update");
        for vip in VIPS {
            for port in [1, 1500, 3000] {
                let silent = Err(ErrorKind::TimedOut);
                assert_eq!(
                    connect(&topology.client, vip, port),
                    silent,
                    "{method} {vip} {port}"
                );
            }
        }
        guard.update(&Rules::default()).expect("update");
        for vip in VIPS {
            let refused = Err(ErrorKind::ConnectionRefused);
            assert_eq!(
                connect(&topology.client, vip, 3000),
                refused,
                "{method} {vip}"
            );
        }
    }
}

#[test]
fn an_unknown_interface_is_named() {
    let namespace = Namespace::new("g");
    for method in METHODS {
        let error = namespace.enter("attaching", move || {
            Guard::attach_by(method, &["nowhere0"])
                .map(drop)
                .map_err(|error| error.to_string())
        });
        let error = error.expect_err("no such interface");
        assert!(
            error.contains("nowhere0") && error.contains("No such device"),
            "{error}"
        );
    }
}

//! The guard and ICMP errors: those about packets to a real server whose connections are translated do not pass, all
//! others do.

use std::io::ErrorKind;

use link::Frame;
use link::guard::Rules;
use packet::checksum::Sum;

use crate::af_packet::{collect, open};
use crate::guard::{CLIENTS, METHODS, SERVERS, ask, attach, connect, endpoints, locals, topology};
use crate::namespace::mac;

/// The ports that the real servers serve with, and that nobody listens on.
const GUARDED: u16 = 8080;

#[test]
fn errors_about_a_real_server_do_not_pass() {
    let topology = topology();
    // Each host limits how many errors it sends to another.
    for key in ["net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit"] {
        topology.server.sysctl(key, "0");
    }
    let refused = ErrorKind::ConnectionRefused;
    for method in METHODS {
        let mut guard = attach(&topology, method);
        for server in SERVERS {
            assert_eq!(ask(&topology.client, server, GUARDED), refused, "{method}");
        }
        let rules = Rules {
            real_servers: endpoints(&SERVERS, 17, GUARDED),
            locals: locals(),
            ..Rules::default()
        };
        guard.update(&rules).expect("update");
        for server in SERVERS {
            let silent = ErrorKind::WouldBlock;
            assert_eq!(ask(&topology.client, server, GUARDED), silent, "{method}");
            let other = ask(&topology.client, server, GUARDED + 1);
            assert_eq!(other, refused, "{method}: about another port");
            let other = connect(&topology.client, server, GUARDED);
            assert_eq!(other, Err(refused), "{method}: of another protocol");
            let own = ask(&topology.director, server, GUARDED);
            assert_eq!(own, refused, "{method}: the host's own question");
        }
        let any = Rules {
            real_servers: endpoints(&SERVERS, 17, 0),
            ..rules
        };
        guard.update(&any).expect("update");
        for server in SERVERS {
            let silent = ErrorKind::WouldBlock;
            assert_eq!(ask(&topology.client, server, GUARDED + 1), silent);
        }
    }
}

/// With options both the error and what it quotes have longer headers: Linux repeats the options.
#[test]
fn errors_about_packets_with_options_do_not_pass() {
    let topology = topology();
    topology.server.sysctl("net/ipv4/icmp_ratelimit", "0");
    let mut client = open(&topology.client, "c0");
    topology
        .client
        .ip("neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev c0");
    let unreachable = |frame: &packet::Packet<'_>| {
        let bytes = frame.bytes();
        let is_icmp = bytes.get(12..14) == Some(&[8, 0]) && bytes[23] == 1;
        is_icmp && bytes[14 + 4 * usize::from(bytes[14] & 15)] == 3
    };
    let mut answers = |words: u8| {
        let frame = Frame::new(&datagram_with_options(words), 14);
        assert_eq!(client.sender.transmit(&[frame.into()]).sent, 1);
        collect(&mut *client.receiver, 1, unreachable).len()
    };
    for method in METHODS {
        let mut guard = attach(&topology, method);
        let rules = Rules {
            real_servers: endpoints(&SERVERS, 17, GUARDED),
            locals: locals(),
            ..Rules::default()
        };
        for words in [0, 1, 10] {
            assert_eq!(answers(words), 1, "{method}: without rules");
        }
        guard.update(&rules).expect("update");
        for words in [0, 1, 10] {
            assert_eq!(answers(words), 0, "{method}: {words} words of options");
        }
    }
}

/// A datagram of the client to the first real server, with options of no operation.
fn datagram_with_options(words: u8) -> Vec<u8> {
    let len = 20 + 4 * words + 8;
    let mut header = vec![0x45 + words, 0, 0, len, 0, 1, 0, 0, 64, 17, 0, 0];
    for address in [CLIENTS[0], SERVERS[0]] {
        let address: std::net::Ipv4Addr = address.parse().expect("IPv4");
        header.extend(address.octets());
    }
    header.extend(vec![1; 4 * usize::from(words)]);
    let sum = Sum::of(&header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let ethernet = [&mac(2)[..], &mac(1), &[8, 0]].concat();
    let port = GUARDED.to_be_bytes();
    [
        &ethernet,
        &header,
        &[0x30, 0, port[0], port[1], 0, 8, 0, 0][..],
    ]
    .concat()
}

//! What a director says beforehand is what it does then, with every scheduler; and it says why.

mod world;

use core::time::Duration;

use director::connection::FlowKey;
use director::destination::{Method, TunnelKind};
use director::explain::Question;
use director::protocol::Protocol;
use director::scheduler::ENTRIES;
use director::service::{
    FLAG_ONE_PACKET, FLAG_PERSISTENT, FLAG_SCHED_1, FLAG_SCHED_2, Family, ServiceConfig, ServiceKey,
};
use director::verdict::Verdict;
use packet::checksum::Sum;
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, VIP, World, ip, syn};

/// A world with a service of this scheduler and real servers of different weights, one of them quiesced.
fn world(scheduler: &str, flags: u32) -> (World, ServiceKey) {
    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 80);
    let config = world.shared.snapshot().get(&key).unwrap().config.clone();
    let config = ServiceConfig {
        scheduler: scheduler.to_owned(),
        flags,
        timeout: 300,
        ..config
    };
    world.shared.edit_service(config).unwrap();
    for (last, weight) in [(11, 3), (12, 0), (13, 1), (14, 7)] {
        let mut server = world::server(&format!("10.2.0.{last}"), 80, Method::Masq);
        server.weight = weight;
        server.upper_threshold = 25;
        world.shared.add_destination(&key, &server).unwrap();
    }
    (world, key)
}

/// The sentences about this topic.
fn told(text: &str, topic: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    let about = lines.filter(|(have, _)| *have == topic);
    about.map(|(_, sentence)| sentence.to_owned()).collect()
}

fn ask(world: &mut World, question: &str) -> String {
    world.director.refresh();
    let question: Question = question.parse().unwrap();
    let explanation = world.director.explain(world.now, &question, |_, _| 0);
    explanation.unwrap().to_string()
}

/// Each connection goes where the director has just said that it would.
fn is_foretold(scheduler: &str, flags: u32) {
    let (mut world, key) = world(scheduler, flags);
    for number in 0..60_u16 {
        let [_, last] = number.to_be_bytes();
        let client = [192, 0, 2, last % 40];
        let port = 2000 + number;
        let [a, b, c, d] = client;
        let text = ask(&mut world, &format!("tcp {a}.{b}.{c}.{d}:{port} {VIP}:80"));
        let (verdict, _) = world.receive(CLIENTS, &syn((client, port), 80, 64));
        assert!(
            text.starts_with(&format!("verdict\t{}\n", verdict.name())),
            "{text}"
        );
        let flow = FlowKey {
            protocol: 6,
            source: (client.into(), port),
            destination: (ip(VIP), 80),
        };
        let table = world.director.connections();
        let connection = table.find(&flow).and_then(|(id, _)| table.get(id));
        let choice = connection.map(|connection| {
            let (address, port) = connection.server();
            format!("{address}:{port} by Masq, a new connection")
        });
        assert_eq!(
            told(&text, "choice"),
            Vec::from_iter(choice),
            "{scheduler}: {text}"
        );
        if number == 30 {
            world
                .shared
                .delete_destination(&key, ip("10.2.0.13"), 80)
                .unwrap();
        }
    }
}

#[test]
fn every_scheduler_is_foretold() {
    for entry in ENTRIES {
        for flags in [0, FLAG_SCHED_1 | FLAG_SCHED_2, FLAG_PERSISTENT] {
            is_foretold(entry.name, flags);
        }
    }
}

#[test]
fn asking_changes_nothing() {
    let (mut world, _) = world("rr", FLAG_PERSISTENT);
    let question = format!("tcp 192.0.2.1:1 {VIP}:80");
    let first = ask(&mut world, &question);
    assert_eq!(ask(&mut world, &question), first);
    assert!(world.director.connections().is_empty());
    assert_eq!(world.director.counters().received, 0);
    let mut templates = 0;
    world.shared.for_each_template(|_| templates += 1);
    assert_eq!(templates, 0);
    for service in world.shared.snapshot().iter() {
        let servers = service.destinations.iter();
        let bound = servers.filter(|server| server.is_bound()).count();
        assert_eq!((bound, service.stats.current().connections), (0, 0));
    }
}

#[test]
fn services_are_told_with_why_not() {
    let (mut world, _) = world("wlc", 0);
    world.service(Protocol::Udp, VIP, 80);
    world.service(Protocol::Tcp, VIP, 81);
    world.service(Protocol::Tcp, "10.8.0.2", 80);
    let text = ask(&mut world, &format!("tcp 192.0.2.1:1 {VIP}:80"));
    let arrival = format!("cl0 ({CLIENT_SIDE}), mark 0");
    assert_eq!(told(&text, "arrival"), [arrival], "the client's side");
    assert_eq!(told(&text, "service"), ["TCP 10.8.0.1:80 -s wlc"]);
    assert_eq!(
        told(&text, "not"),
        [
            "UDP 10.8.0.1:80: its protocol is UDP, not TCP",
            "TCP 10.8.0.1:81: its port is not 80",
            "1 more, of other addresses",
        ]
    );
    assert_eq!(
        told(&text, "server")[0],
        "10.2.0.14:80 weight 7, 0 active, 0 inactive"
    );
    assert!(
        told(&text, "server")[2].ends_with("not usable: weight 0"),
        "{text}"
    );
    assert_eq!(
        told(&text, "rewrite"),
        [
            "destination 10.8.0.1:80 becomes 10.2.0.14:80",
            "TTL 64 becomes 63"
        ]
    );
    let output = told(&text, "output");
    assert!(
        output[0].contains(" to 02:00:00:00:02:14: TCP "),
        "{output:?}"
    );
}

#[test]
fn a_connection_and_a_template_are_told() {
    let (mut world, _) = world("rr", FLAG_PERSISTENT);
    assert_eq!(
        world.receive(CLIENTS, &syn(([192, 0, 2, 1], 1), 80, 64)).0,
        Verdict::Forwarded
    );
    world.sleep(Duration::from_secs(20));
    let text = ask(&mut world, &format!("tcp 192.0.2.1:1 {VIP}:80"));
    assert_eq!(
        told(&text, "connection"),
        [
            "TCP 192.0.2.1:1 > 10.8.0.1:80 > 10.2.0.14:80 by Masq, SYN_RECV, 40 s left: the client's packet"
        ]
    );
    assert_eq!(
        told(&text, "choice"),
        ["10.2.0.14:80 by Masq, the connection's own"]
    );
    let text = ask(&mut world, &format!("tcp 192.0.2.1:2 {VIP}:80"));
    let template = told(&text, "template");
    assert!(
        template[0].starts_with("TCP 192.0.2.1 > 10.8.0.1:80: 10.2.0.14:80, 1 connections"),
        "{text}"
    );
    assert_eq!(template[1], "followed: the scheduler is not asked");
    assert_eq!(
        told(&text, "choice"),
        ["10.2.0.14:80 by Masq, a new connection"]
    );
}

#[test]
fn a_template_that_is_given_up_is_told() {
    let (mut world, key) = world("rr", FLAG_PERSISTENT);
    let _ = world.receive(CLIENTS, &syn(([192, 0, 2, 1], 1), 80, 64));
    let mut quiesced = world::server("10.2.0.14", 80, Method::Masq);
    quiesced.weight = 0;
    world.shared.edit_destination(&key, &quiesced).unwrap();
    let shared = std::sync::Arc::clone(&world.shared);
    shared.set_sysctl("expire_quiescent_template", "1").unwrap();
    let text = ask(&mut world, &format!("tcp 192.0.2.1:2 {VIP}:80"));
    assert!(
        told(&text, "template")[1].starts_with("given up: "),
        "{text}"
    );
    let choice = told(&text, "choice").remove(0);
    assert!(!choice.starts_with("10.2.0.14"), "{text}");
}

#[test]
fn a_hash_and_its_place_are_told() {
    let (mut sh, _) = world("sh", FLAG_SCHED_2);
    let text = ask(&mut sh, &format!("tcp 192.0.2.7:1234 {VIP}:80"));
    // 0xc0000207 + 1234, times the golden ratio: the upper eight bits.
    let said = told(&text, "scheduler");
    assert_eq!(said[1], "hash: 0xc00006d9 of the client's address and port");
    assert_eq!(said[2], "bucket: 214 of 256");
    for (scheduler, line, places) in [("sh", 2, "256"), ("mh", 2, "4093")] {
        let (mut world, _) = world(scheduler, 0);
        for last in 0..40 {
            let text = ask(&mut world, &format!("tcp 192.0.2.{last}:1234 {VIP}:80"));
            let said = told(&text, "scheduler");
            assert!(said[line].ends_with(&format!(" of {places}")), "{text}");
            let (_, holder) = said[line + 1].split_once(": ").unwrap();
            let choice = match holder {
                // Quiesced, and there is no fallback.
                "10.2.0.12:80" => Vec::new(),
                _ => vec![format!("{holder} by Masq, a new connection")],
            };
            assert_eq!(told(&text, "choice"), choice, "{text}");
        }
    }
}

#[test]
fn each_service_is_told_why_it_is_not_asked() {
    let mut world = World::new();
    world.service(Protocol::Tcp, VIP, 80);
    let any = world.service(Protocol::Tcp, VIP, 81);
    let config = world.shared.snapshot().get(&any).unwrap().config.clone();
    for key in [
        ServiceKey::Address {
            protocol: Protocol::Tcp,
            address: ip(VIP),
            port: 0,
        },
        ServiceKey::Mark {
            family: Family::V4,
            mark: 7,
        },
        ServiceKey::Mark {
            family: Family::V6,
            mark: 7,
        },
    ] {
        let config = ServiceConfig {
            key,
            flags: FLAG_PERSISTENT,
            timeout: 300,
            netmask: if key.family() == Family::V6 {
                128
            } else {
                u32::MAX
            },
            ..config.clone()
        };
        world.shared.add_service(config).unwrap();
    }
    let not = |world: &mut World, mark: u32| {
        let question = format!("tcp 192.0.2.1:1 {VIP}:80 mark={mark}");
        let mut said = told(&ask(world, &question), "not");
        said.sort_unstable();
        said
    };
    assert_eq!(
        not(&mut world, 0),
        [
            "TCP 10.8.0.1:0: another one is more specific",
            "TCP 10.8.0.1:81: its port is not 80",
            "mark 7 (V4): the packet's mark is 0",
            "mark 7 (V6): the packet's mark is 0",
        ]
    );
    assert_eq!(
        not(&mut world, 7),
        [
            "TCP 10.8.0.1:0: a service of the packet's mark comes first",
            "TCP 10.8.0.1:80: a service of the packet's mark comes first",
            "TCP 10.8.0.1:81: its port is not 80",
            "mark 7 (V6): the packet is of the other family",
        ]
    );
}

#[test]
fn unusable_servers_are_told() {
    let (mut world, key) = world("wlc", 0);
    let mut full = world::server("10.2.0.14", 80, Method::Masq);
    (full.weight, full.upper_threshold) = (1000, 1);
    world.shared.edit_destination(&key, &full).unwrap();
    let _ = world.receive(CLIENTS, &syn(([192, 0, 2, 1], 1), 80, 64));
    let text = ask(&mut world, &format!("tcp 192.0.2.1:2 {VIP}:80"));
    let servers = told(&text, "server");
    let over = "10.2.0.14:80 weight 1000, 1 active, 0 inactive, not usable: over its threshold";
    assert!(servers.iter().any(|server| server == over), "{servers:?}");
    assert!(
        servers[2].ends_with("0 inactive, not usable: weight 0"),
        "{text}"
    );
}

#[test]
fn options_of_a_service_are_told() {
    let (mut world, _) = world("wlc", FLAG_PERSISTENT);
    let text = ask(&mut world, &format!("tcp 192.0.2.1:1 {VIP}:80"));
    assert_eq!(told(&text, "service"), ["TCP 10.8.0.1:80 -s wlc -p 300"]);
    let key = world.service(Protocol::Udp, VIP, 53);
    let config = world.shared.snapshot().get(&key).unwrap().config.clone();
    let once = ServiceConfig {
        flags: FLAG_ONE_PACKET,
        ..config
    };
    world.shared.edit_service(once).unwrap();
    world.server(&key, "10.2.0.11", 53, Method::Masq);
    let text = ask(&mut world, &format!("udp 192.0.2.1:1 {VIP}:53"));
    assert_eq!(told(&text, "service"), ["UDP 10.8.0.1:53 -s rr -o"]);
    let choice = "10.2.0.11:53 by Masq, for this packet alone (-o)";
    assert_eq!(told(&text, "choice"), [choice]);
}

#[test]
fn tunnels_and_answers_are_told_from_rewritings() {
    let mut world = World::new();
    let key = world.service(Protocol::Udp, VIP, 53);
    for (last, kind, name) in [
        (11, TunnelKind::Ipip, "IPIP"),
        (12, TunnelKind::Gre, "GRE"),
        (13, TunnelKind::Gue, "GUE"),
    ] {
        let mut server = world::server(&format!("10.2.0.{last}"), 53, Method::Tunnel);
        server.tunnel.kind = kind;
        server.tunnel.port = 6080;
        world.shared.add_destination(&key, &server).unwrap();
        let text = ask(&mut world, &format!("udp 192.0.2.1:1 {VIP}:53"));
        let put = format!("put into {name} from 10.2.0.1 to 10.2.0.{last}");
        assert_eq!(told(&text, "rewrite"), [put], "{text}");
        world
            .shared
            .delete_destination(&key, ip(&format!("10.2.0.{last}")), 53)
            .unwrap();
    }
    let text = ask(&mut world, &format!("tcp 192.0.2.1:1 {VIP}:81"));
    assert!(text.starts_with("verdict\tanswered\n"), "{text}");
    assert!(told(&text, "rewrite").is_empty(), "{text}");
    let reset = format!("cl0 to {GATEWAY}: TCP 10.8.0.1:81 > 192.0.2.1:1 [R.] 40");
    assert_eq!(told(&text, "output"), [reset]);
}

#[test]
fn questions_are_read_as_they_are_written() {
    for text in [
        "tcp 192.0.2.7:1234 10.8.0.1:80",
        "udp [fd00::7]:1234 [fd00:8::1]:53 mark=7 interface=eth0",
        "sctp 192.0.2.7:1234 10.8.0.1:80 mark=0",
        "frame 00ff10 interface=eth1",
    ] {
        assert_eq!(text.parse::<Question>().unwrap().to_string(), text);
    }
    for (text, word) in [
        ("", "no question"),
        ("icmp 192.0.2.7:1 10.8.0.1:80", "no question"),
        ("tcp 192.0.2.7 10.8.0.1:80", "address and port"),
        ("tcp 192.0.2.7:1 [fd00::1]:80", "family"),
        ("frame 0ff", "hexadecimal"),
        ("frame zz", "hexadecimal"),
        ("tcp 192.0.2.7:1 10.8.0.1:80 mark=x", "firewall mark"),
        ("tcp 192.0.2.7:1 10.8.0.1:80 colour=x", "no question"),
    ] {
        let fault = text.parse::<Question>().unwrap_err().to_string();
        assert!(fault.contains(word), "{text}: {fault}");
    }
    let mut world = World::new();
    world.director.refresh();
    let question: Question = "tcp 192.0.2.7:1 10.8.0.1:80 interface=none"
        .parse()
        .unwrap();
    let fault = world
        .director
        .explain(world.now, &question, |_, _| 0)
        .unwrap_err();
    assert!(fault.to_string().contains("no interface none"), "{fault}");
}

/// A fragment that completes a datagram is asked about as the datagram: its mark is the first fragment's, and what a
/// first fragment of eight octets has not (TCP's flags) is known.
#[test]
fn the_last_fragment_is_the_whole_datagram() {
    let (mut world, _) = world("rr", 0);
    let mut marked = world
        .shared
        .snapshot()
        .iter()
        .next()
        .unwrap()
        .config
        .clone();
    marked.key = ServiceKey::Mark {
        family: Family::V4,
        mark: 7,
    };
    world.shared.add_service(marked).unwrap();
    let whole = syn(([192, 0, 2, 9], 4000), 80, 64);
    let piece = |range: core::ops::Range<usize>, flags: u16| {
        let mut frame = whole[..34].to_vec();
        let len = u16::try_from(20 + range.len()).unwrap();
        frame[16..18].copy_from_slice(&len.to_be_bytes());
        frame[20..22].copy_from_slice(&flags.to_be_bytes());
        frame[24..26].fill(0);
        let sum = Sum::of(&frame[14..34]).finish();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend(&whole[34 + range.start..34 + range.end]);
        frame
    };
    let (first, last) = (piece(0..8, 0x2000), piece(8..20, 1));
    assert_eq!(world.receive(CLIENTS, &first).0, Verdict::Held);
    let octets: String = last.iter().map(|octet| format!("{octet:02x}")).collect();
    world.director.refresh();
    let mut question: Question = format!("frame {octets}").parse().unwrap();
    question.mark = Some(7);
    let answer = world.director.explain(world.now, &question, |_, _| 0);
    let text = answer.unwrap().to_string();
    assert_eq!(told(&text, "service"), ["TCP 10.8.0.1:80 -s rr"], "{text}");
    assert!(!told(&text, "scheduler").is_empty(), "{text}");
    assert!(
        told(&text, "frame")[1].starts_with("the last of "),
        "{text}"
    );
    assert!(text.starts_with("verdict\tforwarded\n"), "{text}");
    assert_eq!(world.receive(CLIENTS, &last).0, Verdict::Forwarded);
}

//! The grammar against what the real ipvsadm 1.31 says.
//!
//! `tests/data/ipvsadm-grammar.jsonl` holds command lines with what the real program printed, its exit
//! code and the netlink requests it sent (its libnl replaced by one that records them and answers
//! nothing). Generated words must not panic.

use core::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::netlink::*;

/// The names that the recorded command lines use.
struct RecordedNames;

const SERVICES: &[(&str, u16, u16)] = &[
    ("http", 80, 6),
    ("domain", 53, 17),
    ("domain", 53, 6),
    ("http-alt", 8080, 6),
];

impl Names for RecordedNames {
    fn host_address(&self, name: &str) -> Option<Ipv4Addr> {
        (name == "localhost").then_some(Ipv4Addr::LOCALHOST)
    }

    fn service_port(&self, name: &str, protocol: u16) -> Option<u16> {
        let found = SERVICES
            .iter()
            .find(|row| row.0 == name && row.2 == protocol);
        found.map(|row| row.1)
    }

    fn host_name(&self, _address: IpAddr) -> Option<String> {
        None
    }

    fn service_name(&self, port: u16, protocol: u16) -> Option<String> {
        let found = SERVICES
            .iter()
            .find(|row| row.1 == port && row.2 == protocol);
        found.map(|row| row.0.to_owned())
    }
}

fn recorded() -> impl Iterator<Item = Value> {
    include_str!("../../tests/data/ipvsadm-grammar.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
}

fn argv(record: &Value) -> Vec<String> {
    let words = record["argv"].as_array().expect("argv");
    words
        .iter()
        .map(|word| word.as_str().expect("word").to_owned())
        .collect()
}

/// The message of a recorded request: `[command, is a dump, attributes in hex]`.
fn message(recorded: &Value) -> Vec<u8> {
    let command = u8::try_from(recorded[0].as_u64().expect("command")).expect("u8");
    let dump = recorded[1].as_bool().expect("dump");
    let hex = recorded[2].as_str().expect("hex");
    let attributes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect();
    let pattern = if dump {
        Request::DumpServices
    } else {
        Request::GetInfo
    };
    let mut message = pattern.encode(0, 0);
    message[16] = command;
    message.extend(attributes);
    let length = u32::try_from(message.len()).expect("u32");
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}

/// Leaves out what the command does not need: the real one sends a whole service as its key, and empty
/// strings for absent names.
fn essential(request: Request) -> Request {
    let key = |service: ServiceAttrs| ServiceAttrs::from_key(service.key().expect("key"));
    let daemon = |daemon: DaemonAttrs| DaemonAttrs {
        interface: daemon.interface.filter(|name| !name.is_empty()),
        ..daemon
    };
    match request {
        Request::DelService(service) => Request::DelService(key(service)),
        Request::Zero(service) => Request::Zero(service.map(key)),
        Request::NewDest(service, dest) => Request::NewDest(key(service), dest),
        Request::SetDest(service, dest) => Request::SetDest(key(service), dest),
        Request::DelDest(service, dest) => {
            let dest = dest.key(AddressFamily::Inet).expect("key");
            Request::DelDest(key(service), DestAttrs::from_key(dest))
        }
        Request::NewDaemon(attrs) => Request::NewDaemon(daemon(attrs)),
        Request::DelDaemon(attrs) => Request::DelDaemon(daemon(attrs)),
        other => other,
    }
}

#[test]
fn says_and_sends_what_the_real_one_does() {
    let mut differences = Vec::new();
    let mut count = 0;
    for record in recorded().filter(|record| record.get("stdin").is_none()) {
        count += 1;
        let words = argv(&record);
        let code = record["rc"].as_i64().expect("rc");
        let text = record["err"].as_str().expect("err");
        let sent: Vec<_> = record["requests"].as_array().expect("requests").to_vec();
        match parse("ipvsadm", &words, &RecordedNames) {
            Err(refusal) => {
                if (i64::from(refusal.code), format!("{}\n", refusal.text)) != (code, text.into()) {
                    differences.push(format!("{words:?}: {refusal:?} for {code} {text:?}"));
                }
            }
            Ok(Command::List(Listing::Connections, _)) => {
                // The recording machine had no /proc/net/ip_vs_conn.
                assert_eq!(code, 1);
            }
            Ok(command) => {
                let own = command.request().map(essential);
                let real = sent.first().map(|sent| {
                    let message = message(sent);
                    let frame = requests(&message).next().expect("a request");
                    essential(frame.request.expect("readable"))
                });
                let shown = matches!(
                    command,
                    Command::List(..)
                        | Command::Save(_)
                        | Command::Restore
                        | Command::Help
                        | Command::Version
                );
                if code != 0 || !text.is_empty() || (!shown && own != real) {
                    differences.push(format!("{words:?}: {own:?} for {real:?}, {code} {text:?}"));
                }
            }
        }
    }
    assert!(count > 700, "only {count} recordings");
    assert!(
        differences.is_empty(),
        "{}:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn lines_are_split_at_white_space_only() {
    assert_eq!(
        words(" -A\t-t  10.8.0.1:80 \r\n"),
        ["-A", "-t", "10.8.0.1:80"]
    );
    assert_eq!(
        words("ipvsadm -A ipvsadm # \"x y\""),
        ["-A", "#", "\"x", "y\""]
    );
    assert!(words(" \n").is_empty());
}

#[test]
fn every_option_has_a_unique_name_and_a_check_row() {
    for (index, row) in options::OPTIONS.iter().enumerate() {
        let twins = options::OPTIONS.iter().enumerate().filter(|(other, twin)| {
            *other != index && (row.short.is_some() && twin.short == row.short)
        });
        assert_eq!(twins.count(), 0, "-{:?}", row.short);
        if let Some(check) = row.check {
            assert!(!check.name().is_empty(), "{check:?}");
        }
    }
    for (_, name, rules) in options::CHECKS {
        assert_eq!(rules.len(), 14, "{name}");
        assert!(rules.bytes().all(|rule| b"+.x1".contains(&rule)), "{name}");
    }
}

#[test]
fn addresses_as_inet_ntop_writes_them() {
    let text = |address: &str| address_text(address.parse().unwrap());
    assert_eq!(text("::1.2.3.4"), "::1.2.3.4");
    assert_eq!(text("::ffff:10.8.0.1"), "::ffff:10.8.0.1");
    assert_eq!(text("::2"), "::2");
    assert_eq!(text("::"), "::");
    assert_eq!(text("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");
}

/// Words that an operator might type, and some that nobody would.
fn word() -> impl Strategy<Value = String> {
    let known: Vec<String> = options::OPTIONS
        .iter()
        .flat_map(|row| {
            let short = row.short.map(|letter| format!("-{letter}"));
            [Some(format!("--{}", row.long)), short]
        })
        .flatten()
        .chain(
            [
                "10.8.0.1:80",
                "[fd00::1]:80",
                "10.2.0.11",
                "rr",
                "sh-port,flag-1",
                "5",
                "-1",
                "0",
                "gue",
                "gre",
                "master",
                "255.255.0.0",
                "64",
                "--",
                "-",
                "",
                "é:é",
                "[",
                "[]:",
                "0x",
            ]
            .map(str::to_owned),
        )
        .collect();
    prop_oneof![4 => prop::sample::select(known), 1 => "\\PC{0,12}"]
}

proptest! {
    #[test]
    fn any_words_are_understood_or_refused(words in prop::collection::vec(word(), 0..10)) {
        match parse("ipvsadm", &words, &RecordedNames) {
            Ok(command) => {
                // What is accepted can be sent and read.
                if let Some(request) = command.request() {
                    let message = request.encode(1, 2);
                    let frame = requests(&message).next().expect("a request");
                    prop_assert_eq!(frame.request, Ok(request));
                }
            }
            Err(refusal) => prop_assert!(!refusal.text.is_empty() && refusal.code != 0),
        }
    }
}

/// What the grammar can call a service.
fn service_key() -> impl Strategy<Value = ServiceKey> {
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ];
    let protocol = prop::sample::select(vec![6_u16, 17, 132]);
    prop_oneof![
        (protocol, address, 1..=u16::MAX).prop_map(|(protocol, address, port)| {
            ServiceKey::Address {
                protocol,
                address,
                port,
            }
        }),
        (1..=u32::MAX, any::<bool>()).prop_map(|(mark, six)| ServiceKey::Mark {
            family: if six {
                AddressFamily::Inet6
            } else {
                AddressFamily::Inet
            },
            // Larger ones are saved as negative numbers, as by the real one, which cannot be read back.
            mark: mark & 0x7fff_ffff | 1,
        }),
    ]
}

/// Services that the grammar can say, as a director tells them.
fn service() -> impl Strategy<Value = ServiceReply> {
    let persistence = prop::option::of((1..86_400_u32, any::<u32>()));
    let flags = prop::collection::vec(any::<bool>(), 4);
    (
        service_key(),
        "[a-z]{1,15}",
        persistence,
        flags,
        prop::option::of("[a-z]{1,16}"),
    )
        .prop_map(|(key, scheduler, persistence, flags, engine)| {
            let one_packet = flags[3]
                && !matches!(
                    key,
                    ServiceKey::Address {
                        protocol: 6 | 132,
                        ..
                    }
                );
            // Names of scheduler flags depend on the scheduler; sh and mh have two.
            let third = flags[2] && !matches!(scheduler.as_str(), "sh" | "mh");
            let bits = [
                (persistence.is_some(), SERVICE_PERSISTENT),
                (one_packet, SERVICE_ONE_PACKET),
                (flags[0], SERVICE_SCHED_1),
                (flags[1], SERVICE_SCHED_2),
                (third, SERVICE_SCHED_3),
            ];
            let value = bits
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, bit)| bit)
                .sum();
            let (timeout, mask) = persistence.unwrap_or((0, u32::MAX));
            let netmask = match (key.family(), persistence) {
                (AddressFamily::Inet, _) => Netmask::V4(mask.into()),
                (AddressFamily::Inet6, Some(_)) => Netmask::V6(mask % 128 + 1),
                (AddressFamily::Inet6, None) => Netmask::V6(128),
            };
            let flags = ServiceFlags::exactly(value);
            let settings = ServiceSettings {
                scheduler,
                flags,
                timeout,
                netmask,
                engine,
            };
            ServiceReply {
                key,
                settings,
                statistics: Statistics::default(),
            }
        })
}

proptest! {
    #[test]
    fn saved_service_is_read_back(service in service()) {
        let line = service_line(&service, &NumericNames);
        let command = parse("ipvsadm", &words(&line), &NumericNames);
        prop_assert_eq!(command, Ok(Command::AddService(service.key, service.settings)), "{}", line);
    }

    #[test]
    fn saved_dest_is_read_back(
        service in service(),
        (address, port) in (any::<[u8; 4]>(), any::<u16>()),
        (forward, weight, tunnel) in (0..3_u32, 0..=i32::MAX, (0..3_u8, 1..=u16::MAX, 0..3_u16)),
    ) {
        let forward = [FORWARD_MASQUERADE, FORWARD_TUNNEL, FORWARD_DIRECT][forward as usize];
        let same_family = service.key.family() == AddressFamily::Inet;
        prop_assume!(same_family || forward == FORWARD_TUNNEL);
        // Direct routing and tunnelling take the service's port.
        let port = match service.key {
            ServiceKey::Address { port, .. } if forward != FORWARD_MASQUERADE => port,
            _ => port,
        };
        let (tunnel_type, tunnel_port, tunnel_flags) = match (forward, tunnel) {
            (FORWARD_TUNNEL, (TUNNEL_GUE, port, flags)) => (TUNNEL_GUE, port, flags),
            (FORWARD_TUNNEL, (TUNNEL_GRE, _, flags)) => (TUNNEL_GRE, 0, flags % 2),
            _ => (TUNNEL_IPIP, 0, 0),
        };
        let key = DestKey { address: address.into(), port };
        let settings = DestSettings {
            forward, weight, tunnel_type, tunnel_port, tunnel_flags,
            upper_threshold: 0, lower_threshold: 0,
        };
        let dest = DestReply {
            key, settings, active_connections: 0, inactive_connections: 0,
            persistent_connections: 0, statistics: Statistics::default(),
        };
        let line = dest_line(service.key, &dest, &NumericNames);
        let command = parse("ipvsadm", &words(&line), &NumericNames);
        prop_assert_eq!(command, Ok(Command::AddServer(service.key, key, settings)), "{}", line);
    }
}

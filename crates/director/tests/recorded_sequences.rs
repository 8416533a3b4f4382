//! Replays the recorded choices of the kernel: the commands of a recording go to [`Shared`], its new
//! connections to [`Shared::schedule`], and the real servers chosen must be those of its `sequence` records.
//!
//! The recordings lie in `tests/data/conformance/vectors` of the workspace, or where the environment
//! variable `ULVS_CONFORMANCE` says. Only what decides on a new connection is modelled here: a FIN makes a
//! connection inactive, nothing expires.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use director::assign::{Assignment, Scheduled};
use director::destination::{DestinationConfig, Method, TunnelConfig};
use director::protocol::Protocol;
use director::scheduler::{self, Flow};
use director::service::{FLAG_ONE_PACKET, FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use director::shared::{Options, Shared};
use director::template::Ended;
use director::time::Instant;
use packet::Family;
use serde_json::Value;

fn vectors() -> PathBuf {
    let data = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/data/conformance/vectors"
    );
    std::env::var_os("ULVS_CONFORMANCE").map_or_else(|| PathBuf::from(data), PathBuf::from)
}

/// An `ipvsadm` command line: its letter and options.
struct Command<'a>(Vec<&'a str>);

impl<'a> Command<'a> {
    fn value(&self, option: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|word| *word == option)?;
        self.0.get(at + 1).copied()
    }

    fn has(&self, option: &str) -> bool {
        self.0.contains(&option)
    }

    fn number<T: std::str::FromStr + Default>(&self, option: &str) -> T {
        self.value(option)
            .map(|text| text.parse().ok().unwrap())
            .unwrap_or_default()
    }

    fn key(&self) -> ServiceKey {
        if let Some(mark) = self.value("-f") {
            let family = if self.has("-6") {
                Family::V6
            } else {
                Family::V4
            };
            let mark = mark.parse().unwrap();
            return ServiceKey::Mark { family, mark };
        }
        let options = [
            ("-t", Protocol::Tcp),
            ("-u", Protocol::Udp),
            ("--sctp-service", Protocol::Sctp),
        ];
        let (protocol, endpoint) = options
            .iter()
            .find_map(|&(option, protocol)| Some((protocol, self.value(option)?)))
            .expect("a service");
        let (address, port) = endpoint_of(endpoint);
        ServiceKey::Address {
            protocol,
            address,
            port,
        }
    }

    fn service(&self) -> ServiceConfig {
        let scheduler = self.value("-s").unwrap_or("wlc");
        let known = scheduler::find(scheduler)
            .unwrap_or_else(|| panic!("no scheduler {scheduler}"))
            .flags;
        let names = self.value("-b").unwrap_or_default().split(',');
        let mut flags = known
            .iter()
            .filter(|known| names.clone().any(|name| name == known.name))
            .fold(0, |flags, known| flags | known.flag);
        let key = self.key();
        flags |= if self.has("-p") { FLAG_PERSISTENT } else { 0 };
        flags |= if self.has("-o") { FLAG_ONE_PACKET } else { 0 };
        let netmask = match (self.value("-M"), key.family()) {
            (Some(mask), Family::V4) => mask.parse::<Ipv4Addr>().unwrap().to_bits(),
            (None, Family::V4) => u32::MAX,
            (Some(bits), Family::V6) => bits.parse().unwrap(),
            (None, Family::V6) => 128,
        };
        ServiceConfig {
            key,
            scheduler: scheduler.to_owned(),
            flags,
            timeout: self
                .value("-p")
                .and_then(|text| text.parse().ok())
                .unwrap_or(300),
            netmask,
            persistence_engine: None,
        }
    }

    fn destination(&self) -> DestinationConfig {
        let (address, port) = endpoint_of(self.value("-r").expect("a real server"));
        DestinationConfig {
            address,
            port,
            method: if self.has("-m") {
                Method::Masq
            } else {
                Method::DirectRoute
            },
            tunnel: TunnelConfig::default(),
            weight: self.value("-w").map_or(1, |weight| weight.parse().unwrap()),
            upper_threshold: self.number("-x"),
            lower_threshold: self.number("-y"),
        }
    }

    fn run(&self, shared: &Shared) {
        let key = || self.key();
        match self.0[0] {
            "-A" => shared.add_service(self.service()),
            "-C" => {
                shared.flush();
                Ok(())
            }
            "--set" => Ok(()),
            "-E" => shared.edit_service(self.service()),
            "-D" => shared.delete_service(&key()),
            "-a" => shared.add_destination(&key(), &self.destination()),
            "-e" => shared.edit_destination(&key(), &self.destination()),
            "-d" => {
                let destination = self.destination();
                shared.delete_destination(&key(), destination.address, destination.port)
            }
            other => panic!("command {other}"),
        }
        .unwrap();
    }
}

fn endpoint_of(text: &str) -> (IpAddr, u16) {
    let (address, port) = text.rsplit_once(':').expect("address:port");
    let address = address.trim_start_matches('[').trim_end_matches(']');
    (address.parse().unwrap(), port.parse().unwrap())
}

/// A frame as the recording describes it: the flow, and the TCP flags' letters.
fn frame_of(text: &str) -> Option<(Flow, &str)> {
    let mut words = text
        .split_whitespace()
        .skip_while(|word| !matches!(*word, "IP" | "IP6"));
    let (source, destination) = words.nth(1)?.split_once('>')?;
    let protocol = words.find_map(|word| match word {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    })?;
    let (source_port, destination_port) = words.next()?.split_once('>')?;
    let flow = Flow {
        protocol,
        source: source.parse().ok()?,
        source_port: source_port.parse().ok()?,
        destination: destination.parse().ok()?,
        destination_port: destination_port.parse().ok()?,
    };
    Some((flow, words.next().unwrap_or_default()))
}

/// What the recordings call a real server.
fn name(address: IpAddr) -> String {
    let number = match address {
        IpAddr::V4(address) => u16::from(address.octets()[3]) - 10,
        IpAddr::V6(address) => address.segments()[7] - 0x10,
    };
    format!("rs{number}")
}

struct Replay {
    shared: Shared,
    now: Instant,
    mark: u32,
    connections: HashMap<Flow, (Assignment, bool)>,
    chosen: Vec<String>,
    differences: Vec<String>,
    compared: usize,
}

impl Replay {
    fn new() -> Self {
        Self {
            shared: Shared::new(Options::default()),
            now: Instant::START,
            mark: 0,
            connections: HashMap::new(),
            chosen: Vec::new(),
            differences: Vec::new(),
            compared: 0,
        }
    }

    fn record(&mut self, record: &Value) {
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        match text("op") {
            // What ipvsadm itself refused (2) never reached the kernel.
            "cmd" if record["rc"] == 0 => {
                let words = record["argv"].as_array().unwrap().iter();
                let words: Vec<_> = words.map(|word| word.as_str().unwrap()).collect();
                match words[0] {
                    "ipvsadm" if words[1] != "-L" => Command(words[1..].to_vec()).run(&self.shared),
                    "iptables" | "iptables-legacy" | "ip6tables-legacy" => {
                        if let Some(mark) = Command(words).value("--set-mark") {
                            self.mark = mark.parse().unwrap();
                        }
                    }
                    _ => {}
                }
            }
            "sysctl" => {
                let result = self.shared.set_sysctl(text("key"), text("val"));
                assert!(!text("key").starts_with("net.ipv4.vs.") || result.is_ok());
            }
            "sleep" => {
                let pause = record["s"].as_f64().expect("seconds");
                self.now = self.now.after(Duration::from_secs_f64(pause));
                self.shared.expire_templates(self.now, usize::MAX);
            }
            "send" if text("if") == "cl" => self.frame(text("dec")),
            "sequence" => {
                let expected: Vec<_> = record["chosen"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|chosen| chosen.as_str().unwrap())
                    .map(|chosen| {
                        if chosen.starts_with("rs") {
                            chosen
                        } else {
                            "none"
                        }
                        .to_owned()
                    })
                    .collect();
                let chosen = std::mem::take(&mut self.chosen);
                self.compared += expected.len();
                if chosen != expected {
                    let label = text("label");
                    self.differences.push(format!(
                        "{label}\n  kernel {expected:?}\n  ulvs   {chosen:?}"
                    ));
                }
            }
            _ => {}
        }
    }

    fn frame(&mut self, text: &str) {
        let Some((flow, flags)) = frame_of(text) else {
            return;
        };
        if let Some((assignment, active)) = self.connections.get_mut(&flow) {
            if flow.protocol == Protocol::Tcp && flags.contains('F') && *active {
                assignment.destination.set_active(false);
                *active = false;
            }
            return;
        }
        if flow.protocol == Protocol::Tcp && !flags.contains('S') {
            return;
        }
        let services = self.shared.snapshot();
        let (address, port) = (flow.destination, flow.destination_port);
        let Some(service) = services.lookup(flow.protocol, address, port, self.mark) else {
            self.chosen.push("none".to_owned());
            return;
        };
        match self.shared.schedule(service, &flow, None, self.now) {
            Scheduled::Assigned(assignment) => {
                self.chosen.push(name(assignment.destination.address));
                let active = flow.protocol == Protocol::Tcp;
                if active {
                    assignment.destination.set_active(true);
                }
                if assignment.one_packet {
                    assignment.destination.unbind(active);
                    if let Some(template) = &assignment.template {
                        self.shared.release_template(template, Ended::InTime);
                    }
                } else {
                    self.connections.insert(flow, (assignment, active));
                }
            }
            Scheduled::NoDestination => self.chosen.push("none".to_owned()),
            Scheduled::Pass | Scheduled::Drop | Scheduled::Full => {}
        }
    }
}

/// Replays all recordings whose names begin so; the names in `random` are only run, not compared.
fn replay(topic: &str, random: &[&str]) {
    let folder = vectors();
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no recordings in {}: {error}", folder.display()));
    let mut compared = 0;
    let mut differences = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(case) = file
            .strip_prefix(topic)
            .and_then(|rest| rest.strip_suffix(".jsonl"))
        else {
            continue;
        };
        let mut replay = Replay::new();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            replay.record(&serde_json::from_str(line).unwrap());
        }
        if random.iter().any(|random| case.starts_with(random)) {
            continue;
        }
        compared += replay.compared;
        let found = replay.differences.iter();
        differences.extend(found.map(|difference| format!("{file}: {difference}")));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(
        compared > 0,
        "no choices of {topic} in {}",
        folder.display()
    );
    println!("{topic}: {compared} choices");
}

#[test]
fn schedulers() {
    replay("sched.", &["twos"]);
}

#[test]
fn thresholds() {
    replay("thresholds.", &["expire"]);
}

#[test]
fn persistence() {
    replay("persistence.", &[]);
}

#[test]
fn marks() {
    replay("fwmark.", &[]);
}

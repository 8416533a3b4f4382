//! What a replay found, as it is printed and as JSON.

use std::collections::BTreeMap;

use control::imbalance::Imbalance;
use director::service::Service;
use director::verdict::{Counters, DropReason};
use serde::Serialize;

use crate::choices::{Choice, differences};
use crate::host::Host;
use crate::system::System;

/// Everything that a replay found. Counts are of frames where nothing else is said.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The capture file.
    pub capture: String,
    /// The rules file.
    pub rules: String,
    /// Where schedulers that draw lots began.
    pub lots: u64,
    /// Frames of the capture.
    pub frames: u64,
    /// Those that the recorded director sent itself, which are not replayed.
    pub own: u64,
    /// Those that the capture holds only the beginning of (`tcpdump -s`); the rest was taken as zeros.
    pub cut_short: u64,
    /// Those whose time is before that of the frame before them; they count as of the same time.
    pub out_of_order: u64,
    /// Nanoseconds from the first frame to the last.
    pub duration_ns: u64,
    /// What became of the frames: `forwarded`, `held`, `answered`, `passed`, `dropped`.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Drops by reason, where there were any; those of packets that were held first are among them.
    pub drops: BTreeMap<&'static str, u64>,
    /// Frames that the director sent.
    pub sent: u64,
    /// The host that was made up.
    pub interfaces: Vec<InterfaceReport>,
    /// What must be known of what was made up or is not known, a sentence each.
    pub notes: Vec<String>,
    /// With the rules' own schedulers first, then with each that was asked for.
    pub schedulers: Vec<Outcome>,
    /// New connections in order, with the rules' own schedulers.
    pub connections: Vec<ConnectionReport>,
    /// What `ipvsadm -Ln --stats --exact` prints at the end.
    pub services_table: String,
    /// What `ipvsadm -Lcn` prints at the end.
    pub connections_table: String,
    /// Where the capture is broken, and what to do.
    pub broken: Option<String>,
    /// Each frame, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<FrameReport>,
}

/// An interface that was made up.
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceReport {
    /// Name.
    pub name: String,
    /// Link address.
    pub mac: String,
    /// Largest IP datagram, octets.
    pub mtu: u32,
    /// Addresses of the director.
    pub addresses: Vec<String>,
}

/// What became of one frame.
#[derive(Clone, Debug, Serialize)]
pub struct FrameReport {
    /// Its number in the capture, from 1.
    pub number: u64,
    /// Nanoseconds from the first frame to this one.
    pub time_ns: u64,
    /// What it is, in a few words.
    pub frame: String,
    /// `forwarded`, `held`, `answered`, `passed`, `dropped`, or `own`: the recorded director sent it itself.
    pub verdict: &'static str,
    /// Why it was dropped.
    pub reason: Option<&'static str>,
    /// The real server of the connection that it began.
    pub server: Option<String>,
    /// What the director sent for it, in a few words each.
    pub sent: Vec<String>,
}

/// A new connection and where it went.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionReport {
    /// Number of the frame that began it.
    pub frame: u64,
    /// Nanoseconds from the first frame to that one.
    pub time_ns: u64,
    /// IANA protocol number.
    pub protocol: u8,
    /// The client's address and port.
    pub client: String,
    /// What it asked for.
    pub virtual_server: String,
    /// The real server.
    pub server: String,
}

/// What became of the connections with one set of schedulers.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Scheduler and its flags as given, or `rules` for the rules' own.
    pub scheduler: String,
    /// Services in the order of the rules.
    pub services: Vec<ServiceReport>,
}

/// One service at the end.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    /// As `ipvsadm -A` names it: `-t 10.8.0.1:80`.
    pub service: String,
    /// Its scheduler.
    pub scheduler: String,
    /// Imbalance of its connections for the weights; `None` without connections or weights.
    pub shares: Option<Imbalance>,
    /// Connections that the rules' own scheduler sent to another real server.
    pub elsewhere: u64,
    /// Connections that came about with the rules' own scheduler alone.
    pub not_made: u64,
    /// Real servers in the order of the rules.
    pub servers: Vec<ServerReport>,
}

/// One real server at the end.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// Address and port.
    pub server: String,
    /// Weight.
    pub weight: i32,
    /// Connections made.
    pub connections: u64,
    /// Active connections at the end.
    pub active: i32,
    /// Inactive connections at the end.
    pub inactive: i32,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients (NAT only).
    pub out_packets: u64,
    /// Octets from clients.
    pub in_bytes: u64,
    /// Octets to clients (NAT only).
    pub out_bytes: u64,
}

/// The interfaces of a host that was made up.
pub(crate) fn interfaces(host: &Host) -> Vec<InterfaceReport> {
    let interfaces = host.network.interfaces.iter();
    let report = interfaces.map(|interface| InterfaceReport {
        name: interface.name.clone(),
        mac: interface.mac.to_string(),
        mtu: interface.mtu,
        addresses: interface
            .addresses
            .iter()
            .map(|(address, _)| address.to_string())
            .collect(),
    });
    report.collect()
}

/// Counts by verdict.
pub(crate) fn verdicts(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let given_up = counters.fragments.dropped + counters.neighbours.dropped;
    let dropped: u64 = counters.dropped.iter().sum();
    BTreeMap::from([
        ("forwarded", counters.forwarded),
        ("held", counters.held),
        ("answered", counters.answered),
        ("passed", counters.passed),
        ("dropped", dropped.saturating_sub(given_up)),
    ])
}

/// Drops by reason, where there were any.
pub(crate) fn drops(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let reasons = DropReason::ALL.into_iter();
    let counts = reasons.map(|reason| (reason.name(), counters.dropped(reason)));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// A new connection as it is reported.
pub(crate) fn connection(choice: &Choice) -> ConnectionReport {
    ConnectionReport {
        frame: choice.frame,
        time_ns: choice.time,
        protocol: choice.protocol,
        client: choice.client.to_string(),
        virtual_server: choice.virtual_server.to_string(),
        server: choice.server.to_string(),
    }
}

/// What became of the connections, beside what became of them with the rules' own schedulers.
pub(crate) fn outcome(
    scheduler: &str,
    system: &System,
    own: &[Choice],
    choices: &[Choice],
) -> Outcome {
    let services = system.shared.snapshot().in_order();
    let services = services.iter().enumerate().map(|(number, service)| {
        let of = |all: &[Choice]| -> Vec<Choice> {
            let its = all.iter().filter(|choice| choice.service == number);
            its.copied().collect()
        };
        let (elsewhere, not_made) = differences(&of(own), &of(choices));
        service_report(service, elsewhere, not_made)
    });
    Outcome {
        scheduler: scheduler.to_owned(),
        services: services.collect(),
    }
}

fn service_report(service: &Service, elsewhere: u64, not_made: u64) -> ServiceReport {
    let servers = service.destinations.iter().rev().map(|server| {
        let counted = server.stats.current();
        ServerReport {
            server: core::net::SocketAddr::new(server.address, server.port).to_string(),
            weight: server.weight(),
            connections: counted.connections,
            active: server.active(),
            inactive: server.inactive(),
            in_packets: counted.in_packets,
            out_packets: counted.out_packets,
            in_bytes: counted.in_bytes,
            out_bytes: counted.out_bytes,
        }
    });
    let rule = control::state::service_rule(&service.config);
    let words: Vec<&str> = rule.split(' ').skip(1).collect();
    let end = words.iter().position(|word| *word == "-s");
    let name = words.get(..end.unwrap_or(words.len())).unwrap_or_default();
    ServiceReport {
        service: name.join(" "),
        scheduler: service.config.scheduler.clone(),
        shares: Imbalance::for_weight(service, |it| it.stats.current().connections),
        elsewhere,
        not_made,
        servers: servers.collect(),
    }
}

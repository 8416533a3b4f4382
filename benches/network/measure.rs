//! One measurement: a contender under one kind of load.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use crate::contender::{Kind, Standing};
use crate::process::{stderr, stdout};
use crate::usage;
use crate::world::World;

/// Numbers by the names in [`METRICS`].
pub(crate) type Numbers = BTreeMap<&'static str, f64>;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Test {
    /// 64-byte datagrams as fast as one core can send.
    Udp,
    /// Datagrams of 1,400 octets cut by the kernel.
    Gso,
    /// One TCP stream to the servers.
    Tcp1,
    /// One TCP stream to the client.
    Tcp1Down,
    /// Eight TCP streams to the servers.
    Tcp8,
    /// Eight TCP streams to the client.
    Tcp8Down,
    /// HTTP requests, a connection each.
    Conn,
    /// HTTP requests on 32 connections.
    KeepAlive,
    /// A question every millisecond.
    Rtt,
    /// The same beside 8,000 other questions a second.
    RttLoaded,
}

/// What a number is.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The name in JSON.
    pub(crate) name: &'static str,
    /// What a reader is told.
    pub(crate) title: &'static str,
    /// Digits behind the point.
    pub(crate) digits: usize,
    /// Whether more is better.
    pub(crate) more: bool,
}

const fn metric(name: &'static str, title: &'static str, digits: usize, more: bool) -> Metric {
    Metric {
        name,
        title,
        digits,
        more,
    }
}

/// Every number that a measurement can give.
pub(crate) const METRICS: [Metric; 19] = [
    metric("udp_mpps", "64 B UDP delivered, Mpps", 3, true),
    metric("udp_loss", "64 B UDP lost at that flood, %", 1, false),
    metric(
        "udp_cpu_ns",
        "CPU of the machine, ns a 64 B packet delivered",
        0,
        false,
    ),
    metric(
        "udp_director_ns",
        "CPU of the director's processes, ns a packet",
        0,
        false,
    ),
    metric("gso_gbits", "UDP GSO delivered, Gbit/s", 2, true),
    metric("gso_loss", "UDP GSO lost at that rate, %", 1, false),
    metric("tcp1_gbits", "TCP 1 stream up, Gbit/s", 2, true),
    metric("tcp1_down_gbits", "TCP 1 stream down, Gbit/s", 2, true),
    metric("tcp8_gbits", "TCP 8 streams up, Gbit/s", 2, true),
    metric("tcp8_down_gbits", "TCP 8 streams down, Gbit/s", 2, true),
    metric("conn_per_s", "new connections (HTTP, close), 1/s", 0, true),
    metric(
        "conn_cpu_us",
        "CPU of the machine, us a connection",
        1,
        false,
    ),
    metric(
        "conn_director_us",
        "CPU of the director's processes, us a connection",
        1,
        false,
    ),
    metric("request_per_s", "HTTP requests, keep-alive, 1/s", 0, true),
    metric("rtt_p50_us", "idle round trip, p50, us", 1, false),
    metric("rtt_p99_us", "idle round trip, p99, us", 1, false),
    metric("loaded_p50_us", "loaded round trip, p50, us", 1, false),
    metric("loaded_p99_us", "loaded round trip, p99, us", 1, false),
    metric("loaded_rate", "questions a second beside it", 0, true),
];

impl Test {
    /// All of them, in the order in which they are done.
    pub(crate) const ALL: [Self; 10] = [
        Self::Udp,
        Self::Gso,
        Self::Tcp1,
        Self::Tcp1Down,
        Self::Tcp8,
        Self::Tcp8Down,
        Self::Conn,
        Self::KeepAlive,
        Self::Rtt,
        Self::RttLoaded,
    ];

    /// Whether such a contender can carry it at all.
    pub(crate) fn possible(self, kind: Kind) -> bool {
        kind != Kind::Haproxy || !matches!(self, Self::Udp | Self::Gso)
    }

    /// Does it for some seconds.
    ///
    /// # Errors
    /// A sentence: what the load said.
    pub(crate) fn run(self, standing: &Standing, seconds: u32) -> Result<Numbers, String> {
        let load = |words: &[&str]| load(standing, words, f64::from(seconds));
        match self {
            Self::Udp => flood(standing, f64::from(seconds)),
            Self::Gso => segments(standing, f64::from(seconds)),
            Self::Tcp1 => bulk("tcp1_gbits", &load(&["up", "1"])?),
            Self::Tcp1Down => bulk("tcp1_down_gbits", &load(&["down", "1"])?),
            Self::Tcp8 => bulk("tcp8_gbits", &load(&["up", "8"])?),
            Self::Tcp8Down => bulk("tcp8_down_gbits", &load(&["down", "8"])?),
            Self::Conn => connections(standing, seconds),
            Self::KeepAlive => {
                let (rate, _) = requests(standing, seconds, &[])?;
                Ok([("request_per_s", rate)].into())
            }
            Self::Rtt => delays(["rtt_p50_us", "rtt_p99_us"], &load(&["rtt"])?),
            Self::RttLoaded => {
                let told = load(&["rtt-loaded"])?;
                let mut numbers = delays(["loaded_p50_us", "loaded_p99_us"], &told)?;
                numbers.insert("loaded_rate", number(&told, "load")?);
                Ok(numbers)
            }
        }
    }
}

/// What a role of this program said on the client.
pub(crate) fn load(standing: &Standing, words: &[&str], seconds: f64) -> Result<Value, String> {
    let seconds = seconds.to_string();
    let all = [&["load"], words, &[standing.address, &seconds]].concat();
    let output = World::myself(&standing.world.client, &all)
        .output()
        .map_err(|error| format!("the load cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(stderr(&output).trim().to_owned());
    }
    serde_json::from_str(&stdout(&output)).map_err(|error| format!("{}: {error}", all.join(" ")))
}

fn number(told: &Value, name: &str) -> Result<f64, String> {
    told.get(name)
        .and_then(Value::as_f64)
        .ok_or_else(|| format!("the load does not say {name}"))
}

/// CPU time around something: of the machine and of the director's processes, in seconds.
fn worked<T>(standing: &Standing, work: impl FnOnce() -> T) -> (T, f64, f64) {
    let pids: Vec<u32> = standing
        .director
        .iter()
        .map(crate::process::Process::pid)
        .collect();
    let before = (usage::machine(), usage::processes(&pids));
    let result = work();
    (
        result,
        usage::machine() - before.0,
        usage::processes(&pids) - before.1,
    )
}

fn flood(standing: &Standing, seconds: f64) -> Result<Numbers, String> {
    let hosts = &standing.world.servers;
    let before = usage::datagrams(hosts);
    let (told, machine, director) = worked(standing, || {
        let told = load(standing, &["udp"], seconds);
        // What waits in rings is carried yet.
        std::thread::sleep(Duration::from_millis(50));
        told
    });
    let told = told?;
    let delivered = usage::datagrams(hosts) - before;
    let sent = number(&told, "sent")?;
    if delivered < 1.0 {
        return Err("no datagram arrived".to_owned());
    }
    let mut numbers = Numbers::from([
        ("udp_mpps", delivered / number(&told, "seconds")? / 1e6),
        ("udp_loss", 100.0 * (1.0 - delivered / sent).max(0.0)),
        ("udp_cpu_ns", machine / delivered * 1e9),
    ]);
    if !standing.director.is_empty() {
        numbers.insert("udp_director_ns", director / delivered * 1e9);
    }
    Ok(numbers)
}

fn segments(standing: &Standing, seconds: f64) -> Result<Numbers, String> {
    let before = usage::datagrams(&standing.world.servers);
    let told = load(standing, &["gso"], seconds)?;
    std::thread::sleep(Duration::from_millis(50));
    let delivered = usage::datagrams(&standing.world.servers) - before;
    let bits = delivered * number(&told, "octets")? * 8.0;
    let lost = 1.0 - delivered / number(&told, "sent")?.max(1.0);
    Ok([
        ("gso_gbits", bits / number(&told, "seconds")? / 1e9),
        ("gso_loss", 100.0 * lost.max(0.0)),
    ]
    .into())
}

fn bulk(name: &'static str, told: &Value) -> Result<Numbers, String> {
    let rate = number(told, "octets")? * 8.0 / number(told, "seconds")? / 1e9;
    Ok([(name, rate)].into())
}

fn delays(names: [&'static str; 2], told: &Value) -> Result<Numbers, String> {
    Ok([
        (names[0], number(told, "p50")?),
        (names[1], number(told, "p99")?),
    ]
    .into())
}

fn connections(standing: &Standing, seconds: u32) -> Result<Numbers, String> {
    let (told, machine, director) = worked(standing, || {
        requests(standing, seconds, &["-H", "Connection: close"])
    });
    let (rate, count) = told?;
    let mut numbers = Numbers::from([("conn_per_s", rate), ("conn_cpu_us", machine / count * 1e6)]);
    if !standing.director.is_empty() {
        numbers.insert("conn_director_us", director / count * 1e6);
    }
    Ok(numbers)
}

/// wrk's rate and number of requests.
fn requests(standing: &Standing, seconds: u32, more: &[&str]) -> Result<(f64, f64), String> {
    let mut wrk = standing.world.client.command("wrk");
    wrk.args([
        "-t",
        "1",
        "-c",
        "32",
        "--timeout",
        "2s",
        "-d",
        &format!("{seconds}s"),
    ]);
    wrk.args(more).arg(format!("http://{}/", standing.address));
    let output = wrk
        .output()
        .map_err(|error| format!("wrk cannot be started: {error}"))?;
    let text = stdout(&output);
    let word = |line: &str, index| {
        line.split_whitespace()
            .nth(index)
            .and_then(|word: &str| word.parse::<f64>().ok())
    };
    let rate = text.lines().find_map(|line| {
        line.strip_prefix("Requests/sec:")
            .and_then(|rest| word(rest, 0))
    });
    let count = text.lines().find_map(|line| {
        line.contains(" requests in ")
            .then(|| word(line, 0))
            .flatten()
    });
    match (rate, count) {
        (Some(rate), Some(count)) if count > 0.0 => Ok((rate, count)),
        _ => Err(format!("wrk: {}{}", text.trim(), stderr(&output).trim())),
    }
}

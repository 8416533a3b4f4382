//! What a scenario may say: bounds for every number, and what numbers say together.

use crate::schedulers;

use super::amounts::{check_amounts, check_load};
use super::{Arrivals, Clients, Protocol, Scenario, ServersSection, Swept, events};

/// Real servers at a time.
pub(super) const SERVERS_MAX: u32 = 16_384;
/// Real servers times virtual addresses times directors: each has counters and scheduler state of its own.
const DESTINATIONS_MAX: f64 = 1_048_576.0;
/// Changes of state of one kind in one run: bursts, failures.
const CHANGES_MAX: f64 = 1e6;
/// Seconds of virtual time.
const DURATION_MAX: f64 = 1e6;
/// Users of a closed loop: each has a free port, even behind one address.
const USERS_MAX: u32 = 60_000;
/// Endpoints of clients with few ports.
const ENDPOINTS_MAX: u32 = 16_384;

/// What is wrong with which value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The value: its keys and places, with dots between them.
    pub path: String,
    /// What is wrong, and what is possible.
    pub reason: String,
}

impl Fault {
    pub(super) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

/// A fault unless this holds.
pub(super) fn ensure(
    holds: bool,
    path: impl Into<String>,
    reason: impl Into<String>,
) -> Result<(), Fault> {
    if holds {
        Ok(())
    } else {
        Err(Fault::new(path, reason))
    }
}

/// A number between two bounds, both of which it may be.
pub(super) fn within(
    value: impl Into<f64>,
    least: f64,
    most: f64,
    path: impl Into<String>,
) -> Result<(), Fault> {
    let (value, path) = (value.into(), path.into());
    let key = key(&path);
    let reason = format!("{key} {value} is not possible: it is from {least} to {most}");
    ensure((least..=most).contains(&value), path, reason)
}

/// A number above 0.
pub(super) fn positive(value: f64, most: f64, path: impl Into<String>) -> Result<(), Fault> {
    let path = path.into();
    let key = key(&path);
    let reason = format!("{key} {value} is not possible: it is more than 0, and at most {most}");
    ensure(value > 0.0 && value <= most, path, reason)
}

/// The last key of a path.
fn key(path: &str) -> String {
    let is_place = |step: &&str| step.bytes().all(|octet| octet.is_ascii_digit());
    let key = path.rsplit('.').find(|step| !is_place(step));
    format!("`{}`", key.unwrap_or(path))
}

/// The first thing that is wrong with a scenario.
///
/// # Errors
/// It.
pub fn check(scenario: &Scenario) -> Result<(), Fault> {
    check_one(scenario)?;
    let Some(sweep) = &scenario.sweep else {
        return Ok(());
    };
    let count = sweep.values.len();
    ensure(
        (1..=64).contains(&count),
        "sweep.values",
        format!("a sweep has 1 to 64 values, not {count}"),
    )?;
    for (index, value) in sweep.values.iter().enumerate() {
        let path = format!("sweep.values.{index}");
        let swept = match sweep.of {
            Swept::Load => *value,
            Swept::Removed | Swept::Directors => {
                within(*value, 1.0, f64::from(SERVERS_MAX), &path)?;
                ensure(
                    value.fract() == 0.0,
                    &path,
                    format!("{value} is not a whole number"),
                )?;
                *value
            }
        };
        let point = scenario.with(sweep.of, swept).ok_or_else(|| {
            let reason = match sweep.of {
                Swept::Load => {
                    "these arrivals have no load: make them `poisson` or `bursty`, or sweep something else"
                }
                Swept::Removed => "there is no event with action = \"remove\": add one",
                Swept::Directors => "there are no directors",
            };
            Fault::new("sweep.of", reason)
        })?;
        check_one(&point)
            .map_err(|fault| Fault::new(&path, format!("with {value} here: {}", fault.reason)))?;
    }
    Ok(())
}

fn check_one(scenario: &Scenario) -> Result<(), Fault> {
    check_head(scenario)?;
    check_service(scenario)?;
    check_servers(scenario)?;
    check_connections(scenario)?;
    check_clients(scenario)?;
    check_arrivals(scenario)?;
    check_load(scenario)?;
    check_flood(scenario)?;
    check_amounts(scenario)?;
    events::check(scenario)
}

fn check_head(scenario: &Scenario) -> Result<(), Fault> {
    let letters =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let name = &scenario.name;
    ensure(
        (1..=40).contains(&name.len()) && name.chars().all(letters),
        "name",
        "a name has 1 to 40 small letters, digits and dashes",
    )?;
    let summary = &scenario.summary;
    ensure(
        (1..=300).contains(&summary.len()) && !summary.chars().any(char::is_control),
        "summary",
        "a summary is one line of 1 to 300 octets",
    )?;
    positive(scenario.duration, DURATION_MAX, "duration")?;
    ensure(
        scenario.warmup >= 0.0 && scenario.warmup < scenario.duration,
        "warmup",
        format!(
            "nothing would be counted: it is from 0 to less than `duration`, {}",
            scenario.duration
        ),
    )?;
    let count = scenario.schedulers.len();
    ensure(
        count <= 64,
        "schedulers",
        format!("{count} schedulers are too many: at most 64"),
    )?;
    for (index, text) in scenario.schedulers.iter().enumerate() {
        schedulers::choose(text)
            .map_err(|error| Fault::new(format!("schedulers.{index}"), error.to_string()))?;
    }
    schedulers::chosen(&scenario.schedulers)
        .map_err(|error| Fault::new("schedulers", error.to_string()))?;
    Ok(())
}

fn check_service(scenario: &Scenario) -> Result<(), Fault> {
    let service = &scenario.service;
    ensure(
        !service.one_packet || service.protocol == Protocol::Udp,
        "service.one_packet",
        "one-packet scheduling is for UDP: set protocol = \"udp\", or leave this out",
    )?;
    within(
        service.persistent,
        0.0,
        86_400.0 * 31.0,
        "service.persistent",
    )?;
    within(service.vips, 0.0, 16_384.0, "service.vips")?;
    within(service.popularity, 0.0, 10.0, "service.popularity")
}

fn check_servers(scenario: &Scenario) -> Result<(), Fault> {
    let mut count = 0;
    for (index, group) in scenario.servers.iter().enumerate() {
        check_group(scenario, index, group)?;
        count += group.count;
    }
    ensure(
        count > 0,
        "servers",
        "there are no real servers: write [[servers]] with count = 16",
    )?;
    within(count, 1.0, f64::from(SERVERS_MAX), "servers")?;
    within(scenario.directors.count, 1.0, 256.0, "directors.count")?;
    let directors = if scenario.directors.shared {
        1
    } else {
        scenario.directors.count
    };
    let vips = if scenario.service.by_mark {
        1
    } else {
        scenario.service.vips.max(1)
    };
    let together = f64::from(count) * f64::from(vips) * f64::from(directors);
    ensure(
        together <= DESTINATIONS_MAX,
        "service.vips",
        format!(
            "{vips} virtual addresses with {count} real servers at {directors} directors are {together} states: at most \
             {DESTINATIONS_MAX}"
        ),
    )
}

fn check_group(scenario: &Scenario, index: usize, group: &ServersSection) -> Result<(), Fault> {
    let path = |key: &str| format!("servers.{index}.{key}");
    within(group.count, 1.0, f64::from(SERVERS_MAX), path("count"))?;
    within(group.weight, 0.0, 65_535.0, path("weight"))?;
    positive(group.speed, 1e6, path("speed"))?;
    within(group.processors, 1.0, 1024.0, path("processors"))?;
    within(
        group.upper_threshold,
        0.0,
        2_147_483_647.0,
        path("upper_threshold"),
    )?;
    let (lower, upper) = (group.lower_threshold, group.upper_threshold);
    ensure(
        lower <= upper,
        path("lower_threshold"),
        format!("the lower threshold is at most the upper one, which is {upper}"),
    )?;
    within(group.slow_start, 0.0, scenario.duration, path("slow_start"))?;
    if let Some(churn) = &group.churn {
        positive(churn.mtbf, DURATION_MAX, path("churn.mtbf"))?;
        positive(churn.mttr, DURATION_MAX, path("churn.mttr"))?;
        let failures = f64::from(group.count) * scenario.duration / (churn.mtbf + churn.mttr);
        ensure(
            failures <= CHANGES_MAX,
            path("churn.mtbf"),
            format!("that is {failures:.0} failures: at most {CHANGES_MAX}"),
        )?;
    }
    Ok(())
}

fn check_connections(scenario: &Scenario) -> Result<(), Fault> {
    let kinds = &scenario.connections;
    ensure(
        (1..=64).contains(&kinds.len()),
        "connections",
        format!(
            "{} kinds of connections: write 1 to 64 sections [[connections]] with the work of each",
            kinds.len()
        ),
    )?;
    for (index, kind) in kinds.iter().enumerate() {
        let path = |key: &str| format!("connections.{index}.{key}");
        positive(kind.share, 1e6, path("share"))?;
        within(kind.packets, 0.0, 10_000.0, path("packets"))?;
        kind.work.check(&path("work"))?;
        if let Some(linger) = &kind.linger {
            linger.check(&path("linger"))?;
        }
    }
    Ok(())
}

fn check_clients(scenario: &Scenario) -> Result<(), Fault> {
    let few = |count: u32, most: u32| within(count, 1.0, f64::from(most), "clients.count");
    match scenario.clients {
        Clients::Uniform { count } => few(count, 1 << 24),
        Clients::Zipf { count, exponent } => {
            within(exponent, 0.0, 10.0, "clients.exponent")?;
            few(count, 1_000_000)
        }
        Clients::Nat => Ok(()),
        Clients::Subnets { count } => few(count, 65_536),
        Clients::PortReuse { count, ports } => {
            few(count, ENDPOINTS_MAX)?;
            within(ports, 1.0, f64::from(ENDPOINTS_MAX), "clients.ports")?;
            let endpoints = count * u32::from(ports);
            ensure(
                endpoints <= ENDPOINTS_MAX,
                "clients.ports",
                format!(
                    "{count} addresses with {ports} ports are {endpoints} endpoints: at most {ENDPOINTS_MAX}"
                ),
            )
        }
    }
}

fn check_arrivals(scenario: &Scenario) -> Result<(), Fault> {
    match &scenario.arrivals {
        Arrivals::Poisson { load, rate } => match (load, rate) {
            (Some(load), None) => check_load_alone(*load),
            (None, Some(rate)) => positive(*rate, 1e9, "arrivals.rate"),
            _ => Err(Fault::new(
                "arrivals",
                "Poisson arrivals have either `load`, the share of the capacity that is asked for, or `rate`, connections \
                 a second",
            )),
        },
        Arrivals::Bursty {
            load,
            factor,
            burst,
            quiet,
        } => {
            check_load_alone(*load)?;
            within(*factor, 1.0, 1e6, "arrivals.factor")?;
            positive(*burst, DURATION_MAX, "arrivals.burst")?;
            positive(*quiet, DURATION_MAX, "arrivals.quiet")?;
            let bursts = scenario.duration / (burst + quiet);
            ensure(
                bursts <= CHANGES_MAX,
                "arrivals.quiet",
                format!("that is {bursts:.0} bursts: at most {CHANGES_MAX}"),
            )
        }
        Arrivals::Closed { users, think } => {
            let most = match scenario.clients {
                Clients::PortReuse { count, ports } => {
                    USERS_MAX.min(count.saturating_mul(ports.into()))
                }
                _ => USERS_MAX,
            };
            within(*users, 1.0, f64::from(most), "arrivals.users")?;
            think.check("arrivals.think")
        }
        Arrivals::Trace { .. } => Ok(()),
    }
}

/// One of 1 and more is told with what makes it so, by [`check_load`].
fn check_load_alone(load: f64) -> Result<(), Fault> {
    ensure(
        load > 0.0 && load.is_finite(),
        "arrivals.load",
        format!("`load` {load} is not possible: it is more than 0, and less than 1"),
    )
}

fn check_flood(scenario: &Scenario) -> Result<(), Fault> {
    let Some(flood) = &scenario.syn_flood else {
        return Ok(());
    };
    ensure(
        scenario.service.protocol == Protocol::Tcp,
        "syn_flood",
        "UDP has no SYN: leave [syn_flood] out, or set protocol = \"tcp\"",
    )?;
    positive(flood.rate, 1e9, "syn_flood.rate")?;
    within(flood.from, 0.0, scenario.duration, "syn_flood.from")?;
    ensure(
        flood.until > flood.from && flood.until <= scenario.duration,
        "syn_flood.until",
        format!(
            "a flood ends after it has begun, at {}, and at the end of the run at the latest, at {}",
            flood.from, scenario.duration
        ),
    )
}

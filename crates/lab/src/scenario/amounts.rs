//! What a scenario's numbers come to together: load, connections, packets.

use super::check::{Fault, ensure};
use super::{Arrivals, Scenario};
use crate::workload::trace::Row;

/// Connections of one run.
const CONNECTIONS_MAX: f64 = 100e6;
/// Connections that a director remembers at a time.
const LIVE_MAX: f64 = 20e6;
/// How long a director remembers a connection that says nothing any more, at most (UDP), seconds.
const REMEMBERED: f64 = 300.0;
/// Packets of one run.
const PACKETS_MAX: f64 = 2e9;
/// A number with four digits that count.
fn brief(value: f64) -> String {
    let digits = if value == 0.0 {
        0.0
    } else {
        3.0 - libm::floor(libm::log10(libm::fabs(value)))
    };
    let scale = libm::pow(10.0, digits.clamp(0.0, 12.0));
    format!("{}", libm::round(value * scale) / scale)
}

/// An open loop that asks for more than there is.
pub(super) fn check_load(scenario: &Scenario) -> Result<(), Fault> {
    let (Some(rate), Some(load)) = (scenario.rate(), scenario.load()) else {
        return Ok(());
    };
    let key = match scenario.arrivals {
        Arrivals::Poisson { rate: Some(_), .. } => "arrivals.rate",
        _ => "arrivals.load",
    };
    let (work, capacity) = (scenario.mean_work(), scenario.capacity());
    ensure(
        load < 1.0,
        key,
        format!(
            "that is load {}: {} connections a second of {} s each are {} s of work a second, and the real servers do {}, so \
             queues would grow without end; stay below 1, add real servers, or use kind = \"closed\"",
            brief(load),
            brief(rate),
            brief(work),
            brief(rate * work),
            brief(capacity)
        ),
    )
}

/// A trace that asks for more than there is, on average over the run: above that for a while is what a trace is for.
pub(super) fn check_trace(scenario: &Scenario, rows: &[Row]) -> Result<(), Fault> {
    let (usual, duration) = (scenario.mean_work(), scenario.duration);
    let within = rows
        .iter()
        .take_while(|row| row.at.as_secs_f64() < duration);
    let works = within.map(|row| row.work.unwrap_or(usual));
    let (connections, work) = works.fold((0, 0.0), |(number, sum), work| (number + 1, sum + work));
    let capacity = scenario.capacity();
    let load = work / duration / capacity;
    let connections: u64 = connections;
    ensure(
        load < 1.0,
        "arrivals.file",
        format!(
            "that is load {}: {connections} connections in {} s are {} s of work a second, and the real servers do {}, so \
             queues would grow to the end; add real servers, or make what the trace or [[connections]] says of `work` less",
            brief(load),
            brief(duration),
            brief(work / duration),
            brief(capacity)
        ),
    )
}

/// How much all of it comes to.
pub(super) fn check_amounts(scenario: &Scenario) -> Result<(), Fault> {
    let (rate, key) = match &scenario.arrivals {
        Arrivals::Closed { users, think } => {
            // What users ask for, and what the real servers can answer.
            let asked = f64::from(*users) / think.mean();
            (
                asked.min(scenario.capacity() / scenario.mean_work()),
                "arrivals.users",
            )
        }
        Arrivals::Poisson {
            rate: Some(rate), ..
        } => (*rate, "arrivals.rate"),
        Arrivals::Trace { .. } => (0.0, "arrivals.file"),
        _ => (scenario.rate().unwrap_or(0.0), "arrivals.load"),
    };
    let flood = scenario
        .syn_flood
        .map_or(0.0, |flood| flood.rate * (flood.until - flood.from));
    let connections = rate * scenario.duration + flood;
    ensure(
        connections <= CONNECTIONS_MAX,
        if flood > connections / 2.0 {
            "syn_flood.rate"
        } else {
            key
        },
        format!(
            "that is about {} connections: at most {CONNECTIONS_MAX}; shorten `duration`, or make the work \
             of each longer",
            brief(connections)
        ),
    )?;
    let packets = scenario.connections.iter().map(|kind| kind.packets).max();
    let packets = connections * f64::from(packets.unwrap_or(0));
    ensure(
        packets <= PACKETS_MAX,
        "connections.0.packets",
        format!(
            "that is up to {} packets: at most {PACKETS_MAX}",
            brief(packets)
        ),
    )?;
    let linger = scenario.connections.iter();
    let linger = linger
        .filter_map(|kind| kind.linger)
        .map(|linger| linger.mean());
    let remembered = REMEMBERED + linger.fold(0.0, f64::max);
    let live = rate * scenario.duration.min(remembered);
    ensure(
        live <= LIVE_MAX,
        key,
        format!(
            "that is about {} connections at a time: at most {LIVE_MAX}; shorten `duration`",
            brief(live)
        ),
    )
}

//! `million`: does a million connections cost rate, and how much memory?
//!
//! Makes the connections through the running daemon, then sends small frames of random flows, of the first thousand and
//! of all in turn, as fast as they can be made.

use std::thread;
use std::time::{Duration, Instant};

use super::blast::{Blast, Flows, open_sinks, sunk};
use super::counters::Counters;
use super::report::{Report, progress};
use super::world::World;
use crate::harness::Director;

/// The few flows that the many are compared with.
const FEW: u32 = 1000;
/// Rate at which connections are made at first, frames a second; half of it where some are missing after that, and so on.
const MAKING: f64 = 100_000.0;
/// Times that it is tried.
const TRIALS: u8 = 4;
/// A share of the connections that may be missing where the machine is too busy: one in so many.
const MISSING: u64 = 1000;
/// The least that the rate over all flows may be of that over few.
const LEAST: f64 = 0.9;
/// Octets of memory that a connection may take.
const CONNECTION: f64 = 128.0;
/// Clock ticks a second in `/proc` (`USER_HZ`), fixed on Linux.
const TICKS: f64 = 100.0;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Connections.
    pub(crate) connections: u32,
    /// Measurements of each.
    pub(crate) rounds: usize,
    /// How long one takes.
    pub(crate) time: Duration,
    /// The daemon's workers.
    pub(crate) workers: usize,
    /// Threads that make frames.
    pub(crate) threads: usize,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Frames that arrived, a second.
    arrived: f64,
    /// Share of the offered frames that was lost.
    lost: f64,
    /// The daemon's processor time for a frame that arrived, nanoseconds.
    cost: f64,
}

/// Runs the plan.
pub(crate) fn run(plan: &Plan) -> Report {
    let mut report = Report::new(&[
        "round",
        "few/s",
        "all/s",
        "ratio",
        "few ns",
        "all ns",
        "few lost %",
        "all lost %",
        "ns ratio",
    ]);
    let begun = Instant::now();
    let world = World::new();
    // A worker takes its share of the table.
    let room = plan.connections.saturating_mul(2);
    let mut director = world.start(plan.workers, &format!("max_connections = {room}\n"));
    director.shell("ipvsadm --set 0 0 3600");
    let _sinks = open_sinks(&world, &director);
    let before = Counters::read(&director).resident();
    make(&world, &director, plan.connections, begun);
    let counters = Counters::read(&director);
    let live = counters.total("connections/live");
    let wanted = u64::from(plan.connections);
    report.check(live >= wanted - wanted / MISSING, || {
        format!("only {live} of {wanted} connections were made")
    });
    let each = (counters.resident() - before) as f64 / live.max(1) as f64;
    report.note(format!(
        "memory: {each:.0} octets for each of {live} connections"
    ));
    // Below that, the pages that the daemon needs anyway count for more than the connections.
    report.check(wanted < 500_000 || each <= CONNECTION * 1.5, || {
        format!("a connection takes {each:.0} octets")
    });
    let ratios = rounds(&world, &mut director, plan, begun, &mut report);
    let after = Counters::read(&director);
    for sentence in after.broken(true) {
        report.fail(sentence);
    }
    let still = after.total("connections/live");
    // The first frame of a flow that was missing makes it.
    report.check(still >= live, || {
        format!("{live} connections became {still}")
    });
    judge(ratios, &mut report);
    report
}

/// Measures over few and over all, and adds a row for each round; the ratios.
fn rounds(
    world: &World,
    director: &mut Director,
    plan: &Plan,
    begun: Instant,
    report: &mut Report,
) -> Vec<f64> {
    let mut ratios = Vec::new();
    for round in 1..=plan.rounds {
        // In turn, so that what changes in between meets both alike.
        let mut measure = |flows| rate(world, director, plan, flows);
        let (few, all) = if round % 2 == 0 {
            let all = measure(plan.connections);
            (measure(FEW), all)
        } else {
            (measure(FEW), measure(plan.connections))
        };
        ratios.push(all.arrived / few.arrived);
        progress(
            begun.elapsed(),
            &format!(
                "million: round {round}, ratio {:.3}",
                all.arrived / few.arrived
            ),
        );
        report.row(&[
            round.to_string(),
            format!("{:.0}", few.arrived),
            format!("{:.0}", all.arrived),
            format!("{:.3}", all.arrived / few.arrived),
            format!("{:.0}", few.cost),
            format!("{:.0}", all.cost),
            format!("{:.1}", few.lost * 100.0),
            format!("{:.1}", all.lost * 100.0),
            format!("{:.3}", all.cost / few.cost),
        ]);
    }
    ratios
}

/// Whether the rate over all is enough.
fn judge(mut ratios: Vec<f64>, report: &mut Report) {
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
    let (least, most) = (ratios.first(), ratios.last());
    report.note(format!(
        "rate over all against over {FEW}: median {median:.3}, from {:.3} to {:.3}",
        least.copied().unwrap_or(f64::NAN),
        most.copied().unwrap_or(f64::NAN)
    ));
    report.check(median >= LEAST, || {
        format!("the rate over all connections is {median:.3} of that over {FEW}")
    });
}

/// Makes the connections, again where a frame was lost.
fn make(world: &World, director: &Director, connections: u32, begun: Instant) {
    let mut rate = MAKING;
    for _ in 0..TRIALS {
        let blast = Blast::start(world, Flows::Each(connections), 1, rate);
        rate /= 2.0;
        while !blast.is_over() {
            thread::sleep(Duration::from_millis(500));
            progress(
                begun.elapsed(),
                &format!("million: {} frames sent", blast.taken()),
            );
        }
        blast.stop();
        thread::sleep(Duration::from_millis(300));
        if Counters::read(director).total("connections/live") >= u64::from(connections) {
            return;
        }
    }
}

/// The rate at which frames of random flows below `flows` arrive.
fn rate(world: &World, director: &mut Director, plan: &Plan, flows: u32) -> Rate {
    let pid = director.process().pid();
    let (before, worked) = (sunk(world), processor(pid));
    let blast = Blast::start(world, Flows::Known(flows), plan.threads, 0.0);
    thread::sleep(plan.time);
    let (taken, refused, seconds) = blast.stop();
    thread::sleep(Duration::from_millis(300));
    let arrived = (sunk(world) - before) as f64;
    Rate {
        arrived: arrived / seconds,
        lost: 1.0 - arrived / (taken + refused) as f64,
        cost: (processor(pid) - worked) * 1e9 / arrived.max(1.0),
    }
}

/// Seconds of processor time that a process has used.
fn processor(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold blanks; behind it user and system time are fields 14 and 15.
    let fields = text.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2);
    times
        .filter_map(|word| word.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS
}

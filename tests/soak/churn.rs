//! `churn`: do memory and counters stay right while connections come and go?
//!
//! Clients open, close, abort and abandon connections, somebody edits the services, and garbage comes in between. Every
//! so often all counters are read, and each must be explained by the others; in the end, with nothing under way, also
//! by what the kernel counted on the cables and by the list of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::changes::Changes;
use super::clients::{self, Done, Load};
use super::counters::Counters;
use super::inside::{Traffic, traffic};
use super::report::{Report, mebibytes, progress};
use super::servers;
use super::world::{Assist, METHODS, World, add_service};
use crate::harness::Director;

/// Between two changes of the services.
const CHANGE: Duration = Duration::from_secs(1);
/// From when on memory must not grow: by then as many connections end as begin (half-open ones take a minute, closed
/// ones of NAT two).
const STEADY: Duration = Duration::from_secs(240);
/// Growth from the middle of the steady time to its end that is no leak: pages of the allocator.
const GROWTH: f64 = 0.02;
/// The same for a run that is too short to become steady, octets: some 100,000 connections.
const SHORT_GROWTH: u64 = 32 << 20;
/// How long the last connections may take to end: TIME_WAIT and some.
const DRAIN: Duration = Duration::from_secs(200);
/// The director's interfaces.
const INTERFACES: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];

/// How long, and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How long traffic flows.
    pub(crate) time: Duration,
    /// Between two readings of the counters.
    pub(crate) period: Duration,
    /// TCP connections a second; as many UDP flows and garbage frames.
    pub(crate) rate: u32,
    /// The daemon's workers.
    pub(crate) workers: usize,
    /// Whose packets the kernel sends on by itself.
    pub(crate) assist: Assist,
    /// Of all choices.
    pub(crate) seed: u64,
}

/// What a reading found.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Duration,
    resident: u64,
    live: u64,
}

/// Runs the plan.
pub(crate) fn run(plan: &Plan) -> Report {
    let mut report = Report::new(&["what", "count"]);
    let world = World::new();
    // Without aggregation a frame on the cable is a frame in the ring. Short timeouts, so that connections end.
    let more = format!("{}gro = \"leave\"\n", plan.assist.line());
    let director = world.start(plan.workers, &more);
    for method in METHODS {
        add_service(&director, "-t", method, "wlc");
        add_service(&director, "-u", method, "rr");
    }
    director.shell("ipvsadm --set 20 10 10");
    let over = Arc::new(AtomicBool::new(false));
    servers::start(&world, &over);
    let before = calm(&world, &director);
    let done = Arc::new(Done::default());
    let load = Load {
        connections: plan.rate,
        seed: plan.seed,
    };
    let threads = clients::start(&world, load, &done, &over);
    let mut changes = Changes::new(plan.seed);
    let readings = watch(plan, &director, &done, &mut changes, &mut report);
    over.store(true, Relaxed);
    threads.into_iter().for_each(super::inside::join);
    flat(plan, &readings, &mut report);
    let after = calm(&world, &director);
    for sentence in after.counters.broken(true) {
        report.fail(sentence);
    }
    on_the_cables(&before, &after, &mut report);
    listed(&director, &mut report);
    scheduled(&director, &mut report);
    if plan.time >= STEADY {
        drained(&director, &mut report);
    }
    tell(&done, &changes, &Counters::read(&director), &mut report);
    report
}

/// Lets it run: changes the services and reads the counters, until the time is over.
fn watch(
    plan: &Plan,
    director: &Director,
    done: &Done,
    changes: &mut Changes,
    report: &mut Report,
) -> Vec<Reading> {
    let begun = Instant::now();
    let mut readings = Vec::new();
    let mut next = begun + plan.period;
    while begun.elapsed() < plan.time {
        if let Err(sentence) = changes.step(director) {
            report.fail(sentence);
        }
        thread::sleep(CHANGE.min(plan.period));
        if Instant::now() < next {
            continue;
        }
        next += plan.period;
        let counters = Counters::read(director);
        for sentence in counters.broken(false) {
            report.fail(format!(
                "after {:.0} s: {sentence}",
                begun.elapsed().as_secs_f64()
            ));
        }
        let resident = counters.resident();
        readings.push(Reading {
            at: begun.elapsed(),
            resident,
            live: counters.total("connections/live"),
        });
        let text = format!(
            "churn: {} MiB, {} live, {} made, {} frames in, {} dropped, {} closed, {} aborted, {} failed",
            mebibytes(resident),
            counters.total("connections/live"),
            counters.total("connections/made"),
            counters.total("frames/received"),
            counters.total("dropped/*"),
            done.closed.load(Relaxed),
            done.aborted.load(Relaxed),
            done.failed.load(Relaxed),
        );
        progress(begun.elapsed(), &text);
        if report.wrong().len() > 20 {
            break;
        }
    }
    readings
}

/// Whether memory stayed flat.
fn flat(plan: &Plan, readings: &[Reading], report: &mut Report) {
    let most = |from: Duration, to: Duration| {
        let within = readings
            .iter()
            .filter(|reading| reading.at >= from && reading.at < to);
        let numbers = within.map(|reading| (reading.resident, reading.live));
        numbers.reduce(|(resident, live), (more, alive)| (resident.max(more), live.max(alive)))
    };
    let all = |pick: fn(u64, u64) -> u64| readings.iter().map(|one| one.resident).reduce(pick);
    let (Some(least), Some(largest)) = (all(u64::min), all(u64::max)) else {
        report.fail("the run was too short for one reading");
        return;
    };
    report.note(format!(
        "memory: {} to {} MiB in {} readings",
        mebibytes(least),
        mebibytes(largest),
        readings.len()
    ));
    let half = STEADY + plan.time.saturating_sub(STEADY) / 2;
    let (first, second) = (most(STEADY, half), most(half, Duration::MAX));
    let (Some((first, fewer)), Some((second, more))) = (first, second) else {
        report.check(largest - least <= SHORT_GROWTH, || {
            format!("memory grew by {} MiB", mebibytes(largest - least))
        });
        return;
    };
    let growth = second as f64 / first as f64 - 1.0;
    report.note(format!(
        "steady time, second half against first: {:+.2} % memory, at most {more} live connections against {fewer}",
        growth * 100.0
    ));
    report.check(growth <= GROWTH, || {
        let (first, second) = (mebibytes(first), mebibytes(second));
        format!("memory is not flat: {first} MiB in the first half, {second} MiB in the second")
    });
}

/// A moment in which nothing is under way.
struct Calm {
    counters: Counters,
    cables: [Traffic; 4],
}

/// Waits until nothing is under way: until two readings are the same.
fn calm(world: &World, director: &Director) -> Calm {
    let read = || {
        let cables = INTERFACES.map(|name| traffic(&world.director, name));
        (Counters::read(director), cables)
    };
    let signature = |(counters, cables): &(Counters, [Traffic; 4])| {
        let all = cables.iter().map(|cable| cable.received + cable.sent);
        let waiting = counters.total("neighbours/waiting");
        let seen = counters.total("frames/received") + counters.total("sent/*");
        (all.sum::<u64>(), seen, waiting)
    };
    let mut last = read();
    for _ in 0..40 {
        thread::sleep(Duration::from_millis(300));
        let now = read();
        if signature(&now) == signature(&last) && signature(&now).2 == 0 {
            last = now;
            break;
        }
        last = now;
    }
    let (counters, cables) = last;
    Calm { counters, cables }
}

/// Whether the director had every frame that came by a cable, and every frame that it sent is on one.
fn on_the_cables(before: &Calm, after: &Calm, report: &mut Report) {
    let difference = |of: &dyn Fn(&Calm) -> u64| of(after) - of(before);
    let came = difference(&|calm| calm.cables.iter().map(|cable| cable.received).sum());
    let lost = |calm: &Calm| {
        ["ring_full", "truncated", "unknown_offload"]
            .map(|name| calm.counters.links(name))
            .iter()
            .sum::<u64>()
    };
    let seen = difference(&|calm| calm.counters.links("received") + lost(calm));
    let assisted = difference(&|calm| calm.counters.total("assisted/forwarded"));
    report.note(format!(
        "frames that came by the cables: {came}; the director's links had {seen}, the kernel sent on {assisted}"
    ));
    report.check(came == seen + assisted, || {
        format!(
            "{came} frames came by the cables, but the links had or lost {seen} and the kernel sent on {assisted}"
        )
    });
    let left = difference(&|calm| calm.cables.iter().map(|cable| cable.sent).sum());
    let sent = difference(&|calm| calm.counters.total("sent/*"));
    report.note(format!(
        "frames that left by the cables: {left}; the director sent {sent}, its host {}",
        left.saturating_sub(sent + assisted)
    ));
    report.check(sent + assisted <= left, || {
        format!(
            "the director sent {sent} frames and the kernel {assisted}, but only {left} left by the cables"
        )
    });
}

/// Whether as many connections are listed as there are.
fn listed(director: &Director, report: &mut Report) {
    let live = || Counters::read(director).total("connections/live");
    let before = live();
    let list = director.shell("ipvsadm -Lcn");
    let after = live();
    let count = u64::try_from(list.lines().skip(2).count()).unwrap_or(u64::MAX);
    report.check((after..=before).contains(&count), || {
        format!("{count} connections are listed, but between {after} and {before} are live")
    });
}

/// Whether IPVS's own statistics have as many connections as were made.
fn scheduled(director: &Director, report: &mut Report) {
    // The total is a sample of every other second; what each processor (worker) counted is not.
    let text = director.shell("ulvs proc ip_vs_stats_percpu");
    let made = Counters::read(director).total("connections/made");
    let rows = text.lines().skip(2).take_while(|line| !line.contains('~'));
    let conns = rows.filter_map(|line| line.split_whitespace().nth(1));
    let conns: u64 = conns
        .filter_map(|word| u64::from_str_radix(word, 16).ok())
        .sum();
    report.check(conns == made, || {
        format!("{made} connections were made, but ip_vs_stats_percpu has {conns}")
    });
}

/// Waits until all connections have ended.
fn drained(director: &Director, report: &mut Report) {
    let begun = Instant::now();
    let mut counters = Counters::read(director);
    while counters.total("connections/live") > 0 && begun.elapsed() < DRAIN {
        thread::sleep(Duration::from_secs(5));
        counters = Counters::read(director);
    }
    let live = counters.total("connections/live");
    report.check(live == 0, || {
        format!(
            "{live} connections are still there {} s after the last packet",
            DRAIN.as_secs()
        )
    });
    report.note(format!(
        "memory when all connections had been listed and had ended: {} MiB",
        mebibytes(counters.resident())
    ));
}

fn tell(done: &Done, changes: &Changes, counters: &Counters, report: &mut Report) {
    let corrupted = done.corrupted.load(Relaxed);
    report.check(corrupted == 0, || {
        format!("{corrupted} answers were corrupted")
    });
    let closed = done.closed.load(Relaxed);
    report.check(closed > 0, || "no connection was answered".to_owned());
    let mut row = |what: &str, count: u64| report.row(&[what.to_owned(), count.to_string()]);
    row("TCP connections closed", closed);
    row("TCP connections aborted", done.aborted.load(Relaxed));
    row("TCP connections failed", done.failed.load(Relaxed));
    row("TCP connections half-open", done.half_open.load(Relaxed));
    row("UDP flows", done.flows.load(Relaxed));
    row(
        "UDP flows not answered in full",
        done.unanswered.load(Relaxed),
    );
    row("garbage frames", done.garbage.load(Relaxed));
    row("changes of the services", changes.count);
    for path in [
        "frames/received",
        "frames/forwarded",
        "frames/answered",
        "frames/left_to_host",
        "frames/held",
        "fragments/kept",
        "fragments/released",
        "fragments/dropped",
        "neighbours/kept",
        "neighbours/released",
        "neighbours/dropped",
        "sent/sent",
        "connections/made",
        "connections/ended",
        "connections/live",
    ] {
        row(path, counters.total(path));
    }
    for group in ["dropped", "not_sent"] {
        for (name, count) in counters.group(group) {
            row(&format!("{group}/{name}"), count);
        }
    }
    for name in ["ring_full", "truncated", "unknown_offload"] {
        row(&format!("link/{name}"), counters.links(name));
    }
}

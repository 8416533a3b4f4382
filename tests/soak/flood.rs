//! `flood`: what happens at twice the rate that the director carries?
//!
//! Finds the rate that is carried at most, offers twice that, and looks on: every frame must have arrived or be
//! counted as lost somewhere, others' questions must be answered, memory must not grow, and after the end everything must
//! be as before within a second.

use std::thread;
use std::time::{Duration, Instant};

use super::blast::{Blast, Flows, open_sinks, sunk, taken};
use super::counters::Counters;
use super::probe::{Heard, Probe};
use super::report::{Report, mebibytes, progress};
use super::servers;
use super::world::{METHODS, VIP, World, add_service};
use crate::harness::Director;

/// Flows of a flood.
const FLOWS: u32 = 512;
/// Trials that the rate carried is the best of.
const TRIALS: usize = 3;
/// How long one takes.
const TRIAL: Duration = Duration::from_millis(1000);
/// After the flood.
const AFTER: Duration = Duration::from_secs(3);
/// Recovery must not take longer, milliseconds.
const RECOVERY: f64 = 1000.0;
/// A question's answer may take so long during the flood (99 of 100), milliseconds, on the cable without flood: most of it
/// is waiting for a processor, which the flood takes as well.
const BOUND: f64 = 500.0;
/// Connections of the director: a flood of new ones fills the table.
const CONNECTIONS: u64 = 200_000;
/// Memory that a flood of known flows may take, octets.
const GROWTH: u64 = 4 << 20;
/// Memory that a connection may take, octets, with growth of the table.
const CONNECTION: u64 = 400;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How long each flood lasts.
    pub(crate) time: Duration,
    /// Floods of each kind.
    pub(crate) rounds: usize,
    /// The daemon's workers.
    pub(crate) workers: usize,
    /// Threads that make the flood.
    pub(crate) threads: usize,
}

/// The world with everything in it.
struct Scene {
    world: World,
    director: Director,
    /// Questions by the flooded cable, and by another.
    probes: [Probe; 2],
}

/// All that a flood is judged by.
struct Snapshot {
    counters: Counters,
    /// Datagrams that arrived at the sinks.
    sunk: u64,
    /// Packets that the flooded services took.
    taken: u64,
}

/// Runs the plan.
pub(crate) fn run(plan: &Plan) -> Report {
    let mut report = Report::new(&[
        "flood",
        "offered/s",
        "arrived/s",
        "ring full",
        "dropped",
        "not sent",
        "unexplained",
        "p99 ms",
        "lost %",
        "same cable p99",
        "same lost %",
        "normal after ms",
        "grew MiB",
    ]);
    let begun = Instant::now();
    let world = World::new();
    let more = format!("max_connections = {CONNECTIONS}\n");
    let director = world.start(plan.workers, &more);
    add_service(&director, "-u", METHODS[1], "rr");
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    servers::start(&world, &over);
    let _sinks = open_sinks(&world, &director);
    let address = format!("{}:{}", VIP[0], METHODS[1].port);
    let probes = [&world.client, &world.other].map(|host| Probe::start(host, &address));
    let scene = Scene {
        world,
        director,
        probes,
    };
    let carried = carried(&scene, plan, begun);
    report.note(format!("carried: {carried:.0} frames a second"));
    for round in 1..=plan.rounds {
        for (name, flows) in [("flows", Flows::Known(FLOWS)), ("new", Flows::New)] {
            let text = format!("flood: round {round}, {name}");
            progress(begun.elapsed(), &text);
            flood(&scene, plan, (name, flows), carried * 2.0).tell(&mut report);
        }
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    report
}

/// The most that arrives when as much is offered as can be made, frames a second.
fn carried(scene: &Scene, plan: &Plan, begun: Instant) -> f64 {
    // Connections, and full sinks.
    let blast = Blast::start(&scene.world, Flows::Each(FLOWS * 4), 1, 20_000.0);
    while !blast.is_over() {
        thread::sleep(Duration::from_millis(10));
    }
    blast.stop();
    let mut best = 0.0_f64;
    for _ in 0..TRIALS {
        thread::sleep(Duration::from_millis(300));
        let before = sunk(&scene.world);
        let blast = Blast::start(&scene.world, Flows::Known(FLOWS), plan.threads, 0.0);
        thread::sleep(TRIAL);
        let (taken, refused, seconds) = blast.stop();
        thread::sleep(Duration::from_millis(300));
        let arrived = (sunk(&scene.world) - before) as f64 / seconds;
        let offered = (taken + refused) as f64 / seconds;
        let text = format!("flood: {offered:.0} frames a second offered, {arrived:.0} carried");
        progress(begun.elapsed(), &text);
        best = best.max(arrived);
    }
    best
}

fn snapshot(scene: &Scene) -> Snapshot {
    Snapshot {
        counters: Counters::read(&scene.director),
        sunk: sunk(&scene.world),
        taken: taken(&scene.director),
    }
}

/// What one flood brought.
struct Flood {
    name: &'static str,
    flows: Flows,
    before: Snapshot,
    after: Snapshot,
    /// Frames that were put on the cable, and frames for which it had no room.
    offered: (u64, u64),
    seconds: f64,
    /// The most memory meanwhile, octets.
    resident: u64,
    /// The longest time that `ulvs stats` took.
    slowest: Duration,
    /// Others' questions during the flood, by the same cable and by another.
    during: [Heard; 2],
    /// A delay that is not normal any more, and when everything was normal again after the end, milliseconds.
    limit: f64,
    normal: f64,
}

/// Does one flood, and looks at what comes after it.
fn flood(scene: &Scene, plan: &Plan, (name, flows): (&'static str, Flows), rate: f64) -> Flood {
    let calm = Instant::now();
    thread::sleep(Duration::from_secs(1));
    let before = snapshot(scene);
    let begin = Instant::now();
    let blast = Blast::start(&scene.world, flows, plan.threads, rate);
    let mut resident = before.counters.resident();
    let mut slowest = Duration::ZERO;
    while begin.elapsed() < plan.time {
        let asked = Instant::now();
        resident = resident.max(Counters::read(&scene.director).resident());
        slowest = slowest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(200));
    }
    let (on_cable, refused, seconds) = blast.stop();
    let end = Instant::now();
    thread::sleep(AFTER);
    let [_, other] = &scene.probes;
    let limit = (other.heard(calm, begin).percentile(99) * 5.0).max(20.0);
    // What was asked within the last moment may be under way.
    let until = Instant::now() - Duration::from_millis(300);
    let probes = scene.probes.each_ref();
    let normal = probes.map(|probe| probe.heard(end, until).normal_from(limit));
    Flood {
        name,
        flows,
        before,
        after: snapshot(scene),
        offered: (on_cable, refused),
        seconds,
        resident,
        slowest,
        during: probes.map(|probe| probe.heard(begin, end)),
        limit,
        normal: normal[0].max(normal[1]),
    }
}

impl Flood {
    /// How much a sum of counters grew.
    fn grew(&self, of: impl Fn(&Snapshot) -> u64) -> u64 {
        of(&self.after) - of(&self.before)
    }

    /// Frames that were lost before the director saw them.
    fn overrun(&self) -> u64 {
        self.grew(|shot| {
            shot.counters.links("ring_full") + shot.counters.total("shared_out/inbox_full")
        })
    }

    fn memory(&self) -> u64 {
        self.resident
            .saturating_sub(self.before.counters.resident())
    }

    /// Adds it to the report.
    fn tell(&self, report: &mut Report) {
        let (on_cable, refused) = self.offered;
        let (overrun, taken) = (self.overrun(), self.grew(|shot| shot.taken));
        let dropped = self.grew(|shot| shot.counters.total("dropped/*"));
        let not_sent = self.grew(|shot| shot.counters.total("not_sent/*"));
        let counted = taken + overrun + dropped;
        let [same, other] = &self.during;
        report.row(&[
            self.name.to_owned(),
            format!("{:.0}", (on_cable + refused) as f64 / self.seconds),
            format!("{:.0}", (taken - not_sent.min(taken)) as f64 / self.seconds),
            overrun.to_string(),
            dropped.to_string(),
            not_sent.to_string(),
            (i128::from(on_cable) - i128::from(counted)).to_string(),
            format!("{:.2}", other.percentile(99)),
            format!("{:.1}", other.share_lost() * 100.0),
            format!("{:.2}", same.percentile(99)),
            format!("{:.1}", same.share_lost() * 100.0),
            format!("{:.0}", self.normal),
            mebibytes(self.memory()),
        ]);
        // Questions and answers of the probes may be among those that were lost.
        let others = 2 * (same.lost + other.lost);
        let explained = on_cable <= counted && counted - on_cable <= others;
        report.check(explained, || {
            format!(
                "{}: {on_cable} frames were on the cable, but {counted} were forwarded or are counted as lost",
                self.name
            )
        });
        let arrived = self.grew(|shot| shot.sunk);
        let sinks = self.flows == Flows::New || (arrived <= taken && taken - arrived <= not_sent);
        report.check(sinks, || {
            format!(
                "{}: {taken} frames were forwarded and {not_sent} of them not sent, but {arrived} arrived",
                self.name
            )
        });
        for sentence in self.after.counters.broken(true) {
            report.fail(format!("{}: {sentence}", self.name));
        }
        self.bounded(report);
    }

    /// Judges what others noticed, and memory.
    fn bounded(&self, report: &mut Report) {
        let (name, other) = (self.name, &self.during[1]);
        let (late, lost) = (other.percentile(99), other.share_lost());
        report.check(late <= BOUND && lost < 0.5, || {
            let lost = lost * 100.0;
            format!("{name}: others' answers took {late:.0} ms, and {lost:.0} % were lost")
        });
        report.check(self.normal <= RECOVERY, || {
            let limit = self.limit;
            format!(
                "{name}: it took {:.0} ms until questions were answered again (within {limit:.0} ms)",
                self.normal
            )
        });
        let new = self.grew(|shot| shot.counters.total("connections/made"));
        let memory = self.memory();
        report.check(memory <= GROWTH + new.min(CONNECTIONS) * CONNECTION, || {
            format!("{name}: memory grew by {} MiB", mebibytes(memory))
        });
        report.check(self.slowest < Duration::from_secs(5), || {
            format!("{name}: ulvs stats took {:?}", self.slowest)
        });
    }
}

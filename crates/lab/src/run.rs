//! Runs scenarios: every point of a sweep with every scheduler, so many repeats each, on several threads.
//!
//! Promises: what comes out depends on scenario and seed alone, not on the threads: runs are merged in a fixed order,
//! whichever is done first.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use director::scheduler::lots::mix;
use director::shared::CommandError;

use crate::director_model::Setup;
use crate::events::marks;
use crate::histogram::Histogram;
use crate::metrics::RunResults;
use crate::network::{Addresses, MOST};
use crate::results::{
    Estimate, METRICS, Point, ScenarioResults, SchedulerResults, ServerRow, ServerShare,
};
use crate::scenario::{Event, Scenario};
use crate::schedulers::{self, Choice};
use crate::statistics::count;
use crate::time::seconds;
use crate::workload;
use crate::world::{RunOptions, World};

/// Flows that are looked at when the list of real servers changes.
const PROBES: usize = 10_000;
/// The same in a quick run.
const QUICK_PROBES: usize = 2_000;
/// Points of the distribution of sojourn times, about.
const POINTS: usize = 200;

/// How to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Seed of all randomness.
    pub seed: u64,
    /// Independent repeats of each scenario with each scheduler; at least 1.
    pub repeats: u32,
    /// Look at fewer flows when the list of real servers changes.
    pub quick: bool,
    /// Threads; 0 means as many as there are processors.
    pub threads: usize,
}

/// A run is done, and how many of all of a scenario are.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Name of the scenario.
    pub scenario: &'a str,
    /// The scheduler of the run.
    pub scheduler: &'a str,
    /// Runs that are done.
    pub done: usize,
    /// Runs of this scenario, all points of its sweep included.
    pub total: usize,
}

/// Why a scenario could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A scheduler or a flag that is not there.
    #[error("scheduler \"{text}\": {reason}")]
    Scheduler {
        /// As typed.
        text: String,
        /// Why not.
        reason: String,
    },
    /// The workload cannot be made.
    #[error(transparent)]
    Workload(#[from] workload::trace::TraceError),
    /// More real servers or virtual addresses than the lab has addresses for.
    #[error("{count} {what}: at most {MOST} are possible; lower their count")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many.
        count: u64,
    },
    /// The director refused a command of the scenario.
    #[error("scenario {scenario}: the director refused a command: {error}")]
    Refused {
        /// Name of the scenario.
        scenario: String,
        /// Why.
        error: CommandError,
    },
}

/// Runs a scenario: one result for each point of its sweep, or one.
///
/// # Errors
/// [`RunError`].
pub fn run(
    scenario: &Scenario,
    plan: &Plan,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<ScenarioResults>, RunError> {
    let choices = choices(scenario)?;
    let points = scenario.points();
    let mut prepared = Vec::new();
    for (_, at) in &points {
        check(at)?;
        prepared.push((at, workload::Plan::new(at)?));
    }
    let repeats = plan.repeats.max(1) as usize;
    let total = points.len() * choices.len() * repeats;
    let one = |number: usize| -> Result<RunResults, RunError> {
        let (number, repeat) = (number / repeats, number % repeats);
        let (scenario, workload) = &prepared[number / choices.len()];
        let choice = &choices[number % choices.len()];
        let repeat = u32::try_from(repeat).unwrap_or(u32::MAX);
        run_once(scenario, choice, workload, plan, repeat)
    };
    let tell = |number: usize, done: usize| {
        progress(Progress {
            scenario: &scenario.name,
            scheduler: &choices[number / repeats % choices.len()].label,
            done,
            total,
        });
    };
    let mut runs = in_order(total, plan.threads, &one, &tell)?.into_iter();
    let results = points.iter().map(|(value, at)| ScenarioResults {
        name: at.name.clone(),
        summary: at.summary.clone(),
        point: point(scenario, *value),
        servers: rows(at),
        marks: marks(at),
        schedulers: choices
            .iter()
            .map(|choice| merge(choice, &runs.by_ref().take(repeats).collect::<Vec<_>>()))
            .collect(),
    });
    Ok(results.collect())
}

/// The scenario's schedulers.
fn choices(scenario: &Scenario) -> Result<Vec<Choice>, RunError> {
    if scenario.schedulers.is_empty() {
        return Ok(schedulers::all());
    }
    schedulers::chosen(&scenario.schedulers)
}

/// Where in its sweep a scenario is.
fn point(scenario: &Scenario, value: Option<f64>) -> Option<Point> {
    let axis = scenario.sweep.as_ref()?.of.name().to_owned();
    value.map(|value| Point { axis, value })
}

/// Real servers that there may ever be: those at the beginning, those that are added and those that are scaled to.
fn most_servers(scenario: &Scenario) -> u64 {
    let initial: u64 = scenario
        .servers
        .iter()
        .map(|group| u64::from(group.count))
        .sum();
    scenario
        .events
        .iter()
        .fold(initial, |most, event| match *event {
            Event::Add { count, .. } => most + u64::from(count),
            // Beside those that are drained, in the worst case.
            Event::Scale { to, .. } => most + u64::from(to),
            _ => most,
        })
}

fn check(scenario: &Scenario) -> Result<(), RunError> {
    let counts = [
        ("real servers", most_servers(scenario)),
        ("virtual addresses", scenario.service.vips.into()),
    ];
    for (what, count) in counts {
        if count > MOST.into() {
            return Err(RunError::TooMany { what, count });
        }
    }
    Ok(())
}

/// One repeat of a scenario with one scheduler.
fn run_once(
    scenario: &Scenario,
    choice: &Choice,
    workload: &workload::Plan,
    plan: &Plan,
    repeat: u32,
) -> Result<RunResults, RunError> {
    let servers = u32::try_from(most_servers(scenario)).unwrap_or(MOST);
    let moves = |event: &Event| matches!(event, Event::DirectorDies { .. } | Event::Restart { .. });
    let directors = &scenario.directors;
    let moving = directors.count > 1 || scenario.events.iter().any(moves);
    let setup = Setup {
        scheduler: choice.clone(),
        service: scenario.service.clone(),
        count: directors.count.max(1) as usize,
        is_shared: directors.shared,
        servers,
        // Flows that come to a director which does not know them can only go on where it takes them up, as whoever
        // puts directors behind a router sets it; what the scheduler makes of them is then what is compared.
        sloppy: directors.sloppy_tcp && moving,
        addresses: Addresses::drawn(plan.seed, repeat, scenario.service.vips.max(1), servers),
        seed: mix(plan.seed ^ mix(repeat.into())),
    };
    let options = RunOptions {
        seed: plan.seed,
        repeat,
        probes: if plan.quick { QUICK_PROBES } else { PROBES },
    };
    let mut arriving = workload.start(plan.seed, repeat);
    let world = World::new(scenario, setup, &mut *arriving, &options);
    world
        .and_then(World::run)
        .map_err(|error| RunError::Refused {
            scenario: scenario.name.clone(),
            error,
        })
}

/// Does `count` pieces of work on several threads; what they gave, in their order.
fn in_order<T: Send, E: Send>(
    count: usize,
    threads: usize,
    work: &(dyn Fn(usize) -> Result<T, E> + Sync),
    tell: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<T>, E> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (next, done, failed) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    let results: Vec<Mutex<Option<Result<T, E>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= count || failed.load(Relaxed) {
                        break;
                    }
                    let result = work(number);
                    failed.fetch_or(result.is_err(), Relaxed);
                    let mut place = results[number]
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    *place = Some(result);
                    tell(number, done.fetch_add(1, Relaxed) + 1);
                }
            });
        }
    });
    let results = results.into_iter();
    let given =
        results.filter_map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner));
    given.collect()
}

/// The real servers as the scenario begins.
fn rows(scenario: &Scenario) -> Vec<ServerRow> {
    let groups = scenario.servers.iter();
    let all = groups.flat_map(|group| (0..group.count).map(move |_| group));
    let row = |(number, group): (u32, &crate::scenario::ServersSection)| ServerRow {
        name: format!("rs{number}"),
        weight: group.weight,
        speed: group.speed * f64::from(group.processors.max(1)),
    };
    (1..).zip(all).map(row).collect()
}

/// All repeats of one scheduler together. A metric that only some of them have is left out: their mean would be that of
/// the repeats in which all went well.
fn merge(choice: &Choice, runs: &[RunResults]) -> SchedulerResults {
    let mut metrics = BTreeMap::new();
    for metric in METRICS {
        let of = |run: &RunResults| run.metrics.get(metric.name).copied();
        let samples: Vec<f64> = runs.iter().filter_map(of).collect();
        if samples.len() == runs.len()
            && let Some(estimate) = Estimate::of(&samples)
        {
            metrics.insert(metric.name.to_owned(), estimate);
        }
    }
    let mut sojourn = Histogram::default();
    runs.iter().for_each(|run| sojourn.merge(&run.sojourn));
    let sojourn = sojourn.distribution(POINTS).into_iter();
    SchedulerResults {
        name: choice.label.clone(),
        metrics,
        sojourn: sojourn
            .map(|(took, share)| (seconds(took), share))
            .collect(),
        imbalance: runs
            .first()
            .map(|run| run.imbalance.clone())
            .unwrap_or_default(),
        fairness: mean_fairness(runs),
        per_server: mean_shares(runs),
    }
}

/// The mean of all repeats, over as many first decisions as all of them had.
fn mean_fairness(runs: &[RunResults]) -> Vec<(u64, f64)> {
    let least = runs.iter().map(|run| run.fairness.len()).min().unwrap_or(0);
    let mean = |index: usize| {
        let sum: f64 = runs.iter().map(|run| run.fairness[index].1).sum();
        (runs[0].fairness[index].0, sum / count(runs.len()))
    };
    (0..least).map(mean).collect()
}

fn mean_shares(runs: &[RunResults]) -> Vec<ServerShare> {
    let most = runs
        .iter()
        .map(|run| run.per_server.len())
        .max()
        .unwrap_or(0);
    let mean = |server: usize, of: fn(&ServerShare) -> f64| {
        let shares = runs.iter().filter_map(|run| run.per_server.get(server));
        shares.map(of).sum::<f64>() / count(runs.len())
    };
    let share = |server| ServerShare {
        connections: mean(server, |share| share.connections),
        packets: mean(server, |share| share.packets),
        work: mean(server, |share| share.work),
    };
    (0..most).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two repeats, the first of which had fewer decisions, fewer real servers and less to tell.
    #[test]
    fn repeats_are_put_together_by_their_means() {
        let share = |connections| ServerShare {
            connections,
            packets: 2.0 * connections,
            work: 3.0 * connections,
        };
        let short = RunResults {
            metrics: [("refused", 0.2)].into(),
            fairness: vec![(1, 0.5)],
            per_server: vec![share(10.0)],
            ..RunResults::default()
        };
        let long = RunResults {
            metrics: [("refused", 0.4), ("sojourn_p50", 1.0)].into(),
            fairness: vec![(1, 0.7), (2, 1.0)],
            per_server: vec![share(20.0), share(4.0)],
            ..RunResults::default()
        };
        let choice = schedulers::choose("rr").expect("it is known");
        for runs in [[short.clone(), long.clone()], [long, short]] {
            let merged = merge(&choice, &runs);
            assert_eq!(merged.metrics.keys().collect::<Vec<_>>(), ["refused"]);
            let refused = merged.metrics["refused"];
            assert!((refused.mean - 0.3).abs() < 1e-12, "{refused:?}");
            // 12.706 times the standard error, 0.1.
            assert!(
                (refused.half.expect("two repeats") - 1.270_62).abs() < 1e-4,
                "{refused:?}"
            );
            assert_eq!(merged.fairness, [(1, 0.6)]);
            assert_eq!(merged.per_server, [share(15.0), share(2.0)]);
        }
    }
}

//! Results that nobody ran: as many schedulers and as much of everything as outputs must cope with. For tests.

use std::collections::BTreeMap;

use crate::results::{
    Estimate, Mark, Point, Results, ScenarioResults, SchedulerResults, ServerRow, ServerShare,
};

/// Names as a run of all schedulers has them.
const NAMES: [&str; 24] = [
    "rr",
    "wrr",
    "lc",
    "wlc",
    "lblc",
    "lblcr",
    "dh",
    "sh",
    "sh -b sh-port",
    "sh -b sh-fallback,sh-port",
    "sed",
    "nq",
    "fo",
    "ovf",
    "mh",
    "mh -b mh-port",
    "mh -b mh-fallback,mh-port",
    "twos",
    "random*",
    "two-choices*",
    "bounded-load*",
    "maglev-65537*",
    "maglev-655373*",
    "own-scheduler*",
];

/// Results of the first so many schedulers: a steady scenario, one with events, and two sweeps.
pub(crate) fn results(schedulers: usize) -> Results {
    let mut scenarios = vec![scenario("steady", schedulers, None, 0.0)];
    let mut eventful = scenario("rolling-update", schedulers, None, 1.0);
    eventful.marks = (0..24_u32)
        .map(|number| Mark {
            at: 10.0 + 2.0 * f64::from(number),
            label: format!("rs{} drained & <gone>", number / 3 + 1),
        })
        .collect();
    scenarios.push(eventful);
    for load in [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95] {
        let point = Some(("load", load));
        scenarios.push(scenario(
            "load-sweep",
            schedulers,
            point,
            1.0 / (1.0 - load),
        ));
    }
    for removed in [1.0, 2.0, 4.0, 8.0] {
        let point = Some(("removed", removed));
        scenarios.push(scenario("remove-servers", schedulers, point, removed));
    }
    Results {
        version: crate::json::VERSION,
        command: "ulvs lab run --all --seed 1".to_owned(),
        seed: 1,
        repeats: 30,
        scenarios,
    }
}

fn scenario(
    name: &str,
    schedulers: usize,
    point: Option<(&str, f64)>,
    stress: f64,
) -> ScenarioResults {
    let point = point.map(|(axis, value)| Point {
        axis: axis.to_owned(),
        value,
    });
    let server = |number: u32| ServerRow {
        name: format!("rs{number}"),
        weight: 1 + number % 3,
        speed: 1.0,
    };
    let numbered = (0_u32..).zip(NAMES).take(schedulers);
    ScenarioResults {
        name: name.to_owned(),
        summary: "Poisson arrivals & short connections on 16 servers <of two kinds>.".to_owned(),
        point,
        servers: (1..=16).map(server).collect(),
        marks: Vec::new(),
        schedulers: numbered
            .map(|(number, name)| scheduler(name, f64::from(number), stress))
            .collect(),
    }
}

/// The same of one repeat, which has no intervals.
pub(crate) fn once(schedulers: usize) -> Results {
    let mut results = results(schedulers);
    results.repeats = 1;
    let rows = results.scenarios.iter_mut();
    for row in rows.flat_map(|scenario| &mut scenario.schedulers) {
        row.metrics.values_mut().for_each(|one| one.half = None);
    }
    results
}

/// The `number`th scheduler: the higher the worse.
fn scheduler(name: &str, number: f64, stress: f64) -> SchedulerResults {
    let worse = 1.0 + number / 4.0 + stress * number / 20.0;
    let mut metrics = BTreeMap::new();
    let mut put = |name: &str, mean: f64| {
        let half = mean / 40.0;
        let estimate = Estimate {
            mean,
            half: Some(half),
            least: mean - 2.0 * half,
            most: mean + 2.0 * half,
        };
        metrics.insert(name.to_owned(), estimate);
    };
    put("sojourn_p50", 0.004 * worse);
    put("sojourn_p99", 0.02 * worse * worse * (1.0 + stress));
    put("sojourn_p999", 0.05 * worse * worse * (1.0 + stress));
    put("sojourn_mean", 0.006 * worse);
    put("slowdown_p50", 1.2 * worse);
    put("slowdown_p99", 3.0 * worse * worse);
    put("slowdown_p999", 7.0 * worse * worse);
    put("connections_max", 1.0 + worse / 10.0);
    put("connections_jain", 1.0 / worse);
    put("overprovision", 1.0 + worse / 5.0);
    put("refused", 0.0);
    put("connections", 100_000.0);
    if stress > 0.0 {
        put("remapped", 120.0 * stress * worse);
        put("remapped_least", 110.0 * stress);
        put("broken", number * stress);
    }
    let steps = (1..=60_u32).map(f64::from);
    let times = (0..120_u32).map(f64::from);
    SchedulerResults {
        name: name.to_owned(),
        metrics,
        sojourn: steps
            .clone()
            .map(|step| (0.000_5 * worse * (step / 6.0).exp(), step / 60.0))
            .collect(),
        imbalance: times
            .map(|time| {
                let beat = (time / (3.0 + number)).sin().abs();
                (time, 0.05 * worse * (0.5 + beat))
            })
            .collect(),
        fairness: (0..12_u32)
            .map(|power| {
                (
                    1_u64 << power,
                    1.0 - 0.9 / (f64::from(power) + 1.0 + number / 9.0),
                )
            })
            .collect(),
        per_server: vec![ServerShare::default(); 16],
    }
}

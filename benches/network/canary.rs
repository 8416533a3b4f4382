//! Whether anything else was going on: a fixed piece of work on every processor, and the datagrams that the machine
//! passes without any director. Taken between any two measurements.

use std::thread;
use std::time::Instant;

use serde::Serialize;

use crate::contender::Standing;
use crate::measure;

/// Steps of the fixed work, some tens of milliseconds.
const STEPS: u32 = 20_000_000;
/// Seconds of the probe.
const PROBE: f64 = 0.1;
/// A share of the fixed work's time spent waiting for a processor beyond this is noise.
const WAITED: f64 = 0.05;
/// The fixed work taking this many times its shortest time is noise.
const SLOWER: f64 = 1.15;
/// The probe carrying less than this share of its upper decile is noise.
const PASSED: f64 = 0.75;

/// One look at the machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Canary {
    /// Milliseconds of the fixed work, the slowest processor's.
    pub(crate) work_ms: f64,
    /// The largest share of that time that a thread was ready to run and did not.
    pub(crate) waited: f64,
    /// Millions of datagrams a second that the probe sent, on a cable without director.
    pub(crate) probe_mpps: f64,
}

impl Canary {
    /// Looks for a quarter of a second. `direct` is the world without director.
    ///
    /// # Errors
    /// A sentence where the probe fails.
    pub(crate) fn look(direct: &Standing) -> Result<Self, String> {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..count).map(|_| thread::spawn(work)).collect();
        let (mut work_ms, mut waited) = (0.0_f64, 0.0_f64);
        for thread in threads {
            let (took, share) = thread.join().map_err(|_| "the canary's thread panicked")?;
            work_ms = work_ms.max(took * 1e3);
            waited = waited.max(share);
        }
        let told = measure::load(direct, &["udp"], PROBE)?;
        let number = |name: &str| {
            told.get(name)
                .and_then(serde_json::Value::as_f64)
                .unwrap_or(0.0)
        };
        let probe_mpps = number("sent") / number("seconds").max(PROBE) / 1e6;
        Ok(Self {
            work_ms,
            waited,
            probe_mpps,
        })
    }
}

/// Seconds that the fixed work took, and the share of them in which this thread waited for a processor.
fn work() -> (f64, f64) {
    // Two threads of one parent may begin on the same processor: the scheduler parts them meanwhile.
    steps(STEPS / 4);
    let before = waiting();
    let begin = Instant::now();
    steps(STEPS);
    let took = begin.elapsed().as_secs_f64();
    (took, (waiting() - before) / took)
}

fn steps(count: u32) {
    let mut state = std::hint::black_box(0x9e37_79b9_u64);
    for _ in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    std::hint::black_box(state);
}

/// Seconds that this thread has been ready and not running (`/proc/thread-self/schedstat`, second field).
fn waiting() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace()
        .nth(1)
        .and_then(|word| word.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e9
}

/// For each canary why it tells of noise; `None` where it does not.
pub(crate) fn judge(canaries: &[Canary]) -> Vec<Option<String>> {
    let shortest = canaries
        .iter()
        .map(|canary| canary.work_ms)
        .fold(f64::MAX, f64::min);
    let mut probes: Vec<f64> = canaries.iter().map(|canary| canary.probe_mpps).collect();
    probes.sort_by(f64::total_cmp);
    let usual = probes.get(probes.len() * 9 / 10).copied().unwrap_or(0.0);
    let verdict = |canary: &Canary| {
        if canary.waited > WAITED {
            Some(format!(
                "waited {:.0} % of the time for a processor",
                canary.waited * 100.0
            ))
        } else if canary.work_ms > shortest * SLOWER {
            Some(format!(
                "the same work took {:.2} x as long",
                canary.work_ms / shortest
            ))
        } else if canary.probe_mpps < usual * PASSED {
            Some(format!(
                "the probe passed {:.2} x as much",
                canary.probe_mpps / usual
            ))
        } else {
            None
        }
    };
    canaries.iter().map(verdict).collect()
}

//! How long steps take: by the thread's processor time, which other programs do not lengthen, and by the clock.

use std::fs;
use std::time::{Duration, Instant};

use link::sys::clock::thread_time;

/// Steps of one operation.
#[derive(Default)]
pub(crate) struct Gauge {
    /// Of each step, nanoseconds of processor time.
    steps: Vec<u32>,
    longest_wall: Duration,
    total: Duration,
}

/// What the steps of an operation came to.
pub(crate) struct Summary {
    pub(crate) steps: usize,
    /// Processor time of all.
    pub(crate) total: Duration,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
    /// Of the step that took longest by the clock, interruptions included.
    pub(crate) longest_wall: Duration,
}

impl Gauge {
    /// With memory for so many steps, so that their number is none of what is measured.
    pub(crate) fn with_capacity(steps: usize) -> Self {
        Self {
            steps: vec![0; steps],
            ..Self::default()
        }
        .emptied()
    }

    fn emptied(mut self) -> Self {
        self.steps.clear();
        self
    }

    /// Median and 99th percentile of the steps, nanoseconds.
    pub(crate) fn percentiles(mut self) -> (u128, u128) {
        self.steps.sort_unstable();
        let at = |part: usize| {
            let step = self.steps.get(self.steps.len() * part / 100);
            u128::from(step.copied().unwrap_or_default())
        };
        (at(50), at(99))
    }

    /// Does a step and notes how long it took; its processor time beside what it returns.
    pub(crate) fn step<T>(&mut self, step: impl FnOnce() -> T) -> (T, Duration) {
        let (wall, begun) = (Instant::now(), thread_time());
        let done = step();
        let spent = thread_time().saturating_sub(begun);
        self.longest_wall = self.longest_wall.max(wall.elapsed());
        self.total += spent;
        let nanoseconds = u32::try_from(spent.as_nanos()).unwrap_or(u32::MAX);
        self.steps.push(nanoseconds);
        (done, spent)
    }

    pub(crate) fn summary(mut self) -> Summary {
        self.steps.sort_unstable();
        let at = |index: usize| {
            let nanoseconds = self.steps.get(index).copied().unwrap_or_default();
            Duration::from_nanos(nanoseconds.into())
        };
        let count = self.steps.len();
        Summary {
            steps: count,
            total: self.total,
            p99: at(count * 99 / 100),
            longest: at(count.saturating_sub(1)),
            longest_wall: self.longest_wall,
        }
    }
}

/// Octets of physical memory that the process uses now, and the most it ever used.
pub(crate) fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let number = value.and_then(|value| value.split_ascii_whitespace().next());
        number
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or_default()
    };
    (kibibytes("VmRSS:") * 1024, kibibytes("VmHWM:") * 1024)
}

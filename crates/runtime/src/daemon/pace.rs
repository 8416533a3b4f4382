//! How often work is done whose cost grows with the number of services.

use std::time::{Duration, Instant};

/// The pause after the work, in times of its own duration: it takes at most a tenth of the thread's time.
const PAUSE: u32 = 9;

/// Work to be done after commands: at once as a rule, together for several commands where it takes long. With a hundred
/// services it takes less time than starting the next `ipvsadm`.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pending: bool,
    not_before: Option<Instant>,
}

impl Pace {
    /// There is work; returns whether it is to be done now. Otherwise [`Pace::due`] says when.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        self.pending = true;
        self.due(now) == Some(Duration::ZERO)
    }

    /// Time until waiting work must be done; `None` when none waits.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        let left = self
            .not_before
            .map(|moment| moment.saturating_duration_since(now));
        self.pending.then(|| left.unwrap_or_default())
    }

    /// The work was done, from `begun` to `ended`.
    pub(super) fn done(&mut self, begun: Instant, ended: Instant) {
        self.pending = false;
        self.not_before = Some(ended + ended.saturating_duration_since(begun) * PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_work_waits_short_work_does_not() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let after = |microseconds| start + Duration::from_micros(microseconds);
        assert_eq!(pace.due(start), None);
        assert!(pace.ask(start));
        pace.done(start, after(100));
        assert_eq!(pace.due(after(100)), None);
        assert!(!pace.ask(after(200)));
        assert_eq!(pace.due(after(200)), Some(Duration::from_micros(800)));
        assert!(pace.ask(after(1000)));
    }
}

//! The one place where the daemon's monotonic clock becomes the core's time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that all threads of the daemon share.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The moment, as the core counts it.
    #[must_use]
    pub fn now(self) -> director::time::Instant {
        director::time::Instant::START.after(self.start.elapsed())
    }

    /// Milliseconds from midnight UTC to the core's start of time, by the host's clock as it is set now.
    #[must_use]
    pub fn midnight_ms(self) -> u64 {
        const DAY: u128 = 86_400_000;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let of_day = since_epoch.map_or(0, |time| time.as_millis() % DAY);
        let since_start = self.start.elapsed().as_millis() % DAY;
        u64::try_from((of_day + DAY - since_start) % DAY).unwrap_or_default()
    }

    /// How long to wait from `now` until `deadline`; zero when it has passed.
    #[must_use]
    pub fn until(now: director::time::Instant, deadline: director::time::Instant) -> Duration {
        deadline.since(now)
    }
}

//! The one place where the daemon's monotonic clock becomes the core's time.

use std::time::{Duration, Instant};

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

    /// How long to wait from `now` until `deadline`; zero when it has passed.
    #[must_use]
    pub fn until(now: director::time::Instant, deadline: director::time::Instant) -> Duration {
        deadline.since(now)
    }
}

//! Time as an argument: the core never asks a clock.

use core::time::Duration;

/// A moment on the driver's monotonic clock, nanoseconds since an arbitrary start.
///
/// The daemon feeds `CLOCK_MONOTONIC`, replay feeds capture timestamps, tests feed what they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's start.
    pub const START: Self = Self(0);

    /// The moment `nanoseconds` after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `duration` later, at most the end of the clock (584 years).
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// The moment so many whole seconds later, at most the end of the clock.
    #[inline]
    #[must_use]
    pub const fn after_seconds(self, seconds: u32) -> Self {
        // 2^32 seconds are 2^62 nanoseconds: the product fits.
        Self(self.0.saturating_add(seconds as u64 * 1_000_000_000))
    }

    /// Time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

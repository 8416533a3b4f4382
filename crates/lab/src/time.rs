//! Virtual time: nanoseconds since the run's beginning, and the seconds that scenarios are written in.

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;

/// So many seconds; nothing is below 0 or above 584 years.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion cuts to the range, which is what is wanted"
)]
pub(crate) fn nanoseconds(seconds: f64) -> u64 {
    (seconds * SECOND).round() as u64
}

/// So many nanoseconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "2^53 nanoseconds are 104 days")]
pub(crate) const fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / SECOND
}

/// A duration as nanoseconds; what is longer than 584 years never ends.
#[must_use]
pub(crate) fn of_duration(duration: core::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

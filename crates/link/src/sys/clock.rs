//! The monotonic clock.

use std::time::Duration;

/// Time since some fixed point in the past, the same for all threads and processes of the host;
/// never goes back, does not jump when the wall clock is set (`CLOCK_MONOTONIC`).
#[must_use]
pub fn monotonic() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec the kernel may write; the clock exists on every Linux, so the
    // call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_goes_on() {
        let first = super::monotonic();
        assert!(!first.is_zero());
        assert!(super::monotonic() >= first);
    }
}

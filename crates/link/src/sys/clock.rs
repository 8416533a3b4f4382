//! The monotonic clock, and the processor time of a thread.

use std::time::Duration;

/// Time since some fixed point in the past, the same for all threads and processes of the host;
/// never goes back, does not jump when the wall clock is set (`CLOCK_MONOTONIC`).
#[must_use]
pub fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// Processor time that this thread has used (`CLOCK_THREAD_CPUTIME_ID`).
#[must_use]
pub fn thread_time() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec the kernel may write; both clocks exist on every Linux, so the
    // call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
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

    #[test]
    fn a_thread_that_sleeps_uses_no_processor_time() {
        let (wall, begun) = (super::monotonic(), super::thread_time());
        std::thread::sleep(std::time::Duration::from_millis(20));
        let used = super::thread_time() - begun;
        assert!(used < (super::monotonic() - wall) / 2, "{used:?}");
    }
}

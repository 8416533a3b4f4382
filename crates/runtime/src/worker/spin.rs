//! Whether a worker that found nothing looks again or sleeps (`--busy-poll`).
//!
//! Promises: without the option no worker looks twice; with it, only while frames come so close together that looking
//! pays: a worker with nothing to do sleeps after the first window, and one whose frames come further apart stops
//! looking after a few of them.

use std::time::Duration;

use director::time::Instant;

use crate::clock::Clock;

/// Below this a window counts as none: a look takes about as long.
const SHORTEST: Duration = Duration::from_micros(1);

/// The window of one worker.
#[derive(Debug)]
pub(super) struct Spin {
    /// The longest window; zero = never.
    most: Duration,
    /// How long it looks after the last frames.
    window: Duration,
    last: Instant,
}

impl Spin {
    /// Looks for frames at most this long after the last ones.
    pub(super) const fn new(most: Duration) -> Self {
        Self {
            most,
            window: Duration::ZERO,
            last: Instant::START,
        }
    }

    /// Frames came.
    pub(super) fn arrived(&mut self, clock: Clock) {
        if !self.most.is_zero() {
            self.arrived_at(clock.now());
        }
    }

    /// A window in which the next frames come is worth it; one in which they do not was in vain, and is halved.
    fn arrived_at(&mut self, now: Instant) {
        self.window = if now.since(self.last) <= self.most {
            self.most
        } else {
            Some(self.window / 2)
                .filter(|window| *window >= SHORTEST)
                .unwrap_or_default()
        };
        self.last = now;
    }

    /// Whether to look again now.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        now.since(self.last) < self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(50);

    fn at(microseconds: u64) -> Instant {
        Instant::START.after(Duration::from_micros(microseconds))
    }

    #[test]
    fn looks_while_frames_come_and_then_sleeps() {
        let mut spin = Spin::new(MOST);
        assert!(!spin.lasts(at(10)), "nothing has come yet");
        spin.arrived_at(at(1000));
        assert!(!spin.lasts(at(1001)), "one frame is no traffic");
        spin.arrived_at(at(1040));
        assert!(spin.lasts(at(1041)) && spin.lasts(at(1089)));
        assert!(!spin.lasts(at(1090)), "an idle worker sleeps");
    }

    #[test]
    fn stops_looking_where_frames_come_far_apart() {
        let mut spin = Spin::new(MOST);
        spin.arrived_at(at(30));
        let looks: Vec<bool> = (1..10)
            .map(|frame| {
                spin.arrived_at(at(frame * 1000));
                spin.lasts(at(frame * 1000))
            })
            .collect();
        assert_eq!(looks[0..5], [true; 5]);
        assert_eq!(looks[6..], [false; 3]);
    }

    #[test]
    fn never_without_the_option() {
        let mut spin = Spin::new(Duration::ZERO);
        let clock = Clock::start();
        spin.arrived(clock);
        spin.arrived(clock);
        assert!(!spin.lasts(Instant::START));
    }
}

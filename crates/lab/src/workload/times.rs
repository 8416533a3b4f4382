//! When connections arrive in an open loop.

use crate::random::{self, Stream};

/// Times of a Poisson process, or of one whose rate changes in turn (MMPP with two states), seconds.
#[derive(Debug)]
pub(super) struct Times {
    now: f64,
    /// Connections a second in the state there is, and in the other one.
    rates: [f64; 2],
    /// Mean lengths of the same states, seconds.
    means: [f64; 2],
    /// When this state ends.
    until: f64,
    arrivals: Stream,
    states: Stream,
}

impl Times {
    /// Always the same rate.
    pub(super) fn poisson(rate: f64, seed: u64, repeat: u32) -> Self {
        Self {
            now: 0.0,
            rates: [rate; 2],
            means: [f64::INFINITY; 2],
            until: f64::INFINITY,
            arrivals: random::stream(seed, repeat, "arrivals"),
            states: random::stream(seed, repeat, "states"),
        }
    }

    /// In bursts `factor` times the quiet rate, `rate` on average. Begins in the middle of a quiet or a bursty time,
    /// as often as there is one.
    pub(super) fn bursty(
        rate: f64,
        factor: f64,
        burst: f64,
        quiet: f64,
        seed: u64,
        repeat: u32,
    ) -> Self {
        let low = rate * (burst + quiet) / (factor * burst + quiet);
        let mut times = Self::poisson(rate, seed, repeat);
        times.rates = [low, low * factor];
        times.means = [quiet, burst];
        if random::uniform(&mut times.states) * (burst + quiet) < burst {
            times.rates.reverse();
            times.means.reverse();
        }
        times.until = times.means[0] * random::exponential(&mut times.states);
        times
    }

    /// The next arrival, seconds.
    pub(super) fn next(&mut self) -> f64 {
        // What is left of the time until the next arrival, in arrivals: it passes faster where the rate is higher.
        let mut left = random::exponential(&mut self.arrivals);
        loop {
            let in_state = (self.until - self.now) * self.rates[0];
            if left <= in_state || self.until.is_infinite() {
                self.now += left / self.rates[0];
                return self.now;
            }
            left -= in_state;
            self.now = self.until;
            self.rates.reverse();
            self.means.reverse();
            self.until += self.means[0] * random::exponential(&mut self.states);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over many repeats: as often in a burst as there is one, and what is left of it is as long as one on average.
    #[test]
    fn a_run_begins_somewhere_in_a_burst_or_between_two() {
        let (mut bursts, mut left) = (0.0, [0.0, 0.0]);
        for repeat in 0..4000 {
            let times = Times::bursty(10.0, 4.0, 1.0, 3.0, 1, repeat);
            let is_burst = times.rates[0] > times.rates[1];
            bursts += f64::from(u8::from(is_burst));
            left[usize::from(is_burst)] += times.until;
        }
        let [quiet, burst] = [left[0] / (4000.0 - bursts), left[1] / bursts];
        assert!((bursts / 4000.0 - 0.25).abs() < 0.03, "{bursts}");
        assert!(
            (burst - 1.0).abs() < 0.1 && (quiet - 3.0).abs() < 0.2,
            "{burst} {quiet}"
        );
    }
}

//! A real server: how long it takes for what it is asked.
//!
//! All requests in service go on at the same rate, so one number says how far each has come: the service that a
//! request would have got that has been there since the server was last empty (virtual time, as in fair queueing).
//! Who has most of it to go is found in a heap, so that an arrival or an end costs the logarithm of their number.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::earliest::NEVER;
use crate::scenario::Discipline;
use crate::time::{nanoseconds, seconds};

/// A request, by the number of its connection.
pub(crate) type Job = u32;

/// A real server that works.
#[derive(Debug)]
pub(crate) struct RealServer {
    discipline: Discipline,
    processors: u32,
    /// Work that one processor does in a second, undisturbed.
    speed: f64,
    /// Shares of that speed that the brown-outs leave which hold now: the least of them is what there is.
    brown_outs: Vec<f64>,
    /// Service that each request in service has got since the server was empty, at `since`.
    virtual_time: f64,
    since: u64,
    /// Requests in service by the virtual time of their end: a positive number's bits are in its order.
    serving: BinaryHeap<Reverse<(u64, Job)>>,
    /// Requests that wait, with their work (FCFS).
    waiting: VecDeque<(Job, f64)>,
}

impl RealServer {
    /// An idle one.
    pub(crate) const fn new(discipline: Discipline, processors: u32, speed: f64) -> Self {
        Self {
            discipline,
            processors: if processors == 0 { 1 } else { processors },
            speed,
            brown_outs: Vec::new(),
            virtual_time: 0.0,
            since: 0,
            serving: BinaryHeap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Work that one processor does in a second when nothing disturbs it.
    pub(crate) const fn speed(&self) -> f64 {
        self.speed
    }

    /// Takes a request for so much work (seconds of a server of speed 1).
    pub(crate) fn take(&mut self, now: u64, job: Job, work: f64) {
        self.advance(now);
        if self.discipline == Discipline::Fcfs && self.serving.len() >= self.processors as usize {
            self.waiting.push_back((job, work));
        } else {
            self.serve(job, work);
        }
    }

    /// When it is done with the next request, if nothing arrives before; [`NEVER`] when there is none.
    pub(crate) fn next_end(&self) -> u64 {
        let Some(&Reverse((end, _))) = self.serving.peek() else {
            return NEVER;
        };
        let (left, rate) = (f64::from_bits(end) - self.virtual_time, self.rate());
        if rate > 0.0 {
            self.since.saturating_add(nanoseconds(left.max(0.0) / rate))
        } else {
            NEVER
        }
    }

    /// Ends the next request; to be called at [`RealServer::next_end`].
    pub(crate) fn end(&mut self, now: u64) -> Option<Job> {
        self.advance(now);
        let Reverse((end, job)) = self.serving.pop()?;
        // Moments are rounded to nanoseconds; the request's end is exact.
        self.virtual_time = self.virtual_time.max(f64::from_bits(end));
        if let Some((next, work)) = self.waiting.pop_front() {
            self.serve(next, work);
        }
        if self.serving.is_empty() {
            self.virtual_time = 0.0;
        }
        Some(job)
    }

    /// A brown-out begins: as long as it holds, there is at most so large a share of the speed.
    pub(crate) fn slow(&mut self, now: u64, factor: f64) {
        self.advance(now);
        self.brown_outs.push(factor);
    }

    /// A brown-out of this share ends; others may hold on.
    pub(crate) fn recover(&mut self, now: u64, factor: f64) {
        self.advance(now);
        let mut all = self.brown_outs.iter();
        if let Some(ended) = all.position(|held| held.total_cmp(&factor).is_eq()) {
            self.brown_outs.swap_remove(ended);
        }
    }

    /// It crashes: the requests that it had, in no particular order but the same on every run.
    pub(crate) fn crash(&mut self, now: u64) -> Vec<Job> {
        self.advance(now);
        self.virtual_time = 0.0;
        let serving = self.serving.drain().map(|Reverse((_, job))| job);
        let mut lost: Vec<Job> = serving.collect();
        lost.extend(self.waiting.drain(..).map(|(job, _)| job));
        lost.sort_unstable();
        lost
    }

    fn serve(&mut self, job: Job, work: f64) {
        let end = (self.virtual_time + work.max(0.0)).to_bits();
        self.serving.push(Reverse((end, job)));
    }

    /// Service a second of each request that is in service.
    fn rate(&self) -> f64 {
        let slowest = self.brown_outs.iter().copied().reduce(f64::min);
        let full = self.speed * slowest.unwrap_or(1.0);
        let serving = u32::try_from(self.serving.len()).unwrap_or(u32::MAX);
        if serving > self.processors {
            full * f64::from(self.processors) / f64::from(serving)
        } else {
            full
        }
    }

    fn advance(&mut self, now: u64) {
        if !self.serving.is_empty() {
            self.virtual_time += seconds(now.saturating_sub(self.since)) * self.rate();
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Ends of these arrivals (moment and work, both in seconds), by number.
    fn ends(mut server: RealServer, arrivals: &[(f64, f64)]) -> Vec<f64> {
        let mut ends = vec![0.0; arrivals.len()];
        let mut arriving = (0..).zip(arrivals).peekable();
        loop {
            let arrival = arriving
                .peek()
                .map_or(NEVER, |(_, (at, _))| nanoseconds(*at));
            let end = server.next_end();
            if arrival == NEVER && end == NEVER {
                return ends;
            }
            if end <= arrival {
                let job = server.end(end).unwrap();
                ends[job as usize] = seconds(end);
            } else if let Some((job, &(_, work))) = arriving.next() {
                server.take(arrival, job, work);
            }
        }
    }

    fn assert_ends(server: RealServer, arrivals: &[(f64, f64)], expected: &[f64]) {
        let found = ends(server, arrivals);
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-8,
                "{found} instead of {expected}"
            );
        }
    }

    #[test]
    fn processor_sharing_divides() {
        // Alone for 1 s; then both at half speed until the second has its 0.5 at 2 s; then alone again.
        let server = RealServer::new(Discipline::Ps, 1, 1.0);
        assert_ends(server, &[(0.0, 2.0), (1.0, 0.5)], &[2.5, 2.0]);
        let server = RealServer::new(Discipline::Ps, 2, 2.0);
        assert_ends(
            server,
            &[(0.0, 2.0), (0.0, 4.0), (0.0, 4.0)],
            &[1.5, 2.5, 2.5],
        );
    }

    #[test]
    fn first_come_is_first_served() {
        let server = RealServer::new(Discipline::Fcfs, 1, 1.0);
        assert_ends(
            server,
            &[(0.0, 2.0), (1.0, 0.5), (5.0, 1.0)],
            &[2.0, 2.5, 6.0],
        );
        // Of two that wait, the one that came first.
        let server = RealServer::new(Discipline::Fcfs, 1, 1.0);
        assert_ends(
            server,
            &[(0.0, 2.0), (0.5, 1.0), (1.0, 0.5)],
            &[2.0, 3.0, 3.5],
        );
        let server = RealServer::new(Discipline::Fcfs, 2, 0.5);
        assert_ends(
            server,
            &[(0.0, 2.0), (0.0, 1.0), (0.0, 1.0)],
            &[4.0, 2.0, 4.0],
        );
    }

    #[test]
    fn of_brown_outs_at_a_time_the_slowest_holds() {
        let mut server = RealServer::new(Discipline::Ps, 1, 1.0);
        server.take(0, 7, 10.0);
        // The same twice, and a deeper one among them: 1 s each at 1, 0.5, 0.5, 0.25, 0.5 and 0.5.
        server.slow(SECOND, 0.5);
        server.slow(2 * SECOND, 0.5);
        server.slow(3 * SECOND, 0.25);
        server.recover(4 * SECOND, 0.25);
        server.recover(5 * SECOND, 0.5);
        assert_eq!(server.next_end(), 5 * SECOND + 2 * 7_250_000_000);
        server.recover(6 * SECOND, 0.5);
        assert_eq!(server.next_end(), 6 * SECOND + 6_750_000_000);
    }

    #[test]
    fn a_brown_out_stretches_and_a_crash_loses() {
        let mut server = RealServer::new(Discipline::Ps, 1, 1.0);
        server.take(0, 7, 2.0);
        server.slow(SECOND, 0.25);
        assert_eq!(server.next_end(), 5 * SECOND);
        server.slow(2 * SECOND, 0.0);
        assert_eq!(server.next_end(), NEVER);
        server.recover(3 * SECOND, 0.0);
        server.recover(3 * SECOND, 0.25);
        assert_eq!(server.next_end(), 3 * SECOND + SECOND * 3 / 4);
        server.take(3 * SECOND, 3, 1.0);
        assert_eq!(server.crash(3 * SECOND), [3, 7]);
        assert_eq!((server.end(4 * SECOND), server.next_end()), (None, NEVER));
    }
}

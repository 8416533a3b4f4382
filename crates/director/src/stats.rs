//! Counters and rate estimators of virtual services, real servers and of the whole director.
//!
//! Workers count into cells of their own, without locks or read-modify-write instructions; readers add the
//! cells up. What `ipvsadm --stats` and `--rate` show is the last sample of the estimator, taken every
//! [`ESTIMATION_PERIOD`]: a new service shows zeros until then, as in the kernel (BEHAVIOURS 38, 44).

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::protocol::Direction;

/// How often the estimators take a sample (kernel: 2 s).
pub const ESTIMATION_PERIOD: Duration = Duration::from_secs(2);

/// Counted quantities; octets are IP datagram lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections made.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients (only seen with NAT).
    pub out_packets: u64,
    /// Octets from clients.
    pub in_bytes: u64,
    /// Octets to clients.
    pub out_bytes: u64,
}

impl Counters {
    /// What was counted after `earlier`; wraps like the kernel's counters.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            connections: self.connections.wrapping_sub(earlier.connections),
            in_packets: self.in_packets.wrapping_sub(earlier.in_packets),
            out_packets: self.out_packets.wrapping_sub(earlier.out_packets),
            in_bytes: self.in_bytes.wrapping_sub(earlier.in_bytes),
            out_bytes: self.out_bytes.wrapping_sub(earlier.out_bytes),
        }
    }
}

/// Estimated rates, each a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Connections.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Octets from clients.
    pub in_bytes: u64,
    /// Octets to clients.
    pub out_bytes: u64,
}

/// One worker's counters, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell {
    connections: AtomicU64,
    in_packets: AtomicU64,
    out_packets: AtomicU64,
    in_bytes: AtomicU64,
    out_bytes: AtomicU64,
}

impl Cell {
    fn read(&self) -> Counters {
        Counters {
            connections: self.connections.load(Relaxed),
            in_packets: self.in_packets.load(Relaxed),
            out_packets: self.out_packets.load(Relaxed),
            in_bytes: self.in_bytes.load(Relaxed),
            out_bytes: self.out_bytes.load(Relaxed),
        }
    }
}

/// Adds to a counter that only one worker writes.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// Moving averages, scaled by 2^10 (connections, packets) and 2^5 (octets) as in the kernel.
#[derive(Clone, Copy, Debug, Default)]
struct Averages {
    connections: u64,
    in_packets: u64,
    out_packets: u64,
    in_bytes: u64,
    out_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    /// Counters at the last sample.
    sample: Counters,
    /// What `-Z` took as zero.
    zero: Counters,
    averages: Averages,
}

/// Counters and rates of one service, one real server, or the whole director.
#[derive(Debug)]
pub struct Stats {
    cells: Box<[Cell]>,
    estimate: Mutex<Estimate>,
}

impl Stats {
    /// All zero, for `workers` workers (at least one).
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            cells: (0..workers.max(1)).map(|_| Cell::default()).collect(),
            estimate: Mutex::default(),
        }
    }

    /// Counts a new connection. Each worker number must be used by one thread at a time.
    pub fn count_connection(&self, worker: usize) {
        if let Some(cell) = self.cells.get(worker) {
            add(&cell.connections, 1);
        }
    }

    /// Counts a packet from a client of `bytes` octets.
    #[inline]
    pub fn count_in(&self, worker: usize, bytes: u64) {
        if let Some(cell) = self.cells.get(worker) {
            add(&cell.in_packets, 1);
            add(&cell.in_bytes, bytes);
        }
    }

    /// Counts a packet to a client of `bytes` octets.
    #[inline]
    pub fn count_out(&self, worker: usize, bytes: u64) {
        if let Some(cell) = self.cells.get(worker) {
            add(&cell.out_packets, 1);
            add(&cell.out_bytes, bytes);
        }
    }

    /// Counts `packets` of together `bytes` octets, that went in `direction`.
    pub(crate) fn count_many(&self, worker: usize, direction: Direction, packets: u64, bytes: u64) {
        let Some(cell) = self.cells.get(worker) else {
            return;
        };
        let (counted, octets) = match direction {
            Direction::ToServer => (&cell.in_packets, &cell.in_bytes),
            Direction::ToClient => (&cell.out_packets, &cell.out_bytes),
        };
        add(counted, packets);
        add(octets, bytes);
    }

    /// What was counted up to this moment, never zeroed (`/proc/net/ip_vs_stats_percpu`, the sum of all).
    #[must_use]
    pub fn current(&self) -> Counters {
        let mut sum = Counters::default();
        for cell in self.cells.iter().map(Cell::read) {
            sum.connections = sum.connections.wrapping_add(cell.connections);
            sum.in_packets = sum.in_packets.wrapping_add(cell.in_packets);
            sum.out_packets = sum.out_packets.wrapping_add(cell.out_packets);
            sum.in_bytes = sum.in_bytes.wrapping_add(cell.in_bytes);
            sum.out_bytes = sum.out_bytes.wrapping_add(cell.out_bytes);
        }
        sum
    }

    /// What each worker counted up to this moment, never zeroed, by worker number.
    pub fn by_worker(&self) -> impl Iterator<Item = Counters> + '_ {
        self.cells.iter().map(Cell::read)
    }

    /// What `ipvsadm --stats` shows: the last sample, less the zero point.
    #[must_use]
    pub fn shown(&self) -> Counters {
        let estimate = self.lock();
        estimate.sample.since(&estimate.zero)
    }

    /// What `ipvsadm --rate` shows.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let averages = self.lock().averages;
        let per_second = |scaled: u64| scaled.wrapping_add(0x1ff) >> 10;
        let bytes_per_second = |scaled: u64| scaled.wrapping_add(0xf) >> 5;
        Rates {
            connections: per_second(averages.connections),
            in_packets: per_second(averages.in_packets),
            out_packets: per_second(averages.out_packets),
            in_bytes: bytes_per_second(averages.in_bytes),
            out_bytes: bytes_per_second(averages.out_bytes),
        }
    }

    /// Takes a sample; to be called every [`ESTIMATION_PERIOD`].
    pub fn estimate(&self) {
        let mut estimate = self.lock();
        let sample = self.current();
        let new = sample.since(&estimate.sample);
        let averages = &mut estimate.averages;
        // 2^9 and 2^4: the scales 2^10 and 2^5, divided by the period's two seconds.
        approach(&mut averages.connections, new.connections << 9);
        approach(&mut averages.in_packets, new.in_packets << 9);
        approach(&mut averages.out_packets, new.out_packets << 9);
        approach(&mut averages.in_bytes, new.in_bytes << 4);
        approach(&mut averages.out_bytes, new.out_bytes << 4);
        estimate.sample = sample;
    }

    /// Takes the last sample as zero point and forgets the rates (`ipvsadm -Z`).
    ///
    /// Packets counted since that sample appear after the next one (BEHAVIOURS 44).
    pub fn zero(&self) {
        let mut estimate = self.lock();
        estimate.zero = estimate.sample;
        estimate.averages = Averages::default();
    }

    /// Starts anew, as if nothing had ever been counted.
    pub(crate) fn restart(&self) {
        let mut estimate = self.lock();
        let current = self.current();
        *estimate = Estimate {
            sample: current,
            zero: current,
            averages: Averages::default(),
        };
    }

    fn lock(&self) -> MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves an average a quarter of the way to `rate`, rounding towards minus infinity.
fn approach(average: &mut u64, rate: u64) {
    let quarter = rate.wrapping_sub(*average).cast_signed() >> 2;
    *average = average.wrapping_add_signed(quarter);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [stats.dr]: 12 packets, 1080 octets and 6 connections, then 8, 720 and 4.
    #[test]
    fn rates_follow_the_recording() {
        let stats = Stats::new(2);
        let burst = |connections: u64| {
            for _ in 0..connections {
                stats.count_connection(0);
                stats.count_in(0, 40);
                stats.count_in(1, 140);
            }
        };
        let shown = |stats: &Stats| {
            let rates = stats.rates();
            (rates.connections, rates.in_packets, rates.in_bytes)
        };
        burst(6);
        assert_eq!(stats.shown(), Counters::default());
        stats.estimate();
        assert_eq!(stats.shown().in_bytes, 1080);
        assert_eq!(shown(&stats), (1, 1, 135));
        stats.estimate();
        assert_eq!(shown(&stats), (1, 1, 101));
        burst(4);
        stats.estimate();
        assert_eq!(shown(&stats), (1, 2, 166));
        let mut rest = Vec::new();
        for _ in 0..5 {
            stats.estimate();
            rest.push(stats.rates().in_bytes);
        }
        assert_eq!(rest, [124, 93, 70, 52, 39]);
        stats.zero();
        assert_eq!(stats.shown(), Counters::default());
        assert_eq!(stats.rates(), Rates::default());
        burst(2);
        stats.estimate();
        assert_eq!(stats.shown().in_bytes, 360);
        assert_eq!(stats.rates().in_bytes, 45);
        assert_eq!(stats.current().in_bytes, 2160);
    }

    /// [stats.big].
    #[test]
    fn many_connections() {
        let stats = Stats::new(1);
        for _ in 0..12_000 {
            stats.count_connection(0);
            stats.count_in(0, 1400);
        }
        stats.estimate();
        assert_eq!(stats.rates().connections, 1500);
        assert_eq!(stats.rates().in_bytes, 2_100_000);
    }

    #[test]
    fn zeroing_takes_the_last_sample() {
        let stats = Stats::new(1);
        stats.count_out(0, 100);
        stats.zero();
        stats.estimate();
        assert_eq!(stats.shown().out_bytes, 100);
        stats.count_out(0, 1);
        stats.restart();
        stats.estimate();
        assert_eq!(stats.shown(), Counters::default());
    }
}

//! How often which value: of bounded memory for any number of values, the same whatever their order.

use crate::statistics::{count, float};

/// Bits of a value behind its highest one that are kept: bins are at most 1/128 of their value wide.
const BITS: u32 = 7;
/// Bins for each power of two.
const BINS: u64 = 1 << BITS;

/// Values from 0 to 2^64 - 1 in bins whose width grows with the value: each is known to 0.4 %, below 256 exactly.
///
/// Counts are whole numbers, so merging histograms in any order gives the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

/// Where a value is counted.
fn bin(value: u64) -> usize {
    let index = match value.checked_ilog2() {
        Some(power) if power > BITS => {
            let shift = power - BITS;
            (u64::from(shift) << BITS) + (value >> shift)
        }
        _ => value,
    };
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The largest value that is counted there.
const fn upper(bin: u64) -> u64 {
    if bin < 2 * BINS {
        return bin;
    }
    let shift = bin / BINS - 1;
    let leading = bin - shift * BINS;
    (leading << shift) + ((1 << shift) - 1)
}

/// The middle of the values that are counted there: as often too large as too small.
const fn middle(bin: u64) -> u64 {
    let Some(before) = bin.checked_sub(1) else {
        return 0;
    };
    let (least, most) = (upper(before) + 1, upper(bin));
    least + (most - least) / 2
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        let bin = bin(value);
        if bin >= self.counts.len() {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += 1;
        self.total += 1;
    }

    /// Counts all that another one has counted.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// How many values were counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The least value that so large a share (0 to 1) of all are not above, to half the width of a bin; nothing of none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = share * float(self.total);
        self.cumulative()
            .find(|&(_, below)| float(below) >= wanted)
            .map(|(bin, _)| middle(bin))
    }

    /// Shares of the values that are at most so much, at no more than `points` points that go up in share and value.
    #[must_use]
    pub fn distribution(&self, points: usize) -> Vec<(u64, f64)> {
        let total = float(self.total);
        let step = 1.0 / count(points.max(2));
        let mut shown: Vec<(u64, f64)> = Vec::new();
        let mut next = 0.0;
        for (bin, below) in self.cumulative() {
            let share = float(below) / total;
            // The tail is what is looked at: from 90 % on in steps that get finer with the distance to 1.
            if share >= next || below == self.total {
                shown.push((upper(bin), share));
                next = share + step.min((1.0 - share) / 8.0);
            }
        }
        shown
    }

    /// The bins that hold something, and how many values are in each and those below.
    fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let bins = (0..).zip(&self.counts).filter(|&(_, &count)| count > 0);
        bins.scan(0, |below, (bin, &count)| {
            *below += count;
            Some((bin, *below))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bin_that_holds_it() {
        let mut value = 0_u64;
        while value < u64::MAX / 32 {
            for value in [value, value + 1] {
                let bin = bin(value) as u64;
                assert!(
                    upper(bin) >= value,
                    "{value}: bin {bin} ends at {}",
                    upper(bin)
                );
                assert!(bin == 0 || upper(bin - 1) < value);
                assert!(upper(bin) - value <= value / 128);
            }
            value = value * 17 / 16 + 1;
        }
        assert_eq!(upper(bin(u64::MAX) as u64), u64::MAX);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        let mut other = Histogram::default();
        for value in 1..=10_000 {
            if value % 3 == 0 {
                histogram.record(value);
            } else {
                other.record(value);
            }
        }
        histogram.merge(&other);
        assert_eq!(histogram.total(), 10_000);
        for (share, exact) in [(0.5, 5_000), (0.99, 9_900), (1.0, 10_000)] {
            let found = histogram.quantile(share).unwrap();
            assert!(found.abs_diff(exact) <= exact / 256, "{share}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
        // Of single values: nothing is added to them on average.
        let off = (10_000_i64..20_000).map(|value| {
            let mut one = Histogram::default();
            one.record(value.unsigned_abs());
            one.quantile(1.0).unwrap().cast_signed() - value
        });
        assert_eq!(off.sum::<i64>() / 10_000, 0);
        let shown = histogram.distribution(100);
        assert!(shown.is_sorted_by(|one, next| one.0 < next.0 && one.1 < next.1));
        assert_eq!(shown.last().unwrap().1, 1.0);
        assert!(shown.len() < 250, "{}", shown.len());
    }
}

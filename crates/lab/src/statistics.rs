//! Means with their confidence, and how evenly something is divided.

use crate::results::Estimate;

/// 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom: what a two-sided 95 % interval takes.
const T: [f64; 30] = [
    12.706_204_736,
    4.302_652_73,
    3.182_446_305,
    2.776_445_105,
    2.570_581_836,
    2.446_911_851,
    2.364_624_252,
    2.306_004_135,
    2.262_157_163,
    2.228_138_852,
    2.200_985_16,
    2.178_812_83,
    2.160_368_656,
    2.144_786_688,
    2.131_449_546,
    2.119_905_299,
    2.109_815_578,
    2.100_922_04,
    2.093_024_054,
    2.085_963_447,
    2.079_613_845,
    2.073_873_068,
    2.068_657_61,
    2.063_898_562,
    2.059_538_553,
    2.055_529_439,
    2.051_830_516,
    2.048_407_142,
    2.045_229_642,
    2.042_272_456,
];

/// The same quantile of the normal distribution.
const NORMAL: f64 = 1.959_963_985;

/// The 97.5 % quantile of Student's t with so many degrees of freedom (at least 1); beyond the table by the first
/// terms of its expansion about the normal quantile (Abramowitz and Stegun 26.7.5), exact to 10^-5 there.
#[must_use]
pub fn t_quantile(degrees: usize) -> f64 {
    if let Some(&quantile) = degrees.checked_sub(1).and_then(|index| T.get(index)) {
        return quantile;
    }
    let (n, z) = (count(degrees.max(1)), NORMAL);
    // Products, not powers: those may be rounded otherwise on another machine.
    let (cube, fifth) = (z * z * z, z * z * z * z * z);
    let first = (cube + z) / 4.0;
    let second = (5.0 * fifth + 16.0 * cube + 3.0 * z) / 96.0;
    z + first / n + second / (n * n)
}

impl Estimate {
    /// Of independent samples; nothing of none. One sample has no interval.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let (&first, _) = samples.split_first()?;
        let n = count(samples.len());
        let mean = samples.iter().sum::<f64>() / n;
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        let half = (samples.len() > 1)
            .then(|| t_quantile(samples.len() - 1) * (squares / (n - 1.0) / n).sqrt());
        Some(Self {
            mean,
            half,
            least: samples.iter().copied().fold(first, f64::min),
            most: samples.iter().copied().fold(first, f64::max),
        })
    }
}

/// A count as a number to calculate with; exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub const fn count(count: usize) -> f64 {
    count as f64
}

/// The same of a count that is not of things in memory.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Published tables: 1, 2, 29, 30, 40, 60, 120 degrees of freedom.
        for (degrees, expected) in [
            (1, 12.706),
            (2, 4.303),
            (29, 2.045),
            (30, 2.042),
            (31, 2.040),
            (40, 2.021),
            (60, 2.000),
            (120, 1.980),
            (100_000, 1.960),
        ] {
            let quantile = t_quantile(degrees);
            assert!((quantile - expected).abs() < 6e-4, "{degrees}: {quantile}");
        }
    }

    #[test]
    fn an_interval_is_of_the_mean() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!((estimate.mean - 2.5).abs() < 1e-12);
        // s = sqrt(5/3), t(3) = 3.18245: 3.18245 * 1.29099 / 2.
        assert!((estimate.half.unwrap() - 2.054_26).abs() < 1e-5);
        assert_eq!((estimate.least, estimate.most), (1.0, 4.0));
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[7.0]).unwrap().half, None);
    }
}

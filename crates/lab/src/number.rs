//! Numbers as people read them: as many digits as say something, and units that fit.

use crate::results::Estimate;

/// Decimals that leave a number three significant digits, at most six.
pub(crate) fn decimals(value: f64) -> usize {
    let mut least = 100.0;
    let mut decimals = 0;
    while decimals < 6 && value.abs() < least && value != 0.0 {
        least /= 10.0;
        decimals += 1;
    }
    decimals
}

/// A number with three significant digits, thousands and millions as `k` and `M`.
pub(crate) fn brief(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 999_500_000.0 => (value / 1e9, "G"),
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 9_995.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.*}", decimals(scaled));
    format!("{}{suffix}", trimmed(&text))
}

/// An estimate times `factor`, as its mean and, where it has an interval, half of that: `12.7` and `± 1.8`.
pub(crate) fn estimate(estimate: &Estimate, factor: f64) -> (String, Option<String>) {
    let mean = estimate.mean * factor;
    let digits = decimals(mean);
    let half = estimate.half.map(|half| half * factor);
    (
        format!("{mean:.digits$}"),
        half.map(|half| format!("± {half:.digits$}")),
    )
}

/// A number without zeros at the end of its decimals.
pub(crate) fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// What a column of numbers of this unit is multiplied by, and its unit then: seconds become ms or µs where most
/// of them are small.
pub(crate) fn unit(unit: &'static str, values: impl Iterator<Item = f64>) -> (f64, &'static str) {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2).copied().unwrap_or(1.0);
    match unit {
        "s" if middle < 1e-3 => (1e6, "µs"),
        "s" if middle < 1.0 => (1e3, "ms"),
        _ => (1.0, unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_enough() {
        assert_eq!(decimals(0.0), 0);
        assert_eq!(decimals(123.4), 0);
        assert_eq!(decimals(12.34), 1);
        assert_eq!(decimals(0.001_234), 5);
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1.234, "1.23"),
            (12.5, "12.5"),
            (9994.0, "9994"),
            (65_536.0, "65.5k"),
            (1_000_000.0, "1M"),
            (999_600.0, "1M"),
            (-0.05, "-0.05"),
        ] {
            assert_eq!(brief(value), text, "{value}");
        }
    }

    #[test]
    fn small_seconds_get_a_unit_that_fits() {
        assert_eq!(unit("s", [0.01, 0.02, 5.0].into_iter()), (1e3, "ms"));
        assert_eq!(unit("s", [1e-5].into_iter()), (1e6, "µs"));
        assert_eq!(unit("s", [2.0, f64::NAN].into_iter()), (1.0, "s"));
        assert_eq!(unit("", [0.5].into_iter()), (1.0, ""));
    }
}

//! Axes: from the data to ticks that people read, and places between 0 and 1.

use crate::number;

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By their logarithm; values that are not above 0 have no place.
    Log,
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// What it is, with its unit.
    pub(super) title: String,
    scale: Scale,
    from: f64,
    to: f64,
}

/// Ticks that an axis has at most, about.
const TICKS: f64 = 5.0;

impl Axis {
    /// An axis that all of `values` are on. `unit` may be empty.
    pub(super) fn new(
        title: &str,
        unit: &str,
        scale: Scale,
        values: impl Iterator<Item = f64>,
    ) -> Self {
        let has_place = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let values = values.filter(has_place);
        let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        let (from, to) = match scale {
            _ if least > most => (0.1, 1.0),
            Scale::Linear => (least.min(0.0), if most > 0.0 { most } else { 1.0 }),
            // A little room; the same value everywhere is in the middle.
            Scale::Log => {
                let room = (most / least).powf(0.03).max(1.05);
                (least / room, most * room)
            }
        };
        let unit = match (scale, unit.is_empty()) {
            (Scale::Linear, true) => String::new(),
            (Scale::Linear, false) => format!(" ({unit})"),
            (Scale::Log, true) => " (log scale)".to_owned(),
            (Scale::Log, false) => format!(" ({unit}, log scale)"),
        };
        Self {
            title: format!("{title}{unit}"),
            scale,
            from,
            to,
        }
    }

    /// Where a value is between the axis' ends, 0 to 1; `None` when it has no place.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        (-1e-9..=1.0 + 1e-9).contains(&place).then_some(place)
    }

    /// Values with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let ticks = match self.scale {
            Scale::Linear => self.even(),
            Scale::Log => self.powers(),
        };
        let labelled = ticks.into_iter().map(|tick| (tick, number::brief(tick)));
        labelled.collect()
    }

    /// Multiples of 1, 2 or 5 times a power of ten.
    fn even(&self) -> Vec<f64> {
        let rough = (self.to - self.from) / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let nice = [1.0, 2.0, 5.0].map(|factor| factor * power);
        let step = nice.into_iter().find(|nice| *nice >= rough);
        let step = step.unwrap_or(power * 10.0);
        let first = (self.from / step).ceil();
        let count = (0..=20_u32).map(|number| (first + f64::from(number)) * step);
        count
            .take_while(|value| *value <= self.to * (1.0 + 1e-9))
            .collect()
    }

    /// Powers of ten, with 2 and 5 times them where there are few; evenly where there are none.
    fn powers(&self) -> Vec<f64> {
        let decades = (self.to / self.from).log10();
        let factors: &[f64] = if decades < 2.2 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let every = (decades / 6.0).ceil().max(1.0);
        let lowest = self.from.log10().floor();
        let mut ticks = Vec::new();
        let mut power = lowest;
        while power <= self.to.log10() {
            let is_drawn = (power / every).fract() == 0.0;
            let values = factors.iter().map(|factor| factor * 10_f64.powf(power));
            ticks.extend(
                values.filter(|value| {
                    is_drawn && (self.from..=self.to * (1.0 + 1e-9)).contains(value)
                }),
            );
            power += 1.0;
        }
        if ticks.len() < 2 { self.even() } else { ticks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, values: [f64; 2]) -> Vec<String> {
        let axis = Axis::new("x", "s", scale, values.into_iter());
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            labels(Scale::Linear, [0.3, 1.0]),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(labels(Scale::Linear, [0.0, 0.0]).len(), 6);
        assert_eq!(
            labels(Scale::Log, [0.001, 10.0]),
            ["0.001", "0.01", "0.1", "1", "10"]
        );
        assert_eq!(labels(Scale::Log, [1.0, 10.0]), ["1", "2", "5", "10"]);
        assert!(labels(Scale::Log, [3.1, 3.3]).len() >= 2);
        assert!(labels(Scale::Log, [1e-9, 1e9]).len() <= 7);
    }

    #[test]
    fn every_value_is_on_the_axis_that_was_made_of_it() {
        for scale in [Scale::Linear, Scale::Log] {
            for values in [[0.1, 0.2], [1.0, 1.0], [1e-6, 1e6]] {
                let axis = Axis::new("x", "", scale, values.into_iter());
                for value in values {
                    assert!(
                        axis.place(value).is_some(),
                        "{value} of {values:?} {scale:?}"
                    );
                }
            }
        }
        for (scale, ends, middle) in [
            (Scale::Linear, [0.0, 100.0], 50.0),
            (Scale::Log, [1.0, 100.0], 10.0),
        ] {
            let axis = Axis::new("x", "", scale, ends.into_iter());
            let place = axis.place(middle).expect("it is between the ends");
            assert!(
                (place - 0.5).abs() < 1e-9,
                "{middle} is at {place} {scale:?}"
            );
        }
        let axis = Axis::new("x", "", Scale::Log, [1.0, 0.0, f64::NAN].into_iter());
        assert_eq!(axis.place(0.0), None);
        assert_eq!(axis.place(f64::NAN), None);
        let empty = Axis::new("x", "", Scale::Linear, core::iter::empty());
        assert!(!empty.ticks().is_empty());
    }
}

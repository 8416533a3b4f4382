//! How unevenly something is divided: the numbers by which schedulers are compared.

use std::sync::Arc;

use director::destination::Destination;
use director::service::Service;
use serde::{Deserialize, Serialize};

/// How uneven values are that should be equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Imbalance {
    /// The largest against the mean; 1 = even.
    pub max: f64,
    /// Coefficient of variation: standard deviation (of the population) against the mean; 0 = even.
    pub cv: f64,
    /// Jain's fairness index, (sum x)² / (n sum x²): 1 = even, 1/n = all at one of n.
    pub jain: f64,
}

impl Imbalance {
    /// Of these values, none below 0; `None` when there are none, or all are 0.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let (mut count, mut sum, mut squares, mut max) = (0.0, 0.0, 0.0, 0.0_f64);
        for value in values.clone() {
            count += 1.0;
            sum += value;
            squares += value * value;
            max = max.max(value);
        }
        if sum <= 0.0 {
            return None;
        }
        let mean = sum / count;
        let deviations: f64 = values.map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            max: max / mean,
            cv: (deviations / count).sqrt() / mean,
            jain: sum * sum / (count * squares),
        })
    }

    /// Of what is counted at a service's real servers, for their weights, among those that have one.
    #[must_use]
    pub fn for_weight(service: &Service, counted: impl Fn(&Destination) -> u64) -> Option<Self> {
        let servers = service.destinations.iter().filter(|it| it.weight() > 0);
        #[expect(clippy::cast_precision_loss, reason = "2^53 connections are enough")]
        let for_weight =
            |server: &Arc<Destination>| counted(server) as f64 / f64::from(server.weight());
        Self::of(servers.map(for_weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imbalance_of_known_values() {
        let of = |values: &[f64]| Imbalance::of(values.iter().copied());
        for even in [&[3.0, 3.0, 3.0][..], &[2.0; 5]] {
            let even = of(even).unwrap();
            assert_eq!((even.max, even.cv, even.jain), (1.0, 0.0, 1.0));
        }
        for all_at_one in [[4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 8.0]] {
            let all_at_one = of(&all_at_one).unwrap();
            assert_eq!((all_at_one.max, all_at_one.jain), (4.0, 0.25));
            assert!((all_at_one.cv - 3.0_f64.sqrt()).abs() < 1e-12);
        }
        for nothing in [&[][..], &[0.0, 0.0], &[0.0; 3]] {
            assert_eq!(of(nothing), None);
        }
    }
}

//! Distributions of positive numbers: samples and moments.

use super::Distribution;
use super::check::{Fault, ensure, positive, within};
use crate::random::{self, Stream};

/// Most that a mean or a bound may be, seconds.
const MOST: f64 = 1e6;

impl Distribution {
    /// One value.
    #[must_use]
    pub fn sample(&self, stream: &mut Stream) -> f64 {
        match *self {
            Self::Deterministic { mean } => mean,
            Self::Exponential { mean } => mean * random::exponential(stream),
            Self::Lognormal { mean, sigma } => {
                mean * libm::exp(sigma * random::normal(stream) - sigma * sigma / 2.0)
            }
            Self::BoundedPareto { shape, least, most } => {
                // By inversion; the part of the unbounded distribution beyond `most` is what is left out.
                let beyond = libm::pow(least / most, shape);
                let tail = 1.0 - random::uniform(stream) * (1.0 - beyond);
                (least * libm::pow(tail, -1.0 / shape)).clamp(least, most)
            }
            Self::Bimodal { short, long, share } => {
                if random::uniform(stream) < share {
                    long
                } else {
                    short
                }
            }
        }
    }

    /// The mean of all values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match *self {
            Self::Deterministic { mean }
            | Self::Exponential { mean }
            | Self::Lognormal { mean, .. } => mean,
            Self::BoundedPareto { shape, least, most } => pareto_moment(shape, least, most, 1.0),
            Self::Bimodal { short, long, share } => short * (1.0 - share) + long * share,
        }
    }

    /// What is wrong with the numbers.
    pub(super) fn check(&self, path: &str) -> Result<(), Fault> {
        let key = |name: &str| format!("{path}.{name}");
        match *self {
            Self::Deterministic { mean } | Self::Exponential { mean } => {
                positive(mean, MOST, key("mean"))
            }
            Self::Lognormal { mean, sigma } => {
                positive(mean, MOST, key("mean"))?;
                within(sigma, 0.0, 5.0, key("sigma"))
            }
            Self::BoundedPareto { shape, least, most } => {
                within(shape, 0.01, 100.0, key("shape"))?;
                positive(least, MOST, key("least"))?;
                positive(most, MOST, key("most"))?;
                ensure(
                    least < most && least >= most * 1e-9,
                    key("least"),
                    format!(
                        "the lower bound is below the upper one, {most}, and at least 1e-9 of it"
                    ),
                )
            }
            Self::Bimodal { short, long, share } => {
                positive(short, MOST, key("short"))?;
                positive(long, MOST, key("long"))?;
                within(share, 0.0, 1.0, key("share"))
            }
        }
    }

    /// The mean of all squares: what the Pollaczek-Khinchine formula asks for.
    #[must_use]
    pub fn mean_square(&self) -> f64 {
        match *self {
            Self::Deterministic { mean } => mean * mean,
            Self::Exponential { mean } => 2.0 * mean * mean,
            Self::Lognormal { mean, sigma } => mean * mean * libm::exp(sigma * sigma),
            Self::BoundedPareto { shape, least, most } => pareto_moment(shape, least, most, 2.0),
            Self::Bimodal { short, long, share } => {
                short * short * (1.0 - share) + long * long * share
            }
        }
    }
}

/// The moment of this order of a Pareto distribution between two bounds: the integral of `x^order` times the density
/// `shape * least^shape * x^(-shape-1) / (1 - (least/most)^shape)`.
fn pareto_moment(shape: f64, least: f64, most: f64, order: f64) -> f64 {
    let ratio = least / most;
    let factor = shape * libm::pow(least, order) / (1.0 - libm::pow(ratio, shape));
    let exponent = shape - order;
    if libm::fabs(exponent) < 1e-9 {
        -factor * libm::log(ratio)
    } else {
        factor * (1.0 - libm::pow(ratio, exponent)) / exponent
    }
}

//! Randomness that is the same on every machine, in streams that do not disturb each other.
//!
//! Promises: what a stream gives depends on seed, repeat and the stream's name alone, so that all schedulers of a repeat
//! see the same, and one more stream changes none of the others. Logarithms and powers are `libm`'s, never the system's.

use rand::{RngExt, SeedableRng};

use crate::scenario::Distribution;

/// The generator of all streams.
pub type Stream = rand::rngs::ChaCha8Rng;

/// The stream of this name, for this repeat of a run with this seed. Names differ in their first 16 octets.
#[must_use]
pub fn stream(seed: u64, repeat: u32, name: &str) -> Stream {
    let mut key = [0; 32];
    let parts = seed
        .to_le_bytes()
        .into_iter()
        .chain(u64::from(repeat).to_le_bytes())
        .chain(name.bytes());
    for (octet, part) in key.iter_mut().zip(parts) {
        *octet = part;
    }
    Stream::from_seed(key)
}

/// Uniform, from 0 up to but not including 1.
#[must_use]
pub fn uniform(stream: &mut Stream) -> f64 {
    stream.random()
}

/// One of so many, from 0, each as often as the other; 0 where there are none.
#[must_use]
pub fn below(stream: &mut Stream, count: u32) -> u32 {
    if count == 0 {
        0
    } else {
        stream.random_range(0..count)
    }
}

/// Exponential with mean 1.
#[must_use]
pub fn exponential(stream: &mut Stream) -> f64 {
    -libm::log(1.0 - uniform(stream))
}

/// Normal with mean 0 and variance 1 (Box and Muller).
fn normal(stream: &mut Stream) -> f64 {
    let radius = libm::sqrt(2.0 * exponential(stream));
    radius * libm::cos(core::f64::consts::TAU * uniform(stream))
}

impl Distribution {
    /// One value.
    #[must_use]
    pub fn sample(&self, stream: &mut Stream) -> f64 {
        match *self {
            Self::Deterministic { mean } => mean,
            Self::Exponential { mean } => mean * exponential(stream),
            Self::Lognormal { mean, sigma } => {
                mean * libm::exp(sigma * normal(stream) - sigma * sigma / 2.0)
            }
            Self::BoundedPareto { shape, least, most } => {
                // By inversion; the part of the unbounded distribution beyond `most` is what is left out.
                let beyond = libm::pow(least / most, shape);
                let tail = 1.0 - uniform(stream) * (1.0 - beyond);
                (least * libm::pow(tail, -1.0 / shape)).clamp(least, most)
            }
            Self::Bimodal { short, long, share } => {
                if uniform(stream) < share {
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
    let beyond = libm::pow(least / most, shape);
    if beyond >= 1.0 {
        return libm::pow(least, order);
    }
    let factor = shape * libm::pow(least, shape) / (1.0 - beyond);
    let exponent = order - shape;
    if libm::fabs(exponent) < 1e-9 {
        return factor * libm::log(most / least);
    }
    factor * (libm::pow(most, exponent) - libm::pow(least, exponent)) / exponent
}

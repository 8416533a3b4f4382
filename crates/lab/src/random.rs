//! Randomness that is the same on every machine, in streams that do not disturb each other.
//!
//! Promises: what a stream gives depends on seed, repeat and the stream's name alone, so that all schedulers of a repeat
//! see the same, and one more stream changes none of the others. Logarithms and powers are `libm`'s, never the system's.

use rand::{RngExt, SeedableRng};

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
pub(crate) fn normal(stream: &mut Stream) -> f64 {
    let radius = libm::sqrt(2.0 * exponential(stream));
    radius * libm::cos(core::f64::consts::TAU * uniform(stream))
}

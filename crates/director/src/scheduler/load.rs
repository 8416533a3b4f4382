//! Loads of real servers and the comparison that all least-connection schedulers share.

use std::sync::Arc;

use super::is_usable;
use crate::destination::Destination;

/// An active connection weighs as much as 256 inactive ones.
pub(super) fn overhead(destination: &Destination) -> i64 {
    i64::from(destination.active()) * 256 + i64::from(destination.inactive())
}

/// The load that a further connection would make, by active connections alone.
pub(super) fn expected(destination: &Destination) -> i64 {
    i64::from(destination.active()) + 1
}

/// The usable real server with the least `load` in proportion to its weight; the first of equals.
pub(super) fn least<'a>(
    destinations: impl Iterator<Item = &'a Arc<Destination>>,
    load: impl Fn(&Destination) -> i64,
) -> Option<usize> {
    let mut least: Option<(usize, i64, i64)> = None;
    for (index, destination) in destinations.enumerate() {
        if !is_usable(destination) {
            continue;
        }
        let (load, weight) = (load(destination), i64::from(destination.weight()));
        if least.is_none_or(|(_, least_load, least_weight)| {
            least_load.saturating_mul(weight) > load.saturating_mul(least_weight)
        }) {
            least = Some((index, load, weight));
        }
    }
    least.map(|(index, ..)| index)
}

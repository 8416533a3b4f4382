//! `wrr`: in turn, in passes over falling weight levels.
//!
//! A pass takes every real server whose weight reaches the current level; the next pass is lower by the
//! weights' greatest common divisor. The level survives changes of the list (BEHAVIOURS 3).

use std::sync::Arc;

use super::{Change, Entry, Request, Scheduler, is_usable};
use crate::destination::Destination;

pub(super) const ENTRY: Entry = Entry {
    name: "wrr",
    summary: "weighted round robin: in turn, as often as the weight says",
    flags: &[],
    make: || Box::new(WeightedRoundRobin::default()),
};

#[derive(Debug, Default)]
struct WeightedRoundRobin {
    /// Picked last; `None` is the place before the first.
    position: Option<usize>,
    /// Weight that the current pass asks for.
    level: i32,
    /// Level of the first pass; 0 when no weight is above 0.
    top: i32,
    /// Difference between passes: the greatest common divisor of all weights above 0.
    step: i32,
}

impl WeightedRoundRobin {
    /// The next real server in this pass at or after `from`.
    fn next_in_pass(&mut self, request: &Request<'_>, from: usize) -> Option<usize> {
        let rest = request.destinations.iter().enumerate().skip(from);
        let picked = rest
            .filter(|(_, destination)| !destination.is_overloaded())
            .find(|(_, destination)| destination.weight() >= self.level)
            .map(|(index, _)| index)?;
        self.position = Some(picked);
        Some(picked)
    }

    /// Where the kernel's search comes to rest when no real server may be used.
    fn give_up(&mut self) {
        if self.position.is_none() || self.level > self.step {
            self.position = None;
            self.level = self.top;
        } else {
            self.level = 1;
        }
    }
}

impl Scheduler for WeightedRoundRobin {
    fn update(&mut self, destinations: &[Arc<Destination>], _: Change) {
        let weights = || {
            destinations
                .iter()
                .map(|destination| destination.weight())
                .filter(|&weight| weight > 0)
        };
        self.position = None;
        self.step = weights().reduce(gcd).unwrap_or(1);
        self.top = weights().max().unwrap_or(0) - (self.step - 1);
        if self.level > self.top || self.level == 0 {
            self.level = self.top;
        } else if self.step > 1 {
            self.level = self.level / self.step * self.step + 1;
        }
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        if self.top == 0 {
            return None;
        }
        let first = self.position.map_or(0, |position| position + 1);
        if let Some(picked) = self.next_in_pass(request, first) {
            return Some(picked);
        }
        let usable = request.destinations.iter().filter(|d| is_usable(d));
        let Some(heaviest) = usable.map(|destination| destination.weight()).max() else {
            self.give_up();
            return None;
        };
        self.level -= self.step;
        if self.level <= 0 {
            self.level = self.top;
        }
        if self.level > heaviest {
            // The passes that only overloaded real servers could serve, at once.
            let passes = (self.level - heaviest - 1) / self.step + 1;
            self.level -= passes * self.step;
        }
        self.next_in_pass(request, 0)
    }
}

/// Greatest common divisor of two numbers above 0.
fn gcd(a: i32, b: i32) -> i32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

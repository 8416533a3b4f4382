//! `p2c`: the less loaded of two different real servers, drawn by lot in proportion to weights.
//!
//! Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001: the fullest server has
//! about ln ln n more than the mean, not ln n / ln ln n. With weights: Berenbrink et al., "Balls into non-uniform bins",
//! 2010. Unlike the kernel's `twos` the two are never the same one, and loads are compared in proportion to weights.

use std::sync::Arc;

use director::destination::Destination;
use director::scheduler::lots::Lots;
use director::scheduler::{Change, Copies, Entry, Flow, Request, Scheduler};

use crate::shares::Shares;

/// `p2c`.
pub const ENTRY: Entry = Entry {
    name: "p2c",
    summary: "power of two choices: the less loaded of two different real servers drawn by lot",
    flags: &[],
    make: |seed| {
        Box::new(TwoChoices {
            lots: Lots::new(seed),
            shares: Shares::default(),
        })
    },
};

#[derive(Clone, Debug)]
struct TwoChoices {
    lots: Lots,
    shares: Shares,
}

impl Scheduler for TwoChoices {
    fn update(&mut self, destinations: &[Arc<Destination>], _: Change) {
        self.shares = Shares::of(destinations);
    }

    fn draws_lots(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let destinations = request.destinations;
        let first = self.shares.draw(&mut self.lots, destinations, None)?;
        let second = self.shares.draw(&mut self.lots, destinations, Some(first));
        let Some(second) = second else {
            return Some(first);
        };
        let (one, other) = (&destinations[first], &destinations[second]);
        if load(one) * weight(other) > load(other) * weight(one) {
            Some(second)
        } else {
            Some(first)
        }
    }

    fn heap_octets(&self) -> usize {
        self.shares.heap_octets()
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

fn load(destination: &Destination) -> u128 {
    destination.load().into()
}

fn weight(destination: &Destination) -> u128 {
    u128::try_from(destination.weight()).unwrap_or(0)
}

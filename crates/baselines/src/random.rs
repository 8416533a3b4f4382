//! `random`: by lot, in proportion to weights.
//!
//! What every other scheduler has to be better than: with as many connections as real servers, the fullest one gets about
//! ln n / ln ln n (Raab and Steger, "Balls into Bins: A Simple and Tight Analysis", RANDOM 1998).

use std::sync::Arc;

use director::destination::Destination;
use director::scheduler::lots::Lots;
use director::scheduler::{Change, Copies, Entry, Flow, Request, Scheduler};

use crate::shares::Shares;

/// `random`.
pub const ENTRY: Entry = Entry {
    name: "random",
    summary: "random: a real server drawn by lot, in proportion to weights",
    flags: &[],
    make: |seed| {
        Box::new(Random {
            lots: Lots::new(seed),
            shares: Shares::default(),
        })
    },
};

#[derive(Clone, Debug)]
struct Random {
    lots: Lots,
    shares: Shares,
}

impl Scheduler for Random {
    fn update(&mut self, destinations: &[Arc<Destination>], _: Change) {
        self.shares = Shares::of(destinations);
    }

    fn draws_lots(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        self.shares.draw(&mut self.lots, request.destinations, None)
    }

    fn heap_octets(&self) -> usize {
        self.shares.heap_octets()
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

//! `twos`: the better of two real servers drawn by lot.

use super::{Entry, Request, Scheduler, is_usable, load};

pub(super) const ENTRY: Entry = Entry {
    name: "twos",
    summary: "power of two choices: the less loaded of two real servers drawn by lot",
    flags: &[],
    make: || Box::new(TwoChoices { seed: 0 }),
};

#[derive(Debug)]
struct TwoChoices {
    /// State of the lot (SplitMix64): drawn from a fixed start, so that a replay draws the same.
    seed: u64,
}

impl TwoChoices {
    /// A number below `limit`, which is not 0.
    fn draw(&mut self, limit: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut lot = self.seed;
        lot = (lot ^ (lot >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lot = (lot ^ (lot >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (lot ^ (lot >> 31)) % limit
    }
}

impl Scheduler for TwoChoices {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let usable = || {
            let destinations = request.destinations.iter().enumerate();
            destinations
                .filter(|(_, destination)| is_usable(destination))
                .map(|(index, destination)| (index, u64::from(destination.weight().unsigned_abs())))
        };
        let total: u64 = usable().map(|(_, weight)| weight).sum();
        // The kernel draws from 0 to the total inclusive: 0 falls to the first.
        let choose = |mut lot: u64| {
            usable().find(|&(_, weight)| {
                let hit = lot <= weight;
                lot = lot.saturating_sub(weight);
                hit
            })
        };
        let (first, first_weight) = choose(self.draw(total + 1))?;
        let (second, second_weight) = choose(self.draw(total + 1))?;
        let load = |index: usize, weight: u64| {
            load::overhead(&request.destinations[index])
                .saturating_mul(i64::try_from(weight).unwrap_or(i64::MAX))
        };
        if load(first, second_weight) > load(second, first_weight) {
            Some(second)
        } else {
            Some(first)
        }
    }
}

//! `twos`: the better of two real servers drawn by lot.

use super::board::{Blocks, Board, Seat};
use super::lots::Lots;
use super::{Copies, Entry, Flow, Request, Scheduler, load};

pub(super) const ENTRY: Entry = Entry {
    name: "twos",
    summary: "power of two choices: the less loaded of two real servers drawn by lot",
    flags: &[],
    make: |seed| {
        Box::new(TwoChoices {
            lots: Lots::new(seed),
            weights: Blocks::default(),
        })
    },
};

#[derive(Clone, Debug)]
struct TwoChoices {
    lots: Lots,
    /// Of each block of real servers.
    weights: Blocks<BlockWeight>,
}

/// Where a block of real servers begins, and the weights of its usable ones in total.
#[derive(Clone, Copy, Debug, Default)]
struct BlockWeight {
    first: usize,
    sum: u64,
}

impl BlockWeight {
    fn of(first: usize, seats: &[Seat]) -> Self {
        let sum = seats.iter().map(weight).sum();
        Self { first, sum }
    }
}

/// The part of the lots that fall to a real server.
fn weight(seat: &Seat) -> u64 {
    if seat.is_usable() {
        seat.weight.unsigned_abs().into()
    } else {
        0
    }
}

/// The first of these with a weight that the lot does not reach beyond; what is left of the lot where there is none.
fn hit<T: Copy>(lot: &mut u64, mut weighted: impl Iterator<Item = (T, u64)>) -> Option<T> {
    let found = weighted.find(|&(_, weight)| {
        let is_hit = weight > 0 && *lot <= weight;
        if !is_hit {
            *lot = lot.saturating_sub(weight);
        }
        is_hit
    });
    found.map(|(found, _)| found)
}

impl TwoChoices {
    /// The place that the next lot falls to; `total` is all weights.
    fn choose(&mut self, board: &Board, total: u64) -> Option<usize> {
        let mut lot = self.lots.below(total + 1);
        let blocks = self.weights.look(board, BlockWeight::of);
        let first = hit(&mut lot, blocks.map(|block| (block.first, block.sum)))?;
        let (_, seats) = board.rest_of_block(first);
        hit(&mut lot, (first..).zip(seats.iter().map(weight)))
    }
}

impl Scheduler for TwoChoices {
    fn draws_lots(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let board = request.board;
        let sums = self.weights.look(board, BlockWeight::of);
        let total = sums.map(|block| block.sum).sum();
        // The kernel draws from 0 to the total inclusive: 0 falls to the first.
        let first = self.choose(board, total)?;
        let second = self.choose(board, total)?;
        let (one, other) = (board.seat(first)?, board.seat(second)?);
        let load = |of: &Seat, by: &Seat| load::overhead(of).saturating_mul(by.weight.into());
        if load(one, other) > load(other, one) {
            Some(second)
        } else {
            Some(first)
        }
    }

    fn heap_octets(&self) -> usize {
        self.weights.heap_octets()
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, _: &Request<'_>) -> Vec<(&'static str, String)> {
        vec![(
            "rule",
            "the less loaded, by (256 active + inactive) / weight, of two that are drawn by weight"
                .to_owned(),
        )]
    }
}

//! `wrr`: in turn, in passes over falling weight levels.
//!
//! A pass takes every real server whose weight reaches the current level; the next pass is lower by the
//! weights' greatest common divisor. The level survives changes of the list (BEHAVIOURS 3).

use std::sync::Arc;

use super::board::{Blocks, Board, Seat};
use super::{Change, Copies, Entry, Flow, Request, Scheduler, named};
use crate::destination::Destination;

pub(super) const ENTRY: Entry = Entry {
    name: "wrr",
    summary: "weighted round robin: in turn, as often as the weight says",
    flags: &[],
    make: |_| Box::new(WeightedRoundRobin::default()),
};

#[derive(Clone, Debug, Default)]
struct WeightedRoundRobin {
    /// Picked last; `None` is the place before the first.
    position: Option<usize>,
    /// Weight that the current pass asks for.
    level: i32,
    /// Level of the first pass; 0 when no weight is above 0.
    top: i32,
    /// Difference between passes: the greatest common divisor of all weights above 0.
    step: i32,
    /// Of each block of real servers, so that a pass goes straight to those that it takes.
    heaviest: Blocks<Option<Heaviest>>,
}

/// The weight of the heaviest usable real server in a block, and where the block begins.
#[derive(Clone, Copy, Debug)]
struct Heaviest {
    first: usize,
    weight: i32,
}

fn heaviest(first: usize, seats: &[Seat]) -> Option<Heaviest> {
    let usable = seats.iter().filter(|seat| seat.is_usable());
    let weight = usable.map(|seat| seat.weight).max()?;
    Some(Heaviest { first, weight })
}

impl WeightedRoundRobin {
    /// The next real server in this pass at or after `from`.
    fn next_in_pass(&mut self, board: &Board, from: usize) -> Option<usize> {
        let level = self.level;
        let is_in_pass = |seat: &Seat| seat.is_usable() && seat.weight >= level;
        let (block, seats) = board.rest_of_block(from);
        let near = seats.iter().position(is_in_pass).map(|at| from + at);
        let picked = near.or_else(|| {
            let behind = (self.heaviest).look(board, heaviest).skip(block + 1);
            let first = behind
                .flatten()
                .find(|heaviest| heaviest.weight >= level)?
                .first;
            let (_, seats) = board.rest_of_block(first);
            seats.iter().position(is_in_pass).map(|at| first + at)
        })?;
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
        if let Some(picked) = self.next_in_pass(request.board, first) {
            return Some(picked);
        }
        let blocks = self.heaviest.look(request.board, heaviest).flatten();
        let Some(heaviest) = blocks.map(|heaviest| heaviest.weight).max() else {
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
        self.next_in_pass(request.board, 0)
    }

    fn heap_octets(&self) -> usize {
        self.heaviest.heap_octets()
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, request: &Request<'_>) -> Vec<(&'static str, String)> {
        let Self {
            level, top, step, ..
        } = self;
        vec![
            (
                "rule",
                "the next in the list whose weight reaches the pass's level".to_owned(),
            ),
            ("picked last", named(self.position, request)),
            ("level", format!("{level} of {top}, then {step} less")),
        ]
    }
}

/// Greatest common divisor of two numbers above 0.
fn gcd(a: i32, b: i32) -> i32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

//! `maglev`: Maglev hashing of the client's address over a table of 65,537 places.
//!
//! Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4: each real
//! server fills the table along its own permutation, by turns, so that shares differ by 1 % at most while there are a
//! hundred places for each, and few clients move when the list changes. The kernel's `mh` has 4,093 places, rounds
//! weights to six bits and keeps the places of a server of weight 0; here weights count in full, such a server has no
//! place, and the clients of an overloaded one go to the next place's.

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use director::destination::Destination;
use director::scheduler::{Change, Copies, Entry, FlagName, Flow, Request, Scheduler};
use director::service::FLAG_SCHED_2;

use crate::client;

/// `maglev`.
pub const ENTRY: Entry = Entry {
    name: "maglev",
    summary: "Maglev hashing of the client's address, with 65,537 places",
    flags: &[FlagName {
        name: "maglev-port",
        flag: FLAG_SCHED_2,
    }],
    make: |_| Box::new(Maglev::default()),
};

/// Places in the table, a prime.
const SIZE: u32 = 65_537;
/// No real server has this index.
const FREE: u32 = u32::MAX;

#[derive(Clone, Debug, Default)]
struct Maglev {
    /// Index of each place's real server; empty when all weights are 0.
    table: Vec<u32>,
    /// The list has changed: the next pick fills the table, so that a thousand changes in a row cost one filling.
    is_stale: bool,
}

/// One real server's walk through the table.
struct Walk {
    index: u32,
    place: u32,
    stride: u32,
    weight: u64,
}

impl Walk {
    fn new(index: usize, destination: &Destination) -> Option<Self> {
        let weight = u64::try_from(destination.weight()).ok()?;
        let hash = |purpose| client::hash_of_server(destination.address, destination.port, purpose);
        (weight > 0).then_some(Self {
            index: u32::try_from(index).ok()?,
            place: below(hash(0), SIZE),
            stride: below(hash(1), SIZE - 1) + 1,
            weight,
        })
    }

    /// When its turn of this number, from 1 on, comes: the heavier it is, the earlier. In units of 2^-40.
    fn turn(&self, number: u64) -> u64 {
        (number << 40) / self.weight
    }
}

/// A hash as a number below `limit`.
fn below(hash: u64, limit: u32) -> u32 {
    u32::try_from(hash % u64::from(limit)).unwrap_or(0)
}

/// A place as an index.
fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(0)
}

/// Index of the real server at each place; empty when all weights are 0.
pub(crate) fn table(destinations: &[Arc<Destination>]) -> Vec<u32> {
    let mut walks: Vec<Walk> = (destinations.iter().enumerate())
        .filter_map(|(index, destination)| Walk::new(index, destination))
        .collect();
    // By the servers' hashes: the order of the list, newest first, must not decide who takes a place.
    walks.sort_by_key(|walk| (walk.place, walk.stride, walk.index));
    let first = |(at, walk): (usize, &Walk)| Reverse((walk.turn(1), at, 1));
    let mut turns: BinaryHeap<_> = walks.iter().enumerate().map(first).collect();
    let mut table = vec![FREE; index(SIZE)];
    for _ in 0..SIZE {
        let Some(Reverse((_, at, number))) = turns.pop() else {
            return Vec::new();
        };
        let walk = &mut walks[at];
        while table[index(walk.place)] != FREE {
            walk.place = (walk.place + walk.stride) % SIZE;
        }
        table[index(walk.place)] = walk.index;
        turns.push(Reverse((walk.turn(number + 1), at, number + 1)));
    }
    table
}

impl Scheduler for Maglev {
    fn update(&mut self, _: &[Arc<Destination>], _: Change) {
        self.is_stale = true;
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        if core::mem::take(&mut self.is_stale) {
            self.table = table(request.destinations);
        }
        let first = index(below(client::hash(request.flow, request.flags), SIZE));
        let (before, from) = self.table.split_at_checked(first)?;
        let mut places = from.iter().chain(before).map(|&picked| index(picked));
        let usable = |&picked: &usize| {
            let destination = request.destinations.get(picked);
            destination.is_some_and(|destination| destination.is_usable())
        };
        // A server far lighter than the heaviest may have no place at all.
        places
            .find(usable)
            .or_else(|| request.destinations.iter().position(|it| it.is_usable()))
    }

    fn heap_octets(&self) -> usize {
        self.table.capacity() * size_of::<u32>()
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

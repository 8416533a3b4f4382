//! `mh`: Maglev hashing of the client's address.
//!
//! Each real server fills the table along its own permutation (Eisenbud et al., "Maglev", NSDI 2016), so few
//! clients move when the list changes. A server set to weight 0 keeps its places (BEHAVIOURS 6).

use std::sync::Arc;

use packet::Family;
use siphasher::sip::SipHasher13;

use super::board::vec_octets;
use super::{
    Change, Copies, Entry, Flow, MH_FLAGS, Request, Scheduler, fallback, hash, hashed, hashed_port,
    named,
};
use crate::destination::Destination;
use crate::service::FLAG_SCHED_1;

pub(super) const ENTRY: Entry = Entry {
    name: "mh",
    summary: "Maglev hashing: source hashing that moves few clients when real servers change",
    flags: MH_FLAGS,
    make: |_| {
        Box::new(Maglev {
            family: Family::V4,
            table: Vec::new(),
        })
    },
};

/// Places in the table, a prime (kernel: CONFIG_IP_VS_MH_TAB_INDEX 12).
const SIZE: u32 = 4093;
/// Largest number of significant bits that a weight keeps.
const WEIGHT_BITS: u32 = 6;
/// Key of the hash that looks up clients and begins permutations.
const LOOKUP_KEY: u64 = 2_654_435_761;
/// Key of the hash that gives the stride of permutations.
const STRIDE_KEY: u64 = 2_654_446_892;

#[derive(Clone, Debug)]
struct Maglev {
    /// The service's family.
    family: Family,
    /// Index of each place's real server; empty when all weights are 0.
    table: Vec<usize>,
}

/// One real server's walk through the table.
struct Walk {
    index: usize,
    place: u32,
    stride: u32,
    /// Places it takes in each round.
    turns: u32,
}

/// Hash of a folded address with a port.
fn place(folded: u32, port: u16, key: u64, offset: u32) -> u32 {
    let value = folded.wrapping_add(u32::from(port)).wrapping_add(offset);
    let hash = SipHasher13::new_with_keys(key, key).hash(&value.to_le_bytes());
    let [a, b, c, d, ..] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn walks(family: Family, destinations: &[Arc<Destination>]) -> Vec<Walk> {
    let weights = destinations
        .iter()
        .map(|destination| u32::try_from(destination.last_weight()).unwrap_or(0));
    let Some(divisor) = weights.clone().filter(|&weight| weight > 0).reduce(gcd) else {
        return Vec::new();
    };
    let heaviest = weights.clone().max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - heaviest.leading_zeros()).saturating_sub(WEIGHT_BITS);
    let walk = |(index, (destination, weight)): (usize, (&Arc<Destination>, u32))| {
        let folded = hash::fold_as(family, destination.address);
        let port = destination.port;
        Walk {
            index,
            place: place(folded, port, LOOKUP_KEY, 0) % SIZE,
            stride: place(folded, port, STRIDE_KEY, 0) % (SIZE - 1) + 1,
            turns: ((weight / divisor) >> shift).max(u32::from(weight != 0)),
        }
    };
    let walks = destinations.iter().zip(weights).enumerate().map(walk);
    walks.filter(|walk| walk.turns > 0).collect()
}

impl Scheduler for Maglev {
    fn update(&mut self, destinations: &[Arc<Destination>], change: Change) {
        if let Change::Bound(family) = change {
            self.family = family;
        }
        let mut walks = walks(self.family, destinations);
        let mut table: Vec<Option<usize>> = vec![None; index(SIZE)];
        let mut free = if walks.is_empty() { 0 } else { SIZE };
        while free > 0 {
            for walk in &mut walks {
                for _ in 0..walk.turns.min(free) {
                    while table[index(walk.place)].is_some() {
                        walk.place = (walk.place + walk.stride) % SIZE;
                    }
                    table[index(walk.place)] = Some(walk.index);
                    free -= 1;
                }
            }
        }
        self.table = table.into_iter().flatten().collect();
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let port = hashed_port(request);
        let client = hash::fold(request.flow.source);
        let first = place(client, port, LOOKUP_KEY, 0) % SIZE;
        let usable = |place: u32| {
            let picked = *self.table.get(index(place))?;
            (request.destinations.get(picked)?.is_usable()).then_some(picked)
        };
        if let Some(picked) = usable(first) {
            return Some(picked);
        }
        if request.flags & FLAG_SCHED_1 == 0 || !request.board.has_usable() {
            return None;
        }
        (0..SIZE).find_map(|offset| {
            let offset = (offset + first) % SIZE;
            usable(place(client, port, LOOKUP_KEY, offset) % SIZE)
        })
    }

    fn heap_octets(&self) -> usize {
        vec_octets(&self.table)
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, request: &Request<'_>) -> Vec<(&'static str, String)> {
        let client = hash::fold(request.flow.source);
        let hash = place(client, hashed_port(request), LOOKUP_KEY, 0);
        let slot = hash % SIZE;
        let holder = self.table.get(index(slot)).copied();
        vec![
            ("hash", format!("{hash:#010x} of {}", hashed(request))),
            ("slot", format!("{slot} of {SIZE}")),
            ("holds", named(holder, request)),
            ("fallback", fallback(request)),
        ]
    }
}

/// A place as an index.
fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(0)
}

/// Greatest common divisor of two numbers above 0.
fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

//! `bounded`: consistent hashing of the client's address with bounded loads.
//!
//! Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018 (arXiv:1608.01350): a client goes
//! to the first real server behind its place on the ring that has room, where each has room for c = 1.25 times its share
//! of all connections, rounded up. The ring is Karger's (STOC 1997), with places in proportion to weights. What is
//! counted is connections, active and inactive, as thresholds count them.

use std::sync::Arc;

use director::destination::Destination;
use director::scheduler::{Change, Copies, Entry, FlagName, Flow, Request, Scheduler};
use director::service::FLAG_SCHED_2;

use crate::client;

/// `bounded`.
pub const ENTRY: Entry = Entry {
    name: "bounded",
    summary: "consistent hashing of the client's address, no server above 1.25 times its share",
    flags: &[FlagName {
        name: "bounded-port",
        flag: FLAG_SCHED_2,
    }],
    make: |_| Box::new(Bounded::default()),
};

/// c of the paper, as a fraction: connections that a server may have, in shares.
const BOUND: (u128, u128) = (5, 4);
/// Places on the ring of the heaviest real server; others have theirs in proportion, at least one.
const PLACES: u64 = 128;

#[derive(Clone, Debug, Default)]
struct Bounded {
    /// Places in the order of the ring, and the index of each one's real server.
    ring: Vec<(u64, u32)>,
    /// The list has changed: the next pick makes the ring, so that a thousand changes in a row cost one.
    is_stale: bool,
}

fn ring(destinations: &[Arc<Destination>]) -> Vec<(u64, u32)> {
    let heaviest = destinations.iter().map(|it| weight(it)).max().unwrap_or(0);
    let mut ring = Vec::new();
    for (index, destination) in (0..).zip(destinations) {
        let share = (weight(destination) * u128::from(PLACES)).checked_div(heaviest);
        let places = u64::try_from(share.unwrap_or(0)).unwrap_or(PLACES).max(1);
        let (address, port) = (destination.address, destination.port);
        let hashes = (0..places).map(|place| client::hash_of_server(address, port, place));
        ring.extend(hashes.map(|hash| (hash, index)));
    }
    ring.sort_unstable();
    ring
}

impl Scheduler for Bounded {
    fn update(&mut self, _: &[Arc<Destination>], _: Change) {
        self.is_stale = true;
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let destinations = request.destinations;
        if core::mem::take(&mut self.is_stale) {
            self.ring = ring(destinations);
        }
        let usable = destinations.iter().filter(|it| it.is_usable());
        let (weights, connections) = usable.fold((0, 1), |(weights, connections), it| {
            (weights + weight(it), connections + count(it))
        });
        if weights == 0 {
            return None;
        }
        let has_room = |destination: &Destination| {
            let (c, parts) = BOUND;
            let share = weight(destination) * connections * c;
            destination.is_usable() && count(destination) < share.div_ceil(weights * parts)
        };
        let place = client::hash(request.flow, request.flags);
        let first = self.ring.partition_point(|&(hash, _)| hash < place);
        let (before, from) = self.ring.split_at_checked(first)?;
        let mut behind = from.iter().chain(before);
        behind.find_map(|&(_, index)| {
            let index = usize::try_from(index).ok()?;
            has_room(destinations.get(index)?).then_some(index)
        })
    }

    fn heap_octets(&self) -> usize {
        self.ring.capacity() * size_of::<(u64, u32)>()
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

fn weight(destination: &Destination) -> u128 {
    u128::try_from(destination.weight()).unwrap_or(0)
}

fn count(destination: &Destination) -> u128 {
    destination.connections().into()
}

//! `dh`: the virtual address decides; made for caches behind a firewall-mark service.

use std::sync::Arc;

use super::{Change, Entry, Request, Scheduler, hash};
use crate::destination::Destination;

pub(super) const ENTRY: Entry = Entry {
    name: "dh",
    summary: "destination hashing: a destination address always goes to the same real server",
    flags: &[],
    make: |_| Box::new(DestinationHash::default()),
};

/// Bits of a bucket number.
const BITS: u32 = 8;

#[derive(Debug, Default)]
struct DestinationHash {
    /// How many real servers the buckets are dealt to, in list order and whatever their weights.
    count: usize,
}

impl Scheduler for DestinationHash {
    fn update(&mut self, destinations: &[Arc<Destination>], _: Change) {
        self.count = destinations.len();
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let bucket = hash::bucket(hash::fold(request.flow.destination), BITS);
        let picked = bucket.checked_rem(self.count)?;
        (request.destinations.get(picked)?.is_usable()).then_some(picked)
    }
}

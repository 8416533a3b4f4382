//! `dh`: the virtual address decides; made for caches behind a firewall-mark service.

use std::sync::Arc;

use super::{Change, Copies, Entry, Flow, Request, Scheduler, hash, named};
use crate::destination::Destination;

pub(super) const ENTRY: Entry = Entry {
    name: "dh",
    summary: "destination hashing: a destination address always goes to the same real server",
    flags: &[],
    make: |_| Box::new(DestinationHash::default()),
};

/// Bits of a bucket number.
const BITS: u32 = 8;

#[derive(Clone, Debug, Default)]
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

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, request: &Request<'_>) -> Vec<(&'static str, String)> {
        let folded = hash::fold(request.flow.destination);
        let bucket = hash::bucket(folded, BITS);
        let place = bucket.checked_rem(self.count);
        vec![
            ("hash", format!("{folded:#010x} of the destination address")),
            ("bucket", format!("{bucket} of {}", 1 << BITS)),
            ("deals", named(place, request)),
        ]
    }
}

//! `sh`: the client's address decides.

use std::sync::Arc;

use super::board::vec_octets;
use super::{
    Change, Copies, Entry, Flow, Request, SH_FLAGS, Scheduler, fallback, hash, hashed, hashed_port,
    named,
};
use crate::destination::Destination;
use crate::service::FLAG_SCHED_1;

pub(super) const ENTRY: Entry = Entry {
    name: "sh",
    summary: "source hashing: a client address always goes to the same real server",
    flags: SH_FLAGS,
    make: |_| Box::new(SourceHash::default()),
};

/// Bits of a bucket number.
const BITS: u32 = 8;
/// Buckets.
const SIZE: usize = 1 << BITS;

#[derive(Clone, Debug, Default)]
struct SourceHash {
    /// Index of each bucket's real server; empty when there is none.
    buckets: Vec<usize>,
}

impl Scheduler for SourceHash {
    fn update(&mut self, destinations: &[Arc<Destination>], _: Change) {
        self.buckets.clear();
        if destinations.is_empty() {
            return;
        }
        let turns = destinations
            .iter()
            .enumerate()
            .flat_map(|(index, destination)| {
                // A quiesced real server keeps one bucket, whose clients are refused.
                let turns = usize::try_from(destination.weight()).unwrap_or(0).max(1);
                core::iter::repeat_n(index, turns)
            });
        self.buckets.extend(turns.cycle().take(SIZE));
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let bucket = hash::bucket(value(request), BITS);
        let usable = |bucket: usize| {
            let picked = *self.buckets.get(bucket % SIZE)?;
            (request.destinations.get(picked)?.is_usable()).then_some(picked)
        };
        let picked = usable(bucket);
        if picked.is_some() || request.flags & FLAG_SCHED_1 == 0 || !request.board.has_usable() {
            return picked;
        }
        // The kernel adds the bucket twice: its search begins at 2 * bucket.
        (0..SIZE).find_map(|offset| usable(2 * bucket + offset))
    }

    fn heap_octets(&self) -> usize {
        vec_octets(&self.buckets)
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, request: &Request<'_>) -> Vec<(&'static str, String)> {
        let value = value(request);
        let bucket = hash::bucket(value, BITS);
        let place = self.buckets.get(bucket).copied();
        vec![
            ("hash", format!("{value:#010x} of {}", hashed(request))),
            ("bucket", format!("{bucket} of {SIZE}")),
            ("deals", named(place, request)),
            ("fallback", fallback(request)),
        ]
    }
}

/// What the bucket is made of: the client's address, and its port where that is wanted.
fn value(request: &Request<'_>) -> u32 {
    hash::fold(request.flow.source).wrapping_add(u32::from(hashed_port(request)))
}

//! `sed`: the real server that would answer first, by active connections and weight.

use super::load::{self, Least};
use super::{Entry, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "sed",
    summary: "shortest expected delay",
    flags: &[],
    make: |_| Box::new(ShortestExpectedDelay::default()),
};

#[derive(Debug, Default)]
struct ShortestExpectedDelay(Least);

impl Scheduler for ShortestExpectedDelay {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        self.0.by_weight(request.board, load::expected)
    }

    fn heap_octets(&self) -> usize {
        self.0.heap_octets()
    }
}

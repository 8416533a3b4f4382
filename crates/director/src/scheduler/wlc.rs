//! `wlc`: the real server with the fewest connections in proportion to its weight.

use super::load::{self, Least};
use super::{Entry, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "wlc",
    summary: "weighted least connections (the default)",
    flags: &[],
    make: |_| Box::new(WeightedLeastConnection::default()),
};

#[derive(Debug, Default)]
struct WeightedLeastConnection(Least);

impl Scheduler for WeightedLeastConnection {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        self.0.by_weight(request.board, load::overhead)
    }

    fn heap_octets(&self) -> usize {
        self.0.heap_octets()
    }
}

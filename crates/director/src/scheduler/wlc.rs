//! `wlc`: the real server with the fewest connections in proportion to its weight.

use super::load::{self, Least};
use super::{Copies, Entry, Flow, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "wlc",
    summary: "weighted least connections (the default)",
    flags: &[],
    make: |_| Box::new(WeightedLeastConnection::default()),
};

#[derive(Clone, Debug, Default)]
struct WeightedLeastConnection(Least);

impl Scheduler for WeightedLeastConnection {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        self.0.by_weight(request.board, load::overhead)
    }

    fn heap_octets(&self) -> usize {
        self.0.heap_octets()
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, _: &Request<'_>) -> Vec<(&'static str, String)> {
        vec![(
            "rule",
            "the least (256 active + inactive) / weight; the first of equals".to_owned(),
        )]
    }
}

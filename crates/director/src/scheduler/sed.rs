//! `sed`: the real server that would answer first, by active connections and weight.

use super::load::{self, Least};
use super::{Copies, Entry, Flow, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "sed",
    summary: "shortest expected delay",
    flags: &[],
    make: |_| Box::new(ShortestExpectedDelay::default()),
};

#[derive(Clone, Debug, Default)]
struct ShortestExpectedDelay(Least);

impl Scheduler for ShortestExpectedDelay {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        self.0.by_weight(request.board, load::expected)
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
            "the least (active + 1) / weight; the first of equals".to_owned(),
        )]
    }
}

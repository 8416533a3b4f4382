//! `nq`: the first idle real server, else as `sed`.

use super::load::{self, Least};
use super::{Copies, Entry, Flow, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "nq",
    summary: "never queue: an idle real server, else the shortest expected delay",
    flags: &[],
    make: |_| Box::new(NeverQueue::default()),
};

#[derive(Clone, Debug, Default)]
struct NeverQueue {
    idle: Least,
    quickest: Least,
}

impl Scheduler for NeverQueue {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let board = request.board;
        let idle = (self.idle).first(board, |seat| seat.is_usable() && seat.active == 0);
        idle.or_else(|| self.quickest.by_weight(board, load::expected))
    }

    fn heap_octets(&self) -> usize {
        self.idle.heap_octets() + self.quickest.heap_octets()
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, _: &Request<'_>) -> Vec<(&'static str, String)> {
        vec![(
            "rule",
            "the first without active connections, else the least (active + 1) / weight".to_owned(),
        )]
    }
}

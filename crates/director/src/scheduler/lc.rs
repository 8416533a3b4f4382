//! `lc`: the real server with the fewest connections, whatever its weight.

use super::load::{self, Least};
use super::{Copies, Entry, Flow, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "lc",
    summary: "least connections",
    flags: &[],
    make: |_| Box::new(LeastConnection::default()),
};

#[derive(Clone, Debug, Default)]
struct LeastConnection(Least);

impl Scheduler for LeastConnection {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        self.0.of(request.board, |seat| {
            seat.is_usable().then(|| (load::overhead(seat), 1))
        })
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
            "the fewest connections: 256 active + inactive; the first of equals".to_owned(),
        )]
    }
}

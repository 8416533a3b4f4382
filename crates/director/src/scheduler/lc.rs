//! `lc`: the real server with the fewest connections, whatever its weight.

use super::load::{self, Least};
use super::{Entry, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "lc",
    summary: "least connections",
    flags: &[],
    make: |_| Box::new(LeastConnection::default()),
};

#[derive(Debug, Default)]
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
}

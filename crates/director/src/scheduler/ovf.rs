//! `ovf`: the heaviest real server until it has more active connections than its weight, then the next.

use super::load::Least;
use super::{Entry, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "ovf",
    summary: "weighted overflow: the heaviest real server until its weight is exceeded, then the next",
    flags: &[],
    make: |_| Box::new(Overflow::default()),
};

#[derive(Debug, Default)]
struct Overflow(Least);

impl Scheduler for Overflow {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        self.0.of(request.board, |seat| {
            let has_room = seat.is_usable() && seat.active <= seat.weight;
            has_room.then(|| (-i64::from(seat.weight), 1))
        })
    }

    fn heap_octets(&self) -> usize {
        self.0.heap_octets()
    }
}

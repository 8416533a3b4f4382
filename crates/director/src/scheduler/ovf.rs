//! `ovf`: the heaviest real server until it has more active connections than its weight, then the next.

use super::load::Least;
use super::{Copies, Entry, Flow, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "ovf",
    summary: "weighted overflow: the heaviest real server until its weight is exceeded, then the next",
    flags: &[],
    make: |_| Box::new(Overflow::default()),
};

#[derive(Clone, Debug, Default)]
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

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, _: &Request<'_>) -> Vec<(&'static str, String)> {
        vec![(
            "rule",
            "the greatest weight whose active connections do not exceed it; the first of equals"
                .to_owned(),
        )]
    }
}

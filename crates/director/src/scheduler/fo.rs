//! `fo`: always the heaviest usable real server.

use super::load::Least;
use super::{Copies, Entry, Flow, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "fo",
    summary: "weighted failover: always the heaviest real server",
    flags: &[],
    make: |_| Box::new(Failover::default()),
};

#[derive(Clone, Debug, Default)]
struct Failover(Least);

impl Scheduler for Failover {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        self.0.of(request.board, |seat| {
            seat.is_usable().then(|| (-i64::from(seat.weight), 1))
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
            "the greatest weight; the first of equals".to_owned(),
        )]
    }
}

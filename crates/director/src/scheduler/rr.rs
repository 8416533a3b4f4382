//! `rr`: each usable real server in turn.

use std::sync::Arc;

use super::{Change, Copies, Entry, Flow, Request, Scheduler, named, shifted};
use crate::destination::Destination;

pub(super) const ENTRY: Entry = Entry {
    name: "rr",
    summary: "round robin: each real server in turn",
    flags: &[],
    make: |_| Box::new(RoundRobin::default()),
};

#[derive(Clone, Debug, Default)]
struct RoundRobin {
    /// Picked last; `None` is the place before the first.
    position: Option<usize>,
}

impl Scheduler for RoundRobin {
    fn update(&mut self, _: &[Arc<Destination>], change: Change) {
        self.position = shifted(self.position, change);
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let first = self.position.map_or(0, |position| position + 1);
        let board = request.board;
        let picked = (board.next_usable(first)).or_else(|| board.next_usable(0))?;
        self.position = Some(picked);
        Some(picked)
    }

    fn fork(&self, _: &Flow, _: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }

    fn explain(&self, request: &Request<'_>) -> Vec<(&'static str, String)> {
        vec![
            (
                "rule",
                "the next usable real server of the list behind the last one".to_owned(),
            ),
            ("picked last", named(self.position, request)),
        ]
    }
}

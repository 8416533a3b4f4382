//! `rr`: each usable real server in turn.

use std::sync::Arc;

use super::{Change, Entry, Request, Scheduler, is_usable, shifted};
use crate::destination::Destination;

pub(super) const ENTRY: Entry = Entry {
    name: "rr",
    summary: "round robin: each real server in turn",
    flags: &[],
    make: || Box::new(RoundRobin::default()),
};

#[derive(Debug, Default)]
struct RoundRobin {
    /// Picked last; `None` is the place before the first.
    position: Option<usize>,
}

impl Scheduler for RoundRobin {
    fn update(&mut self, _: &[Arc<Destination>], change: Change) {
        self.position = shifted(self.position, change);
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let count = request.destinations.len();
        let first = self.position.map_or(0, |position| position + 1);
        let picked = (first..count)
            .chain(0..first.min(count))
            .find(|&index| is_usable(&request.destinations[index]))?;
        self.position = Some(picked);
        Some(picked)
    }
}

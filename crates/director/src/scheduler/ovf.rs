//! `ovf`: the heaviest real server until it has more active connections than its weight, then the next.

use super::{Entry, Request, Scheduler, is_usable};

pub(super) const ENTRY: Entry = Entry {
    name: "ovf",
    summary: "weighted overflow: the heaviest real server until its weight is exceeded, then the next",
    flags: &[],
    make: || Box::new(Overflow),
};

#[derive(Debug)]
struct Overflow;

impl Scheduler for Overflow {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        // `rev`: of equals, `max_by_key` takes the last one, and the first is wanted.
        let destinations = request.destinations.iter().enumerate().rev();
        destinations
            .filter(|(_, destination)| is_usable(destination))
            .filter(|(_, destination)| destination.active() <= destination.weight())
            .max_by_key(|(_, destination)| destination.weight())
            .map(|(index, _)| index)
    }
}

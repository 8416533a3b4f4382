//! `fo`: always the heaviest usable real server.

use super::{Entry, Request, Scheduler, is_usable};

pub(super) const ENTRY: Entry = Entry {
    name: "fo",
    summary: "weighted failover: always the heaviest real server",
    flags: &[],
    make: || Box::new(Failover),
};

#[derive(Debug)]
struct Failover;

impl Scheduler for Failover {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        // `rev`: of equals, `max_by_key` takes the last one, and the first is wanted.
        let destinations = request.destinations.iter().enumerate().rev();
        destinations
            .filter(|(_, destination)| is_usable(destination))
            .max_by_key(|(_, destination)| destination.weight())
            .map(|(index, _)| index)
    }
}

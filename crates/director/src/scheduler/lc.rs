//! `lc`: the real server with the fewest connections, whatever its weight.

use super::{Entry, Request, Scheduler, is_usable, load};

pub(super) const ENTRY: Entry = Entry {
    name: "lc",
    summary: "least connections",
    flags: &[],
    make: || Box::new(LeastConnection),
};

#[derive(Debug)]
struct LeastConnection;

impl Scheduler for LeastConnection {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let destinations = request.destinations.iter().enumerate();
        destinations
            .filter(|(_, destination)| is_usable(destination))
            .min_by_key(|(_, destination)| load::overhead(destination))
            .map(|(index, _)| index)
    }
}

//! `wlc`: the real server with the fewest connections in proportion to its weight.

use super::{Entry, Request, Scheduler, load};

pub(super) const ENTRY: Entry = Entry {
    name: "wlc",
    summary: "weighted least connections (the default)",
    flags: &[],
    make: || Box::new(WeightedLeastConnection),
};

#[derive(Debug)]
struct WeightedLeastConnection;

impl Scheduler for WeightedLeastConnection {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        load::least(request.destinations.iter(), load::overhead)
    }
}

//! `sed`: the real server that would answer first, by active connections and weight.

use super::{Entry, Request, Scheduler, load};

pub(super) const ENTRY: Entry = Entry {
    name: "sed",
    summary: "shortest expected delay",
    flags: &[],
    make: || Box::new(ShortestExpectedDelay),
};

#[derive(Debug)]
struct ShortestExpectedDelay;

impl Scheduler for ShortestExpectedDelay {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        load::least(request.destinations.iter(), load::expected)
    }
}

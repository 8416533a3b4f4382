//! `nq`: the first idle real server, else as `sed`.

use super::{Entry, Request, Scheduler, is_usable, load};

pub(super) const ENTRY: Entry = Entry {
    name: "nq",
    summary: "never queue: an idle real server, else the shortest expected delay",
    flags: &[],
    make: || Box::new(NeverQueue),
};

#[derive(Debug)]
struct NeverQueue;

impl Scheduler for NeverQueue {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let idle = request
            .destinations
            .iter()
            .position(|destination| is_usable(destination) && destination.active() == 0);
        idle.or_else(|| load::least(request.destinations.iter(), load::expected))
    }
}

//! `lblcr`: a virtual address keeps a set of real servers, which grows under load and shrinks with time.

use super::load::{self, Least};
use super::locality::{Cache, should_leave};
use super::replicas::Replicas;
use super::{Copies, Entry, Flow, Request, Scheduler};

pub(super) const ENTRY: Entry = Entry {
    name: "lblcr",
    summary: "locality-based least connections with replication: a destination address keeps a set",
    flags: &[],
    make: |_| {
        Box::new(Replication {
            cache: Cache::new(),
            idle: Least::default(),
            least: Least::default(),
        })
    },
};

#[derive(Debug)]
struct Replication {
    cache: Cache<Replicas>,
    idle: Least,
    least: Least,
}

impl Scheduler for Replication {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let address = request.flow.destination;
        let (board, now) = (request.board, request.now);
        self.cache.collect(now, request.cache_lifetime);
        let Some(set) = self.cache.get(address, now) else {
            let picked = self.least.by_weight(board, load::overhead)?;
            self.cache
                .insert(address, Replicas::new(picked, request), now);
            return Some(picked);
        };
        set.follow(request);
        let least = set.least(board);
        if set.len() > 1 && now.since(set.changed()) > request.cache_lifetime {
            set.remove_most_loaded(request);
        }
        if let Some(picked) = least
            && !should_leave(&request.destinations[picked], &mut self.idle, board)
        {
            return Some(picked);
        }
        let picked = self.least.by_weight(board, load::overhead)?;
        set.insert(picked, request);
        Some(picked)
    }

    fn heap_octets(&self) -> usize {
        let least = self.idle.heap_octets() + self.least.heap_octets();
        least + self.cache.heap_octets(Replicas::heap_octets)
    }

    fn fork(&self, flow: &Flow, copy: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        let copy = |set: &Replicas| set.fork(copy);
        Some(Box::new(Self {
            cache: self.cache.fork(flow.destination, copy),
            idle: Least::default(),
            least: Least::default(),
        }))
    }

    fn explain(&self, request: &Request<'_>) -> Vec<(&'static str, String)> {
        let set = self.cache.peek(request.flow.destination);
        let members = set.map_or_else(|| "none".to_owned(), Replicas::names);
        vec![
            (
                "rule",
                "the least loaded of the cached set unless it is overloaded, else the least of all joins the set".to_owned(),
            ),
            ("cached", members),
        ]
    }
}

//! `lblc`: a virtual address keeps its real server until that one is overloaded.

use std::sync::Arc;

use super::load::{self, Least};
use super::locality::{Cache, position, should_leave};
use super::{Copies, Entry, Flow, Request, Scheduler, named};
use crate::destination::Destination;

pub(super) const ENTRY: Entry = Entry {
    name: "lblc",
    summary: "locality-based least connections: a destination address keeps its real server",
    flags: &[],
    make: |_| {
        Box::new(Locality {
            cache: Cache::new(),
            idle: Least::default(),
            least: Least::default(),
        })
    },
};

#[derive(Debug)]
struct Locality {
    idle: Least,
    least: Least,
    cache: Cache<Arc<Destination>>,
}

impl Scheduler for Locality {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let address = request.flow.destination;
        let destinations = request.destinations;
        self.cache.collect(request.now, request.cache_lifetime);
        let cached = self.cache.get(address, request.now);
        if let Some(destination) = cached.as_deref()
            && destination.is_available()
            && destination.weight() > 0
            && !should_leave(destination, &mut self.idle, request.board)
            && let Some(picked) = position(destination, destinations)
        {
            return Some(picked);
        }
        let picked = self.least.by_weight(request.board, load::overhead)?;
        let destination = Arc::clone(&destinations[picked]);
        match cached {
            Some(cached) => *cached = destination,
            None => self.cache.insert(address, destination, request.now),
        }
        Some(picked)
    }

    fn heap_octets(&self) -> usize {
        let least = self.idle.heap_octets() + self.least.heap_octets();
        least + self.cache.heap_octets(|_| 0)
    }

    fn fork(&self, flow: &Flow, copy: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(Self {
            idle: Least::default(),
            least: Least::default(),
            cache: self.cache.fork(flow.destination, copy),
        }))
    }

    fn explain(&self, request: &Request<'_>) -> Vec<(&'static str, String)> {
        let address = request.flow.destination;
        let cached = self.cache.peek(address);
        let place = cached.and_then(|server| position(server, request.destinations));
        vec![
            (
                "rule",
                "the cached one unless it is overloaded, else the least (256 active + inactive) / weight".to_owned(),
            ),
            ("cached", named(place, request)),
        ]
    }
}

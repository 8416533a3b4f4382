//! `lblcr`: a virtual address keeps a set of real servers, which grows under load and shrinks with time.

use std::sync::Arc;

use super::locality::{Cache, position, should_leave};
use super::{Entry, Request, Scheduler, load};
use crate::destination::Destination;
use crate::time::Instant;

pub(super) const ENTRY: Entry = Entry {
    name: "lblcr",
    summary: "locality-based least connections with replication: a destination address keeps a set",
    flags: &[],
    make: || {
        Box::new(Replication {
            cache: Cache::new(),
        })
    },
};

#[derive(Debug)]
struct Replication {
    cache: Cache<Set>,
}

/// Real servers of one virtual address.
#[derive(Debug)]
struct Set {
    /// In the order they joined; the kernel's lists begin with the newest.
    members: Vec<Arc<Destination>>,
    changed: Instant,
}

impl Set {
    fn insert(&mut self, destination: &Arc<Destination>, now: Instant) {
        if position(destination, &self.members).is_none() {
            self.members.push(Arc::clone(destination));
            self.changed = now;
        }
    }

    /// The least loaded member that may be used.
    fn least(&self) -> Option<&Arc<Destination>> {
        let usable = || {
            let members = self.members.iter().rev();
            members.filter(|member| member.is_available())
        };
        let least = load::least(usable(), load::overhead)?;
        usable().nth(least)
    }

    /// Removes the most loaded member that is not quiesced.
    fn remove_most_loaded(&mut self, now: Instant) {
        let mut most: Option<usize> = None;
        for (index, member) in self.members.iter().enumerate().rev() {
            let heavier = |other: &Destination| {
                let weights = (i64::from(other.weight()), i64::from(member.weight()));
                load::overhead(other).saturating_mul(weights.1)
                    < load::overhead(member).saturating_mul(weights.0)
            };
            if member.weight() > 0 && most.is_none_or(|most| heavier(&self.members[most])) {
                most = Some(index);
            }
        }
        if let Some(most) = most {
            self.members.remove(most);
            self.changed = now;
        }
    }
}

impl Scheduler for Replication {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let address = request.flow.destination;
        let (destinations, now) = (request.destinations, request.now);
        self.cache.collect(now, request.cache_lifetime);
        let Some(set) = self.cache.get(address, now) else {
            let picked = load::least(destinations.iter(), load::overhead)?;
            let set = Set {
                members: vec![Arc::clone(&destinations[picked])],
                changed: now,
            };
            self.cache.insert(address, set, now);
            return Some(picked);
        };
        let least = set.least().cloned();
        if set.members.len() > 1 && now.since(set.changed) > request.cache_lifetime {
            set.remove_most_loaded(now);
        }
        if let Some(least) = least
            && !should_leave(&least, destinations)
            && let Some(picked) = position(&least, destinations)
        {
            return Some(picked);
        }
        let picked = load::least(destinations.iter(), load::overhead)?;
        set.insert(&destinations[picked], now);
        Some(picked)
    }
}

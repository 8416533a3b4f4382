//! `lblcr`: a virtual address keeps a set of real servers, which grows under load and shrinks with time.

use std::sync::Arc;

use super::board::{Board, Seat};
use super::load::{self, Least};
use super::locality::{Cache, position, should_leave};
use super::{Entry, Request, Scheduler};
use crate::destination::Destination;
use crate::time::Instant;

pub(super) const ENTRY: Entry = Entry {
    name: "lblcr",
    summary: "locality-based least connections with replication: a destination address keeps a set",
    flags: &[],
    make: || {
        Box::new(Replication {
            cache: Cache::new(),
            idle: Least::default(),
            least: Least::default(),
        })
    },
};

#[derive(Debug)]
struct Replication {
    cache: Cache<Set>,
    idle: Least,
    least: Least,
}

/// Real servers of one virtual address.
#[derive(Debug)]
struct Set {
    /// In the order they joined; the kernel's lists begin with the newest.
    members: Vec<Arc<Destination>>,
    /// Where each of them stands in the service's list, and the [`Board::list`] that this is about.
    places: Vec<u32>,
    list: u64,
    changed: Instant,
}

/// No place: the member was deleted.
const NOWHERE: u32 = u32::MAX;

fn number(place: Option<usize>) -> u32 {
    place
        .and_then(|place| u32::try_from(place).ok())
        .unwrap_or(NOWHERE)
}

impl Set {
    /// Of the real server at this place alone.
    fn new(place: usize, request: &Request<'_>) -> Self {
        Self {
            members: vec![Arc::clone(&request.destinations[place])],
            places: vec![number(Some(place))],
            list: request.board.list(),
            changed: request.now,
        }
    }

    /// Looks for the members in the list as it is now.
    fn follow(&mut self, request: &Request<'_>) {
        if self.list != request.board.list() {
            self.list = request.board.list();
            let places = self.members.iter();
            let places = places.map(|member| number(position(member, request.destinations)));
            self.places.clear();
            self.places.extend(places);
        }
    }

    /// The real server at this place joins, unless it is a member.
    fn insert(&mut self, place: usize, request: &Request<'_>) {
        let number = number(Some(place));
        if !self.places.contains(&number) {
            self.members.push(Arc::clone(&request.destinations[place]));
            self.places.push(number);
            self.changed = request.now;
        }
    }

    /// Place of the least loaded member that may be used.
    fn least(&self, board: &Board) -> Option<usize> {
        load::least_of(board, self.places.iter().rev().copied())
    }

    /// Removes the most loaded member that is not quiesced.
    fn remove_most_loaded(&mut self, now: Instant) {
        let mut most: Option<usize> = None;
        for (index, member) in self.members.iter().enumerate().rev() {
            let member = Seat::of(member);
            let heavier = |other: &Seat| {
                load::overhead(other).saturating_mul(member.weight.into())
                    < load::overhead(&member).saturating_mul(other.weight.into())
            };
            if member.weight > 0 && most.is_none_or(|most| heavier(&Seat::of(&self.members[most])))
            {
                most = Some(index);
            }
        }
        if let Some(most) = most {
            self.members.remove(most);
            self.places.remove(most);
            self.changed = now;
        }
    }
}

impl Scheduler for Replication {
    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let address = request.flow.destination;
        let (board, now) = (request.board, request.now);
        self.cache.collect(now, request.cache_lifetime);
        let Some(set) = self.cache.get(address, now) else {
            let picked = self.least.by_weight(board, load::overhead)?;
            self.cache.insert(address, Set::new(picked, request), now);
            return Some(picked);
        };
        set.follow(request);
        let least = set.least(board);
        if set.members.len() > 1 && now.since(set.changed) > request.cache_lifetime {
            set.remove_most_loaded(now);
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
}

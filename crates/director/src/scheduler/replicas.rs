//! The real servers of one virtual address, as `lblcr` keeps them.
//!
//! Promises: finding the least loaded of thousands looks only at those that share a block of the [`Board`] with one that
//! has changed. Takes memory for its members, however many others the service has.

use core::net::SocketAddr;
use std::sync::Arc;

use super::board::{Board, Seat, vec_octets};
use super::load::{self, Candidate};
use super::locality::position;
use super::{Copies, Request};
use crate::destination::Destination;
use crate::time::Instant;

/// A set of real servers, none of them twice.
#[derive(Debug)]
pub(super) struct Replicas {
    /// In the order they joined; the kernel's lists begin with the newest.
    members: Vec<Arc<Destination>>,
    /// The place in the service's list of each member that is in it, and the member's index; in the order of the places.
    listed: Vec<(usize, usize)>,
    /// The blocks that these places are in, in their order.
    parts: Vec<Part>,
    /// The [`Board::list`] that this is about.
    list: u64,
    /// When a member joined or left last.
    changed: Instant,
}

/// The members in one block of the board.
#[derive(Debug)]
struct Part {
    block: usize,
    members: usize,
    /// Stamp of the block when the least loaded was found; 0 = it was not.
    stamp: u64,
    least: Option<Replica>,
}

/// A member that may be used, and its index.
#[derive(Clone, Copy, Debug)]
struct Replica {
    load: Candidate,
    index: usize,
}

impl Replica {
    /// The less loaded of two; of equals the one that joined later.
    fn or(self, other: Self) -> Self {
        let is_equal = !self.load.is_beaten_by(&other.load) && !other.load.is_beaten_by(&self.load);
        if self.load.is_beaten_by(&other.load) || is_equal && other.index > self.index {
            other
        } else {
            self
        }
    }
}

impl Replicas {
    /// What it holds on the heap.
    pub(super) fn heap_octets(&self) -> usize {
        vec_octets(&self.members) + vec_octets(&self.listed) + vec_octets(&self.parts)
    }

    /// Of the real server at this place alone.
    pub(super) fn new(place: usize, request: &Request<'_>) -> Self {
        let mut replicas = Self {
            members: vec![Arc::clone(&request.destinations[place])],
            listed: Vec::new(),
            parts: Vec::new(),
            list: 0,
            changed: request.now,
        };
        replicas.follow(request);
        replicas
    }

    /// The same set of copies of its members.
    pub(super) fn fork(&self, copy: &mut Copies<'_>) -> Self {
        Self {
            members: self.members.iter().map(copy).collect(),
            listed: Vec::new(),
            parts: Vec::new(),
            // No list has this number: it is looked for anew.
            list: 0,
            changed: self.changed,
        }
    }

    /// Addresses and ports of the members, in the order they joined.
    pub(super) fn names(&self) -> String {
        let names = self.members.iter();
        let names = names.map(|it| SocketAddr::new(it.address, it.port).to_string());
        names.collect::<Vec<_>>().join(", ")
    }

    /// How many members there are, deleted ones included.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// When a member joined or left last.
    pub(super) const fn changed(&self) -> Instant {
        self.changed
    }

    /// Looks for the members in the list, if it is another one.
    pub(super) fn follow(&mut self, request: &Request<'_>) {
        if self.list != request.board.list() {
            self.list = request.board.list();
            self.arrange(request);
        }
    }

    fn arrange(&mut self, request: &Request<'_>) {
        let members = self.members.iter().enumerate();
        let places = members.filter_map(|(index, member)| {
            let place = position(member, request.destinations)?;
            Some((place, index))
        });
        self.listed.clear();
        self.listed.extend(places);
        self.listed.sort_unstable();
        self.parts.clear();
        for &(place, _) in &self.listed {
            let block = Board::block(place);
            match self.parts.last_mut() {
                Some(part) if part.block == block => part.members += 1,
                _ => self.parts.push(Part::new(block)),
            }
        }
    }

    /// The real server at this place joins, unless it is a member.
    pub(super) fn insert(&mut self, place: usize, request: &Request<'_>) {
        let Err(at) = self
            .listed
            .binary_search_by_key(&place, |&(place, _)| place)
        else {
            return;
        };
        self.listed.insert(at, (place, self.members.len()));
        self.members.push(Arc::clone(&request.destinations[place]));
        self.changed = request.now;
        let block = Board::block(place);
        match self.parts.binary_search_by_key(&block, |part| part.block) {
            Ok(part) => {
                let part = &mut self.parts[part];
                part.members += 1;
                part.stamp = 0;
            }
            Err(part) => self.parts.insert(part, Part::new(block)),
        }
    }

    /// Place of the least loaded member that may be used.
    pub(super) fn least(&mut self, board: &Board) -> Option<usize> {
        let mut listed = &self.listed[..];
        let mut least: Option<Replica> = None;
        for part in &mut self.parts {
            let (members, rest) = listed.split_at(part.members);
            listed = rest;
            let stamp = board.stamp(part.block);
            if part.stamp != stamp {
                part.stamp = stamp;
                let usable = members.iter().filter_map(|&(place, index)| {
                    let load = Candidate::by_overhead(place, board.seat(place)?)?;
                    Some(Replica { load, index })
                });
                part.least = usable.reduce(Replica::or);
            }
            least = match (least, part.least) {
                (Some(least), Some(other)) => Some(least.or(other)),
                (least, other) => least.or(other),
            };
        }
        least.map(|least| least.load.place())
    }

    /// Removes the most loaded member that is not quiesced.
    pub(super) fn remove_most_loaded(&mut self, request: &Request<'_>) {
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
            self.changed = request.now;
            self.arrange(request);
        }
    }
}

impl Part {
    const fn new(block: usize) -> Self {
        Self {
            block,
            members: 1,
            stamp: 0,
            least: None,
        }
    }
}

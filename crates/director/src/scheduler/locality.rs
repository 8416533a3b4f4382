//! What `lblc` and `lblcr` have in common: a cache by virtual address, and when a cached choice is left.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use super::board::{Board, Seat};
use super::hash;
use super::load::Least;
use crate::destination::Destination;
use crate::time::Instant;

/// Bits of a bucket number.
const BITS: u32 = 10;
/// Buckets.
const SIZE: usize = 1 << BITS;
/// Entries above which unused ones are collected early.
const CROWDED: usize = SIZE * 16;
/// Entries above which no further one is kept.
const LIMIT: usize = CROWDED * 16;
/// Entries of one bucket: a choice is kept only where it is found again without a long search. Far more than chance
/// puts there, so only addresses chosen to meet in one bucket are not kept.
const BUCKET_MAX: usize = 1024;
/// How often entries are collected.
const INTERVAL: Duration = Duration::from_secs(60);
/// Every so many collections, all entries unused for the cache's lifetime go.
const FULL_ROUND: u32 = 30;
/// A crowded cache gives up entries unused for this long.
const CROWDED_LIFETIME: Duration = Duration::from_secs(360);

#[derive(Debug)]
struct Item<T> {
    address: IpAddr,
    used: Instant,
    value: T,
}

/// Choices by virtual address.
#[derive(Debug)]
pub(super) struct Cache<T> {
    buckets: Vec<Vec<Item<T>>>,
    entries: usize,
    /// Where the last collection ended.
    rover: usize,
    rounds: u32,
    next_collection: Option<Instant>,
}

impl<T> Cache<T> {
    pub(super) fn new() -> Self {
        Self {
            buckets: Vec::new(),
            entries: 0,
            rover: 0,
            rounds: 1,
            next_collection: None,
        }
    }

    /// The choice for `address`, marked as used now.
    pub(super) fn get(&mut self, address: IpAddr, now: Instant) -> Option<&mut T> {
        let bucket = self.buckets.get_mut(bucket(address))?;
        let item = bucket.iter_mut().find(|item| item.address == address)?;
        item.used = now;
        Some(&mut item.value)
    }

    /// Keeps a choice for an `address` that has none, as long as there is room.
    pub(super) fn insert(&mut self, address: IpAddr, value: T, now: Instant) {
        if self.entries >= LIMIT {
            return;
        }
        if self.buckets.is_empty() {
            self.buckets.resize_with(SIZE, Vec::new);
        }
        let bucket = &mut self.buckets[bucket(address)];
        if bucket.len() >= BUCKET_MAX {
            return;
        }
        self.entries += 1;
        bucket.push(Item {
            address,
            used: now,
            value,
        });
    }

    /// Does what the kernel's timer did until now; `lifetime` is how long an unused entry may stay. Called before each
    /// use, so that no entry was used between the rounds that are made up for.
    pub(super) fn collect(&mut self, now: Instant, lifetime: Duration) {
        let mut due = *self
            .next_collection
            .get_or_insert_with(|| now.after(INTERVAL));
        let missed = now.since(due).as_secs() / INTERVAL.as_secs();
        // A full round does all that the full rounds before it would have done.
        let full = u64::from(FULL_ROUND);
        let needless = missed.saturating_sub(full) / full * full;
        due = due.after(Duration::from_secs(needless * INTERVAL.as_secs()));
        while due <= now {
            self.round(due, lifetime);
            due = due.after(INTERVAL);
        }
        self.next_collection = Some(due);
    }

    /// One round at `now`.
    fn round(&mut self, now: Instant, lifetime: Duration) {
        if self.rounds >= FULL_ROUND {
            self.rounds = 1;
            self.remove_unused(now, lifetime, usize::MAX);
        } else if self.entries <= CROWDED {
            self.rounds += 1;
        } else {
            let goal = ((self.entries - CROWDED) * 4 / 3).min(CROWDED / 2);
            self.remove_unused(now, CROWDED_LIFETIME, goal);
        }
    }

    /// Removes entries unused for `lifetime`, bucket by bucket, until about `goal` are gone.
    fn remove_unused(&mut self, now: Instant, lifetime: Duration, goal: usize) {
        let mut removed = 0;
        for _ in 0..self.buckets.len() {
            self.rover = (self.rover + 1) % SIZE;
            let bucket = &mut self.buckets[self.rover];
            let before = bucket.len();
            bucket.retain(|item| now.since(item.used) < lifetime);
            removed += before - bucket.len();
            if removed >= goal {
                break;
            }
        }
        self.entries -= removed;
    }
}

fn bucket(address: IpAddr) -> usize {
    hash::bucket(hash::fold(address), BITS)
}

/// Whether a cached real server should be left: it has more active connections than its weight while
/// another has less than half of its own. `idle` is kept for this question.
pub(super) fn should_leave(destination: &Destination, idle: &mut Least, board: &Board) -> bool {
    let has_room = |other: &Seat| i64::from(other.active) * 2 < i64::from(other.weight);
    destination.active() > destination.weight() && idle.first(board, has_room).is_some()
}

/// Where a real server stands in the list now.
pub(super) fn position(
    destination: &Arc<Destination>,
    destinations: &[Arc<Destination>],
) -> Option<usize> {
    let place = destination.place();
    let there = destinations.get(place)?;
    Arc::ptr_eq(there, destination).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever chooses the addresses can make them meet; finding one of them must stay cheap.
    #[test]
    fn addresses_that_meet_are_not_all_kept() {
        let mut cache = Cache::new();
        for n in 0..2 * u16::try_from(BUCKET_MAX).unwrap() {
            let meeting = core::net::Ipv6Addr::new(0xfd00, n, 0, n, 0, 0, 0, 0);
            cache.insert(meeting.into(), (), Instant::START);
        }
        assert_eq!(cache.entries, BUCKET_MAX);
        let kept: usize = cache.buckets.iter().map(Vec::len).sum();
        assert_eq!(kept, BUCKET_MAX);
        cache.insert(IpAddr::from([10, 8, 0, 1]), (), Instant::START);
        assert_eq!(cache.entries, BUCKET_MAX + 1);
    }
}

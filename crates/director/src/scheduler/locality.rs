//! What `lblc` and `lblcr` have in common: a cache by virtual address, and when a cached choice is left.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use super::board::{Board, Seat, vec_octets};
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
const LIMIT: usize = CROWDED * 4;
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

#[derive(Debug)]
struct Bucket<T> {
    items: Vec<Item<T>>,
    /// Full rounds that it has been through.
    rounds: u64,
}

impl<T> Bucket<T> {
    /// Removes the entries that are unused for `lifetime` at `now`; how many there were. Where none is left, all of them
    /// go to `removed` as they are.
    fn remove_unused(
        &mut self,
        now: Instant,
        lifetime: Duration,
        removed: &mut Vec<Vec<Item<T>>>,
    ) -> usize {
        let before = self.items.len();
        let is_used = |item: &Item<T>| now.since(item.used) < lifetime;
        if self.items.iter().any(is_used) {
            self.items.retain(is_used);
        } else if before > 0 {
            removed.push(core::mem::take(&mut self.items));
        }
        before - self.items.len()
    }
}

/// A round that ends all entries unused for a time. It happens at once for whoever asks for an entry, but a bucket is
/// only gone through when it is its turn, or used before: all of them together would take too long.
#[derive(Clone, Copy, Debug)]
struct FullRound {
    /// Number of the round, from 1; 0 = there was none.
    number: u64,
    at: Instant,
    lifetime: Duration,
    /// The first bucket that was not yet its turn.
    next: usize,
}

/// Buckets that a full round goes through with each pick.
const TURNS: usize = 4;
/// Removed entries whose memory is given back with each pick.
const FREED: usize = 64;

/// Choices by virtual address.
#[derive(Debug)]
pub(super) struct Cache<T> {
    buckets: Vec<Bucket<T>>,
    full_round: FullRound,
    /// What is left of buckets that were removed whole.
    removed: Vec<Vec<Item<T>>>,
    entries: usize,
    /// Where the last collection ended.
    rover: usize,
    rounds: u32,
    next_collection: Option<Instant>,
}

impl<T> Cache<T> {
    /// What it holds on the heap; `of` says what a choice holds there.
    pub(super) fn heap_octets(&self, of: impl Fn(&T) -> usize) -> usize {
        let held = |items: &Vec<Item<T>>| {
            vec_octets(items) + items.iter().map(|item| of(&item.value)).sum::<usize>()
        };
        let buckets = self.buckets.iter().map(|bucket| held(&bucket.items));
        let removed = self.removed.iter().map(held);
        let inside: usize = buckets.chain(removed).sum();
        vec_octets(&self.buckets) + vec_octets(&self.removed) + inside
    }

    pub(super) fn new() -> Self {
        Self {
            buckets: Vec::new(),
            full_round: FullRound {
                number: 0,
                at: Instant::START,
                lifetime: Duration::ZERO,
                next: SIZE,
            },
            removed: Vec::new(),
            entries: 0,
            rover: 0,
            rounds: 1,
            next_collection: None,
        }
    }

    /// The choice for `address`, marked as used now.
    pub(super) fn get(&mut self, address: IpAddr, now: Instant) -> Option<&mut T> {
        self.settle(bucket(address));
        let bucket = self.buckets.get_mut(bucket(address))?;
        let item = bucket
            .items
            .iter_mut()
            .find(|item| item.address == address)?;
        item.used = now;
        Some(&mut item.value)
    }

    /// The choice for `address` as it was kept last; it may have ended meanwhile.
    pub(super) fn peek(&self, address: IpAddr) -> Option<&T> {
        let items = &self.buckets.get(bucket(address))?.items;
        let item = items.iter().find(|item| item.address == address)?;
        Some(&item.value)
    }

    /// A cache with the choice for `address` alone, as `copy` copies it, and everything that decides how long it stays.
    pub(super) fn fork(&self, address: IpAddr, mut copy: impl FnMut(&T) -> T) -> Self {
        let mut items = |items: &[Item<T>]| -> Vec<Item<T>> {
            let its = items.iter().filter(|item| item.address == address);
            let copied = its.map(|item| Item {
                address,
                used: item.used,
                value: copy(&item.value),
            });
            copied.collect()
        };
        let buckets = self.buckets.iter().map(|bucket| Bucket {
            items: items(&bucket.items),
            rounds: bucket.rounds,
        });
        Self {
            buckets: buckets.collect(),
            full_round: self.full_round,
            removed: Vec::new(),
            ..*self
        }
    }

    /// Keeps a choice for an `address` that has none, as long as there is room.
    pub(super) fn insert(&mut self, address: IpAddr, value: T, now: Instant) {
        if self.entries >= LIMIT {
            return;
        }
        if self.buckets.is_empty() {
            let rounds = self.full_round.number;
            self.buckets.resize_with(SIZE, || Bucket {
                items: Vec::new(),
                rounds,
            });
        }
        self.settle(bucket(address));
        let bucket = &mut self.buckets[bucket(address)];
        if bucket.items.len() >= BUCKET_MAX {
            return;
        }
        self.entries += 1;
        bucket.items.push(Item {
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
        self.take_turns(TURNS);
        self.free_some();
    }

    /// One round at `now`.
    fn round(&mut self, now: Instant, lifetime: Duration) {
        // Long done, unless there was hardly a pick since the last round.
        self.take_turns(SIZE);
        if self.rounds >= FULL_ROUND {
            self.rounds = 1;
            self.full_round = FullRound {
                number: self.full_round.number + 1,
                at: now,
                lifetime,
                next: 0,
            };
        } else if self.entries <= CROWDED {
            self.rounds += 1;
        } else {
            let goal = ((self.entries - CROWDED) * 4 / 3).min(CROWDED / 2);
            self.remove_some(now, CROWDED_LIFETIME, goal);
        }
    }

    /// Goes through so many further buckets of the full round.
    fn take_turns(&mut self, turns: usize) {
        let FullRound { next, .. } = self.full_round;
        let end = SIZE.min(next + turns);
        for bucket in next..end {
            self.settle(bucket);
        }
        self.full_round.next = end;
    }

    /// Gives back the memory of a few removed entries.
    fn free_some(&mut self) {
        if let Some(bucket) = self.removed.last_mut() {
            bucket.truncate(bucket.len().saturating_sub(FREED));
            if bucket.is_empty() {
                self.removed.pop();
            }
        }
    }

    /// Lets a bucket go through the last full round, unless it has.
    fn settle(&mut self, bucket: usize) {
        let round = self.full_round;
        if let Some(bucket) = self.buckets.get_mut(bucket)
            && bucket.rounds != round.number
        {
            bucket.rounds = round.number;
            self.entries -= bucket.remove_unused(round.at, round.lifetime, &mut self.removed);
        }
    }

    /// Removes entries unused for `lifetime`, bucket by bucket, until about `goal` are gone.
    fn remove_some(&mut self, now: Instant, lifetime: Duration, goal: usize) {
        let mut removed = 0;
        for _ in 0..self.buckets.len() {
            self.rover = (self.rover + 1) % SIZE;
            let bucket = &mut self.buckets[self.rover];
            removed += bucket.remove_unused(now, lifetime, &mut self.removed);
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
        let kept: usize = cache.buckets.iter().map(|it| it.items.len()).sum();
        assert_eq!(kept, BUCKET_MAX);
        cache.insert(IpAddr::from([10, 8, 0, 1]), (), Instant::START);
        assert_eq!(cache.entries, BUCKET_MAX + 1);
    }

    /// A round ends what is unused at its time, whoever asks first; the memory is given back a few buckets at a time.
    #[test]
    fn a_full_round_is_made_in_turns() {
        let mut cache = Cache::new();
        let lifetime = Duration::from_secs(60);
        let at = |seconds| Instant::START.after(Duration::from_secs(seconds));
        let address = |n: u32| IpAddr::from((0x0a08_0000 + n).to_be_bytes());
        cache.collect(at(0), lifetime);
        for n in 0..10_000 {
            cache.insert(address(n), (), at(0));
        }
        let full = INTERVAL.as_secs() * u64::from(FULL_ROUND);
        cache.collect(at(full - 1), lifetime);
        assert_eq!(cache.entries, 10_000);
        assert!(cache.get(address(7), at(full - 1)).is_some());
        let mut calls = 0;
        while cache.entries > 1 {
            let before = cache.entries;
            cache.collect(at(full), lifetime);
            let ended = before - cache.entries;
            assert!(ended <= TURNS * 40, "{ended} entries at once");
            assert!(cache.get(address(7), at(full)).is_some());
            assert!(cache.get(address(9_999 - calls), at(full)).is_none());
            calls += 1;
        }
        assert!(calls > 50, "{calls} calls");
        for _ in 0..2 * SIZE {
            cache.collect(at(full), lifetime);
        }
        assert!(cache.removed.is_empty());
    }
}

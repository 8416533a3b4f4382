//! Whose flow a fragment belongs to: the kernel sends all fragments of a datagram to one worker, by their addresses; the
//! ports that say whose flow it is stand in the first one alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use director::time::Instant;
use packet::Headers;

use super::team::Handed;

/// Datagrams whose owner is remembered, at most; then those of earlier than [`MEMORY`] go, or else all.
const DATAGRAMS_MAX: usize = 1024;
/// How long an owner is remembered: the time that reassembly takes at most (`net.ipv4.ipfrag_time`).
const MEMORY: Duration = Duration::from_secs(30);
/// Fragments that wait for their first one, at most, over all datagrams; further ones are dropped.
const WAITING_MAX: usize = 256;

/// A datagram: source, destination, protocol, identification.
type Key = (IpAddr, IpAddr, u8, u32);

/// What becomes of a fragment.
#[derive(Debug)]
pub(super) enum Fate {
    /// It goes to this worker, and so do those that came before it.
    To(usize, Vec<Handed>),
    /// It waits for the first one.
    Wait,
    /// Too many wait.
    Drop,
}

/// The datagrams of which fragments came.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    owners: HashMap<Key, (usize, Instant)>,
    waiting: HashMap<Key, (Vec<Handed>, Instant)>,
    /// Fragments whose first one did not come in time.
    unclaimed: u64,
}

impl Fragments {
    /// Decides on a fragment with these headers. `owner` works out the owner from the ports of a first fragment, and
    /// `copy` makes the frame that waits.
    pub(super) fn decide(
        &mut self,
        headers: &Headers,
        now: Instant,
        owner: impl FnOnce() -> usize,
        copy: impl FnOnce() -> Handed,
    ) -> Fate {
        let Some(fragment) = headers.fragment else {
            return Fate::To(owner(), Vec::new());
        };
        let key = (
            headers.source,
            headers.destination,
            headers.protocol,
            fragment.id,
        );
        if fragment.offset == 0 {
            self.make_room(now);
            let owner = owner();
            self.owners.insert(key, (owner, now));
            let earlier = self
                .waiting
                .remove(&key)
                .map_or_else(Vec::new, |(frames, _)| frames);
            return Fate::To(owner, earlier);
        }
        if let Some(&(owner, _)) = self.owners.get(&key) {
            return Fate::To(owner, Vec::new());
        }
        let unclaimed = &mut self.unclaimed;
        self.waiting.retain(|_, (frames, since)| {
            let stays = now.since(*since) < MEMORY;
            if !stays {
                *unclaimed += u64::try_from(frames.len()).unwrap_or(u64::MAX);
            }
            stays
        });
        if self.waiting() >= WAITING_MAX {
            return Fate::Drop;
        }
        let (frames, _) = self.waiting.entry(key).or_insert_with(|| (Vec::new(), now));
        frames.push(copy());
        Fate::Wait
    }

    /// Fragments that wait for their first one.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(|(frames, _)| frames.len()).sum()
    }

    /// Fragments so far whose first one did not come in time.
    pub(super) const fn unclaimed(&self) -> u64 {
        self.unclaimed
    }

    fn make_room(&mut self, now: Instant) {
        if self.owners.len() < DATAGRAMS_MAX {
            return;
        }
        self.owners
            .retain(|_, (_, since)| now.since(*since) < MEMORY);
        if self.owners.len() >= DATAGRAMS_MAX {
            self.owners.clear();
        }
    }
}

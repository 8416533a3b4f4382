//! The master's outbox: entries gathered into datagrams, each sent when it is full or two seconds old.

use core::time::Duration;
use std::collections::VecDeque;

use director::sync::Entry;
use director::time::Instant;

use super::{SHORT_HEADER, SIZE_MAX, Version, version0, version1};

/// An entry waits no longer than this (kernel: IPVS_SYNC_FLUSH_TIME).
const FLUSH_AFTER: Duration = Duration::from_secs(2);

/// Datagrams on their way from a master.
#[derive(Debug)]
pub struct Outbox {
    sync_id: u8,
    max_length: usize,
    current: Option<Draft>,
    full: VecDeque<Vec<u8>>,
}

/// A datagram that still takes entries.
#[derive(Debug)]
struct Draft {
    version: Version,
    since: Instant,
    count: u8,
    octets: Vec<u8>,
}

impl Outbox {
    /// The outbox of a master of this group; datagrams have at most `max_length` octets of UDP payload, but a single
    /// entry always goes.
    #[must_use]
    pub fn new(sync_id: u8, max_length: u16) -> Self {
        Self {
            sync_id,
            max_length: max_length.into(),
            current: None,
            full: VecDeque::new(),
        }
    }

    /// Adds an entry. Where more than `queue_max` full datagrams wait (`sync_qlen_max`), the full one is dropped, as in
    /// the kernel; so is an entry that the version has no form for.
    pub fn push(&mut self, entry: &Entry, version: Version, queue_max: usize, now: Instant) {
        let octets = match version {
            Version::V0 => version0::write(entry),
            Version::V1 => version1::write(entry),
        };
        let Some(octets) = octets else {
            return;
        };
        let fits = self.current.as_ref().is_some_and(|draft| {
            draft.version == version && draft.has_room(octets.len(), self.max_length)
        });
        if !fits {
            self.close(queue_max);
        }
        let (sync_id, draft) = (self.sync_id, &mut self.current);
        let draft = draft.get_or_insert_with(|| Draft::new(version, sync_id, now));
        draft.add(&octets);
    }

    /// The next datagram to send now.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.full.is_empty() && self.next_deadline().is_some_and(|due| due <= now) {
            self.close(usize::MAX);
        }
        self.full.pop_front()
    }

    /// When [`Outbox::poll`] has something to send, if no entry comes before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.full.is_empty() {
            return Some(Instant::START);
        }
        let draft = self.current.as_ref()?;
        Some(draft.since.after(FLUSH_AFTER))
    }

    fn close(&mut self, queue_max: usize) {
        if let Some(draft) = self.current.take()
            && self.full.len() < queue_max
        {
            self.full.push_back(draft.finish());
        }
    }
}

impl Draft {
    fn new(version: Version, sync_id: u8, now: Instant) -> Self {
        let mut octets = vec![0, sync_id, 0, 0];
        if version == Version::V1 {
            octets.extend([0, version1::VERSION, 0, 0]);
        }
        Self {
            version,
            since: now,
            count: 0,
            octets,
        }
    }

    /// Octets with the next entry's alignment.
    fn aligned(&self) -> usize {
        match self.version {
            Version::V0 => self.octets.len(),
            Version::V1 => self.octets.len().next_multiple_of(4),
        }
    }

    fn has_room(&self, entry: usize, max_length: usize) -> bool {
        self.count < u8::MAX && self.aligned() + entry <= max_length.min(SIZE_MAX)
    }

    fn add(&mut self, entry: &[u8]) {
        self.octets.resize(self.aligned(), 0);
        self.octets.extend(entry);
        self.count += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        let size = u16::try_from(self.octets.len()).unwrap_or(u16::MAX);
        let count_at = match self.version {
            Version::V0 => 0,
            Version::V1 => SHORT_HEADER,
        };
        if let Some(field) = self.octets.get_mut(2..SHORT_HEADER) {
            field.copy_from_slice(&size.to_be_bytes());
        }
        if let Some(field) = self.octets.get_mut(count_at) {
            *field = self.count;
        }
        self.octets
    }
}

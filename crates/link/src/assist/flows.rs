//! The flows that are taken: what programs and workers share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::flow::Flow;
use super::layout::{
    ARRIVED, DELIVERED, EGRESS, GENERATION, KEY, LAST, OCTETS, PACKETS, TAKEN_OVER, WORDS,
};
use crate::sys::bpf::{HashMap, SharedArray};
use crate::sys::clock;

/// Flows at once, at most.
pub const FLOWS_MAX: u32 = 65_536;
/// How long an entry that was given back rests before another flow gets it: a frame whose flow was found is sent on
/// well within.
const REST: Duration = Duration::from_millis(20);

/// Names a flow that was installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowId {
    entry: u32,
    key: [u8; KEY],
}

impl FlowId {
    /// A number that no other installed flow has.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.entry
    }
}

/// What the kernel did with a flow since it was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Packets, a super-frame counting as one.
    pub packets: u64,
    /// Octets of their IP datagrams.
    pub octets: u64,
    /// When the last of them came, by `CLOCK_MONOTONIC` to a few milliseconds; zero before the first.
    pub last: Duration,
}

/// The flows of all workers. Needs no capability.
#[derive(Debug)]
pub struct Flows {
    keys: HashMap<KEY, 4>,
    entries: SharedArray<WORDS>,
    free: Mutex<Free>,
    installed: AtomicU32,
    /// Interfaces whose frames the programs see.
    attached: Mutex<BTreeSet<u32>>,
}

/// Entries that no flow has.
#[derive(Debug)]
struct Free {
    /// The first that never was taken.
    fresh: u32,
    /// Those that were given back, and when.
    resting: VecDeque<(u32, Duration)>,
}

impl Flows {
    /// No flows yet (`CAP_BPF`).
    pub(super) fn new() -> std::io::Result<Self> {
        let flows = Self {
            keys: HashMap::new(FLOWS_MAX)?,
            // Entry 0 is no flow.
            entries: SharedArray::new(FLOWS_MAX + 1)?,
            free: Mutex::new(Free {
                fresh: 1,
                resting: VecDeque::new(),
            }),
            installed: AtomicU32::new(0),
            attached: Mutex::default(),
        };
        // 0 is what unused entries have.
        flows.invalidate();
        Ok(flows)
    }

    pub(super) fn numbers(&self) -> (i32, i32) {
        (self.keys.number(), self.entries.number())
    }

    pub(super) fn attached(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn word(&self, entry: u32, at: i16) -> Option<&AtomicU64> {
        let word = usize::try_from(at).ok()? / 8;
        self.entries.entry(entry)?.get(word)
    }

    /// The state of things that flows are installed for. Read it before what the flow is made of.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.word(0, GENERATION)
            .map_or(0, |generation| generation.load(Acquire))
    }

    /// Things have changed: all flows are void from now on, until they are installed again.
    pub fn invalidate(&self) {
        if let Some(generation) = self.word(0, GENERATION) {
            generation.fetch_add(1, Release);
        }
    }

    /// Flows that are installed, void ones included.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.installed.load(Relaxed)
    }

    /// Prepares the kernel to send on the packets of a flow, for as long as `generation` is the present one; they come
    /// to the director until [`Flows::take_over`]. None when there is no room, the flow is not of a kind that the
    /// programs can handle, or one of its interfaces is not attached.
    pub fn install(&self, flow: &Flow, generation: u64) -> Option<FlowId> {
        let (key, decision) = (flow.key()?, flow.decision()?);
        let attached = self.attached();
        if !attached.contains(&flow.ingress) || !attached.contains(&flow.egress) {
            return None;
        }
        drop(attached);
        let entry = self.reserve()?;
        let words = self.entries.entry(entry)?;
        let first = usize::try_from(EGRESS).ok()? / 8;
        for (word, octets) in words.iter().skip(first).zip(decision.chunks_exact(8)) {
            let octets = octets.first_chunk().copied().unwrap_or_default();
            word.store(u64::from_ne_bytes(octets), Relaxed);
        }
        for at in [PACKETS, OCTETS, LAST, ARRIVED, DELIVERED] {
            self.word(entry, at)?.store(0, Relaxed);
        }
        self.word(entry, GENERATION)?.store(generation, Release);
        if self.keys.insert(key, entry.to_ne_bytes()).is_err() {
            self.give_back(entry);
            return None;
        }
        self.installed.fetch_add(1, Relaxed);
        Some(FlowId { entry, key })
    }

    /// Plain packets of a flow that came to the director since it was installed, all of which stand in their ring or
    /// have been received. None while one is on its way there, and before the first: packets that were on their way
    /// when the flow was installed are in front of that.
    #[must_use]
    pub fn arrived(&self, id: &FlowId) -> Option<u64> {
        // In this order: whatever arrives between the two makes a difference.
        let delivered = self.word(id.entry, DELIVERED)?.load(Acquire);
        let arrived = self.word(id.entry, ARRIVED)?.load(Acquire);
        (arrived > 0 && arrived == delivered).then_some(arrived)
    }

    /// Has the kernel send on a flow's packets from now on, unless more than `arrived` came to the director: the caller
    /// has received and sent on all frames that stood in its rings after it asked for that number. So no packet overtakes
    /// another.
    #[must_use]
    pub fn take_over(&self, id: &FlowId, arrived: u64) -> bool {
        let taken_over = arrived | u64::from(TAKEN_OVER);
        self.word(id.entry, ARRIVED).is_some_and(|word| {
            word.compare_exchange(arrived, taken_over, AcqRel, Relaxed)
                .is_ok()
        })
    }

    /// What was done with a flow so far.
    #[must_use]
    pub fn taken(&self, id: &FlowId) -> Taken {
        let read = |at| self.word(id.entry, at).map_or(0, |word| word.load(Relaxed));
        Taken {
            packets: read(PACKETS),
            octets: read(OCTETS),
            last: Duration::from_nanos(read(LAST)),
        }
    }

    /// Leaves a flow's packets to the director again; returns what was done with it until then.
    pub fn remove(&self, id: &FlowId) -> Taken {
        if let Some(generation) = self.word(id.entry, GENERATION) {
            generation.store(0, Release);
        }
        // An entry that cannot be taken out is void.
        let _ = self.keys.remove(id.key);
        let taken = self.taken(id);
        self.give_back(id.entry);
        self.installed.fetch_sub(1, Relaxed);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self) -> Option<u32> {
        let mut free = self.lock();
        if let Some(&(entry, since)) = free.resting.front()
            && clock::monotonic().saturating_sub(since) >= REST
        {
            free.resting.pop_front();
            return Some(entry);
        }
        let entry = free.fresh;
        if entry > FLOWS_MAX {
            return None;
        }
        free.fresh += 1;
        Some(entry)
    }

    fn give_back(&self, entry: u32) {
        self.lock().resting.push_back((entry, clock::monotonic()));
    }
}

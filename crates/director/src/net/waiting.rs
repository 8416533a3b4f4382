//! The packets of all workers that wait for a link address: one queue for each next hop, as in the kernel, so that
//! requests and refusals are as many, and in the same order, with any number of workers.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use packet::Mac;

use super::neighbour::{NeighbourTable, Resolver, Step};
use crate::frame::OwnedFrame;
use crate::time::Instant;

/// The next hops under resolution. The lock is taken only while there are some.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    any: AtomicBool,
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    resolver: Resolver,
    /// Which worker holds each waiting packet, in their order.
    holders: HashMap<(u32, IpAddr), Vec<usize>>,
    /// Packets that waited in vain, with their worker, which alone knows their connections.
    failed: VecDeque<(usize, OwnedFrame)>,
}

impl Waiting {
    /// Keeps `frame` of `worker` until `address` is resolved. `Ok(true)`: a request is to be sent now.
    ///
    /// # Errors
    /// Gives the frame back when too many wait already.
    pub(crate) fn hold(
        &self,
        worker: usize,
        interface: u32,
        address: IpAddr,
        frame: OwnedFrame,
        now: Instant,
    ) -> Result<bool, OwnedFrame> {
        let mut queues = self.lock();
        let held = queues.resolver.hold(interface, address, frame, now);
        if held.is_ok() {
            let holders = queues.holders.entry((interface, address)).or_default();
            holders.push(worker);
        }
        self.note(&queues);
        held
    }

    /// Begins to confirm a stale entry; returns whether a request is to be sent now.
    pub(crate) fn confirm(&self, interface: u32, address: IpAddr, now: Instant) -> bool {
        let mut queues = self.lock();
        let begun = queues.resolver.confirm(interface, address, now);
        self.note(&queues);
        begun
    }

    /// When [`Waiting::poll`] wants to be called next, by whichever worker.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        let queues = self.lock();
        match queues.failed.front() {
            Some(_) => Some(Instant::START),
            None => queues.resolver.next_deadline(),
        }
    }

    /// Packets that wait, or waited in vain and are not refused yet.
    pub(crate) fn len(&self) -> usize {
        let queues = self.lock();
        queues.resolver.len() + queues.failed.len()
    }

    /// Whether nothing is under resolution.
    pub(crate) fn is_idle(&self) -> bool {
        !self.any.load(Relaxed)
    }

    /// Looks at every next hop under resolution; what is to be done is the caller's, `worker`'s, to do. What waited in
    /// vain is refused in the order it came, each packet by the worker that held it.
    pub(crate) fn poll(
        &self,
        worker: usize,
        now: Instant,
        known: impl Fn(u32, IpAddr) -> Option<Mac>,
        table: &NeighbourTable,
    ) -> (Vec<Step>, Vec<OwnedFrame>) {
        let mut queues = self.lock();
        let mut steps = queues.resolver.poll(now, known, table);
        for step in &mut steps {
            match step {
                Step::Release {
                    interface, address, ..
                } => drop(queues.holders.remove(&(*interface, *address))),
                Step::Fail {
                    interface,
                    address,
                    frames,
                } => {
                    let holders = queues.holders.remove(&(*interface, *address));
                    let frames = core::mem::take(frames);
                    queues
                        .failed
                        .extend(holders.unwrap_or_default().into_iter().zip(frames));
                }
                Step::Solicit { .. } => {}
            }
        }
        let mut own = Vec::new();
        while let Some(frame) = take_own(&mut queues.failed, worker) {
            own.push(frame);
        }
        self.note(&queues);
        (steps, own)
    }

    fn note(&self, queues: &Queues) {
        let is_idle = queues.resolver.is_idle() && queues.failed.is_empty();
        self.any.store(!is_idle, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first packet, if it is this worker's.
fn take_own(failed: &mut VecDeque<(usize, OwnedFrame)>, worker: usize) -> Option<OwnedFrame> {
    let (holder, _) = failed.front()?;
    (*holder == worker)
        .then(|| failed.pop_front())?
        .map(|(_, frame)| frame)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn one_request_whoever_holds_and_whoever_looks() {
        let (waiting, table) = (Waiting::default(), NeighbourTable::default());
        let address = IpAddr::from([10, 2, 0, 77]);
        let now = Instant::START;
        assert!(waiting.is_idle() && waiting.next_deadline().is_none());
        let held =
            [0, 1].map(|worker| waiting.hold(worker, 3, address, OwnedFrame::zeroed(20), now));
        assert!(matches!(held, [Ok(true), Ok(false)]), "{held:?}");
        let poll = |worker, seconds| {
            let now = now.after(Duration::from_secs(seconds));
            let (steps, own) = waiting.poll(worker, now, |_, _| None, &table);
            (steps.len(), own.len(), waiting.len())
        };
        assert_eq!(
            [poll(1, 1), poll(0, 1), poll(0, 2)],
            [(1, 0, 2), (0, 0, 2), (1, 0, 2)]
        );
        // The first one's refusal comes first.
        assert_eq!(
            [poll(1, 3), poll(0, 3), poll(1, 3)],
            [(1, 0, 2), (0, 1, 1), (0, 1, 0)]
        );
        assert!(waiting.is_idle());
    }
}

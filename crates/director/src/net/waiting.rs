//! The packets of all workers that wait for a link address: one queue for each next hop, as in the kernel, so that
//! requests and refusals are as many, and in the same order, with any number of workers. What has waited is sent by the
//! worker that held it, before anything that came later: no packet overtakes another of its flow.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use packet::Mac;

use super::neighbour::{NeighbourTable, Resolver, Step};
use crate::frame::OwnedFrame;
use crate::time::Instant;

/// A packet that has waited and can be sent.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Egress interface index.
    pub(crate) interface: u32,
    /// The next hop's link address.
    pub(crate) mac: Mac,
    /// The packet.
    pub(crate) frame: OwnedFrame,
}

/// What a worker is to do about the next hops under resolution.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Requests to be sent: interface and address.
    pub(crate) requests: Vec<(u32, IpAddr)>,
    /// Packets of this worker that can be sent.
    pub(crate) ready: Vec<Ready>,
    /// Packets of this worker to be refused.
    pub(crate) failed: Vec<OwnedFrame>,
}

/// The next hops under resolution. The lock is taken only while there are some.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    any: AtomicBool,
    /// Packets wait, too; else only entries are being confirmed.
    packets: AtomicBool,
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    resolver: Resolver,
    /// Which worker holds each waiting packet, in their order.
    holders: HashMap<(u32, IpAddr), Vec<usize>>,
    /// Packets whose next hop is known now, with their worker.
    ready: Vec<(usize, Ready)>,
    /// Packets that waited in vain, with their worker, which alone knows their connections.
    failed: VecDeque<(usize, OwnedFrame)>,
}

impl Waiting {
    /// The same for a dry run: who is asked for, and how much room is left, but no packet.
    pub(crate) fn fork(&self) -> Self {
        let queues = self.lock();
        let fork = Queues {
            resolver: queues.resolver.fork(),
            ..Queues::default()
        };
        drop(queues);
        Self {
            any: AtomicBool::new(!self.is_idle()),
            packets: AtomicBool::new(false),
            queues: Mutex::new(fork),
        }
    }

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

    /// A next hop that packets wait for, by interface and address: in a dry run the one of its packet.
    pub(crate) fn hop(&self) -> Option<(u32, IpAddr)> {
        self.lock().holders.keys().next().copied()
    }

    /// Begins to confirm a stale entry; returns whether a request is to be sent now.
    pub(crate) fn confirm(&self, interface: u32, address: IpAddr, now: Instant) -> bool {
        let mut queues = self.lock();
        let begun = queues.resolver.confirm(interface, address, now);
        self.note(&queues);
        begun
    }

    /// Whether a packet of `worker` waits for `address`, or may be sent and was not yet.
    #[inline]
    pub(crate) fn holds(&self, worker: usize, interface: u32, address: IpAddr) -> bool {
        self.packets.load(Relaxed) && self.has_held(worker, interface, address)
    }

    #[inline(never)]
    fn has_held(&self, worker: usize, interface: u32, address: IpAddr) -> bool {
        let queues = self.lock();
        let holders = queues.holders.get(&(interface, address));
        holders.is_some_and(|holders| holders.contains(&worker)) || queues.has_ready(worker)
    }

    /// When `worker` should call [`Waiting::poll`] next.
    pub(crate) fn next_deadline(&self, worker: usize) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        let queues = self.lock();
        if queues.has_ready(worker) || !queues.failed.is_empty() {
            return Some(Instant::START);
        }
        queues.resolver.next_deadline()
    }

    /// Packets that wait, or waited in vain and are not refused yet.
    pub(crate) fn len(&self) -> usize {
        let queues = self.lock();
        queues.resolver.len() + queues.ready.len() + queues.failed.len()
    }

    /// Whether nothing is under resolution.
    pub(crate) fn is_idle(&self) -> bool {
        !self.any.load(Relaxed)
    }

    /// Looks at every next hop under resolution; what is to be done is the caller's, `worker`'s, to do. Each packet is
    /// sent or refused by the worker that held it; what waited in vain is refused in the order it came.
    pub(crate) fn poll(
        &self,
        worker: usize,
        now: Instant,
        known: impl Fn(u32, IpAddr) -> Option<Mac>,
        table: &NeighbourTable,
    ) -> Due {
        let mut due = Due::default();
        let mut queues = self.lock();
        for step in queues.resolver.poll(now, known, table) {
            match step {
                Step::Release {
                    interface,
                    address,
                    mac,
                    frames,
                } => {
                    let ready = frames.into_iter().map(|frame| Ready {
                        interface,
                        mac,
                        frame,
                    });
                    let holders = queues.holders.remove(&(interface, address));
                    let holders = holders.unwrap_or_default();
                    queues.ready.extend(holders.into_iter().zip(ready));
                }
                Step::Fail {
                    interface,
                    address,
                    frames,
                } => {
                    let holders = queues.holders.remove(&(interface, address));
                    let holders = holders.unwrap_or_default();
                    queues.failed.extend(holders.into_iter().zip(frames));
                }
                Step::Solicit { interface, address } => due.requests.push((interface, address)),
            }
        }
        let own = queues.ready.extract_if(.., |(holder, _)| *holder == worker);
        due.ready.extend(own.map(|(_, ready)| ready));
        while let Some(frame) = take_own(&mut queues.failed, worker) {
            due.failed.push(frame);
        }
        self.note(&queues);
        due
    }

    fn note(&self, queues: &Queues) {
        let packets = !queues.holders.is_empty() || !queues.ready.is_empty();
        let is_idle = queues.resolver.is_idle() && !packets && queues.failed.is_empty();
        self.any.store(!is_idle, Relaxed);
        self.packets.store(packets, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn has_ready(&self, worker: usize) -> bool {
        self.ready.iter().any(|(holder, _)| *holder == worker)
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
        assert!(waiting.is_idle() && waiting.next_deadline(0).is_none());
        let held =
            [0, 1].map(|worker| waiting.hold(worker, 3, address, OwnedFrame::zeroed(20), now));
        assert!(matches!(held, [Ok(true), Ok(false)]), "{held:?}");
        let poll = |worker, seconds| {
            let now = now.after(Duration::from_secs(seconds));
            let due = waiting.poll(worker, now, |_, _| None, &table);
            (due.requests.len(), due.failed.len(), waiting.len())
        };
        assert_eq!(
            [poll(1, 1), poll(0, 1), poll(0, 2)],
            [(1, 0, 2), (0, 0, 2), (1, 0, 2)]
        );
        // The first one's refusal comes first.
        assert_eq!(
            [poll(1, 3), poll(0, 3), poll(1, 3)],
            [(0, 0, 2), (0, 1, 1), (0, 1, 0)]
        );
        assert!(waiting.is_idle());
    }

    #[test]
    fn each_worker_sends_what_it_held() {
        let (waiting, table) = (Waiting::default(), NeighbourTable::default());
        let address = IpAddr::from([10, 2, 0, 77]);
        let now = Instant::START;
        for (worker, octets) in [(0, 20), (1, 21), (0, 22)] {
            let frame = OwnedFrame::zeroed(octets);
            waiting.hold(worker, 3, address, frame, now).expect("room");
        }
        assert!(waiting.holds(0, 3, address) && waiting.holds(1, 3, address));
        assert!(!waiting.holds(0, 4, address) && !waiting.holds(2, 3, address));
        let poll = |worker| {
            let due = waiting.poll(worker, now, |_, _| Some(Mac([2; 6])), &table);
            let lengths = due.ready.iter().map(|ready| ready.frame.len());
            lengths.collect::<Vec<_>>()
        };
        assert_eq!(poll(0), [20, 22]);
        // The other one's packet still waits, for nobody but its worker.
        assert!(waiting.holds(1, 3, address) && !waiting.holds(0, 3, address));
        assert_eq!(waiting.next_deadline(1), Some(Instant::START));
        assert_eq!(waiting.next_deadline(0), None);
        assert_eq!((poll(0), poll(1)), (vec![], vec![21]));
        assert!(waiting.is_idle() && waiting.len() == 0);
    }
}

//! Link addresses of next hops that the kernel's own table lacks, learned by ARP and NDP.
//!
//! [`NeighbourTable`] is shared by all workers: an answer arrives at whichever worker the kernel steers it
//! to. So is what waits for an answer (`Resolver`, in `waiting.rs`).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use foldhash::HashMap;
use packet::Mac;

use crate::frame::OwnedFrame;
use crate::time::Instant;

/// Requests sent before a next hop counts as unreachable (kernel: `mcast_solicit`).
pub const SOLICITATIONS_MAX: u8 = 3;
/// Time between two requests (kernel: `retrans_time_ms`).
pub const SOLICITATION_INTERVAL: Duration = Duration::from_secs(1);
/// Packets kept for one next hop while it is resolved.
pub const QUEUE_MAX: usize = 128;
/// Next hops under resolution at once; further packets are dropped.
pub const PENDING_MAX: usize = 1024;
/// Octets of all packets kept; further packets are dropped.
pub const OCTETS_MAX: usize = 16 * 1024 * 1024;
/// Entries of the shared table; when full, an arbitrary one makes room.
pub const TABLE_MAX: usize = 65_536;
/// Packets refused at once because nobody answered; further ones are refused at the next look, a millisecond later.
pub const FAILURES_MAX: usize = 1024;
/// Age at which a learned entry in use is asked for again, and at which it is no longer held against a next hop that it
/// did not answer.
pub const REACHABLE_TIME: Duration = Duration::from_secs(30);
/// Next hops that did not answer, as many as are remembered.
const FAILED_MAX: usize = PENDING_MAX;
/// How often it is looked whether the kernel's own table got the answer, while packets wait.
const RECHECK_INTERVAL: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
struct Learned {
    mac: Mac,
    at: Instant,
}

/// What a table knows of a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The link address.
    Known(Mac),
    /// The link address, older than [`REACHABLE_TIME`]: usable, but to be asked for again.
    Stale(Mac),
    /// Nothing.
    Unknown,
}

/// Link addresses learned from ARP and NDP, by interface index and address.
#[derive(Debug, Default)]
pub struct NeighbourTable {
    /// Behind an [`Arc`], so that a dry run gets them at no cost.
    entries: RwLock<Arc<HashMap<(u32, IpAddr), Learned>>>,
    /// When a next hop last did not answer. No packet's way depends on it: it is asked anew. For [`crate::explain`].
    failed: Mutex<HashMap<(u32, IpAddr), Instant>>,
}

impl NeighbourTable {
    /// The same for a dry run.
    pub(crate) fn fork(&self) -> Self {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        Self {
            entries: RwLock::new(Arc::clone(&entries)),
            failed: Mutex::new(self.failed().clone()),
        }
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<(u32, IpAddr), Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long it has been known that nobody answers for `address`; `None` where somebody has answered since, or
    /// where that is too long ago to mean anything ([`REACHABLE_TIME`]).
    #[must_use]
    pub fn unanswered(&self, interface: u32, address: IpAddr, now: Instant) -> Option<Duration> {
        let since = self.failed().get(&(interface, address)).copied()?;
        let answered = self.lookup(interface, address, now) != Lookup::Unknown;
        let age = now.since(since);
        (!answered && age <= REACHABLE_TIME).then_some(age)
    }

    /// What is known of `address` on `interface`.
    #[must_use]
    pub fn lookup(&self, interface: u32, address: IpAddr, now: Instant) -> Lookup {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(&(interface, address)) {
            None => Lookup::Unknown,
            Some(entry) if now.since(entry.at) > REACHABLE_TIME => Lookup::Stale(entry.mac),
            Some(entry) => Lookup::Known(entry.mac),
        }
    }

    /// Remembers that `address` on `interface` has link address `mac`.
    pub fn learn(&self, interface: u32, address: IpAddr, mac: Mac, now: Instant) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let entries = Arc::make_mut(&mut entries);
        if entries.len() >= TABLE_MAX && !entries.contains_key(&(interface, address)) {
            let victim = entries.keys().next().copied();
            victim.and_then(|key| entries.remove(&key));
        }
        entries.insert((interface, address), Learned { mac, at: now });
    }

    /// Corrects the link address of `address` if it is already known (an unsolicited announcement).
    pub fn correct(&self, interface: u32, address: IpAddr, mac: Mac, now: Instant) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.contains_key(&(interface, address)) {
            Arc::make_mut(&mut entries).insert((interface, address), Learned { mac, at: now });
        }
    }

    /// Nobody answered for `address`: it is forgotten.
    pub(crate) fn fail(&self, interface: u32, address: IpAddr, now: Instant) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.contains_key(&(interface, address)) {
            Arc::make_mut(&mut entries).remove(&(interface, address));
        }
        drop(entries);
        let mut failed = self.failed();
        if failed.len() >= FAILED_MAX {
            failed.retain(|_, at| now.since(*at) <= REACHABLE_TIME);
        }
        if failed.len() < FAILED_MAX {
            failed.insert((interface, address), now);
        }
    }
}

/// One next hop under resolution.
#[derive(Debug)]
struct Pending {
    frames: Vec<OwnedFrame>,
    /// Packets that wait; a dry run has this number of them, but not their frames.
    waiting: usize,
    sent: u8,
    next: Instant,
    /// A stale entry is being confirmed: packets go on meanwhile and none waits here.
    confirming: bool,
}

/// What [`Resolver::poll`] asks its owner to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send a request for `address` by `interface`.
    Solicit { interface: u32, address: IpAddr },
    /// The address is known: send these.
    Release {
        interface: u32,
        address: IpAddr,
        mac: Mac,
        frames: Vec<OwnedFrame>,
    },
    /// Nobody answered: refuse these.
    Fail {
        interface: u32,
        address: IpAddr,
        frames: Vec<OwnedFrame>,
    },
}

/// Packets that wait for a link address.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    /// Looked after in this order, so that the same packets always have the same requests behind them.
    pending: BTreeMap<(u32, IpAddr), Pending>,
    /// Octets of all packets that wait.
    octets: usize,
    /// When the shared table was last looked at.
    checked: Instant,
}

impl Resolver {
    /// The same for a dry run, with as little room, but without the packets.
    pub(crate) fn fork(&self) -> Self {
        let copy = |(&hop, pending): (&(u32, IpAddr), &Pending)| {
            let pending = Pending {
                frames: Vec::new(),
                ..*pending
            };
            (hop, pending)
        };
        Self {
            pending: self.pending.iter().map(copy).collect(),
            octets: self.octets,
            checked: self.checked,
        }
    }

    /// Keeps `frame` until `address` is resolved. `Ok(true)`: a request is to be sent now.
    ///
    /// # Errors
    /// Gives the frame back when too many wait already.
    pub(crate) fn hold(
        &mut self,
        interface: u32,
        address: IpAddr,
        frame: OwnedFrame,
        now: Instant,
    ) -> Result<bool, OwnedFrame> {
        let octets = frame.len();
        let room = self.pending.len() < PENDING_MAX;
        if self.octets + octets > OCTETS_MAX {
            return Err(frame);
        }
        let result = match self.pending.get_mut(&(interface, address)) {
            Some(pending) if pending.waiting >= QUEUE_MAX => Err(frame),
            Some(pending) => {
                pending.waiting += 1;
                pending.frames.push(frame);
                pending.confirming = false;
                Ok(false)
            }
            None if !room => Err(frame),
            None => {
                self.start(interface, address, vec![frame], false, now);
                Ok(true)
            }
        };
        if result.is_ok() {
            self.octets += octets;
        }
        result
    }

    /// Begins to confirm a stale entry; returns whether a request is to be sent now.
    pub(crate) fn confirm(&mut self, interface: u32, address: IpAddr, now: Instant) -> bool {
        if self.pending.len() >= PENDING_MAX || self.pending.contains_key(&(interface, address)) {
            return false;
        }
        self.start(interface, address, Vec::new(), true, now);
        true
    }

    fn start(
        &mut self,
        interface: u32,
        address: IpAddr,
        frames: Vec<OwnedFrame>,
        confirming: bool,
        now: Instant,
    ) {
        if self.pending.is_empty() {
            self.checked = now;
        }
        let next = now.after(SOLICITATION_INTERVAL);
        self.pending.insert(
            (interface, address),
            Pending {
                waiting: frames.len(),
                frames,
                sent: 1,
                next,
                confirming,
            },
        );
    }

    /// When [`Resolver::poll`] wants to be called next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.pending.values().any(|pending| !pending.confirming);
        if waiting {
            return Some(self.checked.after(RECHECK_INTERVAL));
        }
        self.pending.values().map(|pending| pending.next).min()
    }

    /// Packets that wait.
    pub(crate) fn len(&self) -> usize {
        let queues = self.pending.values();
        queues.map(|pending| pending.frames.len()).sum()
    }

    /// Whether nothing is under resolution.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Looks at every next hop under resolution.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        known: impl Fn(u32, IpAddr) -> Option<Mac>,
        table: &NeighbourTable,
    ) -> Vec<Step> {
        self.checked = now;
        let mut steps = Vec::new();
        let mut failures = 0;
        let left = &mut self.octets;
        let mut take = |pending: &mut Pending| {
            let frames = core::mem::take(&mut pending.frames);
            *left -= frames.iter().map(OwnedFrame::len).sum::<usize>();
            frames
        };
        self.pending.retain(|&(interface, address), pending| {
            if let Some(mac) = known(interface, address) {
                let frames = take(pending);
                steps.push(Step::Release {
                    interface,
                    address,
                    mac,
                    frames,
                });
                return false;
            }
            if now < pending.next {
                return true;
            }
            if pending.sent >= SOLICITATIONS_MAX {
                if failures >= FAILURES_MAX {
                    return true;
                }
                failures += pending.frames.len();
                table.fail(interface, address, now);
                steps.push(Step::Fail {
                    interface,
                    address,
                    frames: take(pending),
                });
                return false;
            }
            pending.sent += 1;
            pending.next = pending.next.after(SOLICITATION_INTERVAL);
            steps.push(Step::Solicit { interface, address });
            true
        });
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: (u32, IpAddr) = (3, IpAddr::V4(core::net::Ipv4Addr::new(10, 2, 0, 11)));
    const MAC: Mac = Mac([2, 0, 0, 0, 2, 0x11]);

    fn second(n: u64) -> Instant {
        Instant::START.after(Duration::from_secs(n))
    }

    #[test]
    fn three_requests_then_failure() {
        let (mut resolver, table) = (Resolver::default(), NeighbourTable::default());
        assert!(
            resolver
                .hold(HOP.0, HOP.1, OwnedFrame::zeroed(20), second(0))
                .unwrap()
        );
        assert!(
            !resolver
                .hold(HOP.0, HOP.1, OwnedFrame::zeroed(21), second(0))
                .unwrap()
        );
        let nobody = |_, _| None;
        for at in [1, 2] {
            let steps = resolver.poll(second(at), nobody, &table);
            assert!(matches!(steps[..], [Step::Solicit { .. }]), "{steps:?}");
        }
        let steps = resolver.poll(second(3), nobody, &table);
        assert!(
            matches!(&steps[..], [Step::Fail { frames, .. }] if frames.len() == 2),
            "{steps:?}"
        );
        assert!(resolver.is_idle());
    }

    #[test]
    fn waiting_packets_are_looked_after_every_millisecond() {
        let (mut resolver, table) = (Resolver::default(), NeighbourTable::default());
        assert_eq!(resolver.next_deadline(), None);
        assert!(
            resolver
                .hold(HOP.0, HOP.1, OwnedFrame::zeroed(20), second(1))
                .is_ok()
        );
        let first = second(1).after(Duration::from_millis(1));
        assert_eq!(resolver.next_deadline(), Some(first));
        assert!(resolver.poll(first, |_, _| None, &table).is_empty());
        assert_eq!(
            resolver.next_deadline(),
            Some(first.after(Duration::from_millis(1)))
        );
    }

    #[test]
    fn an_answer_releases_in_order() {
        let (mut resolver, table) = (Resolver::default(), NeighbourTable::default());
        for len in [20, 21, 22] {
            let _ = resolver
                .hold(HOP.0, HOP.1, OwnedFrame::zeroed(len), second(0))
                .unwrap();
        }
        table.learn(HOP.0, HOP.1, MAC, second(0));
        let known = |interface, address| match table.lookup(interface, address, second(0)) {
            Lookup::Known(mac) => Some(mac),
            _ => None,
        };
        let steps = resolver.poll(second(0), known, &table);
        let [
            Step::Release {
                mac: MAC, frames, ..
            },
        ] = &steps[..]
        else {
            panic!("{steps:?}")
        };
        assert_eq!(
            frames.iter().map(OwnedFrame::len).collect::<Vec<_>>(),
            [20, 21, 22]
        );
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut resolver = Resolver::default();
        for _ in 0..QUEUE_MAX {
            assert!(
                resolver
                    .hold(HOP.0, HOP.1, OwnedFrame::zeroed(20), second(0))
                    .is_ok()
            );
        }
        assert!(
            resolver
                .hold(HOP.0, HOP.1, OwnedFrame::zeroed(20), second(0))
                .is_err()
        );
    }

    #[test]
    fn entries_grow_stale() {
        let table = NeighbourTable::default();
        table.correct(HOP.0, HOP.1, MAC, second(0));
        assert_eq!(table.lookup(HOP.0, HOP.1, second(0)), Lookup::Unknown);
        table.learn(HOP.0, HOP.1, MAC, second(0));
        assert_eq!(table.lookup(HOP.0, HOP.1, second(30)), Lookup::Known(MAC));
        assert_eq!(table.lookup(HOP.0, HOP.1, second(31)), Lookup::Stale(MAC));
    }

    #[test]
    fn what_waits_is_bounded_in_octets() {
        let (mut resolver, table) = (Resolver::default(), NeighbourTable::default());
        let address =
            |n: u16| IpAddr::from(core::net::Ipv4Addr::from_bits(0x0a03_0000 | u32::from(n)));
        let big = || OwnedFrame::zeroed(65_000);
        let held = (0..PENDING_MAX)
            .map_while(|n| u16::try_from(n).ok())
            .filter(|&n| resolver.hold(3, address(n), big(), second(0)).is_ok())
            .count();
        assert_eq!(held, OCTETS_MAX / 65_000);
        for at in 1..=3 {
            let _ = resolver.poll(second(at), |_, _| None, &table);
        }
        assert!(resolver.is_idle());
        assert!(
            resolver.hold(3, address(0), big(), second(4)).is_ok(),
            "there is room again"
        );
    }

    #[test]
    fn failures_are_spread_over_several_looks() {
        let (mut resolver, table) = (Resolver::default(), NeighbourTable::default());
        for last in 0..20 {
            for _ in 0..QUEUE_MAX {
                let address = IpAddr::from([10, 3, 0, last]);
                let frame = OwnedFrame::zeroed(20);
                assert!(resolver.hold(3, address, frame, second(0)).is_ok());
            }
        }
        let mut looks = Vec::new();
        for at in [1, 2, 3, 3, 3, 3] {
            let failed = |step: Step| match step {
                Step::Fail { frames, .. } => frames.len(),
                _ => 0,
            };
            let steps = resolver.poll(second(at), |_, _| None, &table);
            looks.push(steps.into_iter().map(failed).sum::<usize>());
        }
        assert_eq!(looks, [0, 0, 1024, 1024, 512, 0]);
    }
}

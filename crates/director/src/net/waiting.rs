//! The packets of all workers that wait for a link address: one queue for each next hop, as in the kernel, so that
//! requests and refusals are as many, and in the same order, with any number of workers.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use packet::Mac;

use super::neighbour::{NeighbourTable, Resolver, Step};
use crate::frame::OwnedFrame;
use crate::time::Instant;

/// The next hops under resolution. The lock is taken only while there are some.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    any: AtomicBool,
    resolver: Mutex<Resolver>,
}

impl Waiting {
    /// Keeps `frame` until `address` is resolved. `Ok(true)`: a request is to be sent now.
    ///
    /// # Errors
    /// Gives the frame back when too many wait already.
    pub(crate) fn hold(
        &self,
        interface: u32,
        address: IpAddr,
        frame: OwnedFrame,
        now: Instant,
    ) -> Result<bool, OwnedFrame> {
        let mut resolver = self.lock();
        let held = resolver.hold(interface, address, frame, now);
        self.any.store(!resolver.is_idle(), Relaxed);
        held
    }

    /// Begins to confirm a stale entry; returns whether a request is to be sent now.
    pub(crate) fn confirm(&self, interface: u32, address: IpAddr, now: Instant) -> bool {
        let mut resolver = self.lock();
        let begun = resolver.confirm(interface, address, now);
        self.any.store(!resolver.is_idle(), Relaxed);
        begun
    }

    /// When [`Waiting::poll`] wants to be called next, by whichever worker.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        self.lock().next_deadline()
    }

    /// Whether nothing is under resolution.
    pub(crate) fn is_idle(&self) -> bool {
        !self.any.load(Relaxed)
    }

    /// Looks at every next hop under resolution; what is to be done is the caller's to do.
    pub(crate) fn poll(
        &self,
        now: Instant,
        known: impl Fn(u32, IpAddr) -> Option<Mac>,
        table: &NeighbourTable,
    ) -> Vec<Step> {
        let mut resolver = self.lock();
        let steps = resolver.poll(now, known, table);
        self.any.store(!resolver.is_idle(), Relaxed);
        steps
    }

    fn lock(&self) -> MutexGuard<'_, Resolver> {
        self.resolver.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let held = [20, 21].map(|len| waiting.hold(3, address, OwnedFrame::zeroed(len), now));
        assert!(matches!(held, [Ok(true), Ok(false)]), "{held:?}");
        assert!(!waiting.is_idle());
        for second in 1..3 {
            let now = now.after(Duration::from_secs(second));
            let first = waiting.poll(now, |_, _| None, &table);
            assert!(matches!(first[..], [Step::Solicit { .. }]), "{first:?}");
            assert!(waiting.poll(now, |_, _| None, &table).is_empty());
        }
        let end = now.after(Duration::from_secs(3));
        let last = waiting.poll(end, |_, _| None, &table);
        assert!(
            matches!(&last[..], [Step::Fail { frames }] if frames.len() == 2),
            "{last:?}"
        );
        assert!(waiting.is_idle());
    }
}

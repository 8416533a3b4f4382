//! Path MTUs learned from ICMP errors about tunnelled packets (RFC 1191, RFC 8201).

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::time::Instant;

/// How long a learned path MTU holds: `net.ipv4.route.mtu_expires`, 600 s.
const LIFETIME: Duration = Duration::from_secs(600);
/// Smallest MTU believed: `net.ipv4.route.min_pmtu`, 552 octets, so that a forged error cannot cripple a path.
const SMALLEST: u32 = 552;
/// Destinations remembered; real servers are few.
const ENTRIES_MAX: usize = 16_384;

/// Path MTUs by destination, shared by all workers.
#[derive(Debug, Default)]
pub struct PathMtus {
    any: AtomicBool,
    entries: RwLock<HashMap<IpAddr, (u32, Instant)>>,
}

impl PathMtus {
    /// Notes that the path to `destination` takes `mtu` octets.
    pub fn learn(&self, destination: IpAddr, mtu: u32, now: Instant) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, &mut (_, end)| now < end);
        }
        if entries.len() < ENTRIES_MAX {
            entries.insert(destination, (mtu.max(SMALLEST), now.after(LIFETIME)));
            self.any.store(true, Relaxed);
        }
    }

    /// The path MTU to `destination`, if one smaller than the link's was learned.
    #[must_use]
    pub fn lookup(&self, destination: IpAddr, now: Instant) -> Option<u32> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(&destination)
            .filter(|&&(_, end)| now < end)
            .map(|&(mtu, _)| mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_bounded_and_forgotten() {
        let mtus = PathMtus::default();
        let (server, other) = (IpAddr::from([10, 3, 0, 11]), IpAddr::from([10, 3, 0, 12]));
        assert_eq!(mtus.lookup(server, Instant::START), None);
        mtus.learn(server, 1400, Instant::START);
        mtus.learn(other, 68, Instant::START);
        let at = |seconds| Instant::START.after(Duration::from_secs(seconds));
        assert_eq!(mtus.lookup(server, at(599)), Some(1400));
        assert_eq!(mtus.lookup(other, at(1)), Some(552));
        assert_eq!(mtus.lookup(server, at(600)), None);
    }
}

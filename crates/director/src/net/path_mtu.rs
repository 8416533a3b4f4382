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
    entries: RwLock<HashMap<IpAddr, Entry>>,
}

/// What was learned about one path.
#[derive(Debug)]
struct Entry {
    /// Octets.
    mtu: u32,
    /// When it no longer holds.
    end: Instant,
    /// A packet has gone by it: until then, the route in use is the one from before.
    in_use: AtomicBool,
}

impl PathMtus {
    /// The same for a dry run.
    pub(crate) fn fork(&self) -> Self {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let copy = |(&destination, entry): (&IpAddr, &Entry)| {
            let entry = Entry {
                mtu: entry.mtu,
                end: entry.end,
                in_use: AtomicBool::new(entry.in_use.load(Relaxed)),
            };
            (destination, entry)
        };
        Self {
            any: AtomicBool::new(self.any.load(Relaxed)),
            entries: RwLock::new(entries.iter().map(copy).collect()),
        }
    }

    /// Notes that the path to `destination` takes `mtu` octets, unless it is known to take fewer. Returns what the
    /// route in use takes, if that has a learned path MTU: it does once a packet has gone by one that was learned
    /// before (recording `found.tunnel_path_mtu`).
    pub fn learn(&self, destination: IpAddr, mtu: u32, now: Instant) -> Option<u32> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&destination)
            && now < entry.end
        {
            if mtu <= entry.mtu {
                entry.mtu = mtu.max(SMALLEST);
                entry.end = now.after(LIFETIME);
            }
            return entry.in_use.load(Relaxed).then_some(entry.mtu);
        }
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, entry| now < entry.end);
        }
        if entries.len() < ENTRIES_MAX {
            let entry = Entry {
                mtu: mtu.max(SMALLEST),
                end: now.after(LIFETIME),
                in_use: AtomicBool::new(false),
            };
            entries.insert(destination, entry);
            self.any.store(true, Relaxed);
        }
        None
    }

    /// The path MTU for a packet to `destination`, if one smaller than the link's was learned.
    #[inline]
    #[must_use]
    pub fn lookup(&self, destination: IpAddr, now: Instant) -> Option<u32> {
        if !self.any.load(Relaxed) {
            return None;
        }
        self.learned(destination, now)
    }

    #[inline(never)]
    fn learned(&self, destination: IpAddr, now: Instant) -> Option<u32> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&destination).filter(|entry| now < entry.end)?;
        entry.in_use.store(true, Relaxed);
        Some(entry.mtu)
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
        assert_eq!(mtus.learn(server, 1400, Instant::START), None);
        assert_eq!(mtus.learn(server, 1400, Instant::START), None);
        mtus.learn(other, 68, Instant::START);
        let at = |seconds| Instant::START.after(Duration::from_secs(seconds));
        assert_eq!(mtus.lookup(server, at(599)), Some(1400));
        assert_eq!(mtus.learn(server, 1450, at(599)), Some(1400));
        assert_eq!(mtus.lookup(other, at(1)), Some(552));
        assert_eq!(mtus.lookup(server, at(600)), None);
    }
}

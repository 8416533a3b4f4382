//! How many ICMP errors a peer may get, as the kernel limits them: six at once, then one each
//! `net.ipv4.icmp_ratelimit` milliseconds (token bucket of `inet_peer_xrlim_allow`, BEHAVIOURS 9).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::time::Instant;

/// Errors a peer may get at once (kernel: `XRLIM_BURST_FACTOR`).
const BURST: u32 = 6;
/// Peers remembered; when full all are forgotten, which lets a few more errors out.
const PEERS_MAX: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: Duration,
    at: Instant,
}

/// Token buckets, shared by all workers: a peer's packets reach several. The lock is taken once an error.
#[derive(Debug, Default)]
pub(crate) struct IcmpLimit {
    peers: Mutex<HashMap<IpAddr, Bucket>>,
}

impl IcmpLimit {
    /// Whether `peer` may get one more error now; `interval_ms` 0 = always.
    pub(crate) fn allow(&self, peer: IpAddr, interval_ms: u32, now: Instant) -> bool {
        if interval_ms == 0 {
            return true;
        }
        let interval = Duration::from_millis(u64::from(interval_ms));
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
            peers.clear();
        }
        let full = interval * BURST;
        let bucket = peers.entry(peer).or_insert(Bucket {
            tokens: full,
            at: now,
        });
        bucket.tokens = (bucket.tokens + now.since(bucket.at)).min(full);
        // Another worker's clock may be a batch ahead.
        bucket.at = bucket.at.max(now);
        match bucket.tokens.checked_sub(interval) {
            Some(rest) => {
                bucket.tokens = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_at_once_then_one_a_second() {
        let limit = IcmpLimit::default();
        let peer = IpAddr::from([192, 0, 2, 10]);
        let allowed = |ms: u64| limit.allow(peer, 1000, Instant::from_nanos(ms * 1_000_000));
        let at_once = (0..10).filter(|_| allowed(5)).count();
        assert_eq!(at_once, 6);
        assert!(!allowed(1004));
        assert!(allowed(1005));
        assert!(!allowed(1006));
        assert!(limit.allow(peer, 0, Instant::START));
    }
}

//! ICMP redirects: a forwarding host tells a neighbour of the shorter way (RFC 1812 section 5.2.7.2), and so a real
//! server behind NAT whose client, or the router to it, is on the same network (BEHAVIOURS 20). The kernel does it before
//! its director sees the packet, for IPv4 alone.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use packet::IcmpError;

use crate::director::{Batch, Datagram, Worker};
use crate::egress::Hop;
use crate::frame::Output;
use crate::net::RouteKind;
use crate::time::Instant;

/// Redirects to a neighbour that goes on sending this way; then no more (kernel: `ip_rt_redirect_number`).
const REDIRECTS_MAX: u64 = 9;
/// The time behind the first one until the next; it doubles each time (kernel: `ip_rt_redirect_load`).
const LOAD: Duration = Duration::from_millis(20);
/// After this time without a packet that asks for one, all begins anew (kernel: `ip_rt_redirect_silence`).
const SILENCE: Duration = Duration::from_millis(20_480);
/// Neighbours remembered; when full all are forgotten, which lets a few more redirects out.
const PEERS_MAX: usize = 4096;

/// What one neighbour got.
#[derive(Debug)]
struct Peer {
    sent: AtomicU64,
    /// Nanoseconds of the clock.
    last: AtomicU64,
}

/// How many redirects each neighbour got, whichever worker sent them.
#[derive(Debug, Default)]
pub(crate) struct RedirectLimit {
    peers: RwLock<HashMap<IpAddr, Peer>>,
}

impl RedirectLimit {
    /// Whether `peer` may get one more redirect now.
    fn allow(&self, peer: IpAddr, now: Instant) -> bool {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = peers.get(&peer) {
            return known.allow(now);
        }
        drop(peers);
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX {
            peers.clear();
        }
        let new = || Peer {
            sent: AtomicU64::new(0),
            last: AtomicU64::new(0),
        };
        peers.entry(peer).or_insert_with(new).allow(now)
    }
}

impl Peer {
    fn allow(&self, now: Instant) -> bool {
        let since = now.since(Instant::from_nanos(self.last.load(Relaxed)));
        let sent = match self.sent.load(Relaxed) {
            _ if since > SILENCE => 0,
            sent => sent,
        };
        let is_due = sent == 0 || since > LOAD * (1 << sent.min(REDIRECTS_MAX));
        let is_sent = sent < REDIRECTS_MAX && is_due;
        if is_sent || sent >= REDIRECTS_MAX {
            self.last.store(now.as_nanos(), Relaxed);
        }
        self.sent.store(sent + u64::from(is_sent), Relaxed);
        is_sent
    }
}

impl Worker {
    /// Tells the sender of a packet that is to leave by `hop` of the shorter way, if it has one.
    pub(crate) fn redirect(
        &mut self,
        batch: &Batch<'_>,
        hop: &Hop,
        datagram: &mut Datagram<'_, '_>,
        output: &mut Output<'_>,
    ) {
        let (network, ingress) = (batch.network, &datagram.ingress);
        let interface = ingress.interface.index;
        let sender = datagram.headers.source;
        if hop.interface != interface
            || ingress.vlan.is_some()
            || !network.redirects.contains(&interface)
        {
            return;
        }
        let IpAddr::V4(gateway) = hop.address else {
            return;
        };
        let is_neighbour = network.routes.lookup(sender).is_some_and(|route| {
            route.kind == RouteKind::Unicast
                && route.interface == interface
                && route.gateway.is_none()
        });
        if !is_neighbour || !self.host.redirect_limit.allow(sender, batch.now) {
            return;
        }
        if let Some(source) = network.source_for(sender) {
            let Datagram { frame, headers, .. } = datagram;
            let error = IcmpError::Redirect { gateway };
            if let Some(answer) = self.write_error(source, frame, headers, error) {
                let _ = self.send(batch, headers.source, answer, output);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [found.onearm_nat]: the times of a server's packets, and which of them a redirect answered.
    #[test]
    fn redirects_become_rare_and_begin_anew() {
        let limit = RedirectLimit::default();
        let server = IpAddr::from([10, 2, 0, 11]);
        let at = |ms: u64| limit.allow(server, Instant::from_nanos(ms * 1_000_000));
        let times = [
            283, 508, 568, 624, 678, 732, 793, 849, 906, 1071, 1125, 1235, 4295,
        ];
        let told: Vec<u64> = times.into_iter().filter(|&ms| at(ms)).collect();
        assert_eq!(told, [283, 508, 624, 793, 1125, 4295]);
        let more = (5..200).filter(|&n| at(n * 1000)).count();
        assert_eq!(more, 3, "nine in all");
        assert!(!at(219_000));
        assert!(at(240_000), "after a silence");
    }
}

//! The ways to real servers, looked up once for each snapshot of the host.
//!
//! Promises: what is kept says the same as a new lookup would: everything is forgotten when the snapshot changes, and
//! what changes without one (link addresses that ulvs learned itself, path MTUs) is not kept. Bounded.

use core::net::IpAddr;

use foldhash::{HashMap, HashMapExt};

use crate::connection::bits;
use crate::director::{Batch, Worker, is_for_us};
use crate::egress::Hop;
use crate::net::Network;
use crate::verdict::DropReason;

/// Ways kept at once: real servers are few, but bypass goes to the packets' own destinations.
const WAYS_MAX: usize = 16_384;

/// How packets get to a real server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// They do not: it is this host.
    Local,
    /// By this hop, with the path MTU of the route alone.
    Hop(Hop),
    /// They do not.
    None(DropReason),
}

/// What one worker keeps.
#[derive(Debug)]
pub(crate) struct Ways(HashMap<u128, Way>);

impl Ways {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Forgets all, because the host has changed.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Worker {
    /// The way to real server `address`.
    #[inline]
    pub(crate) fn way(&mut self, batch: &Batch<'_>, address: &IpAddr) -> &Way {
        let ways = &mut self.ways;
        if ways.0.len() >= WAYS_MAX {
            ways.clear();
        }
        let network = batch.network;
        ways.0
            .entry(bits(address))
            .or_insert_with(|| look_up(network, *address))
    }
}

fn look_up(network: &Network, address: IpAddr) -> Way {
    if is_for_us(network, address) {
        return Way::Local;
    }
    match network.hop(address) {
        Ok(hop) => Way::Hop(hop),
        Err(reason) => Way::None(reason),
    }
}

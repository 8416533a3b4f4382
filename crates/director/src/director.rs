//! One worker's director: frames in, decisions and frames out.

use std::sync::Arc;

use arc_swap::ArcSwap;
use packet::Packet;

use crate::frame::Output;
use crate::net::{NeighbourTable, Network};
use crate::time::Instant;
use crate::verdict::{Counters, Verdict};

/// What all workers share of the host.
#[derive(Debug, Default)]
pub struct Host {
    /// Interfaces, routes, kernel neighbours and VIPs; swapped whole when the host changes.
    pub network: ArcSwap<Network>,
    /// Link addresses learned by ulvs itself.
    pub neighbours: NeighbourTable,
}

/// The director of one worker: owns its connections, shares services with the other workers.
#[derive(Debug)]
pub struct Director {
    host: Arc<Host>,
    counters: Counters,
}

impl Director {
    /// Decides what becomes of one frame that arrived on `interface`, with firewall mark `mark` (0 = none);
    /// frames to transmit are appended to `output`.
    pub fn handle<'a>(
        &mut self,
        now: Instant,
        interface: u32,
        mark: u32,
        packet: Packet<'a>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let _ = (now, interface, mark, packet, output, &self.host);
        let verdict = Verdict::Pass;
        self.counters.count(verdict);
        verdict
    }

    /// What time alone brings about: expired connections, repeated ARP requests, abandoned fragments. Works
    /// within a budget, so it may ask to be called again at once by [`Director::next_deadline`].
    pub fn tick(&mut self, now: Instant, output: &mut Output<'_>) {
        let _ = (now, output);
    }

    /// When [`Director::tick`] wants to be called next, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }

    /// Counts of this worker.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

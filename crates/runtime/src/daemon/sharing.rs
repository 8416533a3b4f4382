//! How flows are shared out among the workers, as VIPs come and go.
//!
//! The workers hear of it before anything else happens with a new VIP: the owner of a flow must be the same for all. The
//! kernel takes some milliseconds for each interface that it is told of, and what it gets wrong until then is handed over.
//! So that has a pace of its own, and nothing else waits for it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use link::steering::Steering;

use super::control::Control;
use super::pace::Pace;
use crate::worker::Order;

/// The VIPs that decide, and when the kernel hears of them.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    vips: BTreeSet<IpAddr>,
    /// Of telling the kernel.
    pace: Pace,
}

impl Sharing {
    /// By these, of which the kernel is told with the interfaces.
    pub(super) fn by(vips: BTreeSet<IpAddr>) -> Self {
        Self {
            vips,
            pace: Pace::default(),
        }
    }

    /// Time until the kernel must be told; `None` when it knows.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        self.pace.due(now)
    }
}

impl Control {
    /// Shares flows out anew among the workers when the VIPs are others than they know; returns whether they are.
    pub(super) fn share_out(&mut self, vips: BTreeSet<IpAddr>) -> bool {
        if self.workers.len() < 2 || vips == self.sharing.vips {
            return false;
        }
        self.sharing.vips = vips;
        let steering = Arc::new(self.steering());
        for worker in &self.workers {
            worker.order(Order::Steer(Arc::clone(&steering)));
        }
        true
    }

    /// Tells the kernel what the workers know, now or when it is time for it.
    pub(super) fn ask_to_steer(&mut self) {
        if self.sharing.pace.ask(Instant::now()) {
            self.steer();
        }
    }

    /// Tells the kernel.
    pub(super) fn steer(&mut self) {
        let begun = Instant::now();
        self.links.steer(&self.steering());
        self.sharing.pace.done(begun, Instant::now());
    }

    /// The sharing out of flows for the VIPs now.
    pub(super) fn steering(&self) -> Steering {
        let vips: Vec<IpAddr> = self.sharing.vips.iter().copied().collect();
        Steering::new(&vips, self.steering_seed)
    }
}

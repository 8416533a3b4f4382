//! A copy of what all workers share, for a dry run: of some services alone.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::{Control, Shared};
use crate::explain::Copied;
use crate::owners::Owners;
use crate::real_servers::RealServers;
use crate::scheduler::Flow;
use crate::service::Service;
use crate::services::Services;
use crate::snapshot::Snapshot;
use crate::stats::Stats;

impl Shared {
    /// The same settings and those of the `services` that `keeps` names, for one new connection, without templates; and the numbers
    /// of those services whose scheduler could not be copied.
    pub(crate) fn fork(
        &self,
        services: &Services,
        keeps: impl Fn(&Service) -> bool,
        flow: Option<&Flow>,
        copied: &mut Copied,
    ) -> (Self, Vec<u64>) {
        let real_servers = RealServers::default();
        let mut inexact = Vec::new();
        let mut kept = Services::default();
        for service in services.in_order().iter().filter(|it| keeps(it)) {
            let (fork, is_exact) = service.fork(&self.options, flow, copied);
            for server in fork.destinations.iter().rev() {
                real_servers.add(fork.config.key, server.address, server.port);
            }
            if !is_exact {
                inexact.push(fork.number);
            }
            kept = kept.with(Arc::new(fork));
        }
        let services = Snapshot::default();
        services.store(Arc::new(kept));
        let timeouts =
            [0, 1, 2].map(|place: usize| AtomicU32::new(self.timeouts[place].load(Relaxed)));
        let fork = Self {
            services,
            sysctls: self.sysctls.fork(),
            stats: Stats::new(self.options.workers),
            sync: self.sync.fork(),
            templates: self.templates.fork(),
            real_servers,
            defence: self.defence.fork(),
            owners: Owners::default(),
            trackers: self.trackers.fork(),
            timeouts,
            control: Mutex::new(Control::default()),
            generation: AtomicU64::new(self.generation()),
            deletions: AtomicU64::new(self.deletions()),
            options: self.options,
        };
        (fork, inexact)
    }
}

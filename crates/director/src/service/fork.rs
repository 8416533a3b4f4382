//! A copy of a service for a dry run, with a scheduler that picks what the original would pick next.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use super::{Destinations, Scheduling, Service, bound};
use crate::explain::Copied;
use crate::options::Options;
use crate::scheduler::Flow;
use crate::scheduler::board::Board;
use crate::stats::Stats;
use crate::time::Instant;

impl Service {
    /// The same service of copies of its real servers, for one new connection; and whether its scheduler could be copied:
    /// if not, the copy has a new one of the same name.
    pub(crate) fn fork(
        &self,
        options: &Options,
        flow: Option<&Flow>,
        copied: &mut Copied,
    ) -> (Self, bool) {
        let stats = Arc::new(Stats::new(options.workers));
        let changed = Arc::default();
        let mut copies = |of: &Destinations| -> Destinations {
            let servers = of.iter();
            let copy = |server| copied.add(server, &stats, &changed);
            servers.map(copy).collect()
        };
        // Copied before the scheduler is locked, as nobody can be picked meanwhile.
        let before = Arc::clone(&self.lock().destinations);
        let mut destinations = copies(&before);
        let scheduling = self.lock();
        if !Arc::ptr_eq(&before, &scheduling.destinations) {
            destinations = copies(&scheduling.destinations);
        }
        let fork = scheduling
            .scheduler
            .as_ref()
            .zip(flow)
            .and_then(|(scheduler, flow)| scheduler.fork(flow, &mut |server| copied.of(server)));
        let (had_scheduler, flags) = (scheduling.scheduler.is_some(), scheduling.flags);
        drop(scheduling);
        let is_exact = fork.is_some() || !had_scheduler;
        let mut board = Board::new(Arc::clone(&changed));
        board.rebuild(&destinations);
        let scheduling = Scheduling {
            scheduler: fork.or_else(|| {
                let entry = options
                    .scheduler(&self.config.scheduler)
                    .filter(|_| had_scheduler);
                bound(&self.config.key, entry, &destinations, self.lots)
            }),
            destinations: Arc::clone(&destinations),
            board,
            flags,
        };
        let fork = Self {
            config: self.config.clone(),
            destinations,
            stats,
            changed,
            number: self.number,
            lots: self.lots,
            tracks: Arc::default(),
            scheduling: Arc::new(Mutex::new(scheduling)),
        };
        (fork, is_exact)
    }

    /// What the scheduler says of this new connection, see [`crate::scheduler::Scheduler::explain`].
    pub(crate) fn explain_scheduler(
        &self,
        flow: &Flow,
        now: Instant,
        cache_lifetime: Duration,
    ) -> Vec<(&'static str, String)> {
        let mut scheduling = self.lock();
        let asked = scheduling.request(flow, now, cache_lifetime);
        asked.map_or_else(Vec::new, |(scheduler, request)| scheduler.explain(&request))
    }
}

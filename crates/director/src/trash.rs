//! Deleted real servers that may come back: the kernel's destination trash.
//!
//! Re-adding the same address and port to the same service finds the old value, so its connections continue
//! and its counts are right (BEHAVIOURS 29).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::changed_servers::ChangedServers;
use crate::destination::Destination;
use crate::service::{Service, ServiceKey};
use crate::stats::Stats;
use crate::time::Instant;

/// How often idle ones are looked for.
const INTERVAL: Duration = Duration::from_secs(60);
/// For how long one without connections is kept.
const IDLE: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Discarded {
    destination: Arc<Destination>,
    /// [`crate::service::Service::number`] of the service it belonged to.
    service: u64,
    /// Since when it is known to have no connection.
    idle_since: Option<Instant>,
}

/// Deleted real servers and the counters of their services.
#[derive(Debug, Default)]
pub(crate) struct Trash {
    destinations: HashMap<(ServiceKey, IpAddr, u16), Discarded>,
    /// What deleted services had in common with their real servers, alive as long as one of those is.
    services: HashMap<ServiceKey, (Weak<Stats>, Weak<ChangedServers>)>,
    next_look: Option<Instant>,
}

impl Trash {
    /// Keeps a real server that was deleted from the service of this key and number.
    pub(crate) fn put(&mut self, key: ServiceKey, service: u64, destination: Arc<Destination>) {
        let place = (key, destination.address, destination.port);
        let discarded = Discarded {
            destination,
            service,
            idle_since: None,
        };
        self.destinations.insert(place, discarded);
    }

    /// Keeps track of what a deleted service has in common with its real servers.
    pub(crate) fn put_service(&mut self, service: &Service) {
        let common = (
            Arc::downgrade(&service.stats),
            Arc::downgrade(&service.changed),
        );
        self.services.insert(service.config.key, common);
    }

    /// Takes back a real server for the service of this key and number; one that belonged to an earlier
    /// service of the same key starts its counters anew.
    pub(crate) fn take(
        &mut self,
        key: ServiceKey,
        service: u64,
        address: IpAddr,
        port: u16,
    ) -> Option<Arc<Destination>> {
        let discarded = self.destinations.remove(&(key, address, port))?;
        if discarded.service != service {
            discarded.destination.stats.zero();
        }
        Some(discarded.destination)
    }

    /// Takes back a service's counters while connections still count into them, and where its real servers, which may
    /// come back too, note their changes.
    pub(crate) fn take_service(
        &mut self,
        key: &ServiceKey,
    ) -> Option<(Arc<Stats>, Arc<ChangedServers>)> {
        let (stats, changed) = self.services.remove(key)?;
        stats.upgrade().zip(changed.upgrade())
    }

    /// Calls `visit` for each deleted real server and the key of the service it belonged to.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&ServiceKey, &Destination)) {
        for ((key, ..), discarded) in &self.destinations {
            visit(key, &discarded.destination);
        }
    }

    /// Lets go of what has had no connection for two minutes; to be called often.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.destinations.is_empty() {
            self.next_look = None;
            self.services.clear();
            return;
        }
        if now < *self.next_look.get_or_insert_with(|| now.after(INTERVAL)) {
            return;
        }
        self.next_look = Some(now.after(INTERVAL));
        self.destinations.retain(|_, discarded| {
            if discarded.destination.is_bound() {
                return true;
            }
            let since = *discarded.idle_since.get_or_insert(now);
            now.since(since) < IDLE
        });
        self.services
            .retain(|_, (stats, _)| stats.strong_count() > 0);
    }
}

//! Real servers as seen from their network: to which services one belongs (kernel: `ip_vs_has_real_service`,
//! `ip_vs_find_real_service`).
//!
//! Promises: a worker that asks waits for no command, only for one entry that is being changed. So the locks are its own,
//! and the table is in parts, of which none takes long to grow.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use foldhash::fast::FixedState;

use crate::protocol::Protocol;
use crate::service::ServiceKey;
use crate::shared::Shared;

/// Parts of the table: a hundred thousand real servers are some hundred in each.
const PARTS: usize = 512;

/// Address and port.
type Place = (IpAddr, u16);

/// A service that has a real server, and when it got it: a number that grows with each addition.
#[derive(Clone, Copy, Debug)]
struct Membership {
    number: u64,
    service: ServiceKey,
}

impl Membership {
    /// Whether the service balances this protocol; a mark's balances all.
    fn has(&self, protocol: Protocol) -> bool {
        match self.service {
            ServiceKey::Address {
                protocol: balanced, ..
            } => balanced == protocol,
            ServiceKey::Mark { .. } => true,
        }
    }
}

type Part = RwLock<HashMap<Place, Vec<Membership>>>;

/// The real servers of all services.
#[derive(Debug)]
pub(crate) struct RealServers {
    parts: Box<[Part]>,
    added: AtomicU64,
}

impl Default for RealServers {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            added: AtomicU64::new(0),
        }
    }
}

impl RealServers {
    /// The services of this protocol that have this real server, and when each got it.
    fn memberships(&self, protocol: Protocol, address: IpAddr, port: u16) -> Vec<Membership> {
        let place = (address, port);
        let part = self.part(&place).read();
        let part = part.unwrap_or_else(PoisonError::into_inner);
        let memberships = part.get(&place).into_iter().flatten().copied();
        memberships.filter(|it| it.has(protocol)).collect()
    }

    /// Whether some service has this real server.
    pub(crate) fn is_known(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        !self.memberships(protocol, address, port).is_empty()
    }

    /// The services that have this real server, the one that got it last first.
    pub(crate) fn services_of(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Vec<ServiceKey> {
        let mut memberships = self.memberships(protocol, address, port);
        memberships.sort_unstable_by_key(|it| core::cmp::Reverse(it.number));
        memberships.iter().map(|it| it.service).collect()
    }

    /// A service gets a real server.
    pub(crate) fn add(&self, service: ServiceKey, address: IpAddr, port: u16) {
        let number = self.added.fetch_add(1, Relaxed);
        let place = (address, port);
        let mut part = (self.part(&place).write()).unwrap_or_else(PoisonError::into_inner);
        let memberships = part.entry(place).or_default();
        memberships.push(Membership { number, service });
    }

    /// A service loses a real server.
    pub(crate) fn remove(&self, service: &ServiceKey, address: IpAddr, port: u16) {
        let place = (address, port);
        let mut part = (self.part(&place).write()).unwrap_or_else(PoisonError::into_inner);
        if let Some(memberships) = part.get_mut(&place) {
            memberships.retain(|it| it.service != *service);
            if memberships.is_empty() {
                part.remove(&place);
            }
        }
    }

    /// Addresses are the operator's, so the hash needs no secret.
    fn part(&self, place: &Place) -> &Part {
        let hash = FixedState::default().hash_one(place);
        &self.parts[usize::try_from(hash >> 32).unwrap_or(0) % PARTS]
    }
}

impl Shared {
    /// Whether a real server of some service has this address and port (`nat_icmp_send`).
    #[must_use]
    pub fn is_real_server(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.real_servers.is_known(protocol, address, port)
    }

    /// The services that have a real server with this address and port, the one it was added to last first.
    #[must_use]
    pub(crate) fn services_of(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Vec<ServiceKey> {
        self.real_servers.services_of(protocol, address, port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_that_got_a_real_server_last_stands_first() {
        let service = |octet| ServiceKey::Address {
            protocol: Protocol::Udp,
            address: IpAddr::from([10, 8, 0, octet]),
            port: 5060,
        };
        let real = IpAddr::from([10, 2, 0, 11]);
        let servers = RealServers::default();
        servers.add(service(1), real, 5060);
        servers.add(service(2), real, 5060);
        let found = |servers: &RealServers| servers.services_of(Protocol::Udp, real, 5060);
        assert_eq!(found(&servers), [service(2), service(1)]);
        servers.remove(&service(1), real, 5060);
        servers.add(service(1), real, 5060);
        assert_eq!(found(&servers), [service(1), service(2)]);
        assert!(servers.services_of(Protocol::Tcp, real, 5060).is_empty());
        servers.remove(&service(1), real, 5060);
        servers.remove(&service(2), real, 5060);
        assert!(!servers.is_known(Protocol::Udp, real, 5060));
    }
}

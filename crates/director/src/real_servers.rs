//! Real servers as seen from their network: to which services one belongs (kernel: `ip_vs_has_real_service`,
//! `ip_vs_find_real_service`).

use core::net::IpAddr;
use std::collections::HashMap;

use crate::protocol::Protocol;
use crate::service::ServiceKey;
use crate::shared::Shared;

/// Protocol (`None` = of a mark), address, port.
type Place = (Option<Protocol>, IpAddr, u16);

/// A service that has a real server, and when it got it: a number that grows with each addition.
#[derive(Clone, Copy, Debug)]
struct Membership {
    number: u64,
    service: ServiceKey,
}

/// The real servers of all services.
#[derive(Debug, Default)]
pub(crate) struct RealServers {
    places: HashMap<Place, Vec<Membership>>,
    added: u64,
}

impl RealServers {
    /// Whether some service has this real server.
    pub(crate) fn is_known(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.places.contains_key(&(Some(protocol), address, port))
            || self.places.contains_key(&(None, address, port))
    }

    /// The services that have this real server, the one that got it last first.
    pub(crate) fn services_of(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Vec<ServiceKey> {
        let at = |protocol| self.places.get(&(protocol, address, port));
        let found = [at(Some(protocol)), at(None)];
        let mut memberships: Vec<_> = found.into_iter().flatten().flatten().copied().collect();
        memberships.sort_unstable_by_key(|it| core::cmp::Reverse(it.number));
        memberships.iter().map(|it| it.service).collect()
    }

    /// A service gets a real server.
    pub(crate) fn add(&mut self, service: ServiceKey, address: IpAddr, port: u16) {
        self.added += 1;
        let number = self.added;
        let place = (protocol_of(&service), address, port);
        let memberships = self.places.entry(place).or_default();
        memberships.push(Membership { number, service });
    }

    /// A service loses a real server.
    pub(crate) fn remove(&mut self, service: &ServiceKey, address: IpAddr, port: u16) {
        let place = (protocol_of(service), address, port);
        if let Some(memberships) = self.places.get_mut(&place) {
            memberships.retain(|it| it.service != *service);
            if memberships.is_empty() {
                self.places.remove(&place);
            }
        }
    }
}

impl Shared {
    /// Whether a real server of some service has this address and port (`nat_icmp_send`).
    #[must_use]
    pub fn is_real_server(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        let control = self.control();
        control.real_servers.is_known(protocol, address, port)
    }

    /// The services that have a real server with this address and port, the one it was added to last first.
    #[must_use]
    pub(crate) fn services_of(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Vec<ServiceKey> {
        let control = self.control();
        control.real_servers.services_of(protocol, address, port)
    }
}

fn protocol_of(service: &ServiceKey) -> Option<Protocol> {
    match service {
        ServiceKey::Address { protocol, .. } => Some(*protocol),
        ServiceKey::Mark { .. } => None,
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
        let mut servers = RealServers::default();
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

//! All virtual services, as an immutable value: a batch of packets sees one version.
//!
//! A new version shares all but one of its 64 parts with the version before it, so that a command costs
//! the same with five services or five thousand.

use core::hash::BuildHasher;
use core::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use packet::Family;

use crate::protocol::Protocol;
use crate::service::{Service, ServiceConfig, ServiceKey};

/// Port of FTP control connections.
pub const FTP_PORT: u16 = 21;
/// Port of the server's end of active FTP data connections.
pub const FTP_DATA_PORT: u16 = 20;
/// The first port that an unprivileged program may listen on.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// Parts of the table.
const PARTS: usize = 64;

type Part = HashTable<Arc<Service>>;

/// One version of all virtual services.
#[derive(Clone, Debug)]
pub struct Services {
    parts: Box<[Arc<Part>]>,
    /// IPv4 and IPv6 services.
    families: [usize; 2],
    /// Services on the FTP port; data connections are looked for only when there is one.
    ftp: usize,
    /// Any-port services.
    any_port: usize,
    /// Services with a persistence engine.
    engines: usize,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Arc::default()).collect(),
            families: [0; 2],
            ftp: 0,
            any_port: 0,
            engines: 0,
        }
    }
}

impl Services {
    /// The service that answers to a packet, in the kernel's order: by mark, by address and port, the FTP
    /// service to which a data connection belongs, the any-port service.
    #[must_use]
    pub fn lookup(
        &self,
        protocol: Protocol,
        destination: IpAddr,
        port: u16,
        mark: u32,
    ) -> Option<&Arc<Service>> {
        if mark != 0 {
            let family = match destination {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(_) => Family::V6,
            };
            let service = self.get(&ServiceKey::Mark { family, mark });
            if service.is_some() {
                return service;
            }
        }
        let at = |port| {
            self.get(&ServiceKey::Address {
                protocol,
                address: destination,
                port,
            })
        };
        let is_data_port = port == FTP_DATA_PORT || port >= FIRST_UNPRIVILEGED_PORT;
        at(port)
            .or_else(|| {
                let ftp = protocol == Protocol::Tcp && self.ftp > 0 && is_data_port;
                if ftp { at(FTP_PORT) } else { None }
            })
            .or_else(|| if self.any_port > 0 { at(0) } else { None })
    }

    /// The service with this key.
    #[must_use]
    pub fn get(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        let hash = hash(key);
        self.parts
            .get(part(hash))?
            .find(hash, |service| service.config.key == *key)
    }

    /// Whether a service has a persistence engine; without one, no real server begins a dialogue.
    #[must_use]
    pub(crate) const fn has_engines(&self) -> bool {
        self.engines > 0
    }

    /// How many services there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.families.iter().sum()
    }

    /// Whether there is a service of this family. Without one, the kernel's director does not look at the family's
    /// packets at all, not even at those of connections it still has.
    #[must_use]
    pub fn serves(&self, family: Family) -> bool {
        self.families[family as usize] > 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All services, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// All services in the order of their creation.
    #[must_use]
    pub fn in_order(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<_> = self.iter().cloned().collect();
        services.sort_unstable_by_key(|service| service.number);
        services
    }

    /// The version with `service` added, or in place of the one with the same key.
    pub(crate) fn with(&self, service: Arc<Service>) -> Self {
        let mut next = self.without(&service.config.key);
        next.tally(&service.config, 1);
        let hash = hash(&service.config.key);
        if let Some(part) = next.parts.get_mut(part(hash)) {
            Arc::make_mut(part).insert_unique(hash, service, |other| self::hash(&other.config.key));
        }
        next
    }

    /// The version without the service of this key.
    pub(crate) fn without(&self, key: &ServiceKey) -> Self {
        let mut next = self.clone();
        let hash = hash(key);
        let Some(part) = next.parts.get_mut(part(hash)) else {
            return next;
        };
        let same = |service: &Arc<Service>| service.config.key == *key;
        if let Some(known) = part.find(hash, same).cloned()
            && let Ok(entry) = Arc::make_mut(part).find_entry(hash, same)
        {
            entry.remove();
            next.tally(&known.config, -1);
        }
        next
    }

    fn tally(&mut self, config: &ServiceConfig, change: isize) {
        let key = &config.key;
        if config.persistence_engine.is_some() {
            self.engines = self.engines.saturating_add_signed(change);
        }
        let count = &mut self.families[key.family() as usize];
        *count = count.saturating_add_signed(change);
        match key {
            ServiceKey::Address { port: FTP_PORT, .. } => {
                self.ftp = self.ftp.saturating_add_signed(change);
            }
            ServiceKey::Address { port: 0, .. } => {
                self.any_port = self.any_port.saturating_add_signed(change);
            }
            _ => {}
        }
    }
}

/// Keys are the operator's, so the hash needs no secret.
fn hash(key: &ServiceKey) -> u64 {
    FixedState::default().hash_one(key)
}

/// Which part a hash belongs to; bits in the middle, as the tables use the lowest and the highest.
fn part(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0) % PARTS
}

//! The clients that connected last, and where they went: what a change of real servers does to them.
//!
//! Promises: a fixed number of places; clients that meet in one push each other out.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use director::service::ServiceKey;

use super::events::Place;

/// Clients that are remembered, at most.
const PLACES: usize = 1 << 16;

/// A client of a service, and where its last connection went under each scheduler.
#[derive(Debug)]
pub(super) struct Known {
    client: IpAddr,
    service: ServiceKey,
    /// The number of changes of the service's real servers by then.
    pub(super) changes: u64,
    pub(super) servers: Box<[Option<Place>]>,
}

/// The clients that connected last.
#[derive(Debug)]
pub(super) struct Clients {
    hash: RandomState,
    places: Vec<Option<Known>>,
}

impl Clients {
    pub(super) fn new() -> Self {
        let mut places = Vec::new();
        places.resize_with(PLACES, || None);
        Self {
            hash: RandomState::new(),
            places,
        }
    }

    /// Remembers a client's connection; what was known of the client before.
    pub(super) fn remember(
        &mut self,
        service: ServiceKey,
        client: IpAddr,
        changes: u64,
        servers: Box<[Option<Place>]>,
    ) -> Option<Known> {
        let hash = usize::try_from(self.hash.hash_one((service, client))).unwrap_or(0);
        let place = self.places.get_mut(hash % PLACES)?;
        let before = place.replace(Known {
            client,
            service,
            changes,
            servers,
        });
        before.filter(|known| known.client == client && known.service == service)
    }
}

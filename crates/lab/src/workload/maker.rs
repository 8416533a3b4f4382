//! What a connection is: its kind, its work, its service, its client.

use core::net::IpAddr;
use core::time::Duration;

use rand_distr::Distribution as _;
use rand_distr::weighted::WeightedAliasIndex;

use super::Arrival;
use super::clients::{self, Endpoints};
use crate::random::{self, Stream};
use crate::scenario::{ConnectionsSection, Scenario};

/// Tables for connections.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    kinds: Vec<ConnectionsSection>,
    shares: Option<WeightedAliasIndex<f64>>,
    services: u32,
    popularity: Option<WeightedAliasIndex<f64>>,
    clients: clients::Plan,
}

impl Plan {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let kinds = scenario.connections.clone();
        let services = scenario.service.vips.max(1);
        let shares = kinds.iter().map(|kind| kind.share).collect();
        Self {
            shares: (kinds.len() > 1)
                .then(|| WeightedAliasIndex::new(shares).ok())
                .flatten(),
            kinds,
            services,
            popularity: (services > 1)
                .then(|| clients::zipf(services, scenario.service.popularity))
                .flatten(),
            clients: clients::Plan::new(&scenario.clients),
        }
    }

    /// How many virtual services there are.
    pub(super) fn services(&self) -> u32 {
        self.services
    }

    pub(super) fn start(&self, seed: u64, repeat: u32) -> Maker {
        Maker {
            plan: self.clone(),
            endpoints: self.clients.start(seed, repeat),
            kinds: random::stream(seed, repeat, "kinds"),
            work: random::stream(seed, repeat, "work"),
            linger: random::stream(seed, repeat, "linger"),
            services: random::stream(seed, repeat, "services"),
        }
    }
}

/// A connection before it has an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    /// Who connects, as [`Endpoints::pick`] said.
    pub(super) picked: u32,
    /// All but the endpoint.
    pub(super) arrival: Arrival,
}

/// Makes connections; each property has a stream of its own.
#[derive(Debug)]
pub(super) struct Maker {
    plan: Plan,
    pub(super) endpoints: Endpoints,
    kinds: Stream,
    work: Stream,
    linger: Stream,
    services: Stream,
}

impl Maker {
    /// What the next connection is, of this client.
    pub(super) fn draft(&mut self, at: Duration, picked: u32, user: u32) -> Draft {
        let kind = match &self.plan.shares {
            Some(shares) => shares.sample(&mut self.kinds),
            None => 0,
        };
        let service = match &self.plan.popularity {
            Some(popularity) => u32::try_from(popularity.sample(&mut self.services)).unwrap_or(0),
            None => 0,
        };
        let (work, packets, linger) = match self.plan.kinds.get(kind) {
            Some(kind) => (
                kind.work.sample(&mut self.work),
                kind.packets,
                kind.linger
                    .map_or(0.0, |linger| linger.sample(&mut self.linger)),
            ),
            None => (0.0, 0, 0.0),
        };
        Draft {
            picked,
            arrival: Arrival {
                at,
                client: (IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0),
                service,
                work,
                packets,
                linger,
                user,
                is_flood: false,
            },
        }
    }

    /// The connection, once its client has a free port.
    pub(super) fn finish(&mut self, draft: &Draft) -> Option<Arrival> {
        let client = self.endpoints.take(draft.picked)?;
        Some(Arrival {
            client,
            ..draft.arrival
        })
    }
}

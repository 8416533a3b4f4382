//! The workers: as many directors as asked for, each frame given to the one that gets it from the kernel and handed
//! over to the one that owns its flow, by the product's own functions ([`Steering`], [`Team`]). One frame is dealt with
//! before the next arrives, so that frames are delivered in order.

use std::sync::Arc;

use director::connection::{Connection, Cursor, HashKind, TableConfig};
use director::director::{Director, Host as Shell};
use director::explain::{About, Question};
use director::frame::Output;
use director::net::Network;
use director::service::ServiceKey;
use director::services::Services;
use director::shared::Shared;
use director::sync::Entry;
use director::time::Instant;
use director::verdict::Verdict;
use link::steering::Steering;
use runtime::worker::{Tally, Team};

use crate::host::name;

/// Connections that one case may make.
const CONNECTIONS_MAX: usize = 65_536;
/// Seed of the sharing out of flows.
const SEED: u32 = 7;

/// A frame at the worker that deals with it.
pub(crate) struct Arrival {
    worker: usize,
    interface: u32,
    /// The whole frame.
    pub(crate) frame: link::Frame,
}

/// How recordings are replayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Workers that share the work of the director.
    pub(crate) workers: usize,
    /// Whether each worker says of each frame what it would do with it, before it gets it.
    pub(crate) asks: bool,
}

/// Directors side by side.
pub(crate) struct Workers {
    asks: bool,
    /// What was said of a frame that something else became of.
    pub(crate) contradiction: Option<String>,
    directors: Vec<Director>,
    teams: Vec<Team>,
    steering: Steering,
    tally: Tally,
}

impl Workers {
    /// Directors that share one configuration and host.
    ///
    /// # Errors
    /// A sentence: the system refuses what the workers wake each other by.
    pub(crate) fn new(shared: &Arc<Shared>, shell: &Arc<Shell>, how: How) -> Result<Self, String> {
        let table = TableConfig {
            max_connections: CONNECTIONS_MAX,
            hash: HashKind::default(),
            seed: [1, 2],
        };
        let director = |index| Director::new(Arc::clone(shared), Arc::clone(shell), index, &table);
        let count = how.workers;
        Ok(Self {
            asks: how.asks,
            contradiction: None,
            directors: (0..count).map(director).collect(),
            teams: Team::all(count).map_err(|error| format!("no workers: {error}"))?,
            steering: Steering::new(&[], SEED),
            tally: Tally::default(),
        })
    }

    /// Shares flows out for the VIPs of the services and of the host.
    pub(crate) fn steer(&mut self, services: &Services, network: &Network) {
        let mut vips: Vec<_> = services
            .iter()
            .filter_map(|service| match service.config.key {
                ServiceKey::Address { address, .. } => Some(address),
                ServiceKey::Mark { .. } => None,
            })
            .collect();
        vips.extend(network.vips.keys());
        let steering = Steering::new(&vips, SEED);
        if steering == self.steering {
            return;
        }
        for team in &mut self.teams {
            team.steer(Arc::new(steering.clone()));
        }
        self.steering = steering;
    }

    /// Takes up changes of services, timeouts and host.
    pub(crate) fn refresh(&mut self) {
        self.directors.iter_mut().for_each(Director::refresh);
    }

    /// When a worker wants to be called next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.directors.iter().filter_map(Director::next_deadline);
        deadlines.min()
    }

    /// What time alone brings about.
    pub(crate) fn tick(&mut self, now: Instant, output: &mut Output<'_>) {
        for director in &mut self.directors {
            director.tick(now, output);
        }
    }

    /// The worker of this hash.
    fn worker(&self, hash: u32) -> usize {
        usize::try_from(hash).unwrap_or(0) % self.directors.len()
    }

    /// A frame arrives: what there is to deal with, and where.
    pub(crate) fn arrive(&mut self, interface: u32, frame: &[u8], now: Instant) -> Vec<Arrival> {
        let ether_type = crate::decode::be16(frame, 12).unwrap_or(0);
        let network = frame.get(14..).unwrap_or_default();
        let worker = self.worker(self.steering.frame(ether_type, network));
        let mut frame = link::Frame::new(frame, 14);
        let Some((team, director)) = self.teams.get_mut(worker).zip(self.directors.get(worker))
        else {
            return Vec::new();
        };
        let owners = director.owners();
        let packet = frame.packet();
        let is_handed = team.hand_over(interface, &packet, now, owners, &mut self.tally);
        let mut arrivals = Vec::new();
        for (worker, team) in self.teams.iter().enumerate() {
            arrivals.extend(team.take().into_iter().map(|handed| Arrival {
                worker,
                interface: handed.interface,
                frame: handed.frame,
            }));
        }
        if !is_handed {
            arrivals.push(Arrival {
                worker,
                interface,
                frame,
            });
        }
        arrivals
    }

    /// Its worker's director decides about a frame.
    pub(crate) fn handle<'a>(
        &mut self,
        arrival: &'a mut Arrival,
        mark: u32,
        now: Instant,
        output: &mut Output<'a>,
    ) -> Verdict {
        let director = &mut self.directors[arrival.worker];
        let said = self.asks.then(|| {
            let question = Question {
                about: About::Frame(arrival.frame.bytes().to_vec()),
                mark: Some(mark),
                interface: Some(name(arrival.interface).to_owned()),
            };
            director.explain(now, &question, |_, _| mark)
        });
        let packet = arrival.frame.packet();
        let verdict = director.handle(now, arrival.interface, mark, packet, output);
        match said {
            Some(Ok(said)) if said.at_once != verdict => {
                self.contradiction = Some(format!("said:\n{said}done: {verdict:?}"));
            }
            Some(Err(error)) => self.contradiction = Some(format!("said nothing: {error}")),
            _ => {}
        }
        verdict
    }

    /// Takes in what a master told: a connection at the worker that its client's packets reach.
    pub(crate) fn accept(&mut self, entry: &Entry, now: Instant) {
        let worker = self.worker(self.steering.endpoint(entry.client.0, entry.client.1));
        self.directors[worker].accept(now, entry);
    }

    /// Calls `visit` for each connection of each worker.
    pub(crate) fn for_each_connection(&self, mut visit: impl FnMut(&Connection)) {
        for director in &self.directors {
            let connections = director.connections();
            connections.list(Cursor::default(), u32::MAX, |_, connection| {
                visit(connection);
            });
        }
    }
}

//! What the shadows make of the events: each scheduler's choices beside the live ones, scored.
//!
//! Knows no thread, queue or clock: the same events give the same report.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use baselines::Spec;
use control::imbalance::Imbalance;
use control::shadow::{AfterChange, Report, Scheduler, Server, Service};
use control::state::DesiredState;
use director::connection::ConnectionId;
use director::destination::{Destination, DestinationConfig};
use director::observer::Choice;
use director::service::{ServiceConfig, ServiceKey};
use director::shared::Shared;
use director::time::Instant;

use super::clients::{Clients, Known};
use super::events::{Event, Place, Request};
use super::follower::{Follower, Held};

/// A connection at the real servers that the schedulers gave it to, in the order of the followers.
#[derive(Debug)]
struct Connection {
    active: bool,
    held: Box<[Option<Held>]>,
}

/// What is counted of one scheduler for one service.
#[derive(Clone, Debug, Default)]
struct Tally {
    connections: u64,
    refused: u64,
    elsewhere: u64,
    returning: u64,
    moved: u64,
    after_change: AfterChange,
    /// Sum of all looks at the imbalance of load, and their number.
    load: Imbalance,
    looks: u32,
}

/// What is known of a service beside its followers.
#[derive(Debug)]
struct Watched {
    config: ServiceConfig,
    servers: Vec<DestinationConfig>,
    changes: u64,
    tallies: Vec<Tally>,
}

/// What a live director is configured as, and its [`Shared::generation`] then.
#[derive(Debug)]
pub(super) struct Configured {
    generation: u64,
    state: DesiredState,
}

impl Configured {
    /// What it is now. A change in between leaves the older generation, so that it is found out later.
    pub(super) fn of(live: &Shared) -> Self {
        Self {
            generation: live.generation(),
            state: DesiredState::of(live),
        }
    }
}

/// The shadows of one daemon.
#[derive(Debug)]
pub(super) struct Engine {
    live: Arc<Shared>,
    /// The live director's [`Shared::generation`] that the followers are in line with.
    generation: Option<u64>,
    /// The first one is told what the live schedulers choose.
    followers: Vec<Follower>,
    connections: HashMap<(usize, ConnectionId), Connection>,
    /// In the order in which they were added.
    order: Vec<ServiceKey>,
    watched: HashMap<ServiceKey, Watched>,
    clients: Clients,
    restarts: u64,
}

impl Engine {
    /// Shadows of the services of `live`, which was configured like that before the first event.
    pub(super) fn new(specs: &[Spec], live: Arc<Shared>, configured: Configured) -> Self {
        let live_and_shadows = core::iter::once(None).chain(specs.iter().cloned().map(Some));
        let mut engine = Self {
            generation: None,
            followers: live_and_shadows
                .map(|spec| Follower::new(spec, *live.options()))
                .collect(),
            live,
            connections: HashMap::new(),
            order: Vec::new(),
            watched: HashMap::new(),
            clients: Clients::new(),
            restarts: 0,
        };
        engine.take_over(configured);
        engine
    }

    /// Takes over what was changed about the live director.
    pub(super) fn configure(&mut self) {
        let generation = self.live.generation();
        if self.generation != Some(generation) {
            self.take_over(Configured::of(&self.live));
        }
    }

    fn take_over(&mut self, configured: Configured) {
        let Configured { generation, state } = configured;
        self.generation = Some(generation);
        for follower in &mut self.followers {
            follower.configure(&state);
        }
        let rows = self.followers.len();
        self.order = state
            .services
            .iter()
            .map(|(config, _)| config.key)
            .collect();
        let mut before = std::mem::take(&mut self.watched);
        for (config, servers) in state.services {
            let watched = match before.remove(&config.key) {
                Some(known) => Watched {
                    changes: known.changes + u64::from(known.servers != servers),
                    config,
                    servers,
                    tallies: known.tallies,
                },
                None => Watched {
                    config,
                    servers,
                    changes: 0,
                    tallies: vec![Tally::default(); rows],
                },
            };
            self.watched.insert(watched.config.key, watched);
        }
    }

    /// Takes what a worker told, in its order.
    pub(super) fn take(&mut self, worker: usize, events: impl IntoIterator<Item = Event>) {
        let mut now = Instant::START;
        for event in events {
            self.take_one(worker, event, &mut now);
        }
    }

    fn take_one(&mut self, worker: usize, event: Event, now: &mut Instant) {
        match event {
            Event::At(moment) => *now = moment,
            Event::Made(id, plain) => {
                let (request, place) = plain.request(*now);
                self.ask(worker, &request, Choice::Made(id, place));
            }
            Event::Asked(asked) => self.ask(worker, &asked.0, asked.1),
            Event::Turned(id, active) => {
                let Some(connection) = self.connections.get_mut(&(worker, id)) else {
                    return;
                };
                if connection.active != active {
                    connection.active = active;
                    for held in connection.held.iter().flatten() {
                        held.server.set_active(active);
                    }
                }
            }
            Event::Ended(id) => {
                if let Some(connection) = self.connections.remove(&(worker, id)) {
                    self.end(&connection);
                }
            }
        }
    }

    /// Somebody asked for a connection: each scheduler decides.
    fn ask(&mut self, worker: usize, request: &Request, choice: Choice) {
        let (id, place) = match choice {
            Choice::Made(id, place) | Choice::Given(id, place) => (Some(id), Some(place)),
            Choice::Once(place) => (None, Some(place)),
            Choice::Refused => (None, None),
        };
        let given = matches!(choice, Choice::Given(..));
        let decide = |follower: &Follower| match (&follower.spec, place) {
            (Some(_), _) if !given => follower.schedule(request),
            (_, Some(place)) => follower.give(request, place),
            (_, None) => None,
        };
        let held: Box<[Option<Held>]> = self.followers.iter().map(decide).collect();
        if !given {
            self.score(request, place, &held);
        }
        let connection = Connection {
            active: false,
            held,
        };
        match id {
            None => self.end(&connection),
            Some(id) => {
                // Under a name that is taken the end of the one before it was lost.
                let lost = match self.connections.entry((worker, id)) {
                    Entry::Occupied(mut taken) => Some(taken.insert(connection)),
                    Entry::Vacant(free) => {
                        free.insert(connection);
                        None
                    }
                };
                if let Some(lost) = lost {
                    self.end(&lost);
                }
            }
        }
    }

    fn end(&self, connection: &Connection) {
        for (follower, held) in self.followers.iter().zip(&connection.held) {
            if let Some(held) = held {
                follower.end(held, connection.active);
            }
        }
    }

    /// Counts what the schedulers decided; the live one's choice is `live`.
    fn score(&mut self, request: &Request, live: Option<Place>, held: &[Option<Held>]) {
        let Self {
            followers,
            watched,
            clients,
            ..
        } = self;
        let service = followers
            .first()
            .and_then(|follower| follower.service(request));
        let Some(service) = service else {
            return;
        };
        let Some(watched) = watched.get_mut(&service.config.key) else {
            return;
        };
        let mut places: Box<[Option<Place>]> = held
            .iter()
            .map(|held| held.as_ref().map(Held::place))
            .collect();
        // The live choice is what it was, also if that server has gone meanwhile.
        if let Some(first) = places.first_mut() {
            *first = live;
        }
        let key = service.config.key;
        let client = request.flow.source;
        let before = clients.remember(key, client, watched.changes, places.clone());
        let takes = |(address, port): Place| {
            let server = service.destination(address, port);
            server.is_some_and(|server| server.weight() > 0)
        };
        for (row, (tally, place)) in watched.tallies.iter_mut().zip(&places).enumerate() {
            match place {
                Some(_) => tally.connections += 1,
                None => tally.refused += 1,
            }
            tally.elsewhere += u64::from(*place != live);
            if let Some(before) = &before {
                tally.returned(before, row, *place, watched.changes, takes);
            }
        }
    }

    /// To be called every second.
    pub(super) fn tick(&mut self, now: Instant) {
        for (row, follower) in self.followers.iter().enumerate() {
            follower.tick(now);
            for (key, watched) in &mut self.watched {
                let load = follower.service_of(key).and_then(|it| load(it));
                if let (Some(load), Some(tally)) = (load, watched.tallies.get_mut(row)) {
                    tally.look(load);
                }
            }
        }
    }

    /// Forgets all connections: something was lost, and what is not told as ended would be counted for ever.
    pub(super) fn restart(&mut self) {
        for (_, connection) in std::mem::take(&mut self.connections) {
            self.end(&connection);
        }
        self.restarts += 1;
    }

    /// Everything so far.
    pub(super) fn report(&self) -> Report {
        let services = self.order.iter().filter_map(|key| {
            let watched = self.watched.get(key)?;
            let rows = self.followers.iter().zip(&watched.tallies);
            Some(Service {
                service: name(key),
                changes: watched.changes,
                schedulers: rows
                    .map(|(follower, tally)| scheduler(follower, tally, watched))
                    .collect(),
            })
        });
        Report {
            sample: 1,
            lost: 0,
            restarts: self.restarts,
            live: u64::try_from(self.connections.len()).unwrap_or(u64::MAX),
            services: services.collect(),
        }
    }
}

impl Tally {
    /// A client came again; `takes` says whether a real server takes connections now.
    fn returned(
        &mut self,
        before: &Known,
        row: usize,
        place: Option<Place>,
        changes: u64,
        takes: impl Fn(Place) -> bool,
    ) {
        let Some(&old) = before.servers.get(row) else {
            return;
        };
        let moved = u64::from(old != place);
        self.returning += 1;
        self.moved += moved;
        if before.changes != changes {
            self.after_change.returning += 1;
            self.after_change.moved += moved;
            let forced = old.is_some_and(|old| !takes(old));
            self.after_change.forced += u64::from(forced && moved == 1);
        }
    }

    fn look(&mut self, load: Imbalance) {
        self.load.max += load.max;
        self.load.cv += load.cv;
        self.load.jain += load.jain;
        self.looks += 1;
    }

    fn mean_load(&self) -> Option<Imbalance> {
        let looks = f64::from(self.looks);
        (self.looks > 0).then(|| Imbalance {
            max: self.load.max / looks,
            cv: self.load.cv / looks,
            jain: self.load.jain / looks,
        })
    }
}

fn scheduler(follower: &Follower, tally: &Tally, watched: &Watched) -> Scheduler {
    let service = follower.service_of(&watched.config.key);
    let spec = follower.spec.as_ref();
    let servers = service.map_or(&[][..], |service| &service.destinations);
    let row = |server: &Arc<Destination>| Server {
        server: endpoint((server.address, server.port)),
        weight: server.weight(),
        connections: server.stats.current().connections,
        active: server.active(),
        inactive: server.inactive(),
    };
    Scheduler {
        scheduler: spec.map_or_else(
            || watched.config.scheduler.clone(),
            |spec| spec.text.clone(),
        ),
        live: spec.is_none(),
        connections: tally.connections,
        refused: tally.refused,
        elsewhere: tally.elsewhere,
        returning: tally.returning,
        moved: tally.moved,
        after_change: tally.after_change,
        load: tally.mean_load(),
        load_now: service.and_then(|it| load(it)),
        shares: service
            .and_then(|it| Imbalance::for_weight(it, |it| it.stats.current().connections)),
        servers: servers.iter().map(row).collect(),
    }
}

/// Imbalance of load for weight now.
fn load(service: &director::service::Service) -> Option<Imbalance> {
    Imbalance::for_weight(service, |server| server.load())
}

/// A service as lists name it.
fn name(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => format!("{} {}", protocol.name(), endpoint((address, port))),
        ServiceKey::Mark { family, mark } => match family {
            director::service::Family::V4 => format!("FWM {mark}"),
            director::service::Family::V6 => format!("FWM {mark} IPv6"),
        },
    }
}

fn endpoint((address, port): Place) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

#[cfg(test)]
mod tests;

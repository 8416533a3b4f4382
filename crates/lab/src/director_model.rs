//! The directors of a run: the real ones, with the network around them and the commands that an operator gives.
//!
//! Several stand behind a router that spreads flows over them by equal-cost multipath. It hashes addresses and ports
//! and gives each flow to the director with the highest score for it (rendezvous hashing), so that a director's death
//! moves its own flows alone: what else would be moved by a router that counts modulo has nothing to do with schedulers.

use core::net::Ipv4Addr;
use std::sync::Arc;

use director::connection::{HashKind, TableConfig};
use director::destination::{DestinationConfig, Method, TunnelConfig};
use director::director::{Director, Host};
use director::frame::Output;
use director::protocol::Protocol;
use director::scheduler::lots::mix;
use director::service::{FLAG_ONE_PACKET, FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use director::shared::{CommandError, Options, Shared};
use director::time::Instant;
use link::recycle;
use packet::Family;

use crate::earliest::NEVER;
use crate::frames::{Flow, FrameBuffer, Kind};
use crate::network::{self, Addresses, INTERFACE, OWN, PORT};
use crate::scenario::{self, ServiceSection};
use crate::schedulers::Choice;

/// Connections that a director keeps at most.
const MAX_CONNECTIONS: usize = 1 << 24;
/// Times that one call lets a director work off what is due; each ends hundreds of connections.
const MOST_TICKS: u32 = 1_000_000;

/// What stays the same during a run.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The scheduler of every service.
    pub(crate) scheduler: Choice,
    /// The services.
    pub(crate) service: ServiceSection,
    /// Directors.
    pub(crate) count: usize,
    /// Whether they are workers of one.
    pub(crate) is_shared: bool,
    /// Real servers that there may ever be.
    pub(crate) servers: u32,
    /// Whether a packet in the middle of a TCP connection begins one (`sloppy_tcp`).
    pub(crate) sloppy: bool,
    /// Where services and real servers are.
    pub(crate) addresses: Addresses,
    /// Of the secrets of their hashes.
    pub(crate) seed: u64,
}

impl Setup {
    /// Virtual addresses.
    pub(crate) fn vips(&self) -> u32 {
        self.service.vips.max(1)
    }

    /// A client's endpoint and the virtual address of this number, from 0.
    pub(crate) const fn flow(&self, client: Ipv4Addr, port: u16, vip: u32) -> Flow {
        Flow {
            client,
            port,
            vip: self.addresses.vip(vip),
            service_port: PORT,
        }
    }

    fn protocol(&self) -> Protocol {
        match self.service.protocol {
            scenario::Protocol::Tcp => Protocol::Tcp,
            scenario::Protocol::Udp => Protocol::Udp,
        }
    }

    /// Firewall mark of every packet of a client; 0 = none.
    fn mark(&self) -> u32 {
        u32::from(self.service.by_mark)
    }

    /// Virtual services: one for each virtual address, or one by mark for all of them.
    fn services(&self) -> u32 {
        if self.service.by_mark { 1 } else { self.vips() }
    }

    fn key(&self, service: u32) -> ServiceKey {
        if self.service.by_mark {
            return ServiceKey::Mark {
                family: Family::V4,
                mark: self.mark(),
            };
        }
        ServiceKey::Address {
            protocol: self.protocol(),
            address: self.addresses.vip(service).into(),
            port: PORT,
        }
    }

    fn config(&self, service: u32) -> ServiceConfig {
        let mut flags = self.scheduler.flags;
        if self.service.persistent > 0 {
            flags |= FLAG_PERSISTENT;
        }
        if self.service.one_packet {
            flags |= FLAG_ONE_PACKET;
        }
        ServiceConfig {
            key: self.key(service),
            scheduler: self.scheduler.name.to_owned(),
            flags,
            timeout: self.service.persistent,
            netmask: u32::MAX,
            persistence_engine: None,
        }
    }
}

/// A real server as the operator has configured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its number, from 0.
    pub(crate) server: u32,
    /// `-w`.
    pub(crate) weight: u32,
    /// `-x`.
    pub(crate) upper: u32,
    /// `-y`.
    pub(crate) lower: u32,
}

impl Listed {
    fn config(&self, addresses: Addresses) -> DestinationConfig {
        DestinationConfig {
            address: addresses.server(self.server).into(),
            port: PORT,
            method: Method::DirectRoute,
            tunnel: TunnelConfig::default(),
            weight: i32::try_from(self.weight).unwrap_or(i32::MAX),
            upper_threshold: self.upper,
            lower_threshold: self.lower,
        }
    }
}

/// The directors.
#[derive(Debug)]
pub(crate) struct DirectorModel {
    setup: Setup,
    host: Arc<Host>,
    /// What is configured: one for each director, or one for all.
    shared: Vec<Arc<Shared>>,
    directors: Vec<Director>,
    is_alive: Vec<bool>,
    /// When each has something to do on time.
    due: Vec<u64>,
    /// None has before.
    next_due: u64,
    /// Real servers in the order in which they were added.
    roster: Vec<Listed>,
    buffer: FrameBuffer,
    /// Memory of the list of frames.
    frames: Vec<director::frame::Outgoing<'static>>,
}

impl DirectorModel {
    /// Directors with their services, and no real server.
    pub(crate) fn new(setup: Setup) -> Result<Self, CommandError> {
        let host = Host::default();
        host.network.store(Arc::new(
            setup.addresses.network(setup.vips(), setup.servers),
        ));
        let count = setup.count.max(1);
        let mut model = Self {
            setup,
            host: Arc::new(host),
            shared: Vec::new(),
            directors: Vec::new(),
            is_alive: vec![true; count],
            due: vec![NEVER; count],
            next_due: NEVER,
            roster: Vec::new(),
            buffer: FrameBuffer::new(),
            frames: Vec::new(),
        };
        model.boot()?;
        Ok(model)
    }

    /// What is configured.
    pub(crate) const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Real servers in the order in which they were added.
    pub(crate) fn roster(&self) -> &[Listed] {
        &self.roster
    }

    /// All directors start again, with their configuration and without connections.
    pub(crate) fn boot(&mut self) -> Result<(), CommandError> {
        let setup = &self.setup;
        let count = self.is_alive.len();
        let (configured, workers) = if setup.is_shared {
            (1, count)
        } else {
            (count as u64, 1)
        };
        self.shared = (0..configured)
            .map(|number| configure(setup, workers, mix(setup.seed ^ number)))
            .collect::<Result<_, _>>()?;
        self.directors = (0..count)
            .map(|number| {
                let (shared, worker) = if setup.is_shared {
                    (0, number)
                } else {
                    (number, 0)
                };
                let secret = mix(setup.seed ^ number as u64);
                let table = TableConfig {
                    max_connections: MAX_CONNECTIONS,
                    hash: HashKind::default(),
                    seed: [secret, mix(secret)],
                };
                Director::new(
                    Arc::clone(&self.shared[shared]),
                    Arc::clone(&self.host),
                    worker,
                    &table,
                )
            })
            .collect();
        self.is_alive.fill(true);
        self.due.fill(NEVER);
        self.next_due = NEVER;
        let roster = core::mem::take(&mut self.roster);
        for listed in roster {
            self.add(listed)?;
        }
        Ok(())
    }

    /// `ipvsadm -a` at each director, for each service.
    pub(crate) fn add(&mut self, listed: Listed) -> Result<(), CommandError> {
        let addresses = self.setup.addresses;
        self.command(|shared, key| shared.add_destination(key, &listed.config(addresses)))?;
        self.roster.push(listed);
        Ok(())
    }

    /// `ipvsadm -e`.
    pub(crate) fn edit(&mut self, listed: Listed) -> Result<(), CommandError> {
        let addresses = self.setup.addresses;
        self.command(|shared, key| shared.edit_destination(key, &listed.config(addresses)))?;
        let mut known = self.roster.iter_mut();
        if let Some(known) = known.find(|known| known.server == listed.server) {
            *known = listed;
        }
        Ok(())
    }

    /// `ipvsadm -d`.
    pub(crate) fn delete(&mut self, server: u32) -> Result<(), CommandError> {
        let address = self.setup.addresses.server(server).into();
        self.command(|shared, key| shared.delete_destination(key, address, PORT))?;
        self.roster.retain(|listed| listed.server != server);
        Ok(())
    }

    fn command(
        &mut self,
        command: impl Fn(&Shared, &ServiceKey) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        for shared in &self.shared {
            for service in 0..self.setup.services() {
                command(shared, &self.setup.key(service))?;
            }
        }
        for director in &mut self.directors {
            director.refresh();
        }
        Ok(())
    }

    /// The director of this number dies, unless it is the last one.
    pub(crate) fn kill(&mut self, director: usize) {
        let alive = self.is_alive.iter().filter(|&&is_alive| is_alive).count();
        if alive > 1
            && let Some(is_alive) = self.is_alive.get_mut(director)
        {
            *is_alive = false;
        }
    }

    /// Directors that live.
    pub(crate) fn alive(&self) -> impl Iterator<Item = usize> {
        let numbers = self.is_alive.iter().enumerate();
        numbers
            .filter(|&(_, &is_alive)| is_alive)
            .map(|(number, _)| number)
    }

    /// The director that the router gives a new flow to.
    pub(crate) fn route(&self, flow: &Flow) -> usize {
        if self.is_alive.len() == 1 {
            return 0;
        }
        let hash = flow.hash();
        let best = self
            .alive()
            .max_by_key(|&number| mix(hash ^ mix(number as u64)));
        best.unwrap_or(0)
    }

    /// The director that handles a packet of a flow which one of them has had: the same, until that one dies. The
    /// connections of directors that share them outlive it.
    pub(crate) fn route_on(&self, flow: &Flow, last: usize) -> usize {
        if self.setup.is_shared || self.is_alive.get(last).copied().unwrap_or(false) {
            last
        } else {
            self.route(flow)
        }
    }

    /// Gives a client's packet to a director: the real server that it is sent on to, if any.
    pub(crate) fn handle(
        &mut self,
        now: u64,
        director: usize,
        flow: &Flow,
        kind: Kind,
    ) -> Option<u32> {
        if self.next_due <= now {
            self.tick(now);
        }
        self.buffer.write(OWN, flow, kind);
        let mut output = Output {
            frames: recycle(core::mem::take(&mut self.frames)),
            told: Vec::new(),
        };
        let at = Instant::from_nanos(now);
        let packet = self.buffer.packet();
        let worker = &mut self.directors[director];
        let _verdict = worker.handle(at, INTERFACE, self.setup.mark(), packet, &mut output);
        let reached = output
            .frames
            .first()
            .and_then(|sent| network::server_at(sent.frame.bytes()));
        self.frames = recycle(output.frames);
        let due = worker.next_deadline().map_or(NEVER, Instant::as_nanos);
        self.due[director] = due;
        self.next_due = self.next_due.min(due);
        reached
    }

    /// Lets the directors do what is due.
    pub(crate) fn tick(&mut self, now: u64) {
        let at = Instant::from_nanos(now);
        let mut output = Output::default();
        for (director, due) in self.directors.iter_mut().zip(&mut self.due) {
            for _ in 0..MOST_TICKS {
                if *due > now {
                    break;
                }
                director.tick(at, &mut output);
                *due = director.next_deadline().map_or(NEVER, Instant::as_nanos);
            }
        }
        self.next_due = self.due.iter().copied().min().unwrap_or(NEVER);
    }

    /// What a daemon does about every second beside: templates end, deleted real servers are forgotten.
    pub(crate) fn keep_house(&mut self, now: u64) {
        let at = Instant::from_nanos(now);
        self.tick(now);
        for shared in &self.shared {
            shared.expire_templates(at, usize::MAX);
            shared.tick(at);
        }
    }
}

/// What is configured at one director, whose schedulers draw `lots`.
fn configure(setup: &Setup, workers: usize, lots: u64) -> Result<Arc<Shared>, CommandError> {
    let shared = Shared::new(Options {
        workers,
        seed: (mix(setup.seed), mix(!setup.seed)),
        schedulers: baselines::ENTRIES,
        lots,
        ..Options::default()
    });
    // Both names and values are the director's own.
    for (name, value) in [("sloppy_tcp", setup.sloppy), ("run_estimation", false)] {
        let _ = shared.set_sysctl(name, if value { "1" } else { "0" });
    }
    for service in 0..setup.services() {
        shared.add_service(setup.config(service))?;
    }
    Ok(Arc::new(shared))
}

#[cfg(test)]
mod recorded;

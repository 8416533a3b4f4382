//! Laws that every scheduler keeps, checked over random histories of a service: for the tests of this crate, and of
//! those that bring schedulers of their own (feature `laws`).
//!
//! Panics when a law is broken, and says which history shows it; never called by the director.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::lots::Lots;
use super::{Entry, Flow};
use crate::assign::Scheduled;
use crate::destination::{Destination, DestinationConfig, Method, TunnelConfig};
use crate::explain::Copied;
use crate::protocol::Protocol;
use crate::service::{Service, ServiceConfig, ServiceKey};
use crate::shared::{Options, Shared};
use crate::time::Instant;

/// Histories of each scheduler.
const HISTORIES: u64 = 50;
/// So many of them with lots that begin at another number, too.
const OTHERS: u64 = 10;
/// Commands, connections and their ends in a history.
const STEPS: u64 = 60;
/// Addresses that real servers have.
const SERVERS: u64 = 8;

/// What a scheduler may do beside the laws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeway {
    /// Refuse a connection although one of the real servers is usable.
    pub refuses: bool,
    /// Pick a real server beyond its thresholds.
    pub overloads: bool,
}

/// The leeway of a scheduler with these `FLAG_*` bits and real servers.
pub type LeewayOf = fn(&Entry, u32, &[Arc<Destination>]) -> Leeway;

/// A connection and whether it is active.
type Live = (Arc<Destination>, bool);

/// Checks each of these schedulers:
///
/// - only real servers that are usable are picked, and one is picked whenever there is one, but for its `leeway`;
/// - the same history gives the same picks, and without [`super::Scheduler::draws_lots`] from any number;
/// - a copy ([`super::Scheduler::fork`]), where there is one, picks what the scheduler picks next;
/// - no history of commands, connections and ends makes it panic.
///
/// # Panics
/// When a law is broken.
pub fn check(entries: &'static [&'static Entry], leeway: LeewayOf) {
    for entry in entries {
        let mut others = 0;
        for seed in 0..HISTORIES {
            let run = |lots| History::new(entries, entry, leeway, seed, lots).run();
            let (first, second) = (run(seed), run(seed));
            assert!(
                first == second,
                "{}: history {seed} gives other picks when it is repeated",
                entry.name
            );
            others += u32::from(seed < OTHERS && run(seed + 1) != first);
        }
        assert_eq!(
            others > 0,
            (entry.make)(0).draws_lots(),
            "{}: {others} of {OTHERS} histories give other picks where lots begin at another number",
            entry.name
        );
    }
}

struct History {
    shared: Shared,
    entry: &'static Entry,
    leeway: LeewayOf,
    config: ServiceConfig,
    lots: Lots,
    live: Vec<Live>,
    picks: Vec<Option<IpAddr>>,
    seed: u64,
}

impl History {
    fn new(
        entries: &'static [&'static Entry],
        entry: &'static Entry,
        leeway: LeewayOf,
        seed: u64,
        lots: u64,
    ) -> Self {
        let all_flags = entry.flags.iter().fold(0, |flags, name| flags | name.flag);
        let config = ServiceConfig {
            key: ServiceKey::Address {
                protocol: Protocol::Tcp,
                address: if seed % 4 == 3 {
                    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into()
                } else {
                    Ipv4Addr::new(10, 8, 0, 1).into()
                },
                port: 80,
            },
            scheduler: entry.name.to_owned(),
            flags: if seed % 2 == 1 { all_flags } else { 0 },
            timeout: 0,
            netmask: if seed % 4 == 3 { 128 } else { u32::MAX },
            persistence_engine: None,
        };
        let shared = Shared::new(Options {
            schedulers: entries,
            lots,
            ..Options::default()
        });
        let added = shared.add_service(config.clone());
        assert!(added.is_ok(), "{}: {added:?}", entry.name);
        Self {
            shared,
            entry,
            leeway,
            config,
            lots: Lots::new(seed),
            live: Vec::new(),
            picks: Vec::new(),
            seed,
        }
    }

    /// Does all steps; returns what was picked.
    fn run(mut self) -> Vec<Option<IpAddr>> {
        for step in 0..STEPS {
            match self.lots.below(16) {
                0 | 1 => self.add(),
                2 => self.delete(),
                3 => self.edit(),
                4 | 5 => self.end(),
                6 | 7 => self.turn(),
                _ => self.connect(step),
            }
        }
        self.picks
    }

    fn address(&mut self) -> IpAddr {
        let host = u16::try_from(self.lots.below(SERVERS)).unwrap_or(0);
        match self.config.key {
            ServiceKey::Address {
                address: IpAddr::V6(_),
                ..
            } => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, host).into(),
            _ => Ipv4Addr::from_bits(0x0a02_0001 + u32::from(host)).into(),
        }
    }

    fn server(&mut self) -> DestinationConfig {
        let weight = [0, 1, 1, 2, 3, 7, 1000, i32::MAX][self.draw(8)];
        let upper_threshold = [0, 0, 0, 1, 4][self.draw(5)];
        DestinationConfig {
            address: self.address(),
            port: 80,
            method: Method::DirectRoute,
            tunnel: TunnelConfig::default(),
            weight,
            upper_threshold,
            lower_threshold: 0,
        }
    }

    fn draw(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(0);
        usize::try_from(self.lots.below(limit)).unwrap_or(0)
    }

    // Commands about a server that is there already, or is not, change nothing: a part of histories too.

    fn add(&mut self) {
        let server = self.server();
        let _ = self.shared.add_destination(&self.config.key, &server);
    }

    fn edit(&mut self) {
        let server = self.server();
        let _ = self.shared.edit_destination(&self.config.key, &server);
    }

    fn delete(&mut self) {
        let address = self.address();
        let key = &self.config.key;
        let _ = self.shared.delete_destination(key, address, 80);
    }

    /// A connection ends.
    fn end(&mut self) {
        let index = self.draw(self.live.len());
        if index < self.live.len() {
            let (server, active) = self.live.swap_remove(index);
            server.unbind(active);
        }
    }

    /// A connection becomes active, or inactive again.
    fn turn(&mut self) {
        let index = self.draw(self.live.len());
        if let Some((server, active)) = self.live.get_mut(index) {
            *active = !*active;
            server.set_active(*active);
        }
    }

    fn connect(&mut self, step: u64) {
        let services = self.shared.snapshot();
        let service = services.get(&self.config.key).expect("it was added");
        let client = u32::try_from(self.lots.below(1 << 32)).unwrap_or(0);
        let flow = Flow {
            protocol: Protocol::Tcp,
            source: Ipv4Addr::from_bits(client).into(),
            source_port: u16::try_from(self.lots.below(1 << 16)).unwrap_or(0),
            destination: Ipv4Addr::new(10, 8, 0, 1).into(),
            destination_port: 80,
        };
        let flow = match self.config.key {
            ServiceKey::Address {
                address: vip @ IpAddr::V6(_),
                ..
            } => Flow {
                source: Ipv6Addr::from_bits(u128::from(client) << 64 | 7).into(),
                destination: vip,
                ..flow
            },
            _ => flow,
        };
        let leeway = (self.leeway)(self.entry, self.config.flags, &service.destinations);
        let weighty = service.destinations.iter().filter(|it| it.weight() > 0);
        let usable: Vec<_> = weighty
            .filter(|server| leeway.overloads || !server.is_overloaded())
            .collect();
        let foretold = self.foretold(service, &flow);
        let scheduled = self.shared.schedule(service, &flow, None, Instant::START);
        let (name, seed) = (self.entry.name, self.seed);
        let picked = match scheduled {
            Scheduled::Assigned(assignment) => Some(assignment.destination),
            _ => None,
        };
        if let Some(picked) = &picked {
            assert!(
                usable.iter().any(|server| Arc::ptr_eq(server, picked)),
                "{name}: history {seed}, step {step}: a real server that is not usable was picked"
            );
            self.live.push((Arc::clone(picked), false));
        } else {
            let refuses = leeway.refuses || service.destinations.iter().all(|it| !it.is_usable());
            assert!(
                refuses,
                "{name}: history {seed}, step {step}: nothing was picked although a real server is usable"
            );
        }
        let picked = picked.map(|server| server.address);
        assert!(
            foretold.is_none_or(|foretold| foretold == picked),
            "{name}: history {seed}, step {step}: a copy picks {foretold:?} instead of {picked:?}"
        );
        self.picks.push(picked);
    }

    /// What a copy of the scheduler picks; `None` where it cannot be copied.
    fn foretold(&self, service: &Service, flow: &Flow) -> Option<Option<IpAddr>> {
        let options = Options::default();
        let (fork, is_exact) = service.fork(&options, Some(flow), &mut Copied::default());
        let lifetime = self.shared.cache_lifetime(service);
        let pick = || fork.pick(flow, Instant::START, lifetime, |_| ());
        is_exact.then(|| pick().map(|server| server.address))
    }
}

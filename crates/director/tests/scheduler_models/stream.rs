//! A stream of connections and commands that goes to the director and to the model alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use director::assign::Scheduled;
use director::destination::{Destination, DestinationConfig, Method, TunnelConfig};
use director::protocol::Protocol;
use director::scheduler::Flow;
use director::service::{
    FLAG_SCHED_1, FLAG_SCHED_2, Family, NO_SCHEDULER, ServiceConfig, ServiceKey,
};
use director::shared::{Options, Shared};
use director::time::Instant;

use crate::lots::Lots;
use crate::service::{Arrival, Id, Server, Service, formula};

/// Real servers that one service may have at once.
const SERVERS_MAX: usize = 40;

/// What one service and its clients are like.
#[derive(Clone, Debug)]
struct Nature {
    is_v4: bool,
    /// One in so many real servers is of the other family; 0 = none.
    mixed: u64,
    servers: usize,
    /// Weights are below this, times `unit`.
    weights: u64,
    unit: u64,
    /// One in so many weights is 0.
    quiesced: u64,
    /// One in so many real servers has thresholds; 0 = none.
    limited: u64,
    clients: u64,
    virtual_addresses: u64,
    /// Connections at once.
    connections: usize,
    /// Picks from one command to the next, on average.
    calm: u64,
    /// Most milliseconds from one connection to the next.
    pause: u64,
}

impl Nature {
    fn new(scheduler: &str, lots: &mut Lots) -> Self {
        // The model's `wrr` takes every step of a pass, and its tables are slow to build.
        let (weights, units): (&[u64], &[u64]) = match scheduler {
            "wrr" => (&[2, 4, 10, 60], &[1, 1, 2, 5]),
            _ => (&[2, 4, 10, 200, 70_000], &[1, 1, 3, 30_000]),
        };
        let calm: &[u64] = match scheduler {
            "mh" => &[150, 400, 2000],
            _ => &[5, 50, 500],
        };
        let most = lots.one_of(&[20, 200, 1000]);
        let connections = lots.place(most + 1);
        Self {
            is_v4: lots.once_in(2),
            mixed: lots.one_of(&[0, 0, 4]),
            servers: 1 + lots.place(SERVERS_MAX),
            weights: lots.one_of(weights),
            unit: lots.one_of(units),
            quiesced: lots.one_of(&[3, 10, 100]),
            limited: lots.one_of(&[0, 2, 6]),
            clients: lots.one_of(&[1, 50, 1 << 14, 1 << 32]),
            virtual_addresses: lots.one_of(&[1, 5, 300, 4000]),
            connections,
            calm: lots.one_of(calm),
            pause: lots.one_of(&[50, 2_000, 60_000, 3_600_000]),
        }
    }
}

/// A connection: the model's real server, the director's, and whether it is active.
type Connection = (Id, Arc<Destination>, bool);

/// A service of the director's and its model.
pub(crate) struct Stream {
    scheduler: &'static str,
    lots: Lots,
    nature: Nature,
    shared: Shared,
    config: ServiceConfig,
    model: Service,
    connections: Vec<Connection>,
    now: u64,
    expiration: u64,
}

impl Stream {
    /// # Errors
    /// The director refuses the service.
    pub(crate) fn new(scheduler: &'static str, seed: u64) -> Result<Self, String> {
        let mut lots = Lots::new(seed);
        let nature = Nature::new(scheduler, &mut lots);
        let family = if nature.is_v4 { Family::V4 } else { Family::V6 };
        let config = ServiceConfig {
            key: ServiceKey::Mark { family, mark: 1 },
            scheduler: scheduler.to_owned(),
            flags: 0,
            timeout: 0,
            netmask: if nature.is_v4 { u32::MAX } else { 128 },
            persistence_engine: None,
        };
        let shared = Shared::new(Options::default());
        shared
            .add_service(config.clone())
            .map_err(|error| error.to_string())?;
        let formula = formula(scheduler).ok_or("no formula")?;
        let mut stream = Self {
            scheduler,
            model: Service::new(nature.is_v4, formula),
            lots,
            nature,
            shared,
            config,
            connections: Vec::new(),
            now: 1000,
            expiration: 0,
        };
        stream.set_expiration()?;
        for _ in 0..stream.nature.servers {
            stream.add()?;
        }
        Ok(stream)
    }

    /// Lets one connection come, after what else happens before it.
    ///
    /// # Errors
    /// The director and the model differ: how.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.now += self.lots.below(self.nature.pause + 1);
        if self.lots.once_in(self.nature.calm) {
            self.command()?;
        }
        self.live();
        let arrival = self.arrival();
        let expected = self.model.pick(arrival);
        let flow = Flow {
            protocol: Protocol::Tcp,
            source: arrival.client,
            source_port: arrival.client_port,
            destination: arrival.virtual_address,
            destination_port: 80,
        };
        let now = Instant::START.after(Duration::from_millis(self.now));
        let services = self.shared.snapshot();
        let service = services.get(&self.config.key).ok_or("no service")?;
        let picked = match self.shared.schedule(service, &flow, None, now) {
            Scheduled::Assigned(assignment) => Some(assignment.destination),
            Scheduled::NoDestination => None,
            other => return Err(format!("{other:?}")),
        };
        match (expected, picked) {
            (None, None) => Ok(()),
            (Some(id), Some(picked)) => self.same(id, picked, arrival),
            (expected, picked) => Err(self.tell(arrival, expected, picked.as_deref())),
        }
    }

    /// The model's pick and the director's must be one real server, with the same counts after it.
    fn same(&mut self, id: Id, picked: Arc<Destination>, arrival: Arrival) -> Result<(), String> {
        self.model.servers[id].bind();
        let server = &self.model.servers[id];
        let is_same = (server.address, server.port) == (picked.address, picked.port)
            && server.active == picked.active().into()
            && server.inactive == picked.inactive().into()
            && server.overloaded == picked.is_overloaded();
        if !is_same {
            return Err(self.tell(arrival, Some(id), Some(&picked)));
        }
        self.connections.push((id, picked, false));
        Ok(())
    }

    fn tell(&self, arrival: Arrival, id: Option<Id>, picked: Option<&Destination>) -> String {
        let model = id.map(|id| &self.model.servers[id]);
        let ulvs = picked.map(|picked| (picked.config(), picked.active(), picked.inactive()));
        let list = self
            .model
            .list
            .iter()
            .map(|&id| format!("  {:?}\n", self.model.servers[id]));
        let list: String = list.collect();
        format!("{arrival:?}\nmodel: {model:?}\nulvs:  {ulvs:?}\nlist:\n{list}")
    }

    fn arrival(&mut self) -> Arrival {
        let client = self.lots.below(self.nature.clients);
        let virtual_address = self.lots.below(self.nature.virtual_addresses);
        Arrival {
            client: self.address(0xc000_0200, client),
            // Port 20 is FTP's.
            client_port: u16::try_from(1024 + self.lots.below(60_000)).unwrap(),
            virtual_address: self.address(0x0a08_0000, virtual_address),
            with_port: self.config.flags & FLAG_SCHED_2 != 0,
            with_fallback: self.config.flags & FLAG_SCHED_1 != 0,
            now: self.now,
            expiration: self.expiration,
        }
    }

    /// An address of the service's family.
    fn address(&self, network: u32, host: u64) -> IpAddr {
        if self.nature.is_v4 {
            let host = u32::try_from(host).unwrap_or(u32::MAX);
            Ipv4Addr::from_bits(network.wrapping_add(host)).into()
        } else {
            // Everywhere in the address, as all of it is hashed.
            let spread = u128::from(host).wrapping_mul(0x0001_0000_0001_0000_0001);
            Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(network) << 32 ^ spread).into()
        }
    }

    /// Connections become active or inactive, and end.
    fn live(&mut self) {
        for _ in 0..self.lots.below(3) {
            if self.connections.is_empty() {
                break;
            }
            let at = self.lots.place(self.connections.len());
            let (id, destination, active) = &mut self.connections[at];
            *active = !*active;
            destination.set_active(*active);
            self.model.servers[*id].turn(*active);
        }
        while self.connections.len() > self.nature.connections {
            let at = self.lots.place(self.connections.len());
            let (id, destination, active) = self.connections.swap_remove(at);
            destination.unbind(active);
            self.model.servers[id].unbind(active);
        }
    }
}

/// Commands.
impl Stream {
    fn command(&mut self) -> Result<(), String> {
        let count = self.model.list.len();
        match self.lots.below(20) {
            0 | 1 if count < SERVERS_MAX => self.add(),
            2 | 3 if count < SERVERS_MAX => self.add_again(),
            4..=6 if count > 0 => self.delete(),
            7 => self.set_flags(),
            8 => self.set_expiration(),
            9 => self.rebind(),
            10 => {
                self.nature.connections = self.lots.place(400);
                Ok(())
            }
            _ if count > 0 => self.edit(),
            _ => self.add(),
        }
    }

    fn weight(&mut self) -> i32 {
        if self.lots.once_in(self.nature.quiesced) {
            return 0;
        }
        let weight = self.lots.below(self.nature.weights) * self.nature.unit;
        i32::try_from(weight).unwrap_or(i32::MAX)
    }

    fn thresholds(&mut self) -> (u32, u32) {
        let Nature { limited, .. } = self.nature;
        if limited == 0 || !self.lots.once_in(limited) {
            return (0, 0);
        }
        let upper = 1 + self.lots.below(30);
        let lower = self.lots.below(upper + 1) * self.lots.below(2);
        (u32::try_from(upper).unwrap(), u32::try_from(lower).unwrap())
    }

    /// The settings of a real server, drawn anew.
    fn settings(&mut self, address: IpAddr, port: u16) -> DestinationConfig {
        let (upper_threshold, lower_threshold) = self.thresholds();
        DestinationConfig {
            address,
            port,
            method: if address.is_ipv4() == self.nature.is_v4 {
                Method::Masq
            } else {
                Method::Tunnel
            },
            tunnel: TunnelConfig::default(),
            weight: self.weight(),
            upper_threshold,
            lower_threshold,
        }
    }

    fn add(&mut self) -> Result<(), String> {
        let other = self.nature.mixed > 0 && self.lots.once_in(self.nature.mixed);
        let number = u32::try_from(self.model.servers.len()).unwrap();
        let address: IpAddr = if self.nature.is_v4 != other {
            Ipv4Addr::from_bits(0x0a02_0000 + number * 7).into()
        } else {
            let host = u128::from(number);
            Ipv6Addr::from_bits(0xfd02 << 112 | host << 100 | (host * 5) << 24 | 0x11).into()
        };
        let port = u16::try_from(8000 + self.lots.below(3)).unwrap();
        let config = self.settings(address, port);
        self.shared
            .add_destination(&self.config.key, &config)
            .map_err(|error| error.to_string())?;
        self.model.add(Server {
            address,
            port,
            weight: config.weight.into(),
            last_weight: config.weight.into(),
            upper: config.upper_threshold.into(),
            lower: config.lower_threshold.into(),
            overloaded: false,
            listed: true,
            active: 0,
            inactive: 0,
        });
        Ok(())
    }

    /// Adds a real server that was deleted, which may have connections still.
    fn add_again(&mut self) -> Result<(), String> {
        let deleted: Vec<Id> = (0..self.model.servers.len())
            .filter(|&id| !self.model.servers[id].listed)
            .collect();
        if deleted.is_empty() {
            return self.add();
        }
        let id = self.lots.one_of(&deleted);
        let (address, port) = (self.model.servers[id].address, self.model.servers[id].port);
        let config = self.settings(address, port);
        self.shared
            .add_destination(&self.config.key, &config)
            .map_err(|error| error.to_string())?;
        let (upper, lower) = (config.upper_threshold, config.lower_threshold);
        self.model
            .add_again(id, config.weight.into(), upper.into(), lower.into());
        Ok(())
    }

    fn edit(&mut self) -> Result<(), String> {
        let id = self.lots.one_of(&self.model.list);
        let (address, port) = (self.model.servers[id].address, self.model.servers[id].port);
        let config = self.settings(address, port);
        self.shared
            .edit_destination(&self.config.key, &config)
            .map_err(|error| error.to_string())?;
        let (upper, lower) = (config.upper_threshold, config.lower_threshold);
        self.model
            .edit(id, config.weight.into(), upper.into(), lower.into());
        Ok(())
    }

    fn delete(&mut self) -> Result<(), String> {
        let id = self.lots.one_of(&self.model.list);
        let server = &self.model.servers[id];
        self.shared
            .delete_destination(&self.config.key, server.address, server.port)
            .map_err(|error| error.to_string())?;
        self.model.delete(id);
        Ok(())
    }

    fn set_flags(&mut self) -> Result<(), String> {
        self.config.flags = self.lots.one_of(&[0, 1, 2, 3]) * FLAG_SCHED_1;
        self.shared
            .edit_service(self.config.clone())
            .map_err(|error| error.to_string())
    }

    /// Takes the scheduler away and gives a new one.
    fn rebind(&mut self) -> Result<(), String> {
        for scheduler in [NO_SCHEDULER, self.scheduler] {
            scheduler.clone_into(&mut self.config.scheduler);
            self.shared
                .edit_service(self.config.clone())
                .map_err(|error| error.to_string())?;
        }
        self.model
            .bind(formula(self.scheduler).ok_or("no formula")?);
        Ok(())
    }

    fn set_expiration(&mut self) -> Result<(), String> {
        let seconds = self.lots.one_of(&[1, 90, 1800, 10_000, 86_400]);
        self.expiration = seconds * 1000;
        for name in ["lblc_expiration", "lblcr_expiration"] {
            self.shared
                .set_sysctl(name, &seconds.to_string())
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

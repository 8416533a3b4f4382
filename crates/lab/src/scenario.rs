//! A scenario as its TOML file says it: who connects, how much work that is, to which real servers, what happens to them.
//!
//! Promises: [`read()`] takes any text, and gives a scenario that ends, or one sentence that names file, line and what to do.

mod amounts;
mod check;
mod distribution;
mod events;
mod read;
mod shipped;
mod sweep;

use std::path::PathBuf;

pub use control::config::ConfigError as ScenarioError;
use serde::Deserialize;

pub use check::{Fault, check};
pub use read::read;
pub use shipped::SHIPPED;

/// A scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name: letters, digits, dashes.
    pub name: String,
    /// One sentence about it.
    pub summary: String,
    /// For how long connections arrive, seconds.
    pub duration: f64,
    /// For how long nothing is counted at first, seconds.
    #[serde(default)]
    pub warmup: f64,
    /// Schedulers with their flags, as typed (`sh -b sh-port`); none = every registered one, then the baselines.
    #[serde(default)]
    pub schedulers: Vec<String>,
    /// The virtual service.
    #[serde(default)]
    pub service: ServiceSection,
    /// Groups of equal real servers.
    pub servers: Vec<ServersSection>,
    /// When connections arrive.
    pub arrivals: Arrivals,
    /// Kinds of connections; each arrival is of one of them.
    pub connections: Vec<ConnectionsSection>,
    /// Who connects.
    #[serde(default)]
    pub clients: Clients,
    /// What happens to real servers and directors.
    #[serde(default)]
    pub events: Vec<Event>,
    /// The directors.
    #[serde(default)]
    pub directors: Directors,
    /// A half-open flood beside the clients.
    pub syn_flood: Option<SynFlood>,
    /// The scenario is run once for each value.
    pub sweep: Option<Sweep>,
}

impl Scenario {
    /// Work that all real servers together do in a second, as the scenario begins.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        let groups = self.servers.iter();
        groups
            .map(|group| f64::from(group.count) * f64::from(group.processors) * group.speed)
            .sum()
    }

    /// Mean work of a connection, seconds of a server of speed 1.
    #[must_use]
    pub fn mean_work(&self) -> f64 {
        let kinds = self.connections.iter();
        let work: f64 = kinds
            .clone()
            .map(|kind| kind.share * kind.work.mean())
            .sum();
        work / kinds.map(|kind| kind.share).sum::<f64>()
    }

    /// Connections a second, on average; `None` where it is not the scenario that says so (closed loop, trace).
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        match self.arrivals {
            Arrivals::Poisson {
                rate: Some(rate), ..
            } => Some(rate),
            Arrivals::Poisson {
                load: Some(load), ..
            }
            | Arrivals::Bursty { load, .. } => Some(load * self.capacity() / self.mean_work()),
            _ => None,
        }
    }

    /// Share of the capacity that is asked for; `None` as with [`Self::rate`].
    #[must_use]
    pub fn load(&self) -> Option<f64> {
        Some(self.rate()? * self.mean_work() / self.capacity())
    }
}

/// `[service]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSection {
    /// Transport protocol.
    pub protocol: Protocol,
    /// One-packet scheduling (`-o`, UDP only): every packet is a connection of its own.
    pub one_packet: bool,
    /// Persistence timeout (`-p`), seconds; 0 = not persistent.
    pub persistent: u32,
    /// Virtual addresses: one service each, with the same real servers; 0 means 1.
    pub vips: u32,
    /// One service by firewall mark (`-f`) for all virtual addresses, whose real servers count the connections of all:
    /// what lblc and lblcr are for.
    pub by_mark: bool,
    /// Zipf exponent of the virtual addresses: the k-th is asked for as often as k to the power of minus this.
    pub popularity: f64,
}

/// Transport protocol of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP: SYN, handshake, data, FIN.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// `[[servers]]`: real servers of one kind.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServersSection {
    /// How many.
    pub count: u32,
    /// `-w`.
    #[serde(default = "one")]
    pub weight: u32,
    /// Work that one does in a second.
    #[serde(default = "unit")]
    pub speed: f64,
    /// How it shares itself among its connections.
    #[serde(default)]
    pub discipline: Discipline,
    /// Requests served at the same time at full speed each (FCFS: servers of an M/M/c; PS: processors).
    #[serde(default = "one")]
    pub processors: u32,
    /// Upper threshold (`-x`); 0 = none.
    #[serde(default)]
    pub upper_threshold: u32,
    /// Lower threshold (`-y`).
    #[serde(default)]
    pub lower_threshold: u32,
    /// Seconds after being added over which the operator raises the weight from 1 to `weight`; 0 = at once.
    #[serde(default)]
    pub slow_start: f64,
    /// Mean time between failures and to repair, seconds: churn.
    pub churn: Option<Churn>,
}

const fn one() -> u32 {
    1
}

const fn unit() -> f64 {
    1.0
}

/// How a real server shares itself among its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discipline {
    /// All of them at once, each an equal part (processor sharing).
    #[default]
    Ps,
    /// One after the other, first come, first served.
    Fcfs,
}

/// Failures of real servers, exponential.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Mean time between failures, seconds.
    pub mtbf: f64,
    /// Mean time to repair, seconds.
    pub mttr: f64,
}

/// `[arrivals]`: when connections arrive.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Arrivals {
    /// Poisson; `load` (of the servers' total speed, below 1) or `rate` (connections a second).
    Poisson {
        /// Share of the capacity that is asked for.
        load: Option<f64>,
        /// Connections a second.
        rate: Option<f64>,
    },
    /// Markov-modulated Poisson: in turn, for exponential times of these means.
    Bursty {
        /// Share of the capacity that is asked for on average.
        load: f64,
        /// How many times the quiet rate comes in a burst.
        factor: f64,
        /// Mean length of a burst, seconds.
        burst: f64,
        /// Mean time between two, seconds.
        quiet: f64,
    },
    /// So many users, each of whom thinks after each answer.
    Closed {
        /// Users.
        users: u32,
        /// Time between an answer and the next connection, seconds.
        think: Distribution,
    },
    /// What a file says: pcap (SYNs and datagrams to any address are arrivals) or CSV (`seconds,client,port,work,packets`).
    Trace {
        /// The file, relative to the scenario's folder.
        file: PathBuf,
    },
}

/// `[[connections]]`: a kind of connection.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionsSection {
    /// Part of all connections, against the others' `share`.
    #[serde(default = "unit")]
    pub share: f64,
    /// Work of one, seconds of a server of speed 1.
    pub work: Distribution,
    /// Packets of the client beside handshake and end.
    #[serde(default = "one")]
    pub packets: u32,
    /// Seconds that the connection stays open and idle after its work: long-lived ones.
    pub linger: Option<Distribution>,
}

/// A distribution of positive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Distribution {
    /// Always the same.
    Deterministic {
        /// That.
        mean: f64,
    },
    /// Exponential.
    Exponential {
        /// Mean.
        mean: f64,
    },
    /// Lognormal with this mean; `sigma` of its logarithm.
    Lognormal {
        /// Mean.
        mean: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Pareto between two bounds.
    BoundedPareto {
        /// Shape (alpha).
        shape: f64,
        /// Lower bound.
        least: f64,
        /// Upper bound.
        most: f64,
    },
    /// One of two values.
    Bimodal {
        /// The usual one.
        short: f64,
        /// The other.
        long: f64,
        /// Share of the other, 0 to 1.
        share: f64,
    },
}

/// `[clients]`: who connects.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Clients {
    /// Each as often as the other.
    Uniform {
        /// Addresses.
        count: u32,
    },
    /// The k-th most frequent as often as k to the power of minus `exponent`.
    Zipf {
        /// Addresses.
        count: u32,
        /// Exponent.
        exponent: f64,
    },
    /// All behind one address.
    Nat,
    /// Whole /24 networks, each as often as the other.
    Subnets {
        /// Networks.
        count: u32,
    },
    /// The same few endpoints again and again, ports included, as soon as they are free.
    PortReuse {
        /// Addresses.
        count: u32,
        /// Ports of each.
        ports: u16,
    },
}

impl Default for Clients {
    fn default() -> Self {
        Self::Uniform { count: 10_000 }
    }
}

/// `[[events]]`: what happens when.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// New real servers like those of the first group.
    Add {
        /// Seconds.
        at: f64,
        /// How many.
        count: u32,
    },
    /// The last so many real servers are deleted (`-d`).
    Remove {
        /// Seconds.
        at: f64,
        /// How many.
        count: u32,
    },
    /// A real server's weight is edited (`-e -w`); 0 drains it.
    Weight {
        /// Seconds.
        at: f64,
        /// Which, from 1.
        server: u32,
        /// The new weight.
        weight: u32,
    },
    /// A real server is deleted and comes back.
    Flap {
        /// Seconds.
        at: f64,
        /// Which, from 1.
        server: u32,
        /// For how long it is gone, seconds.
        down: f64,
    },
    /// A brown-out: a real server is slower for a while, and nobody tells the director. Of several at a time, the slowest
    /// holds.
    Slow {
        /// Seconds.
        at: f64,
        /// Which, from 1.
        server: u32,
        /// Its speed then, as a share of what it was.
        factor: f64,
        /// For how long, seconds.
        lasting: f64,
    },
    /// One real server after the other is drained, deleted and added again.
    RollingUpdate {
        /// Seconds.
        at: f64,
        /// For how long each drains, seconds.
        drain: f64,
        /// For how long each is gone, seconds.
        down: f64,
    },
    /// Real servers are added until there are so many, or drained and deleted, one each `every` seconds.
    Scale {
        /// Seconds.
        at: f64,
        /// How many there are to be.
        to: u32,
        /// Between two, seconds.
        every: f64,
    },
    /// The director of this number dies; its flows go to the others. Numbers begin at 1.
    DirectorDies {
        /// Seconds.
        at: f64,
        /// Which.
        director: u32,
    },
    /// All directors start again, with their services and without their connections.
    Restart {
        /// Seconds.
        at: f64,
    },
}

/// `[directors]`: who schedules, behind equal-cost multipath routing by the flow's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Directors {
    /// How many.
    pub count: u32,
    /// Whether they share scheduler state and connections (one director with so many workers), or are on their own.
    pub shared: bool,
    /// Whether they take up TCP connections in the middle (`sloppy_tcp`) where flows can come to one that does not know
    /// them: where there are several, and after a restart.
    pub sloppy_tcp: bool,
}

impl Default for Directors {
    fn default() -> Self {
        Self {
            count: 1,
            shared: false,
            sloppy_tcp: true,
        }
    }
}

/// `[syn_flood]`: SYNs of random addresses that are never followed by anything.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynFlood {
    /// SYNs a second.
    pub rate: f64,
    /// From when on, seconds.
    pub from: f64,
    /// Until when, seconds.
    pub until: f64,
}

/// `[sweep]`: the scenario is run once for each value.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// What is set to the values.
    pub of: Swept,
    /// To these.
    pub values: Vec<f64>,
}

/// What a sweep sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swept {
    /// `load` of the arrivals.
    Load,
    /// `count` of the first `remove` event.
    Removed,
    /// `count` of the directors.
    Directors,
}

//! What shadow schedulers would have done: the report between daemon and `ulvs shadow`, as JSON.

use serde::{Deserialize, Serialize};

use crate::imbalance::Imbalance;

/// The name of the text in a request ([`crate::netlink::Request::DumpText`]).
pub const NAME: &str = "ulvs_shadow";

/// Everything since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// One in so many connections is looked at.
    pub sample: u32,
    /// What could not be told to the shadows because they were behind: connections, changes of their states, ends.
    pub lost: u64,
    /// How often the shadows began anew with no connection, because something was lost.
    pub restarts: u64,
    /// Connections that the shadows follow now.
    pub live: u64,
    /// In the order in which they were added.
    pub services: Vec<Service>,
}

/// What happened to one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// As in the list of services: `TCP 10.8.0.1:80`, `FWM 7`.
    pub service: String,
    /// Changes of its real servers and their weights.
    pub changes: u64,
    /// The live scheduler, then the shadows as configured.
    pub schedulers: Vec<Scheduler>,
}

/// What one scheduler did, or would have done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scheduler {
    /// Name and flags as configured.
    pub scheduler: String,
    /// It is the service's own, which decided.
    pub live: bool,
    /// Connections that it gave to a real server.
    pub connections: u64,
    /// Connections for which it had no real server.
    pub refused: u64,
    /// Connections that it would have given to another real server than the live one did.
    pub elsewhere: u64,
    /// Connections of clients that were seen before.
    pub returning: u64,
    /// Those that went to another real server than the client's last one.
    pub moved: u64,
    /// First connections of known clients after a change of the real servers.
    pub after_change: AfterChange,
    /// Imbalance of load for weight, a look each second, mean over time. Load as `wlc` reckons it: an active connection
    /// weighs as much as 256 inactive ones.
    pub load: Option<Imbalance>,
    /// The same at this moment.
    pub load_now: Option<Imbalance>,
    /// Imbalance of all connections so far for the present weights.
    pub shares: Option<Imbalance>,
    /// Real servers, newest first.
    pub servers: Vec<Server>,
}

/// First connections of known clients after a change of the real servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterChange {
    /// All of them.
    pub returning: u64,
    /// Those that went to another real server than before.
    pub moved: u64,
    /// Those of them that had to: their real server takes no connections any more.
    pub forced: u64,
}

/// A real server under one scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Address and port.
    pub server: String,
    /// Weight.
    pub weight: i32,
    /// Connections so far.
    pub connections: u64,
    /// Connections in an active state now.
    pub active: i32,
    /// Connections in an inactive state now.
    pub inactive: i32,
}

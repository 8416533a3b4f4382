//! What shadow schedulers would have done: the report between daemon and `ulvs shadow`, as JSON.

use serde::{Deserialize, Serialize};

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

/// How uneven values are that should be equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Imbalance {
    /// The largest against the mean; 1 = even.
    pub max: f64,
    /// Coefficient of variation: standard deviation against the mean; 0 = even.
    pub cv: f64,
    /// Jain's fairness index; 1 = even, 1/n = all at one of n.
    pub jain: f64,
}

impl Imbalance {
    /// Of these values, none below 0; `None` when there are none, or all are 0.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (mut count, mut sum, mut squares, mut max) = (0.0, 0.0, 0.0, 0.0_f64);
        for value in values {
            count += 1.0;
            sum += value;
            squares += value * value;
            max = max.max(value);
        }
        let mean: f64 = sum / count;
        (sum > 0.0).then(|| Self {
            max: max / mean,
            cv: (squares / count - mean * mean).max(0.0).sqrt() / mean,
            jain: sum * sum / (count * squares),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imbalance_of_known_values() {
        let of = |values: &[f64]| Imbalance::of(values.iter().copied());
        let even = of(&[3.0, 3.0, 3.0]).unwrap();
        assert_eq!((even.max, even.cv, even.jain), (1.0, 0.0, 1.0));
        let all_at_one = of(&[4.0, 0.0, 0.0, 0.0]).unwrap();
        assert_eq!((all_at_one.max, all_at_one.jain), (4.0, 0.25));
        assert!((all_at_one.cv - 3.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[0.0, 0.0]), None);
    }
}

//! The schedulers: one file each, one list.
//!
//! A scheduler picks the real server of a new connection. Its state (position, table, cache) belongs to one
//! service and is used under that service's lock. Lists of real servers are newest first, as in the kernel;
//! order and arithmetic are the kernel's (BEHAVIOURS 1 to 8), so a recorded sequence comes out the same.

use core::fmt::Debug;
use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use board::Board;
use packet::Family;

use crate::destination::Destination;
use crate::protocol::Protocol;
use crate::service::{FLAG_SCHED_1, FLAG_SCHED_2};
use crate::time::Instant;

pub(crate) mod board;
mod dh;
mod fo;
mod hash;
mod lblc;
mod lblcr;
mod lc;
mod load;
mod locality;
mod mh;
mod nq;
mod ovf;
mod replicas;
mod rr;
mod sed;
mod sh;
mod twos;
mod wlc;
mod wrr;

/// A scheduler as the operator knows it.
#[derive(Debug)]
pub struct Entry {
    /// Name (`-s`), at most 15 octets.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Flags it knows (`-b`).
    pub flags: &'static [FlagName],
    /// Makes one for a service that has no real server yet.
    pub make: fn() -> Box<dyn Scheduler>,
}

/// A scheduler flag and its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagName {
    /// Name (`-b`).
    pub name: &'static str,
    /// Bit in [`crate::service::ServiceConfig::flags`].
    pub flag: u32,
}

/// Names of the flags of `sh`.
const SH_FLAGS: &[FlagName] = &[
    FlagName {
        name: "sh-fallback",
        flag: FLAG_SCHED_1,
    },
    FlagName {
        name: "sh-port",
        flag: FLAG_SCHED_2,
    },
];

/// Names of the flags of `mh`.
const MH_FLAGS: &[FlagName] = &[
    FlagName {
        name: "mh-fallback",
        flag: FLAG_SCHED_1,
    },
    FlagName {
        name: "mh-port",
        flag: FLAG_SCHED_2,
    },
];

/// Every scheduler.
pub const ENTRIES: &[&Entry] = &[
    &rr::ENTRY,
    &wrr::ENTRY,
    &lc::ENTRY,
    &wlc::ENTRY,
    &lblc::ENTRY,
    &lblcr::ENTRY,
    &dh::ENTRY,
    &sh::ENTRY,
    &sed::ENTRY,
    &nq::ENTRY,
    &fo::ENTRY,
    &ovf::ENTRY,
    &mh::ENTRY,
    &twos::ENTRY,
];

/// The scheduler of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().copied().find(|entry| entry.name == name)
}

/// Who wants to connect to what. The client is the source, whatever packet began the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Transport protocol.
    pub protocol: Protocol,
    /// CIP.
    pub source: IpAddr,
    /// Client's port, host order.
    pub source_port: u16,
    /// VIP.
    pub destination: IpAddr,
    /// Virtual port, host order.
    pub destination_port: u16,
}

/// What a scheduler decides on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The service's real servers, newest first.
    pub destinations: &'a [Arc<Destination>],
    /// Their loads, weights and overload flags now.
    pub(crate) board: &'a Board,
    /// The new connection.
    pub flow: &'a Flow,
    /// The service's `FLAG_*` bits.
    pub flags: u32,
    /// Now.
    pub now: Instant,
    /// How long an unused entry of a locality cache is kept (`lblc_expiration`, `lblcr_expiration`).
    pub cache_lifetime: Duration,
}

/// What happened to a service's list of real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The scheduler is new to this list, whose service is of this family.
    Bound(Family),
    /// The real server now at this index was added (always 0: the newest is the first).
    Added(usize),
    /// The real server that was at this index was deleted.
    Removed(usize),
    /// The real server at this index has new settings.
    Edited(usize),
}

/// Picks real servers for one service.
pub trait Scheduler: Send + Debug {
    /// Follows a change of the list; `destinations` is the list after it.
    fn update(&mut self, destinations: &[Arc<Destination>], change: Change) {
        let _ = (destinations, change);
    }

    /// Index of the real server for a new connection; `None` when none may be used.
    fn pick(&mut self, request: &Request<'_>) -> Option<usize>;
}

/// Whether a new connection may go there: not quiesced and within its thresholds.
fn is_usable(destination: &Destination) -> bool {
    destination.weight() > 0 && !destination.is_overloaded()
}

/// The position after a change, where `None` is the place before the first real server. A position whose
/// real server is deleted moves back to the one before it.
fn shifted(position: Option<usize>, change: Change) -> Option<usize> {
    match (position, change) {
        (_, Change::Bound(_)) => None,
        (Some(at), Change::Added(index)) if index <= at => Some(at + 1),
        (Some(at), Change::Removed(index)) if index <= at => at.checked_sub(1),
        (position, _) => position,
    }
}

#[cfg(test)]
mod tests;

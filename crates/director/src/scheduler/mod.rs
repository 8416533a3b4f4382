//! The schedulers: one file each, one list.
//!
//! A scheduler picks the real server of a new connection. Its state (position, table, cache) belongs to one
//! service and is used under that service's lock. Lists of real servers are newest first, as in the kernel;
//! order and arithmetic are the kernel's (BEHAVIOURS 1 to 8), so a recorded sequence comes out the same.
//!
//! Others can be written outside of this crate ([`Scheduler`], [`Entry`], [`crate::shared::Options::schedulers`]): the
//! crate `baselines` has some, and says how.

use core::fmt::Debug;
use core::net::{IpAddr, SocketAddr};
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
#[cfg(any(test, feature = "laws"))]
pub mod laws;
mod lblc;
mod lblcr;
mod lc;
mod load;
mod locality;
pub mod lots;
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
    /// Makes one for a service that has no real server yet. One that draws lots begins at the number
    /// ([`lots::Lots::new`]): another one for each service and each [`crate::shared::Options::lots`]; others leave it.
    pub make: fn(u64) -> Box<dyn Scheduler>,
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

/// Every scheduler that the kernel has. A director may know more ([`crate::shared::Options::schedulers`]).
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

/// The kernel's scheduler of this name.
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
///
/// Of a real server it may read [`Destination::weight`], [`Destination::active`], [`Destination::inactive`],
/// [`Destination::load`], [`Destination::is_overloaded`], [`Destination::is_usable`], its address and port: what they say
/// now. Other workers may end connections meanwhile, so that two reads of a load may differ.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The service's real servers, newest first.
    pub destinations: &'a [Arc<Destination>],
    /// Their loads, weights and overload flags side by side, for the schedulers of this crate.
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
///
/// A service makes its own, under whose lock both methods are called, one call at a time, from any worker. So one
///
/// - decides by the [`Request`], what it was told by `update` and its own earlier picks alone: no clock, no global state,
///   no order of a hash map with a random key. Randomness is [`lots::Lots`] from the number that [`Entry::make`] gets.
///   Then a replay decides the same;
/// - picks only what is [`Destination::is_usable`], and never waits, locks or panics: every new connection of the service
///   stands behind it. Costly tables are made when the list changes, not for each pick;
/// - changes nothing about real servers: that the connection goes to what it picked is counted after it has returned,
///   and templates of persistent services send connections past it;
/// - keeps no `Arc` of a real server that was removed: its memory and its trash would live on. Who keeps one to
///   recognise it compares by [`Arc::ptr_eq`], forgets it at [`Change::Removed`], and looks at
///   [`Destination::is_available`] before.
pub trait Scheduler: Send + Debug {
    /// Follows a change of the list; `destinations` is the list after it, newest first.
    ///
    /// Called once with [`Change::Bound`] before any pick (the list may have real servers already: `-E -s` gives a
    /// service another scheduler), and then after each command that adds (`-a`), removes (`-d`) or edits (`-e`) a real
    /// server, before the next pick. Indices that were kept mean other real servers afterwards. Not called for loads and
    /// overload flags, which are read when picking. A weight that was edited may be seen by a pick before `update` is
    /// called.
    fn update(&mut self, destinations: &[Arc<Destination>], change: Change) {
        let _ = (destinations, change);
    }

    /// Index in [`Request::destinations`] of the real server for a new connection; `None` when none may be used, which
    /// refuses the client. An index beyond the list refuses it too.
    fn pick(&mut self, request: &Request<'_>) -> Option<usize>;

    /// Whether it draws lots: then it picks the same again only from the same number ([`Entry::make`]).
    fn draws_lots(&self) -> bool {
        false
    }

    /// Octets of its state that are not in the value itself: tables, caches. What the allocator adds is not counted.
    fn heap_octets(&self) -> usize {
        0
    }

    /// A copy that picks for this connection what this one would pick next, for a dry run ([`crate::explain`]); `copy`
    /// gives the copy of each real server that the scheduler keeps. `None`: it cannot be copied, and what it would pick
    /// stays open.
    fn fork(&self, flow: &Flow, copy: &mut Copies<'_>) -> Option<Box<dyn Scheduler>> {
        let _ = (flow, copy);
        None
    }

    /// What decides about this connection beside weights and loads, in the scheduler's own words: a name and a value each
    /// (a position, a hash, a place in a table).
    fn explain(&self, request: &Request<'_>) -> Vec<(&'static str, String)> {
        let _ = request;
        Vec::new()
    }
}

/// Gives the copy of a real server, always the same one.
pub type Copies<'a> = dyn FnMut(&Arc<Destination>) -> Arc<Destination> + 'a;

/// The client's port where the flags of `sh` and `mh` want it hashed too, else 0.
fn hashed_port(request: &Request<'_>) -> u16 {
    if request.flags & FLAG_SCHED_2 == 0 {
        0
    } else {
        request.flow.source_port
    }
}

/// What `sh` and `mh` hash, for [`Scheduler::explain`].
fn hashed(request: &Request<'_>) -> &'static str {
    if request.flags & FLAG_SCHED_2 == 0 {
        "the client's address"
    } else {
        "the client's address and port"
    }
}

/// What `sh` and `mh` do about a real server that may not be used, for [`Scheduler::explain`].
fn fallback(request: &Request<'_>) -> String {
    let on = request.flags & FLAG_SCHED_1 != 0;
    if on {
        "on: another one is looked for"
    } else {
        "off: refused"
    }
    .to_owned()
}

/// The real server at this place of the list, for [`Scheduler::explain`].
fn named(place: Option<usize>, request: &Request<'_>) -> String {
    let server = place.and_then(|place| request.destinations.get(place));
    server.map_or_else(
        || "none".to_owned(),
        |server| SocketAddr::new(server.address, server.port).to_string(),
    )
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

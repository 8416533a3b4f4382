//! The connections of one worker: which real server a flow was given to, and for how long.
//!
//! Promises: no lock, no clock, no sharing; a worker owns its table outright, and no operation
//! holds it up for more than a fraction of a millisecond, however many connections there are.
//! [`Table`] finds and expires, [`Connection`] is the record, [`tcp`], [`udp`] and [`sctp`] are the
//! state machines. Deciding what becomes of a packet is the packet path's.

mod addresses;
mod assisted;
mod chunks;
mod conntrack;
mod defence;
mod guess;
mod index;
mod key;
mod observed;
mod record;
pub mod sctp;
mod segment;
mod slab;
mod state;
mod steady;
mod synced;
mod table;
pub mod tcp;
mod tracking;
mod transition;
pub mod udp;
mod wheel;
mod window;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use conntrack::Outcome;
pub use defence::DropRates;
pub(crate) use guess::Guess;
pub(crate) use key::bits;
pub use key::{FlowKey, HashKind};
pub(crate) use record::METHOD_MASK;
pub use record::{Connection, FLAG_INACTIVE, FLAG_NO_OUTPUT, NewConnection, StateRules};
pub(crate) use segment::Segment;
pub use state::State;
pub(crate) use steady::Address;
pub(crate) use synced::Adopted;
pub(crate) use table::Bound;
pub use table::{ConnectionId, Cursor, END_COST, Full, Table, TableConfig};
pub use tracking::{Shift, Tracking};

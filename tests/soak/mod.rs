//! Long runs against the real daemon over real sockets: what a minute's test cannot see. `scripts/soak` runs them,
//! and the end-to-end tests run short ones.
//!
//! Each soak makes its own network, puts traffic through the director from threads inside the namespaces, and judges by
//! what arrived, by the director's own counters, which must add up, and by its memory. Never touches the machine's own
//! interfaces, routes or sysctls.

mod blast;
mod changes;
pub(crate) mod churn;
mod clients;
pub(crate) mod count;
pub(crate) mod counters;
pub(crate) mod datagram;
mod draw;
pub(crate) mod flood;
mod inside;
pub(crate) mod million;
mod probe;
mod raw;
pub(crate) mod report;
mod servers;
pub(crate) mod world;

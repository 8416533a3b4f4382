//! Desired state: IPVS netlink codec, command semantics, configuration file, saved state.
#![forbid(unsafe_code)]

pub mod config;
pub mod counters;
pub mod explain;
pub mod imbalance;
pub mod listing;
pub mod lots;
pub mod netlink;
pub mod proc;
pub mod rules;
pub mod server;
pub mod shadow;
pub mod state;
pub mod sync;

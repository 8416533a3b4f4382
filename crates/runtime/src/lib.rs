//! Threads, sockets, neighbours, the daemon: drives the director core over real links.
#![forbid(unsafe_code)]

pub mod announce;
pub mod assist;
pub mod client;
pub mod clock;
pub mod control_socket;
pub mod daemon;
pub mod decap;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod links;
pub mod log;
mod memory;
pub mod network;
pub mod presence;
pub mod privilege;
pub mod proc_files;
pub mod reconcile;
pub mod shadow;
pub mod state;
pub mod status;
pub mod vips;
pub mod worker;

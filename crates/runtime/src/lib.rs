//! Threads, sockets, neighbours, the daemon: drives the director core over real links.
#![forbid(unsafe_code)]

pub mod error;
pub mod network;
pub mod state;
pub mod vips;

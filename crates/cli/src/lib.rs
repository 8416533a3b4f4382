//! The ipvsadm command line: argv to IPVS messages, replies to text.
#![forbid(unsafe_code)]

mod client;
pub mod ipvsadm;

pub use client::Transport;

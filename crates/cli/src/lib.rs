//! The command lines that speak to a running director, ipvsadm's first of all: argv to IPVS messages, replies to text.
#![forbid(unsafe_code)]

mod client;
pub mod columns;
pub mod explain;
pub mod ipvsadm;
pub mod shadow;
pub mod stats;
pub mod sysctl;
pub mod texts;

pub use client::{InProcess, Transport};

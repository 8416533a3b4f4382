//! The decision core of a layer-4 director: which packet belongs to which virtual service, which
//! connection, which real server, and what becomes of it.
//!
//! Promises: the same configuration, packets and times give the same outcome. Never reads a clock,
//! opens a socket, starts a thread or touches a file: the time is an argument, frames come in as
//! [`packet::Packet`] and leave through [`frame::Output`]. Many drivers (daemon, replay, conformance runner,
//! fuzzers) call the same code.
//!
//! What is where: [`service`] and [`destination`] hold what the operator configured, [`scheduler`] picks,
//! [`connection`] remembers, [`net`] knows the host, and [`director`] puts them together.
#![forbid(unsafe_code)]

pub mod assign;
pub mod assist;
mod changed_servers;
mod command;
pub mod connection;
mod cut;
mod defence;
pub mod destination;
pub mod director;
mod egress;
pub mod explain;
mod fast_path;
pub mod forward;
mod fragments;
pub mod frame;
pub mod ftp;
mod icmp_limit;
mod ip_options;
pub mod net;
pub mod observer;
mod options;
mod orphans;
mod outgoing;
pub mod owners;
pub mod persistence;
mod prefetch;
pub mod protocol;
mod real_servers;
mod reassembly;
mod redirect;
mod refuse;
mod related;
mod reply;
mod request;
pub mod scheduler;
pub mod service;
pub mod services;
pub mod shared;
pub mod snapshot;
pub mod solicit;
mod stack;
pub mod stats;
mod stray;
pub mod sync;
pub mod sysctl;
pub mod template;
pub mod time;
mod trackers;
mod trash;
pub mod verdict;
mod ways;

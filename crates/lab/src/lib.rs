//! The scheduler lab: discrete-event simulation in virtual time around the director that runs in production.
//!
//! Promises: every new connection goes through [`director::director::Director::handle`] as frames, like those of the
//! daemon; nothing of scheduling or of connections is written again here. The same scenario and seed give the same
//! [`results::Results`], octet for octet, on any machine: randomness is ChaCha8, logarithms and powers are `libm`'s.
//! Never reads a clock, but to measure what a decision costs ([`results::Cost`]), and never opens a socket.
//!
//! What is where: [`scenario`] is what a file says, [`workload`] who connects when and how much work that is,
//! [`results`] what came of it; [`random`] is where all randomness comes from. [`table`], [`json`], [`csv`] and [`report`]
//! show results, [`compare`] what changed between two.
//!
//! [`run`] runs scenarios: `world` is one run in virtual time, `director_model` the real directors in it and `network`
//! what is around them, `frames` what clients send, `real_server` how long requests take, `events` and `operator` what
//! happens when and how it is done, `metrics` and `remap` what is counted.
#![forbid(unsafe_code)]

pub mod command;
pub mod compare;
pub mod cost;
pub mod csv;
mod director_model;
mod earliest;
mod events;
mod frames;
pub mod histogram;
pub mod json;
#[cfg(test)]
mod made_up;
mod metrics;
mod network;
mod number;
mod operator;
pub mod outputs;
pub mod progress;
pub mod random;
mod real_server;
mod remap;
pub mod report;
pub mod results;
pub mod run;
pub mod scenario;
pub mod schedulers;
pub mod statistics;
pub mod table;
mod time;
pub mod workload;
mod world;

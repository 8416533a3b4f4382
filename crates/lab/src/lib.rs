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
#![forbid(unsafe_code)]

pub mod compare;
pub mod csv;
pub mod json;
#[cfg(test)]
mod made_up;
mod number;
pub mod progress;
pub mod random;
pub mod report;
pub mod results;
pub mod scenario;
pub mod table;
pub mod workload;

//! `ulvs replay`: the frames of a capture file through the real director, at their own times.
//!
//! Promises: the code that decides is [`director::director::Director::handle`] and nothing else, in virtual time; the
//! same capture, rules and options give the same outcome on any machine. Never opens a socket, never asks the clock,
//! and never changes the host. What a capture does not say of the host is made up by [`mod@host`], and told.
#![forbid(unsafe_code)]

mod capture;
mod choices;
mod command;
mod error;
mod explain;
pub mod host;
pub mod report;
mod rules;
mod run;
mod system;
mod text;

pub use director::explain::{About, Question, QuestionError};
pub use director::net::Answer;
pub use packet::Mac;

pub use command::{Printing, command};
pub use error::ReplayError;
pub use explain::{explain, frame_of};
pub use rules::Rules;
pub use run::{Options, run};
pub use system::System;

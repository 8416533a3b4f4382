//! The words of an `ipvsadm` command line as commands, and services as such words.
//!
//! Promises: the whole grammar of ipvsadm 1.31 with its own messages and exit codes, in the order in
//! which it finds faults; what it accepts becomes a [`Command`] that knows its [`Request`]. Used by the
//! command line, by `ipvsadm -R` text, by rules in the configuration file and by the saved state. Never
//! performs I/O: names are looked up through [`Names`].
//!
//! [`Request`]: crate::netlink::Request

mod arguments;
mod check;
mod command;
mod draft;
mod names;
mod options;
mod parse;
mod refused;
mod save;
mod value;

pub use command::{Command, Format, Listing};
pub use names::{Names, NumericNames};
pub use parse::{Refusal, parse, words};
pub use refused::refusal_text;
pub use save::{
    address_text, dest_line, dest_text, endpoint_text, scheduler_flags_text, service_line,
};

#[cfg(test)]
mod tests;

//! Schedulers that kernel IPVS lacks and users know from elsewhere, for comparison; and the example of how to write
//! one's own.
//!
//! Promises: each is written against the public items of [`director`] alone, from the paper that it names, and keeps
//! the laws of `director::scheduler::laws`. The daemon does not offer them for services, so that `ipvsadm` answers
//! to every name as on the kernel; the lab, replays and shadow scheduling know them beside the kernel's own.
//!
//! # Writing a scheduler
//!
//! 1. A file of its own, with a `const ENTRY: Entry`: the name (at most 15 octets, none of
//!    [`director::scheduler::ENTRIES`]), a line about it, its flags, and how to make one.
//! 2. A type that implements [`director::scheduler::Scheduler`]: `pick` says which real server of
//!    [`Request::destinations`](director::scheduler::Request) a new connection goes to, `update` hears of every change of
//!    that list. The trait says what both may and may not do. [`random`](RANDOM) is the shortest one here.
//! 3. The entry goes into a list (here [`ENTRIES`]), the list into
//!    [`Options::schedulers`](director::shared::Options), and `-s NAME` finds it.
//! 4. A test that calls `director::scheduler::laws::check` with the entry (feature `laws` of the crate `director`), as
//!    `tests/laws.rs` does, and tests of what its paper promises.
//!
//! ```
//! use director::scheduler::{Entry, Request, Scheduler};
//! use director::shared::{Options, Shared};
//!
//! /// The oldest real server that may be used.
//! #[derive(Debug)]
//! struct Oldest;
//!
//! impl Scheduler for Oldest {
//!     fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
//!         request.destinations.iter().rposition(|server| server.is_usable())
//!     }
//! }
//!
//! const OLDEST: Entry = Entry {
//!     name: "oldest",
//!     summary: "the real server that was added first",
//!     flags: &[],
//!     make: |_| Box::new(Oldest),
//! };
//!
//! let shared = Shared::new(Options {
//!     schedulers: &[&OLDEST],
//!     ..Options::default()
//! });
//! assert!(shared.scheduler("oldest").is_some());
//! ```
#![forbid(unsafe_code)]

mod bounded;
mod client;
mod maglev;
mod p2c;
mod random;
mod shares;
mod spec;

use director::scheduler::Entry;

pub use bounded::ENTRY as BOUNDED;
pub use maglev::ENTRY as MAGLEV;
pub use p2c::ENTRY as P2C;
pub use random::ENTRY as RANDOM;
pub use spec::Spec;

/// Every scheduler of this crate.
pub const ENTRIES: &[&Entry] = &[&RANDOM, &P2C, &BOUNDED, &MAGLEV];

/// The scheduler of this name: the kernel's, else one of [`ENTRIES`].
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    let own = || ENTRIES.iter().copied().find(|entry| entry.name == name);
    director::scheduler::find(name).or_else(own)
}

#[cfg(test)]
mod tests;

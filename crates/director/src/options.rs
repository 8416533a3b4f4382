//! What a director is started with, and the timeouts that may change while it runs.

use crate::scheduler::{self, Entry};

/// Timeouts that `ipvsadm --set` changes, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Established TCP connections.
    pub tcp: u32,
    /// TCP connections after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp: 900,
            tcp_fin: 120,
            udp: 300,
        }
    }
}

/// What a director is started with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Workers that share the director, at least one.
    pub workers: usize,
    /// Secret of the hash over client addresses; random in production, fixed in replays.
    pub seed: (u64, u64),
    /// Persistence templates at most: without them no new client of a persistent service is taken.
    pub max_templates: usize,
    /// Schedulers beside the kernel's ([`scheduler::ENTRIES`], whose names come first).
    pub schedulers: &'static [&'static Entry],
    /// Where schedulers that draw lots begin: with the same number, they draw the same. Random in production, else
    /// directors beside each other herd, and clients foretell; in replays what the recorded director had.
    pub lots: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            seed: (0, 0),
            max_templates: 1 << 20,
            schedulers: &[],
            lots: 0,
        }
    }
}

impl Options {
    /// The scheduler of this name: the kernel's, else one of [`Options::schedulers`].
    #[must_use]
    pub fn scheduler(&self, name: &str) -> Option<&'static Entry> {
        scheduler::find(name).or_else(|| {
            self.schedulers
                .iter()
                .copied()
                .find(|entry| entry.name == name)
        })
    }
}

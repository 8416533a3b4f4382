//! What a director is started with, and the timeouts that may change while it runs.

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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            seed: (0, 0),
            max_templates: 1 << 20,
        }
    }
}

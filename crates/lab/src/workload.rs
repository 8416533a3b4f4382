//! Who connects when, from where, and how much work that is.

use core::net::IpAddr;
use core::time::Duration;

/// A connection that a client begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// When, since the beginning of the run.
    pub at: Duration,
    /// The client's address and port.
    pub client: (IpAddr, u16),
    /// Which of the virtual services, from 0.
    pub service: u32,
    /// Work, seconds of a server of speed 1.
    pub work: f64,
    /// Packets of the client beside handshake and end.
    pub packets: u32,
    /// Seconds that the connection stays open and idle after its work.
    pub linger: f64,
    /// Which user of a closed loop it is; to be told by [`Workload::done`].
    pub user: u32,
    /// It is a SYN of a flood, and nothing follows.
    pub is_flood: bool,
}

/// A stream of connections in the order of their times.
pub trait Workload {
    /// When the next one begins; `None` when there is none, or none before another one ends (closed loop).
    fn peek(&self) -> Option<Duration>;

    /// The next one.
    fn next(&mut self) -> Option<Arrival>;

    /// A connection has ended at this time: its endpoint is free again, and a user of a closed loop goes on.
    fn done(&mut self, arrival: &Arrival, at: Duration);
}

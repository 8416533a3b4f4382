//! Who connects when, from where, and how much work that is.
//!
//! Promises: what a workload gives depends on scenario, seed and repeat, and on when connections end only where it must:
//! in a closed loop, and where a client has no free port. So all schedulers of a repeat get the same connections.

mod clients;
mod closed;
mod flood;
mod maker;
mod open;
mod times;
pub mod trace;

use core::net::IpAddr;
use core::time::Duration;

use crate::scenario::{Arrivals, Scenario};

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
pub trait Workload: Send {
    /// When the next one begins; `None` when there is none, or none before another one ends (closed loop; no client has
    /// a free port).
    fn peek(&self) -> Option<Duration>;

    /// The next one; its time is what [`Self::peek`] said.
    fn next(&mut self) -> Option<Arrival>;

    /// A connection has ended at this time, or was refused: its endpoint is free again, and a user of a closed loop goes
    /// on. To be called once for each, in the order of time; not for those of a flood.
    fn done(&mut self, arrival: &Arrival, at: Duration);
}

/// A workload that can begin any number of times: tables are made and files read once.
#[derive(Clone, Debug)]
pub struct Plan {
    maker: maker::Plan,
    arrivals: Arrivals,
    rate: f64,
    flood: Option<crate::scenario::SynFlood>,
    trace: std::sync::Arc<[trace::Row]>,
    duration: f64,
}

impl Plan {
    /// Makes tables, and reads the trace where there is one.
    ///
    /// # Errors
    /// The trace cannot be read, or says something impossible.
    pub fn new(scenario: &Scenario) -> Result<Self, trace::TraceError> {
        let trace = match &scenario.arrivals {
            Arrivals::Trace { file } => trace::read(file, scenario.service.protocol)?,
            _ => Vec::new(),
        };
        Ok(Self {
            maker: maker::Plan::new(scenario),
            arrivals: scenario.arrivals.clone(),
            rate: scenario.rate().unwrap_or(0.0),
            flood: scenario.syn_flood,
            trace: trace.into(),
            duration: scenario.duration,
        })
    }

    /// Begins: all that follows depends on `seed` and `repeat`.
    #[must_use]
    pub fn start(&self, seed: u64, repeat: u32) -> Box<dyn Workload> {
        let maker = self.maker.start(seed, repeat);
        let end = Duration::from_secs_f64(self.duration);
        let open = |times, maker| Box::new(open::Open::new(times, maker, end));
        let clients: Box<dyn Workload> = match &self.arrivals {
            Arrivals::Trace { .. } => Box::new(trace::Replay::new(self.trace.clone(), maker, end)),
            Arrivals::Closed { users, think } => Box::new(closed::Closed::new(
                *users, *think, maker, end, seed, repeat,
            )),
            Arrivals::Poisson { .. } => open(times::Times::poisson(self.rate, seed, repeat), maker),
            Arrivals::Bursty {
                factor,
                burst,
                quiet,
                ..
            } => open(
                times::Times::bursty(self.rate, *factor, *burst, *quiet, seed, repeat),
                maker,
            ),
        };
        self.flooded(clients, seed, repeat)
    }

    /// The workload, with the flood beside it where there is one.
    fn flooded(&self, inner: Box<dyn Workload>, seed: u64, repeat: u32) -> Box<dyn Workload> {
        match self.flood {
            Some(flood) => Box::new(flood::Flooded::new(
                inner,
                flood,
                self.duration,
                self.maker.services(),
                seed,
                repeat,
            )),
            None => inner,
        }
    }
}

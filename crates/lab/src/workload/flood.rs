//! SYNs of random addresses beside honest clients.

use core::time::Duration;

use super::clients;
use super::{Arrival, Workload};
use crate::random::{self, Stream};
use crate::scenario::SynFlood;

/// A workload with a flood beside it.
pub(super) struct Flooded {
    inner: Box<dyn Workload>,
    rate: f64,
    now: f64,
    until: f64,
    services: u32,
    stream: Stream,
    upcoming: Option<Arrival>,
}

impl Flooded {
    pub(super) fn new(
        inner: Box<dyn Workload>,
        flood: SynFlood,
        end: f64,
        services: u32,
        seed: u64,
        repeat: u32,
    ) -> Self {
        let mut flooded = Self {
            inner,
            rate: flood.rate,
            now: flood.from,
            until: flood.until.min(end),
            services,
            stream: random::stream(seed, repeat, "flood"),
            upcoming: None,
        };
        flooded.advance();
        flooded
    }

    fn advance(&mut self) {
        self.now += random::exponential(&mut self.stream) / self.rate;
        let client = clients::forged(&mut self.stream);
        let service = random::below(&mut self.stream, self.services);
        let at = Duration::try_from_secs_f64(self.now).ok();
        let at = at.filter(|_| self.now < self.until);
        self.upcoming = at.map(|at| Arrival {
            at,
            client,
            service,
            work: 0.0,
            packets: 0,
            linger: 0.0,
            user: 0,
            is_flood: true,
        });
    }

    fn flood_at(&self) -> Option<Duration> {
        self.upcoming.as_ref().map(|arrival| arrival.at)
    }
}

impl Workload for Flooded {
    fn peek(&self) -> Option<Duration> {
        self.inner.peek().into_iter().chain(self.flood_at()).min()
    }

    fn next(&mut self) -> Option<Arrival> {
        let honest_first = match (self.inner.peek(), self.flood_at()) {
            (Some(honest), Some(flood)) => honest <= flood,
            (_, flood) => flood.is_none(),
        };
        if honest_first {
            return self.inner.next();
        }
        let arrival = self.upcoming.take();
        self.advance();
        arrival
    }

    fn done(&mut self, arrival: &Arrival, at: Duration) {
        if !arrival.is_flood {
            self.inner.done(arrival, at);
        }
    }
}

//! An open loop: clients come whether or not those before them are done.

use core::time::Duration;

use super::maker::{Draft, Maker};
use super::times::Times;
use super::{Arrival, Workload};

/// Connections at the times of a process.
#[derive(Debug)]
pub(super) struct Open {
    times: Times,
    maker: Maker,
    end: Duration,
    upcoming: Option<Arrival>,
    /// It would have come, but there is no free port; all that come later wait with it.
    waiting: Option<Draft>,
    /// Not before this: when the one before it came.
    floor: Duration,
}

impl Open {
    pub(super) fn new(times: Times, maker: Maker, end: Duration) -> Self {
        let mut open = Self {
            times,
            maker,
            end,
            upcoming: None,
            waiting: None,
            floor: Duration::ZERO,
        };
        open.advance();
        open
    }

    /// Finds out what comes next.
    fn advance(&mut self) {
        let draft = self.waiting.take().or_else(|| {
            let at = Duration::try_from_secs_f64(self.times.next()).ok()?;
            (at < self.end).then(|| {
                let picked = self.maker.endpoints.pick();
                self.maker.draft(at, picked, 0)
            })
        });
        let Some(mut draft) = draft else {
            return;
        };
        draft.arrival.at = draft.arrival.at.max(self.floor);
        if draft.arrival.at >= self.end {
            return;
        }
        self.upcoming = self.maker.finish(&draft);
        if self.upcoming.is_none() {
            self.waiting = Some(draft);
        }
    }
}

impl Workload for Open {
    fn peek(&self) -> Option<Duration> {
        self.upcoming.as_ref().map(|arrival| arrival.at)
    }

    fn next(&mut self) -> Option<Arrival> {
        let arrival = self.upcoming.take()?;
        self.floor = arrival.at;
        self.advance();
        Some(arrival)
    }

    fn done(&mut self, arrival: &Arrival, at: Duration) {
        self.maker.endpoints.free(arrival.client);
        if self.waiting.is_some() {
            self.floor = self.floor.max(at);
            self.advance();
        }
    }
}

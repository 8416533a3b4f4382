//! A closed loop: so many users, each of whom thinks after each answer.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use super::maker::Maker;
use super::{Arrival, Workload};
use crate::random::{self, Stream};
use crate::scenario::Distribution;

/// Users who think.
#[derive(Debug)]
pub(super) struct Closed {
    think: Distribution,
    thinking: Stream,
    maker: Maker,
    end: Duration,
    /// Whom each user is: what [`super::clients::Endpoints::pick`] said of them.
    users: Vec<u32>,
    /// When who begins, the next first; of two at the same time, the one of the lower number.
    next: BinaryHeap<Reverse<(Duration, u32)>>,
}

impl Closed {
    /// All users think first.
    pub(super) fn new(
        users: u32,
        think: Distribution,
        mut maker: Maker,
        end: Duration,
        seed: u64,
        repeat: u32,
    ) -> Self {
        let mut closed = Self {
            think,
            thinking: random::stream(seed, repeat, "think"),
            users: (0..users).map(|_| maker.endpoints.pick()).collect(),
            maker,
            end,
            next: BinaryHeap::new(),
        };
        for user in 0..users {
            closed.think(user, Duration::ZERO);
        }
        closed
    }

    fn think(&mut self, user: u32, from: Duration) {
        let think = self.think.sample(&mut self.thinking);
        if let Ok(think) = Duration::try_from_secs_f64(think) {
            let at = from.saturating_add(think);
            if at < self.end {
                self.next.push(Reverse((at, user)));
            }
        }
    }
}

impl Workload for Closed {
    fn peek(&self) -> Option<Duration> {
        self.next.peek().map(|Reverse((at, _))| *at)
    }

    fn next(&mut self) -> Option<Arrival> {
        let Reverse((at, user)) = self.next.pop()?;
        let picked = *self.users.get(usize::try_from(user).ok()?)?;
        let draft = self.maker.draft(at, picked, user);
        // Scenarios have no more users than the endpoints of one client, and a user has one connection at a time.
        self.maker.finish(&draft)
    }

    fn done(&mut self, arrival: &Arrival, at: Duration) {
        self.maker.endpoints.free(arrival.client);
        self.think(arrival.user, at);
    }
}

//! What a worker tells the shadows: gathered by batch, handed over without waiting.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam::channel::Sender;
use director::connection::ConnectionId;
use director::observer::{Asked, Choice, Observer};
use director::scheduler::Flow;
use director::time::Instant;

use super::News;

/// Events that are handed over at once, at most.
const TOGETHER: usize = 256;

/// Something that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// As [`Observer::asked`].
    Asked(Request, Choice),
    /// As [`Observer::turned`].
    Turned(ConnectionId, bool),
    /// As [`Observer::ended`].
    Ended(ConnectionId),
}

/// [`Asked`], to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) flow: Flow,
    pub(super) mark: u32,
    pub(super) data: Option<Box<[u8]>>,
    pub(super) now: Instant,
}

/// A real server by address and port.
pub(super) type Place = (IpAddr, u16);

/// One worker's observer.
#[derive(Debug)]
pub(super) struct Teller {
    worker: usize,
    /// One in so many connections is told.
    sample: u64,
    /// Requests that left no connection, to tell one in so many of them.
    fleeting: u64,
    events: Vec<Event>,
    news: Sender<News>,
    /// Events that found the queue full, of all workers.
    lost: Arc<AtomicU64>,
}

impl Teller {
    pub(super) fn new(
        worker: usize,
        sample: u32,
        news: Sender<News>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        Self {
            worker,
            sample: sample.into(),
            fleeting: 0,
            events: Vec::new(),
            news,
            lost,
        }
    }

    /// Whether this connection is in the sample; the same for all of its life.
    fn follows(&self, id: ConnectionId) -> bool {
        self.sample == 1 || id.scattered().is_multiple_of(self.sample)
    }

    fn push(&mut self, event: Event) {
        self.events.push(event);
        if self.events.len() == TOGETHER {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let count = self.events.len();
        let events = std::mem::replace(&mut self.events, Vec::with_capacity(count));
        let worker = self.worker;
        if self.news.try_send(News::Events { worker, events }).is_err() {
            self.lost
                .fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
        }
    }
}

impl Observer for Teller {
    fn asked(&mut self, asked: &Asked<'_>, choice: Choice) {
        let follows = match choice {
            Choice::Made(id, _) | Choice::Given(id, _) => self.follows(id),
            Choice::Once(_) | Choice::Refused => {
                self.fleeting += 1;
                self.fleeting.is_multiple_of(self.sample)
            }
        };
        if follows {
            let request = Request {
                flow: *asked.flow,
                mark: asked.mark,
                data: asked.data.map(Box::from),
                now: asked.now,
            };
            self.push(Event::Asked(request, choice));
        }
    }

    fn turned(&mut self, connection: ConnectionId, active: bool) {
        if self.follows(connection) {
            self.push(Event::Turned(connection, active));
        }
    }

    fn ended(&mut self, connection: ConnectionId) {
        if self.follows(connection) {
            self.push(Event::Ended(connection));
        }
    }

    fn batch_done(&mut self) {
        if !self.events.is_empty() {
            self.hand_over();
        }
    }
}

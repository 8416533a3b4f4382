//! What a worker tells the shadows: gathered by batch, handed over without waiting.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam::channel::Sender;
use crossbeam::queue::ArrayQueue;
use director::connection::ConnectionId;
use director::observer::{Asked, Choice, Observer};
use director::protocol::Protocol;
use director::scheduler::Flow;
use director::time::Instant;

use super::News;

/// Events that are handed over at once, at most.
const TOGETHER: usize = 256;
/// Room that a list needs for one more connection: a time, and that it was made.
const ROOM: usize = 2;

/// Something that happened to a connection. Small: what one processor writes and another reads is most of the cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// What follows happened at this time.
    At(Instant),
    /// The most frequent kind of [`Choice::Made`], as [`Observer::asked`].
    Made(ConnectionId, Plain),
    /// Any other, as [`Observer::asked`].
    Asked(Box<(Request, Choice)>),
    /// As [`Observer::turned`].
    Turned(ConnectionId, bool),
    /// As [`Observer::ended`].
    Ended(ConnectionId),
}

const _: () = assert!(size_of::<Event>() <= 40, "an event outgrew its 40 octets");

/// A connection over IPv4, without mark and persistence data, and the real server that it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    protocol: Protocol,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    server: (Ipv4Addr, u16),
}

impl Plain {
    pub(super) fn of(asked: &Asked<'_>, server: Place) -> Option<Self> {
        let flow = asked.flow;
        match (flow.source, flow.destination, server.0) {
            (IpAddr::V4(source), IpAddr::V4(destination), IpAddr::V4(address))
                if asked.mark == 0 && asked.data.is_none() =>
            {
                Some(Self {
                    protocol: flow.protocol,
                    source: (source, flow.source_port),
                    destination: (destination, flow.destination_port),
                    server: (address, server.1),
                })
            }
            _ => None,
        }
    }

    /// Who asked, and where the connection went.
    pub(super) fn request(&self, now: Instant) -> (Request, Place) {
        let flow = Flow {
            protocol: self.protocol,
            source: self.source.0.into(),
            source_port: self.source.1,
            destination: self.destination.0.into(),
            destination_port: self.destination.1,
        };
        let request = Request {
            flow,
            mark: 0,
            data: None,
            now,
        };
        (request, (self.server.0.into(), self.server.1))
    }
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

/// Lists that were read, to be written again: so the same memory goes back and forth.
pub(super) type Read = ArrayQueue<Vec<Event>>;

/// One worker's observer.
#[derive(Debug)]
pub(super) struct Teller {
    worker: usize,
    /// One in so many connections is told.
    sample: u64,
    /// Requests that left no connection, to tell one in so many of them.
    fleeting: u64,
    /// The time that was told last.
    now: Option<Instant>,
    events: Vec<Event>,
    news: Sender<News>,
    read: Arc<Read>,
    /// Events that found the queue full, of all workers.
    lost: Arc<AtomicU64>,
}

impl Teller {
    pub(super) fn new(
        worker: usize,
        sample: u32,
        news: Sender<News>,
        read: Arc<Read>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        Self {
            worker,
            sample: sample.into(),
            fleeting: 0,
            now: None,
            events: Vec::with_capacity(TOGETHER),
            news,
            read,
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

    /// Hands over what there is. Where the queue has no place, it stays as long as there is room for more of it here.
    fn hand_over(&mut self) {
        let next = self.read.pop();
        let next = next.unwrap_or_else(|| Vec::with_capacity(TOGETHER));
        let events = std::mem::replace(&mut self.events, next);
        let worker = self.worker;
        let refused = self.news.try_send(News::Events { worker, events });
        if let Err(refused) = refused
            && let News::Events { mut events, .. } = refused.into_inner()
        {
            if events.len() + ROOM <= TOGETHER {
                self.events = events;
                return;
            }
            let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
            self.lost.fetch_add(count, Relaxed);
            events.clear();
            self.events = events;
        }
        // Whoever reads the next list has perhaps not seen this one.
        self.now = None;
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
        if !follows {
            return;
        }
        // Both or none: a list begins with the time of what is in it.
        if self.events.len() + ROOM > TOGETHER {
            self.hand_over();
        }
        if self.now != Some(asked.now) {
            self.now = Some(asked.now);
            self.events.push(Event::At(asked.now));
        }
        if let Choice::Made(id, server) = choice
            && let Some(plain) = Plain::of(asked, server)
        {
            self.push(Event::Made(id, plain));
            return;
        }
        let request = Request {
            flow: *asked.flow,
            mark: asked.mark,
            data: asked.data.map(Box::from),
            now: asked.now,
        };
        self.push(Event::Asked(Box::new((request, choice))));
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

//! What the control thread and the workers say to each other.

use std::fmt;
use std::sync::Arc;

use crossbeam::channel::Sender;
use director::director::Director;
use director::time::Instant;
use director::verdict::Counters;
use link::steering::Steering;
use link::{Link, LinkError, Statistics};

use super::{Marks, Tally};

/// Something to be done with a worker's director.
pub type Job = Box<dyn FnOnce(&mut Director, Instant) + Send>;

/// From the control thread to a worker.
pub enum Order {
    /// Receive and send on this interface (again).
    AddLink {
        /// Interface index.
        interface: u32,
        /// The worker's place in the interface's group.
        link: Link,
    },
    /// Let go of this interface.
    RemoveLink {
        /// Interface index.
        interface: u32,
    },
    /// Share flows out like this from now on.
    Steer(Arc<Steering>),
    /// Give packets these marks from now on; `None` = no packet has one.
    Mark(Option<Arc<Marks>>),
    /// The guard knows what was announced with the oldest of the worker's [`Event::Announced`]: say it.
    Release,
    /// Tell the counters.
    Report(Sender<Report>),
    /// Do this with the director between two batches. For what is rare: listing connections.
    Run(Job),
    /// End the thread.
    Stop,
}

impl fmt::Debug for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AddLink { .. } => "AddLink",
            Self::RemoveLink { .. } => "RemoveLink",
            Self::Steer(_) => "Steer",
            Self::Mark(_) => "Mark",
            Self::Release => "Release",
            Self::Report(_) => "Report",
            Self::Run(_) => "Run",
            Self::Stop => "Stop",
        })
    }
}

/// From a worker to the control thread.
#[derive(Debug)]
pub enum Event {
    /// The interface is gone: no frame can come from this link any more.
    LinkLost {
        /// Interface index.
        interface: u32,
        /// What the system said.
        error: LinkError,
    },
    /// FTP data connections were announced; who is to hear of them does once an [`Order::Release`] comes back.
    Announced {
        /// Worker index.
        worker: usize,
    },
    /// The thread could not give up its capabilities.
    Unprivileged {
        /// Worker index.
        worker: usize,
        /// What the system said.
        error: String,
    },
    /// The thread ended by a broken invariant.
    Died {
        /// Worker index.
        worker: usize,
    },
}

/// Counters of one worker.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The director's verdicts.
    pub counters: Counters,
    /// The worker's own.
    pub tally: Tally,
    /// What each link received and lost, by interface index.
    pub links: Vec<(u32, Statistics)>,
    /// Fragments that wait for the rest of their datagrams.
    pub waiting_fragments: u64,
    /// Fragments that wait for the first one of their datagram, which says which worker they belong to.
    pub unassigned_fragments: usize,
    /// Fragments so far whose first one did not come in time.
    pub unclaimed_fragments: u64,
    /// Connections taken in so far.
    pub connections_made: u64,
    /// Connections that have ended so far.
    pub connections_ended: u64,
    /// Connections that there are.
    pub connections_live: usize,
}

/// How a worker tells the control thread something.
#[derive(Clone, Debug)]
pub struct Reporter {
    events: Sender<Event>,
    waker: Arc<mio::Waker>,
}

impl Reporter {
    /// Events go to `events`, and `waker` wakes the control thread.
    #[must_use]
    pub const fn new(events: Sender<Event>, waker: Arc<mio::Waker>) -> Self {
        Self { events, waker }
    }

    pub(super) fn report(&self, event: Event) {
        // If the control thread is gone, the process is ending.
        if self.events.send(event).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

//! Who is told of connections as they are made, become active or inactive, and end: shadow scheduling.
//!
//! Promises: an [`Observer`] hears of everything that a scheduler's decisions depend on and changes nothing; what a
//! worker tells it is in the order in which that worker did it. Without one, which is the default, a connection pays a
//! comparison with none. Packets that leave their connection in its state are not told, so the fast path knows nothing
//! of it.

use core::fmt::Debug;
use core::net::IpAddr;

use crate::connection::ConnectionId;
use crate::director::{Director, Worker};
use crate::scheduler::Flow;
use crate::time::Instant;

/// Who asked for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The connection, as schedulers see it.
    pub flow: &'a Flow,
    /// Firewall mark of its first packet; 0 = none.
    pub mark: u32,
    /// What the service's persistence engine found in that packet.
    pub data: Option<&'a [u8]>,
    /// When it came.
    pub now: Instant,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A connection to the real server of this address and port, by scheduler or template.
    Made(ConnectionId, (IpAddr, u16)),
    /// The same, but it ended with its first packet (`-o`).
    Once((IpAddr, u16)),
    /// A connection that no scheduler was asked about, to this real server: FTP's data connections, dialogues that a real
    /// server begins.
    Given(ConnectionId, (IpAddr, u16)),
    /// There was no real server for it.
    Refused,
}

/// Hears of the connections of one worker. To be quick about it: the worker waits.
///
/// A [`ConnectionId`] is one connection of that worker for ever. Connections from before the observer was set, and those
/// that synchronisation brings, were never told as made; that they turn or end is.
pub trait Observer: Debug + Send {
    /// Somebody asked for a connection.
    fn asked(&mut self, asked: &Asked<'_>, choice: Choice);

    /// A connection is active from now on, or inactive again (a new one is inactive).
    fn turned(&mut self, connection: ConnectionId, active: bool);

    /// A connection has ended.
    fn ended(&mut self, connection: ConnectionId);

    /// A batch of packets, or what time brought about, is done.
    fn batch_done(&mut self);
}

impl Director {
    /// From now on `observer` hears of this worker's connections; `None` = nobody does.
    pub fn set_observer(&mut self, observer: Option<Box<dyn Observer>>) {
        self.worker.connections.observer = observer;
    }

    /// To be called after each batch, and each [`Director::tick`].
    #[inline]
    pub fn batch_done(&mut self) {
        if let Some(observer) = &mut self.worker.connections.observer {
            observer.batch_done();
        }
    }
}

impl Worker {
    /// Tells that there was no real server for a flow.
    pub(crate) fn tell_refused(
        &mut self,
        flow: &Flow,
        mark: u32,
        data: Option<&[u8]>,
        now: Instant,
    ) {
        if let Some(observer) = &mut self.connections.observer {
            let asked = Asked {
                flow,
                mark,
                data,
                now,
            };
            observer.asked(&asked, Choice::Refused);
        }
    }
}

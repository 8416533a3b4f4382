//! What FTP connections have beside their records: who controls whom, what tracking knows of their segments, and by how much
//! sequence numbers are shifted.
//!
//! The kernel's FTP helper leaves segments that are out of place and sequence numbers to connection tracking; what a client sees of that
//! is here. Kept apart, so that the records of all other connections do not grow.

use std::collections::BTreeMap;

use super::conntrack::{Conntrack, Outcome};
use super::record::Connection;
use super::segment::is_after;
use super::table::{ConnectionId, Full, Table};
use super::{FlowKey, State};
use crate::ftp::Mode;
use crate::protocol::{Direction, Protocol};
use crate::shared::Timeouts;
use crate::time::Instant;

/// IP_VS_CONN_F_NO_CPORT: the client's port is not known before its first packet.
pub(super) const FLAG_NO_CLIENT_PORT: u16 = 0x0800;
/// The connection has a [`Tracking`]; not a bit of the kernel's.
pub(super) const FLAG_TRACKED: u16 = 0x8000;
/// A control connection that still has data connections when its time has come lives so much longer, seconds
/// (kernel: `ip_vs_conn_expire`).
const CONTROLLING_TIMEOUT: u32 = 60;

/// What an FTP connection has beside its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// What the client asked for last.
    pub mode: Mode,
    /// What tracking knows of it.
    pub(crate) conntrack: Conntrack,
    /// What became of its last packet.
    pub(crate) outcome: Outcome,
    /// What changed answers do to the server's sequence numbers.
    pub shift: Shift,
    /// The connection that announced this one.
    control: Option<ConnectionId>,
    /// Connections that this one announced.
    controlled: u32,
}

/// How the numbers of a server's octets differ before and behind the last answer whose length was changed (kernel:
/// `nf_ct_seqadj`). All arithmetic is modulo 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// Sequence number of the last changed segment, as the server sent it.
    position: u32,
    before: u32,
    after: u32,
}

impl Shift {
    /// Whether no number differs.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.before == 0 && self.after == 0
    }

    /// The segment at `sequence` became longer by `change` octets.
    pub fn add(&mut self, sequence: u32, change: u32) {
        if change != 0 && (self.before == self.after || is_after(sequence, self.position)) {
            self.position = sequence;
            self.before = self.after;
            self.after = self.after.wrapping_add(change);
        }
    }

    /// What was added to the server's numbers that the client's `acknowledgment` is about.
    #[must_use]
    pub const fn offset(self, acknowledgment: u32) -> u32 {
        if is_after(acknowledgment.wrapping_sub(1), self.position) {
            self.after
        } else {
            self.before
        }
    }

    /// The client's number of the server's `sequence`.
    #[must_use]
    pub const fn to_client(self, sequence: u32) -> u32 {
        let change = if is_after(sequence, self.position) {
            self.after
        } else {
            self.before
        };
        sequence.wrapping_add(change)
    }

    /// The server's number of what the client acknowledges.
    #[must_use]
    pub const fn to_server(self, acknowledgment: u32) -> u32 {
        let change = if is_after(acknowledgment.wrapping_sub(self.before), self.position) {
            self.after
        } else {
            self.before
        };
        acknowledgment.wrapping_sub(change)
    }
}

/// The FTP connections of a table.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    /// By slot.
    entries: BTreeMap<u32, Tracking>,
    /// Connections whose client's port is not known yet.
    awaiting: u32,
}

impl Tracked {
    /// Whether nothing is kept of any connection.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.awaiting == 0
    }
}

impl Connection {
    /// Whether it has a [`Tracking`].
    #[inline]
    #[must_use]
    pub const fn is_tracked(&self) -> bool {
        self.flags & FLAG_TRACKED != 0
    }

    /// Whether its client's port is not known yet; it is listed as 0.
    #[must_use]
    pub const fn awaits_client_port(&self) -> bool {
        self.flags & FLAG_NO_CLIENT_PORT != 0
    }
}

impl Table {
    /// Gives a connection a [`Tracking`].
    pub fn track(&mut self, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id) {
            connection.flags |= FLAG_TRACKED;
            self.tracked.entries.entry(id.index).or_default();
        }
    }

    /// A new connection that does not know its client's port is one to look for. Every insertion comes here, so that
    /// nobody counts twice.
    pub(super) fn track_awaiting(&mut self, id: ConnectionId) {
        if self.get(id).is_some_and(Connection::awaits_client_port) {
            self.tracked.awaiting += 1;
            self.track(id);
        }
    }

    /// What an FTP connection has beside its record; none for all others.
    #[must_use]
    pub fn tracking(&self, id: ConnectionId) -> Option<&Tracking> {
        self.get(id).filter(|it| it.is_tracked())?;
        self.tracked.entries.get(&id.index)
    }

    /// [`Table::tracking`], to be changed.
    pub fn tracking_mut(&mut self, id: ConnectionId) -> Option<&mut Tracking> {
        self.get(id).filter(|it| it.is_tracked())?;
        self.tracked.entries.get_mut(&id.index)
    }

    /// The connection that announced this one.
    pub(super) fn control_of(&self, id: ConnectionId) -> Option<ConnectionId> {
        self.tracking(id)?.control
    }

    /// Gives a copied connection what the original has; `copied` are the names of originals and copies.
    pub(super) fn track_as(
        &mut self,
        id: ConnectionId,
        original: &Tracking,
        copied: &[(ConnectionId, ConnectionId)],
    ) {
        self.track(id);
        let control = original.control.and_then(|control| {
            let known = copied.iter().find(|(have, _)| *have == control);
            known.map(|(_, copy)| *copy)
        });
        if let Some(tracking) = self.tracking_mut(id) {
            *tracking = Tracking {
                control,
                ..original.clone()
            };
        }
    }

    /// Whether another connection announced this one.
    #[must_use]
    pub fn is_controlled(&self, id: ConnectionId) -> bool {
        self.tracking(id).is_some_and(|it| it.control.is_some())
    }

    /// Whether connections that this one announced are still there.
    #[must_use]
    pub fn is_controlling(&self, id: ConnectionId) -> bool {
        self.tracking(id).is_some_and(|it| it.controlled > 0)
    }

    /// Takes in a connection that `control` announced. If it `awaits` the client's port, which is 0 then, the port is
    /// the first packet's.
    ///
    /// # Errors
    /// As [`Table::insert`].
    pub fn insert_controlled(
        &mut self,
        mut connection: Connection,
        control: ConnectionId,
        awaits: bool,
        now: Instant,
    ) -> Result<ConnectionId, Full> {
        if awaits {
            connection.flags |= FLAG_NO_CLIENT_PORT;
        }
        let id = self.insert(connection, now)?;
        self.track(id);
        if let Some(controlling) = self.tracking_mut(control) {
            controlling.controlled += 1;
            if let Some(tracking) = self.tracking_mut(id) {
                tracking.control = Some(control);
            }
        }
        Ok(id)
    }

    /// Takes in a connection that another director's connection announced: its client's port is the first packet's.
    ///
    /// # Errors
    /// As [`Table::insert`].
    pub(crate) fn insert_awaiting(
        &mut self,
        mut connection: Connection,
        now: Instant,
    ) -> Result<ConnectionId, Full> {
        connection.flags |= FLAG_NO_CLIENT_PORT;
        self.insert(connection, now)
    }

    /// The connection waits for its first segment, 120 s from `now` (kernel: `ip_vs_tcp_conn_listen`, which leaves the
    /// real server's counts alone).
    pub fn listen(&mut self, id: ConnectionId, timeouts: Timeouts, now: Instant) {
        if let Some(connection) = self.get_mut(id) {
            connection.state = State::Tcp(super::tcp::State::Listen);
            connection.timeout = connection.state.timeout(timeouts);
            self.refresh(id, now);
        }
    }

    /// The client's first packet came from `port`: from now on only packets from there belong to the connection.
    pub fn set_client_port(&mut self, id: ConnectionId, port: u16) {
        if self.get(id).is_none_or(|it| !it.awaits_client_port()) {
            return;
        }
        self.forget(id.index);
        if let Some(connection) = self.get_mut(id) {
            connection.client_port = port;
            connection.flags &= !FLAG_NO_CLIENT_PORT;
        }
        self.tracked.awaiting -= 1;
        self.enlist(id.index);
    }

    /// The connection that awaits a packet like this from any port.
    pub(super) fn find_awaiting(&self, key: &FlowKey) -> Option<(ConnectionId, Direction)> {
        if self.tracked.awaiting == 0 || key.protocol != Protocol::Tcp.number() {
            return None;
        }
        let any_port = FlowKey {
            source: (key.source.0, 0),
            ..*key
        };
        let (id, direction) = self.find_hashed(&any_port, self.hash(&any_port))?;
        let awaits = self.get(id)?.awaits_client_port() && direction == Direction::ToServer;
        awaits.then_some((id, direction))
    }

    /// Whether the connection in this slot must live on because of those that it announced; then it does.
    pub(super) fn is_kept(&mut self, index: u32, now: Instant) -> bool {
        let kept = (self.id(index)).is_some_and(|id| self.is_controlling(id));
        if kept && let Some(connection) = self.connection_mut(index) {
            connection.timeout = CONTROLLING_TIMEOUT;
            connection.prolong(now);
        }
        kept
    }

    /// A connection that is about to leave its slot: nothing is kept of it.
    pub(super) fn untrack(&mut self, index: u32) {
        let Some(connection) = self.connection_mut(index) else {
            return;
        };
        let (tracked, awaits) = (connection.is_tracked(), connection.awaits_client_port());
        self.tracked.awaiting -= u32::from(awaits);
        if tracked
            && let Some(tracking) = self.tracked.entries.remove(&index)
            && let Some(control) = tracking.control
            && let Some(controlling) = self.tracking_mut(control)
        {
            controlling.controlled -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_add_up() {
        let mut shift = Shift::default();
        assert!(shift.is_none());
        shift.add(5012, 1_u32.wrapping_neg());
        assert_eq!((shift.to_client(5012), shift.to_client(5059)), (5012, 5058));
        assert_eq!((shift.to_server(5012), shift.to_server(5058)), (5012, 5059));
        // A retransmission of the same segment changes nothing.
        shift.add(5012, 1_u32.wrapping_neg());
        assert_eq!(shift.to_client(5059), 5058);
        shift.add(6000, 3);
        assert_eq!((shift.to_client(6000), shift.to_client(6001)), (5999, 6003));
        assert_eq!((shift.to_server(5999), shift.to_server(6003)), (6000, 6001));
    }
}

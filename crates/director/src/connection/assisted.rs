//! Connections whose packets the kernel sends on by itself: what the table knows of that.

use core::time::Duration;

use super::record::Connection;
use super::table::{ConnectionId, Table};
use crate::time::Instant;

/// The kernel sends on packets of the connection; not a bit of the kernel's director.
pub(super) const FLAG_ASSISTED: u16 = 0x4000;

impl Connection {
    /// Whether the kernel was asked to send on packets of it.
    #[inline]
    #[must_use]
    pub(crate) const fn is_assisted(&self) -> bool {
        self.flags & FLAG_ASSISTED != 0
    }

    /// Notes whether the kernel was asked to send on packets of it.
    pub(crate) const fn set_assisted(&mut self, assisted: bool) {
        if assisted {
            self.flags |= FLAG_ASSISTED;
        } else {
            self.flags &= !FLAG_ASSISTED;
        }
    }

    /// Counts packets from the client that did not come by here.
    pub(crate) fn count_packets(&mut self, packets: u64) {
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.packets = self.packets.saturating_add(packets);
    }

    /// Whether it had a packet at `last`: gives it a whole timeout from then.
    pub(crate) fn used_at(&mut self, last: Instant) {
        let deadline = last.after(Duration::from_secs(self.timeout.into()));
        // A later one is the table's to move; to an earlier one there is no reason.
        if deadline > self.deadline() {
            self.set_deadline(deadline);
        }
    }
}

impl Table {
    /// Whether the connection in this slot, whose time has come, had packets that did not come by here; then it lives on.
    pub(super) fn is_used(
        &mut self,
        index: u32,
        now: Instant,
        lives: &mut impl FnMut(ConnectionId) -> Option<Instant>,
    ) -> bool {
        let assisted = self
            .connection_mut(index)
            .is_some_and(|it| it.is_assisted());
        if !assisted {
            return false;
        }
        let Some(last) = self.id(index).and_then(lives) else {
            return false;
        };
        let Some(connection) = self.connection_mut(index) else {
            return false;
        };
        connection.used_at(last);
        connection.deadline() > now
    }
}

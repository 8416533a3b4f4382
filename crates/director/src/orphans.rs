//! Connections of deleted real servers, ended soon after the deletion when `expire_nodest_conn` is on (BEHAVIOURS 29,
//! 42). Without it they stay until their time has come, because the real server may be added again.

use core::time::Duration;

use crate::connection::Cursor;
use crate::director::{Worker, let_go};
use crate::template::Ended;
use crate::time::Instant;

/// Time from a deletion to the search for its connections: one to two ticks of the recorded kernel.
pub(crate) const DELAY: Duration = Duration::from_millis(15);
/// Work that one tick does for it ([`crate::connection::Table::sweep`]): 256 connections that end, or 4,096 places that
/// are passed over; well under a millisecond either way.
const BUDGET: u32 = 4096;

/// How far one worker is with the search.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Deletions that are known ([`crate::shared::Shared::deletions`]).
    seen: u64,
    /// When the search begins.
    due: Option<Instant>,
    /// Where it goes on.
    cursor: Option<Cursor>,
}

impl Orphans {
    /// When there is something to do.
    pub(crate) fn next_deadline(&self, deletions: u64) -> Option<Instant> {
        if self.cursor.is_some() || self.seen != deletions {
            return Some(Instant::START);
        }
        self.due
    }
}

impl Worker {
    /// Ends what deletions left behind, some of it in each call.
    pub(crate) fn end_orphans(&mut self, now: Instant) {
        let deletions = self.shared.deletions();
        let orphans = &mut self.orphans;
        if orphans.seen != deletions {
            orphans.seen = deletions;
            orphans.due = Some(now.after(DELAY));
        }
        if orphans.due.is_some_and(|due| due <= now) {
            orphans.due = None;
            orphans.cursor = Some(Cursor::default());
        }
        let Some(cursor) = orphans.cursor.take() else {
            return;
        };
        let shared = &self.shared;
        orphans.cursor = self.connections.sweep(
            cursor,
            BUDGET,
            |connection| connection.is_orphaned(),
            |connection| let_go(shared, &connection, Ended::Orphaned),
        );
    }
}

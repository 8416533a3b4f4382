//! A table of few connections for a dry run.

use super::{Connection, ConnectionId, LIMIT, Table};
use crate::connection::index::Index;
use crate::connection::slab::Slab;
use crate::connection::tracking::Tracked;
use crate::connection::wheel::Wheel;
use crate::time::Instant;

impl Table {
    /// A table for a dry run: of these connections alone and of those that announced them, as `copy` copies them. It is
    /// full if this one is, and finds what this one finds.
    pub(crate) fn fork(
        &self,
        ids: &[ConnectionId],
        now: Instant,
        mut copy: impl FnMut(&Connection) -> Connection,
    ) -> Self {
        let mut fork = Self {
            hash: self.hash.clone(),
            index: Index::new(),
            slab: Slab::new(),
            wheel: Wheel::new(),
            tracked: Tracked::default(),
            max_connections: LIMIT,
            made: 0,
            ended: 0,
            observer: None,
        };
        let mut copied: Vec<(ConnectionId, ConnectionId)> = Vec::new();
        let controls = ids.iter().filter_map(|&id| self.control_of(id));
        for id in controls.chain(ids.iter().copied()) {
            let is_there = copied.iter().any(|(have, _)| *have == id);
            let Some(connection) = self.get(id).filter(|_| !is_there) else {
                continue;
            };
            let Ok(place) = fork.insert(copy(connection), now) else {
                continue;
            };
            copied.push((id, place));
            if let Some(tracking) = self.tracking(id) {
                fork.track_as(place, tracking, &copied);
            }
        }
        if self.is_full() {
            fork.max_connections = fork.len();
        }
        fork
    }
}

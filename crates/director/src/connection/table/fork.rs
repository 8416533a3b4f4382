//! A table of few connections for a dry run.

use std::sync::Arc;

use super::{ConnectionId, LIMIT, Table};
use crate::connection::index::Index;
use crate::connection::slab::Slab;
use crate::connection::tracking::Tracked;
use crate::connection::wheel::Wheel;
use crate::destination::Destination;
use crate::template::Template;
use crate::time::Instant;

/// What a connection in a fork is bound to in the table that it was copied from.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The connection's name in the fork.
    pub(crate) connection: ConnectionId,
    /// The real server itself.
    pub(crate) destination: Option<Arc<Destination>>,
    /// The template itself.
    pub(crate) template: Option<Arc<Template>>,
}

impl Table {
    /// A table for a dry run: of these connections alone and of those that announced them. It is full if this one is, and
    /// finds what this one finds; but its connections have no real servers, until [`Table::bind`] gives them copies. Those
    /// that they are copies of are told beside it.
    pub(crate) fn fork(&self, ids: &[ConnectionId], now: Instant) -> (Self, Vec<Bound>) {
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
        let mut bound = Vec::new();
        let controls = ids.iter().filter_map(|&id| self.control_of(id));
        for id in controls.chain(ids.iter().copied()) {
            let is_there = copied.iter().any(|(have, _)| *have == id);
            let Some(connection) = self.get(id).filter(|_| !is_there) else {
                continue;
            };
            let Ok(place) = fork.insert(connection.unbound(), now) else {
                continue;
            };
            if let Some(copy) = fork.get_mut(place) {
                copy.set_deadline(connection.deadline());
            }
            bound.push(Bound {
                connection: place,
                destination: connection.destination().cloned(),
                template: connection.template().cloned(),
            });
            copied.push((id, place));
            if let Some(tracking) = self.tracking(id) {
                fork.track_as(place, tracking, &copied);
            }
        }
        if self.is_full() {
            fork.max_connections = fork.len();
        }
        (fork, bound)
    }

    /// Gives a connection of a dry run the copies of its real server and template. They are not told: they count it
    /// already.
    pub(crate) fn bind(
        &mut self,
        id: ConnectionId,
        destination: Option<Arc<Destination>>,
        template: Option<Arc<Template>>,
    ) {
        if let Some(connection) = self.get_mut(id) {
            connection.bind_copies(destination, template);
        }
    }
}

//! What a table tells its observer of a connection that is new.

use core::net::IpAddr;

use super::{Connection, ConnectionId, Table};
use crate::observer::{Asked, Choice, Observer};
use crate::scheduler::Flow;
use crate::time::Instant;

impl Table {
    /// Tells that a connection was just made, by a scheduler's choice or `given`.
    pub(crate) fn tell_made(&mut self, id: ConnectionId, given: bool, now: Instant) {
        let Self { observer, slab, .. } = self;
        if let Some(observer) = observer
            && let Some(connection) = slab.get(id.index)
            && let Some(server) = server(connection)
        {
            let choice = if given {
                Choice::Given(id, server)
            } else {
                Choice::Made(id, server)
            };
            tell(observer.as_mut(), connection, choice, now);
        }
    }

    /// Tells that a connection was made which is not kept.
    pub(crate) fn tell_once(&mut self, connection: &Connection, now: Instant) {
        if let Some(observer) = &mut self.observer
            && let Some(server) = server(connection)
        {
            tell(observer.as_mut(), connection, Choice::Once(server), now);
        }
    }
}

/// Address and port of the real server, as the operator gave them.
fn server(connection: &Connection) -> Option<(IpAddr, u16)> {
    let server = connection.destination()?;
    Some((server.address, server.port))
}

fn tell(observer: &mut dyn Observer, connection: &Connection, choice: Choice, now: Instant) {
    let (source, source_port) = connection.client();
    let (destination, destination_port) = connection.virtual_server();
    let flow = Flow {
        protocol: connection.protocol(),
        source,
        source_port,
        destination,
        destination_port,
    };
    let template = connection.template();
    let asked = Asked {
        flow: &flow,
        mark: connection.mark(),
        data: template.and_then(|template| template.key().data.as_deref()),
        now,
    };
    observer.asked(&asked, choice);
}

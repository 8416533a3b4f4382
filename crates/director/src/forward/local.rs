//! A real server that is the director itself: its host has the RIP, or ulvs answers for it (BEHAVIOURS 24).
//!
//! The packet is not sent anywhere. Where the host has the address, the host's own stack takes it, as it came. Where
//! only ulvs answers for the address, nothing listens, and the refusal is the real server's reply.

use packet::{Family, Transport, tcp};

use super::{Entry, Passage};
use crate::connection::ConnectionId;
use crate::destination::Method;
use crate::director::{Batch, Datagram, Worker};
use crate::frame::Output;
use crate::protocol::Direction;
use crate::verdict::Verdict;

/// The director's own stack.
pub(super) const METHOD: Entry = Entry {
    method: Method::Local,
    option: None,
    name: "Local",
    summary: "the director's own stack takes the packet",
    send,
};

fn send(worker: &mut Worker, passage: Passage<'_, '_, '_>) -> Verdict {
    worker.deliver(passage.batch, None, passage.datagram, passage.output)
}

/// IP and TCP header of a RST, octets.
const RESET_V4: u64 = 40;
/// The same over IPv6.
const RESET_V6: u64 = 60;

impl Worker {
    /// A client's packet whose real server is this host; `id` is its connection, unless none is kept.
    pub(crate) fn deliver(
        &mut self,
        batch: &Batch<'_>,
        id: Option<ConnectionId>,
        datagram: Datagram<'_, '_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        let is_tcp = matches!(datagram.headers.transport, Transport::Tcp { .. });
        let octets = match datagram.headers.family {
            Family::V4 => RESET_V4,
            Family::V6 => RESET_V6,
        };
        let before = output.frames.len();
        let verdict = self.stack(batch, datagram, output);
        if is_tcp
            && output.frames.len() > before
            && let Some(id) = id
        {
            self.observe_reset(batch, id, octets);
        }
        verdict
    }

    /// The RST that was just sent to the client is a packet of connection `id`.
    fn observe_reset(&mut self, batch: &Batch<'_>, id: ConnectionId, octets: u64) {
        let connection = self.connections.get(id);
        if let Some(destination) = connection.and_then(|connection| connection.destination()) {
            self.shared.count_out(self.index, destination, octets);
        }
        let reset = Transport::Tcp {
            source: 0,
            destination: 0,
            sequence: 0,
            acknowledgment: 0,
            flags: tcp::RST | tcp::ACK,
            header_len: 20,
        };
        let rules = self.state_rules();
        self.connections
            .observe(id, &reset, Direction::ToClient, rules, batch.now);
    }
}

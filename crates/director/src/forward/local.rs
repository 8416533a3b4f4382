//! A real server that is the director itself: its host has the RIP, or ulvs answers for it (BEHAVIOURS 24).
//!
//! The packet is not sent anywhere. Where the host has the address, the host's own stack takes it, as it came. Where
//! only ulvs answers for the address, nothing listens, and the refusal is the real server's reply.

use packet::{Headers, Transport};

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

fn send(worker: &mut Worker, passage: Passage<'_, '_, '_, '_>) -> Verdict {
    worker.deliver(passage.batch, None, passage.datagram, passage.output)
}

impl Worker {
    /// A client's packet whose real server is this host; `id` is its connection, unless none is kept.
    pub(crate) fn deliver(
        &mut self,
        batch: &Batch<'_>,
        id: Option<ConnectionId>,
        datagram: &mut Datagram<'_, '_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        let transport = datagram.headers.transport;
        let has_connection = matches!(transport, Transport::Tcp { .. } | Transport::Sctp { .. });
        let before = output.frames.len();
        let verdict = self.stack(batch, datagram, output);
        if has_connection
            && let Some(id) = id
            && let Some(answer) = output.frames.get_mut(before)
            && let Ok(headers) = answer.frame.headers()
        {
            self.observe_answer(batch, id, &headers);
        }
        verdict
    }

    /// The RST or ABORT that was just sent to the client is a packet of connection `id`.
    fn observe_answer(&mut self, batch: &Batch<'_>, id: ConnectionId, answer: &Headers) {
        let connection = self.connections.get(id);
        if let Some(destination) = connection.and_then(|connection| connection.destination()) {
            let octets = answer.end.saturating_sub(answer.network_offset);
            let octets = u64::try_from(octets).unwrap_or(0);
            self.shared.count_out(self.index, destination, octets);
        }
        let (transport, direction) = (&answer.transport, Direction::ToClient);
        let rules = self.state_rules();
        self.connections
            .observe(id, transport, direction, rules, batch.now);
    }
}

//! Packets that are on their way through the host and belong to no connection: none of the director's business, but
//! for what a real server behind NAT sends before its connection has begun ([`crate::outgoing`]) or after it is gone
//! (`nat_icmp_send`, BEHAVIOURS 35).

use packet::{IcmpError, Transport, tcp};

use crate::director::{Batch, Datagram, Worker};
use crate::frame::Output;
use crate::protocol::Protocol;
use crate::request::SCTP_ABORT;
use crate::sysctl::Sysctl;
use crate::verdict::Verdict;

impl Worker {
    /// A packet to somewhere else than this host, without a connection.
    pub(crate) fn stray<'a>(
        &mut self,
        batch: &Batch<'_>,
        protocol: Protocol,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        if let Some(begun) = self.begin_outgoing(batch, datagram) {
            return self.send_outgoing(batch, begun, datagram, output);
        }
        let headers = &datagram.headers;
        let (port, _) = headers.ports();
        // A packet whose TTL runs out never comes as far; a farewell is not answered.
        if headers.ttl <= 1
            || !self.shared.sysctls.is_on(Sysctl::NatIcmpSend)
            || is_farewell(&headers.transport)
            || !self.shared.is_real_server(protocol, headers.source, port)
        {
            return Verdict::Pass;
        }
        // The kernel's director looks at it on its way out: the TTL is one less already.
        datagram.decrement_ttl();
        let Datagram { frame, headers, .. } = datagram;
        self.send_error(batch, frame, headers, IcmpError::PortUnreachable, output);
        Verdict::Answered
    }
}

/// Whether the packet itself ends a connection at once.
fn is_farewell(transport: &Transport) -> bool {
    match *transport {
        Transport::Tcp { flags, .. } => flags & tcp::RST != 0,
        Transport::Sctp { chunk, .. } => chunk == Some(SCTP_ABORT),
        _ => false,
    }
}

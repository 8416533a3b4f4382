//! What a host's own stack would answer, for VIPs that only ulvs owns: ping, RST, ICMP port or protocol
//! unreachable, SCTP ABORT (BEHAVIOURS 9, 10). For addresses that the host has, its kernel answers.

use packet::{
    Family, Headers, IcmpError, Malformed, Packet, Transport, checksum, echo_reply, protocol,
    sctp_abort, tcp_reset, upper_layer,
};

use crate::director::{Batch, Datagram, Worker};
use crate::frame::{Output, OwnedFrame};
use crate::verdict::{DropReason, Verdict};

/// Octets that the kernel's GRE driver for IPv4 looks at.
const GRE_LEAST: usize = 12;

impl Worker {
    /// A packet that no service wants.
    pub(crate) fn stack(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'_, '_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        if !batch.network.is_owned(datagram.headers.destination) {
            return Verdict::Pass;
        }
        if let Some(fault) = datagram.headers.options.fault {
            return self.refuse_options(batch, fault, datagram, output);
        }
        let transport = datagram.headers.transport;
        match transport {
            Transport::Tcp { .. } => self.answer(batch, datagram, tcp_reset, output),
            Transport::Sctp { .. } => self.answer(batch, datagram, sctp_abort, output),
            Transport::Icmp { .. } => {
                let id = self.id();
                let echo = |packet: &Packet<'_>, headers: &Headers, out: &mut [u8]| {
                    echo_reply(packet, headers, id, out)
                };
                self.answer(batch, datagram, echo, output)
            }
            Transport::Udp { .. } if !is_intact(datagram) => Verdict::Answered,
            Transport::Udp { .. } => {
                self.refuse_at_stack(batch, datagram, IcmpError::PortUnreachable, output)
            }
            Transport::Truncated { .. } => {
                Verdict::Drop(DropReason::Malformed(Malformed::TransportTruncated))
            }
            Transport::Fragment | Transport::Other => {
                let network = datagram.headers.network_offset;
                let bytes = datagram.frame.bytes().get(network..).unwrap_or(&[]);
                match unheard(datagram.headers, bytes) {
                    Some(error) => self.refuse_at_stack(batch, datagram, error, output),
                    None => Verdict::Answered,
                }
            }
        }
    }

    fn refuse_at_stack(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'_, '_>,
        error: IcmpError,
        output: &mut Output<'_>,
    ) -> Verdict {
        self.send_error(batch, &mut datagram.frame, datagram.headers, error, output);
        Verdict::Answered
    }

    fn answer(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'_, '_>,
        write: impl FnOnce(&Packet<'_>, &Headers, &mut [u8]) -> Option<usize>,
        output: &mut Output<'_>,
    ) -> Verdict {
        // An echo reply is as long as the request; the other answers are shorter than this.
        const SHORT: usize = 128;
        let mut answer = OwnedFrame::zeroed(datagram.len().max(SHORT));
        let written = answer.edit(|answer| {
            let (headers, out) = (&datagram.headers, answer.bytes_mut());
            let written = datagram.frame.edit(|packet| write(packet, headers, out));
            answer.truncate(written.unwrap_or(0));
            written
        });
        if written.is_some() {
            answer.vlan = datagram.frame.vlan();
            let _ = self.send(batch, datagram.headers.source, answer, output);
        }
        Verdict::Answered
    }
}

/// What a stack says of a protocol that is not TCP, UDP, SCTP or ICMP; `None` where it says nothing. The recorded
/// kernel has its tunnel drivers loaded, for which a packet of no tunnel is as one to a closed port; IGMP is always
/// heard, and an IPv6 packet may carry nothing.
fn unheard(headers: &Headers, datagram: &[u8]) -> Option<IcmpError> {
    let len = headers.end - headers.transport_offset;
    let protocol = match headers.family {
        Family::V4 => headers.protocol,
        Family::V6 => upper_layer(datagram).0,
    };
    match (protocol, headers.family) {
        (protocol::IGMP, Family::V4) | (protocol::NO_NEXT_HEADER, Family::V6) => None,
        (protocol::IPIP, _) if len < packet::ipv4::LEN => None,
        (protocol::IPV6, _) if len < packet::ipv6::LEN => None,
        (protocol::GRE, Family::V4) if len < GRE_LEAST => None,
        (protocol::IPIP | protocol::IPV6 | protocol::GRE, _) => Some(IcmpError::PortUnreachable),
        _ => Some(IcmpError::ProtocolUnreachable),
    }
}

/// Whether the checksum is right, so that a stack would take notice of the packet; in IPv6 there must be one
/// (RFC 8200 section 8.1).
fn is_intact(datagram: &mut Datagram<'_, '_>) -> bool {
    let headers = &datagram.headers;
    if headers.family == Family::V6
        && matches!(headers.transport, Transport::Udp { checksum: 0, .. })
    {
        return false;
    }
    datagram
        .frame
        .edit(|packet| checksum::is_valid(packet, headers))
}

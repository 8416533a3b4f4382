//! Telling a sender why its packet goes no further (RFC 792, RFC 4443), as the kernel does and as often.

use packet::icmp_error::MAX_LEN_V6;
use packet::{Headers, IcmpError, icmp_error};

use crate::director::{Batch, Datagram, Worker, is_for_us};
use crate::frame::{Frame, Output, OwnedFrame};
use crate::verdict::{DropReason, Verdict};

/// Longest ICMP error: an IPv6 one (RFC 4443 section 2.4).
const ERROR_MAX: usize = MAX_LEN_V6;

/// Why a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No real server may take it.
    NoDestination,
    /// Its hop limit ran out.
    TimeExceeded,
    /// It is larger than `mtu` octets and must not be fragmented.
    TooBig { mtu: usize },
}

impl Refusal {
    fn error(self) -> IcmpError {
        match self {
            Self::NoDestination => IcmpError::PortUnreachable,
            Self::TimeExceeded => IcmpError::TimeExceeded,
            Self::TooBig { mtu } => IcmpError::TooBig {
                mtu: u32::try_from(mtu).unwrap_or(u32::MAX),
            },
        }
    }

    fn reason(self) -> DropReason {
        match self {
            Self::NoDestination => DropReason::NoDestination,
            Self::TimeExceeded => DropReason::TtlExpired,
            Self::TooBig { .. } => DropReason::TooBig,
        }
    }
}

impl Worker {
    /// Refuses a packet and tells its sender.
    pub(crate) fn refuse(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'_, '_>,
        refusal: Refusal,
        output: &mut Output<'_>,
    ) -> Verdict {
        self.send_error(
            batch,
            &mut datagram.frame,
            &datagram.headers,
            refusal.error(),
            output,
        );
        Verdict::Drop(refusal.reason())
    }

    /// Tells the senders of packets whose next hop did not answer (BEHAVIOURS 21).
    pub(crate) fn refuse_unreachable(
        &mut self,
        batch: &Batch<'_>,
        mut frame: OwnedFrame,
        output: &mut Output<'_>,
    ) {
        frame.edit(packet::strip_link);
        if let Ok(headers) = Headers::parse_datagram(frame.bytes())
            && !is_for_us(batch.network, headers.source)
        {
            let mut frame = Frame::Owned(frame);
            // The packet is on its way out, so it counts as forwarded: the director's own address speaks.
            let source = batch.network.source_for(headers.source);
            let error = IcmpError::HostUnreachable;
            self.send_error_from(batch, source, &mut frame, &headers, error, output);
        }
    }

    /// Tells the senders of datagrams whose fragments did not all arrive (RFC 792, RFC 8200 section 4.5).
    pub(crate) fn expire_fragments(&mut self, batch: &Batch<'_>, output: &mut Output<'_>) {
        for frame in self.reassembly.expire(batch.now) {
            self.counters.dropped[DropReason::Reassembly.index()] += 1;
            let mut frame = Frame::Owned(frame);
            if let Ok(headers) = frame.headers()
                && batch.network.is_owned(headers.destination)
            {
                let error = IcmpError::ReassemblyTimeExceeded;
                self.send_error(batch, &mut frame, &headers, error, output);
            }
        }
    }

    /// Sends an ICMP error about a packet that came in: from the VIP when it was addressed to one, else from
    /// the director's address towards the sender.
    pub(crate) fn send_error(
        &mut self,
        batch: &Batch<'_>,
        frame: &mut Frame<'_>,
        headers: &Headers,
        error: IcmpError,
        output: &mut Output<'_>,
    ) {
        let source = if is_for_us(batch.network, headers.destination) {
            Some(headers.destination)
        } else {
            batch.network.source_for(headers.source)
        };
        self.send_error_from(batch, source, frame, headers, error, output);
    }

    fn send_error_from(
        &mut self,
        batch: &Batch<'_>,
        source: Option<core::net::IpAddr>,
        frame: &mut Frame<'_>,
        headers: &Headers,
        error: IcmpError,
        output: &mut Output<'_>,
    ) {
        let interval = batch.network.icmp_ratelimit_ms;
        let Some(source) = source else { return };
        if self
            .host
            .icmp_limit
            .allow(headers.source, interval, batch.now)
        {
            self.write_error(batch, source, frame, headers, error, output);
        }
    }

    /// Sends an ICMP error from `source`, however many were sent before.
    pub(crate) fn write_error(
        &mut self,
        batch: &Batch<'_>,
        source: core::net::IpAddr,
        frame: &mut Frame<'_>,
        headers: &Headers,
        error: IcmpError,
        output: &mut Output<'_>,
    ) {
        let id = self.id();
        let mut answer = OwnedFrame::zeroed(ERROR_MAX);
        let written = answer.edit(|answer| {
            let out = answer.bytes_mut();
            let written = frame.edit(|p| icmp_error(p, headers, error, source, id, out));
            answer.truncate(written.unwrap_or(0));
            written
        });
        if written.is_some() {
            answer.vlan = frame.vlan();
            let _ = self.send(batch, headers.source, answer, output);
        }
    }
}

//! Telling a sender why its packet goes no further (RFC 792, RFC 4443), as the kernel does and as often.

use core::net::IpAddr;

use packet::icmp_error::MAX_LEN_V6;
use packet::{
    ErrorTranslation, Family, Headers, IcmpError, Quoted, Translation, icmp_error, translate_error,
};

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
    /// No route leads to its real server (recording `found.no_route`; unanswered where none leads to the sender
    /// either, BEHAVIOURS 21).
    NoRoute,
    /// It is larger than `mtu` octets and must not be fragmented.
    TooBig { mtu: usize },
}

impl Refusal {
    fn error(self) -> IcmpError {
        match self {
            Self::NoDestination => IcmpError::PortUnreachable,
            Self::TimeExceeded => IcmpError::TimeExceeded,
            Self::NoRoute => IcmpError::HostUnreachable,
            Self::TooBig { mtu } => IcmpError::TooBig {
                mtu: u32::try_from(mtu).unwrap_or(u32::MAX),
            },
        }
    }

    fn reason(self) -> DropReason {
        match self {
            Self::NoDestination => DropReason::NoDestination,
            Self::TimeExceeded => DropReason::TtlExpired,
            Self::NoRoute => DropReason::NoRoute,
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
            datagram.headers,
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
        let error = IcmpError::HostUnreachable;
        frame.edit(packet::strip_link);
        let Ok(headers) = Headers::parse_datagram(frame.bytes()) else {
            return;
        };
        let mut frame = Frame::Owned(frame);
        let Some(whole) = frame.edit(|packet| Quoted::whole(packet, &headers)) else {
            return;
        };
        if is_for_us(batch.network, headers.source) {
            // The director's own, so perhaps a tunnel's.
            if let Some(client) = frame.edit(|packet| self.tunnelled(packet, &whole)) {
                self.send_error(batch, &mut frame, &client, error, output);
            }
            return;
        }
        let Some(virtual_server) = self.translated_from(&whole) else {
            // The packet is on its way out, so it counts as forwarded: the director's own address speaks (IPv6: that
            // which the packet was sent to, where it is the director's).
            let source = match headers.family {
                Family::V6 if is_for_us(batch.network, headers.destination) => {
                    Some(headers.destination)
                }
                _ => batch.network.source_for(headers.source),
            };
            self.send_error_from(batch, source, &mut frame, &headers, error, output);
            return;
        };
        if headers.family == Family::V6 {
            // The kernel's director says nothing either: the packet that it would quote is not the client's.
            return;
        }
        let source = Some(virtual_server.0);
        let answer = self.error_about(batch, source, &mut frame, &headers, error);
        if let Some(answer) = answer.and_then(|answer| quoting(answer, virtual_server)) {
            let _ = self.send(batch, headers.source, answer, output);
        }
    }

    /// Tells the senders of datagrams whose fragments did not all arrive (RFC 792, RFC 8200 section 4.5).
    pub(crate) fn expire_fragments(&mut self, batch: &Batch<'_>, output: &mut Output<'_>) {
        let expired = self.reassembly.expire(batch.now);
        self.count_fragments();
        for frame in expired {
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
        source: Option<IpAddr>,
        frame: &mut Frame<'_>,
        headers: &Headers,
        error: IcmpError,
        output: &mut Output<'_>,
    ) {
        if let Some(answer) = self.error_about(batch, source, frame, headers, error) {
            let _ = self.send(batch, headers.source, answer, output);
        }
    }

    /// The ICMP error itself; `None` where one may not or cannot be sent.
    fn error_about(
        &mut self,
        batch: &Batch<'_>,
        source: Option<IpAddr>,
        frame: &mut Frame<'_>,
        headers: &Headers,
        error: IcmpError,
    ) -> Option<OwnedFrame> {
        let source = source?;
        let interval = batch.network.icmp_ratelimit_ms;
        if !self
            .host
            .icmp_limit
            .allow(headers.source, interval, batch.now)
        {
            return None;
        }
        self.write_error(source, frame, headers, error)
    }

    /// An ICMP error from `source`, however many were sent before.
    pub(crate) fn write_error(
        &mut self,
        source: IpAddr,
        frame: &mut Frame<'_>,
        headers: &Headers,
        error: IcmpError,
    ) -> Option<OwnedFrame> {
        let id = self.id();
        let mut answer = OwnedFrame::zeroed(ERROR_MAX);
        answer.edit(|answer| {
            let out = answer.bytes_mut();
            let written = frame.edit(|p| icmp_error(p, headers, error, source, id, out));
            answer.truncate(written.unwrap_or(0));
            written
        })?;
        answer.vlan = frame.vlan();
        Some(answer)
    }
}

/// The ICMP error about a translated packet, with what the client had sent it to.
fn quoting(mut error: OwnedFrame, virtual_server: (IpAddr, u16)) -> Option<OwnedFrame> {
    let headers = Headers::parse_datagram(error.bytes()).ok()?;
    let translation = ErrorTranslation {
        quoted: Translation {
            source: None,
            destination: Some(virtual_server),
        },
        ..ErrorTranslation::default()
    };
    error.edit(|packet| {
        let quoted = Quoted::of(packet, &headers)?;
        translate_error(packet, &headers, &quoted, &translation).ok()
    })?;
    Some(error)
}

//! Cutting what is larger than the path takes: super-frames into segments, datagrams into fragments.
//!
//! What came in fragments leaves in fragments (BEHAVIOURS 16): in IPv6 in the same ones where they fit, in IPv4 in such
//! of the largest one's size, as the kernel's local delivery puts them together into one buffer.

use packet::fragment::Fragments;
use packet::segment::Segments;
use packet::{Family, Headers, Packet, Transport, finish_checksum};

use crate::director::{Batch, Datagram, Worker};
use crate::egress::Hop;
use crate::frame::{Frame, Output, OwnedFrame};
use crate::verdict::{DropReason, Verdict};

/// Segments that one super-frame may become; 512 KiB in segments of 536 octets are a quarter of that.
const SEGMENTS_MAX: usize = 4096;
/// Octets of the IPv6 fragment header.
const FRAGMENT_HEADER: usize = 8;

/// How a datagram leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pieces<'a> {
    /// In fragments only where the path asks for them.
    Whole,
    /// In fragments of at most so many octets, IP header included, as the largest one it came in.
    AtMost(usize),
    /// In these fragments, payload octets of each, where the path takes them.
    These(&'a [u16]),
}

impl<'a> Pieces<'a> {
    /// How a datagram leaves that came in the fragments `pieces`: payload octets of each.
    pub(crate) fn of(headers: &Headers, pieces: &'a [u16]) -> Self {
        let front = headers.transport_offset - headers.network_offset;
        match (headers.family, pieces.iter().max()) {
            (_, None) => Self::Whole,
            (Family::V4, Some(&largest)) => Self::AtMost(front + usize::from(largest)),
            (Family::V6, _) => Self::These(pieces),
        }
    }
}

impl Worker {
    /// Sends a finished datagram, cut to the path's MTU where it is larger.
    pub(crate) fn emit<'a>(
        &mut self,
        batch: &Batch<'_>,
        hop: &Hop,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        if matches!(datagram.pieces, Pieces::Whole) && datagram.segment_len() <= hop.mtu {
            return self.transmit(batch, hop, datagram.frame.take(), output);
        }
        let mut verdict = Verdict::Drop(DropReason::TooBig);
        for frame in self.cut(datagram, hop.mtu) {
            verdict = self.transmit(batch, hop, Frame::Owned(frame), output);
        }
        verdict
    }

    /// Sends a datagram that the director made itself, in fragments where it is larger than the path takes.
    pub(crate) fn emit_own(
        &mut self,
        batch: &Batch<'_>,
        hop: &Hop,
        mut frame: OwnedFrame,
        output: &mut Output<'_>,
    ) -> Verdict {
        if frame.len() <= hop.mtu {
            return self.transmit(batch, hop, Frame::Owned(frame), output);
        }
        let id = u32::from(self.id());
        let pieces = frame.edit(|packet| match Headers::parse(packet) {
            Ok(headers) => fragments(packet, &headers, Pieces::Whole, hop.mtu, id),
            Err(_) => Vec::new(),
        });
        let mut verdict = Verdict::Drop(DropReason::TooBig);
        for piece in pieces {
            verdict = self.transmit(batch, hop, Frame::Owned(piece), output);
        }
        verdict
    }

    /// The datagram as frames whose IP datagrams have at most `mtu` octets; none if it cannot be cut.
    pub(crate) fn cut(&mut self, datagram: &mut Datagram<'_, '_>, mtu: usize) -> Vec<OwnedFrame> {
        let Datagram {
            frame,
            headers,
            pieces,
            ..
        } = datagram;
        let id = u32::from(self.id());
        frame.edit(|packet| {
            if packet.offload.gso.is_some() {
                return segments(packet, headers, mtu);
            }
            let _ = finish_checksum(packet);
            fragments(packet, headers, *pieces, mtu, id)
        })
    }
}

impl Datagram<'_, '_> {
    /// Octets of the largest IP datagram that goes on the wire: the datagram, or a super-frame's segments.
    pub(crate) fn segment_len(&self) -> usize {
        let offload = self.frame.offload();
        match offload.gso {
            Some(_) => headers_len(self.headers) + usize::from(offload.gso_size),
            None => self.len(),
        }
    }
}

/// Octets of the IP header and the transport header.
fn headers_len(headers: &Headers) -> usize {
    let transport = match headers.transport {
        Transport::Tcp { header_len, .. } => usize::from(header_len),
        _ => packet::udp::LEN,
    };
    headers.transport_offset - headers.network_offset + transport
}

fn segments(packet: &Packet<'_>, headers: &Headers, mtu: usize) -> Vec<OwnedFrame> {
    let room = mtu.saturating_sub(headers_len(headers));
    let Some(segments) = Segments::new(packet, headers, room) else {
        return Vec::new();
    };
    if segments.count() > SEGMENTS_MAX {
        return Vec::new();
    }
    let write = |n| written(packet, segments.max_len(), |out| segments.write(n, out));
    (0..segments.count()).filter_map(write).collect()
}

fn fragments(
    packet: &Packet<'_>,
    headers: &Headers,
    pieces: Pieces<'_>,
    mtu: usize,
    id: u32,
) -> Vec<OwnedFrame> {
    let (mtu, pieces) = match pieces {
        Pieces::Whole => (mtu, &[][..]),
        Pieces::AtMost(largest) => (mtu.min(largest), &[][..]),
        Pieces::These(pieces) => (mtu, pieces),
    };
    let Some(fragments) = Fragments::new(packet, headers, mtu, id) else {
        return Vec::new();
    };
    let front = packet.len() - packet.link_len - fragments.payload_len();
    let as_they_came = pieces
        .iter()
        .all(|&piece| front + usize::from(piece) <= mtu);
    if pieces.is_empty() || !as_they_came {
        let write = |n| written(packet, fragments.max_len(), |out| fragments.write(n, out));
        return (0..fragments.count()).filter_map(write).collect();
    }
    let mut from = 0;
    let write = |&piece: &u16| {
        let range = from..from + usize::from(piece);
        from = range.end;
        let longest = packet.link_len + front + FRAGMENT_HEADER + range.len();
        written(packet, longest, |out| fragments.write_piece(range, out))
    };
    pieces.iter().filter_map(write).collect()
}

/// A frame like `packet`, of the octets that `write` puts into a buffer of `longest`.
fn written(
    packet: &Packet<'_>,
    longest: usize,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<OwnedFrame> {
    let mut frame = OwnedFrame::zeroed(longest);
    frame.link_len = packet.link_len;
    frame.vlan = packet.vlan;
    frame.edit(|frame| {
        let octets = write(frame.bytes_mut())?;
        frame.truncate(octets);
        Some(())
    })?;
    Some(frame)
}

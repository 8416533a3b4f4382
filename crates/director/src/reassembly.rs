//! Fragments to datagrams (RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722).
//!
//! The kernel's director schedules and translates whole datagrams and sends them on in the pieces they came
//! in (BEHAVIOURS 16), so nothing leaves before the last fragment is here. Overlapping fragments condemn
//! the whole datagram. Memory is bounded: [`BYTES_MAX`] in all, the oldest datagram gives way.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use packet::fragment::{self, reassembled_header};
use packet::{Family, Fragment, Headers, Packet};

use crate::frame::{Frame, OwnedFrame};
use crate::time::Instant;

/// How long the fragments of a datagram may take to arrive: `net.ipv4.ipfrag_time` (30 s).
const TIME_V4: Duration = Duration::from_secs(30);
/// `net.ipv6.ip6frag_time` (60 s, RFC 8200 section 4.5).
const TIME_V6: Duration = Duration::from_secs(60);
/// Payload octets of incomplete datagrams kept by one worker: `net.ipv4.ipfrag_high_thresh`.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Fragments of one datagram.
const PIECES_MAX: usize = 128;
/// Largest IP datagram.
const DATAGRAM_MAX: usize = 65_535;

/// Whose fragment it is (RFC 791: source, destination, protocol, identification).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

#[derive(Debug)]
struct Piece {
    offset: usize,
    data: Vec<u8>,
}

#[derive(Debug)]
struct Incomplete {
    pieces: Vec<Piece>,
    /// Payload length, known once the last fragment is here.
    total: Option<usize>,
    /// The fragment with offset 0: its headers are the datagram's, and the ICMP error is about it when time
    /// runs out.
    first: Option<(OwnedFrame, Headers)>,
    bytes: usize,
    deadline: Instant,
}

/// A datagram put together again.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// The datagram with the first fragment's link header and without fragment fields.
    pub(crate) frame: OwnedFrame,
    /// Payload octets of each fragment, in order of offset.
    pub(crate) pieces: Vec<u16>,
}

/// What one more fragment led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More are missing.
    Incomplete,
    /// That was the last one.
    Complete(Datagram),
    /// It contradicts the others or exceeds a limit; the datagram is given up.
    Invalid,
}

/// Incomplete datagrams of one worker.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    incomplete: HashMap<Key, Incomplete>,
    /// Keys by age; may name datagrams that are gone.
    order: VecDeque<(Key, Instant)>,
    bytes: usize,
}

impl Reassembly {
    /// Takes in one fragment.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        frame: &mut Frame<'_>,
        headers: &Headers,
        fragment: Fragment,
    ) -> Progress {
        let key = Key {
            source: headers.source,
            destination: headers.destination,
            protocol: if headers.family == Family::V4 {
                headers.protocol
            } else {
                0
            },
            id: fragment.id,
        };
        let time = if headers.family == Family::V4 {
            TIME_V4
        } else {
            TIME_V6
        };
        let deadline = now.after(time);
        let datagram = self.incomplete.entry(key).or_insert_with(|| {
            self.order.push_back((key, deadline));
            Incomplete {
                pieces: Vec::new(),
                total: None,
                first: None,
                bytes: 0,
                deadline,
            }
        });
        let before = datagram.bytes;
        let fits = frame.edit(|packet| datagram.insert(packet, headers, fragment));
        self.bytes += datagram.bytes - before;
        if !fits {
            self.forget(&key);
            return Progress::Invalid;
        }
        if !datagram.is_complete() {
            self.make_room();
            return Progress::Incomplete;
        }
        let complete = self.forget(&key).and_then(Incomplete::assemble);
        complete.map_or(Progress::Invalid, Progress::Complete)
    }

    /// Gives up datagrams whose time has run out; returns the first fragment of each that had one.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<OwnedFrame> {
        let mut expired = Vec::new();
        while let Some(&(key, deadline)) = self.order.front() {
            if now < deadline {
                break;
            }
            self.order.pop_front();
            if self
                .incomplete
                .get(&key)
                .is_some_and(|datagram| datagram.deadline == deadline)
            {
                let first = self.forget(&key).and_then(|datagram| datagram.first);
                expired.extend(first.map(|(frame, _)| frame));
            }
        }
        expired
    }

    /// When [`Reassembly::expire`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.order.front().map(|&(_, deadline)| deadline)
    }

    fn make_room(&mut self) {
        while self.bytes > BYTES_MAX {
            let Some((key, _)) = self.order.pop_front() else {
                break;
            };
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &Key) -> Option<Incomplete> {
        let datagram = self.incomplete.remove(key)?;
        self.bytes -= datagram.bytes;
        Some(datagram)
    }
}

impl Incomplete {
    /// Adds a fragment's payload; false when it overlaps another or leaves no sensible datagram.
    fn insert(&mut self, packet: &Packet<'_>, headers: &Headers, fragment: Fragment) -> bool {
        let range = fragment::payload(packet, headers);
        let Some(payload) = range.and_then(|range| packet.bytes().get(range)) else {
            return false;
        };
        let offset = usize::from(fragment.offset);
        let end = offset + payload.len();
        let uneven = fragment.more && !payload.len().is_multiple_of(8);
        if end > DATAGRAM_MAX || uneven || payload.is_empty() || self.pieces.len() >= PIECES_MAX {
            return false;
        }
        if !fragment.more && self.total.replace(end).is_some_and(|total| total != end) {
            return false;
        }
        let place = self.pieces.partition_point(|piece| piece.offset < offset);
        let before = place
            .checked_sub(1)
            .and_then(|before| self.pieces.get(before));
        let after = self.pieces.get(place);
        if let Some(same) = after
            && same.offset == offset
            && same.data == payload
        {
            return true; // An exact duplicate is harmless (kernel: inet_frag_queue_insert IPFRAG_DUP).
        }
        if before.is_some_and(|piece| piece.offset + piece.data.len() > offset)
            || after.is_some_and(|piece| end > piece.offset)
            || self.total.is_some_and(|total| end > total)
        {
            return false;
        }
        if offset == 0 {
            self.first = Some((OwnedFrame::copy_of(packet), *headers));
        }
        self.pieces.insert(
            place,
            Piece {
                offset,
                data: payload.to_vec(),
            },
        );
        self.bytes += payload.len();
        true
    }

    fn is_complete(&self) -> bool {
        // Pieces never overlap, so their sum reaches the total only without a gap.
        self.total == Some(self.bytes) && self.first.is_some()
    }

    fn assemble(self) -> Option<Datagram> {
        let (mut first, headers) = self.first?;
        let pieces = self
            .pieces
            .iter()
            .map(|piece| u16::try_from(piece.data.len()));
        let pieces = pieces.collect::<Result<_, _>>().ok()?;
        let mut frame = OwnedFrame::zeroed(first.len() + self.bytes);
        frame.link_len = first.link_len;
        frame.vlan = first.vlan;
        frame.edit(|frame| {
            let out = frame.bytes_mut();
            let payload_len = self.bytes;
            let front = first.edit(|p| reassembled_header(p, &headers, payload_len, out))?;
            for piece in &self.pieces {
                let start = front + piece.offset;
                out.get_mut(start..start + piece.data.len())?
                    .copy_from_slice(&piece.data);
            }
            frame.truncate(front + payload_len);
            Some(())
        })?;
        Some(Datagram { frame, pieces })
    }
}

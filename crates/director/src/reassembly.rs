//! Fragments to datagrams (RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722).
//!
//! The kernel's director schedules and translates whole datagrams and sends them on in the pieces they came
//! in (BEHAVIOURS 16), so nothing leaves before the last fragment is here. Overlapping fragments condemn
//! the whole datagram. Memory is bounded: [`OCTETS_MAX`] in all, the oldest datagram gives way.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use packet::fragment::{self, reassembled_header};
use packet::{Family, Fragment, Headers, Packet};

use crate::frame::{Frame, OwnedFrame};
use crate::time::Instant;
use crate::verdict::Kept;

/// How long the fragments of a datagram may take to arrive: `net.ipv4.ipfrag_time` (30 s).
const TIME_V4: Duration = Duration::from_secs(30);
/// `net.ipv6.ip6frag_time` (60 s, RFC 8200 section 4.5).
const TIME_V6: Duration = Duration::from_secs(60);
/// Octets that incomplete datagrams take up in one worker: `net.ipv4.ipfrag_high_thresh`. As in the kernel, what
/// keeps them counts as well, else fragments of eight octets would take up many times as much.
const OCTETS_MAX: usize = 4 * 1024 * 1024;
/// Datagrams given up at once because time ran out; further ones are given up at the next call.
const EXPIRED_MAX: usize = 256;
/// What a datagram counts beside its payload, octets: its entry, its place in the queue, its headers.
const DATAGRAM_OVERHEAD: usize = 512;
/// What a fragment counts beside its payload, octets.
const PIECE_OVERHEAD: usize = 64;
/// Places in a queue that may be left over from datagrams that are gone, beside as many as there are datagrams.
const LEFT_OVER_MAX: usize = 64;
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

#[derive(Clone, Debug)]
struct Piece {
    offset: usize,
    data: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Incomplete {
    pieces: Vec<Piece>,
    /// Payload length, known once the last fragment is here.
    total: Option<usize>,
    /// The fragment with offset 0: its headers are the datagram's, and the ICMP error is about it when time
    /// runs out.
    first: Option<(OwnedFrame, Headers)>,
    /// Firewall mark of that fragment.
    mark: u32,
    /// Payload octets.
    bytes: usize,
    /// Fragments that came, duplicates included.
    frames: u64,
    /// Which ECN values its fragments carry, a bit each.
    ecn: u8,
    number: u64,
}

/// A datagram's place in the order of age.
#[derive(Clone, Copy, Debug)]
struct Place {
    key: Key,
    /// [`Incomplete::number`].
    number: u64,
    /// When its first fragment arrived.
    since: Instant,
}

/// A datagram put together again.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// The datagram with the first fragment's link header and without fragment fields.
    pub(crate) frame: OwnedFrame,
    /// Firewall mark of the first fragment: it alone has the ports that a rule may ask for.
    pub(crate) mark: u32,
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
    /// Places by age, of IPv4 and of IPv6; some may be of datagrams that are gone.
    order: [VecDeque<Place>; 2],
    /// What all datagrams together take up.
    octets: usize,
    /// Datagrams so far.
    count: u64,
    /// Fragments that wait.
    waiting: u64,
    /// What became of fragments since [`Reassembly::take_kept`] was called.
    kept: Kept,
}

/// How long the fragments of a datagram may take, and its queue in [`Reassembly::order`].
fn patience(family: Family) -> (Duration, usize) {
    match family {
        Family::V4 => (TIME_V4, 0),
        Family::V6 => (TIME_V6, 1),
    }
}

impl Key {
    fn of(headers: &Headers, fragment: Fragment) -> Self {
        Self {
            source: headers.source,
            destination: headers.destination,
            protocol: match headers.family {
                Family::V4 => headers.protocol,
                Family::V6 => 0,
            },
            id: fragment.id,
        }
    }
}

impl Reassembly {
    /// The same for a dry run: of the datagram alone that these headers are of, to which others give way.
    pub(crate) fn fork(&self, headers: Option<&Headers>) -> Self {
        let key = headers.and_then(|headers| Some(Key::of(headers, headers.fragment?)));
        let own = key.and_then(|key| self.incomplete.get_key_value(&key));
        Self {
            incomplete: own
                .map(|(key, datagram)| (*key, datagram.clone()))
                .into_iter()
                .collect(),
            order: [VecDeque::new(), VecDeque::new()],
            octets: own.map_or(0, |(_, datagram)| DATAGRAM_OVERHEAD + datagram.octets()),
            count: self.count,
            waiting: own.map_or(0, |(_, datagram)| datagram.frames),
            kept: Kept::default(),
        }
    }

    /// The headers of the first fragment of this fragment's datagram, which alone has the ports, if it is there.
    pub(crate) fn first_of(&self, headers: &Headers) -> Option<&Headers> {
        let key = Key::of(headers, headers.fragment?);
        Some(&self.incomplete.get(&key)?.first.as_ref()?.1)
    }

    /// The datagram that this fragment would complete.
    pub(crate) fn completed_by(&self, mark: u32, packet: &Packet<'_>) -> Option<Datagram> {
        let headers = Headers::parse(packet).ok()?;
        let fragment = headers.fragment?;
        let known = self.incomplete.get(&Key::of(&headers, fragment));
        let mut datagram = known.cloned().unwrap_or_else(|| Incomplete::new(0));
        let fits = datagram.insert(packet, &headers, fragment);
        if fragment.offset == 0 {
            datagram.mark = mark;
        }
        (fits && datagram.is_complete())
            .then(|| datagram.assemble())
            .flatten()
    }

    /// Takes in one fragment, with its firewall mark.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        mark: u32,
        frame: &mut Frame<'_>,
        headers: &Headers,
        fragment: Fragment,
    ) -> Progress {
        let (key, (_, queue)) = (Key::of(headers, fragment), patience(headers.family));
        let datagram = self.incomplete.entry(key).or_insert_with(|| {
            self.count += 1;
            self.octets += DATAGRAM_OVERHEAD;
            self.order[queue].push_back(Place {
                key,
                number: self.count,
                since: now,
            });
            Incomplete::new(self.count)
        });
        let before = datagram.octets();
        let fits = frame.edit(|packet| datagram.insert(packet, headers, fragment));
        self.octets += datagram.octets() - before;
        if fragment.offset == 0 {
            datagram.mark = mark;
        }
        if !fits {
            self.kept.dropped += self.forget(&key).map_or(0, |datagram| datagram.frames);
            self.tidy(queue);
            return Progress::Invalid;
        }
        if !datagram.is_complete() {
            datagram.frames += 1;
            self.waiting += 1;
            self.kept.taken += 1;
            self.make_room();
            return Progress::Incomplete;
        }
        let complete = self.forget(&key);
        let frames = complete.as_ref().map_or(0, |datagram| datagram.frames);
        self.tidy(queue);
        if let Some(datagram) = complete.and_then(Incomplete::assemble) {
            self.kept.released += frames;
            Progress::Complete(datagram)
        } else {
            self.kept.dropped += frames;
            Progress::Invalid
        }
    }

    /// Gives up datagrams whose time has run out, at most [`EXPIRED_MAX`]; returns the first fragment of each that had
    /// one.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<OwnedFrame> {
        let mut expired = Vec::new();
        let mut budget = EXPIRED_MAX;
        for family in [Family::V4, Family::V6] {
            let (time, queue) = patience(family);
            while let Some(&place) = self.order[queue].front() {
                if now < place.since.after(time) || budget == 0 {
                    break;
                }
                budget -= 1;
                self.order[queue].pop_front();
                let datagram = self.give_up(&place);
                let first = datagram.and_then(|datagram| datagram.first);
                expired.extend(first.map(|(frame, _)| frame));
            }
        }
        expired
    }

    /// What became of the fragments that were kept, since the last call: dropped are those whose datagram ran out of
    /// time, gave way to others, or contradicted itself with the fragment that is not kept.
    pub(crate) fn take_kept(&mut self) -> Kept {
        std::mem::take(&mut self.kept)
    }

    /// Fragments that wait for others.
    pub(crate) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// When [`Reassembly::expire`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadline = |family| {
            let (time, queue) = patience(family);
            let oldest = self.order[queue].front();
            oldest.map(|place| place.since.after(time))
        };
        let deadlines = [Family::V4, Family::V6].map(deadline);
        deadlines.into_iter().flatten().min()
    }

    /// The oldest datagrams give way to the newest.
    fn make_room(&mut self) {
        while self.octets > OCTETS_MAX {
            let [v4, v6] = &mut self.order;
            let v6_is_older = match (v4.front(), v6.front()) {
                (Some(v4), Some(v6)) => v6.number < v4.number,
                (v4, _) => v4.is_none(),
            };
            let older = if v6_is_older { v6 } else { v4 };
            let Some(place) = older.pop_front() else {
                break;
            };
            self.give_up(&place);
        }
    }

    /// Drops places of datagrams that are gone, once they are more than the others.
    fn tidy(&mut self, queue: usize) {
        let Self {
            incomplete, order, ..
        } = self;
        if order[queue].len() > 2 * incomplete.len() + LEFT_OVER_MAX {
            order[queue].retain(|place| {
                let datagram = incomplete.get(&place.key);
                datagram.is_some_and(|datagram| datagram.number == place.number)
            });
        }
    }

    /// Forgets the datagram of this place, if it is still there.
    fn give_up(&mut self, place: &Place) -> Option<Incomplete> {
        let datagram = self.incomplete.get(&place.key)?;
        if datagram.number != place.number {
            return None;
        }
        let datagram = self.forget(&place.key);
        self.kept.dropped += datagram.as_ref().map_or(0, |datagram| datagram.frames);
        datagram
    }

    fn forget(&mut self, key: &Key) -> Option<Incomplete> {
        let datagram = self.incomplete.remove(key)?;
        self.octets -= DATAGRAM_OVERHEAD + datagram.octets();
        self.waiting -= datagram.frames;
        Some(datagram)
    }
}

impl Incomplete {
    fn new(number: u64) -> Self {
        Self {
            pieces: Vec::new(),
            total: None,
            first: None,
            mark: 0,
            bytes: 0,
            frames: 0,
            ecn: 0,
            number,
        }
    }

    /// What its fragments take up.
    fn octets(&self) -> usize {
        let first = self.first.as_ref().map_or(0, |(frame, _)| frame.len());
        self.bytes + PIECE_OVERHEAD * self.pieces.len() + first
    }

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
        let last = self.pieces.last();
        if before.is_some_and(|piece| piece.offset + piece.data.len() > offset)
            || after.is_some_and(|piece| end > piece.offset)
            || self.total.is_some_and(|total| end > total)
            || (!fragment.more && last.is_some_and(|last| last.offset > offset))
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
        self.ecn |= 1 << (headers.tos & 3);
        true
    }

    /// Whether its fragments experienced congestion; `None` where only some of them are of a transport that can know
    /// (RFC 3168 section 5.3).
    fn is_congested(&self) -> Option<bool> {
        let (incapable, congested) = (self.ecn & 1 != 0, self.ecn & 1 << 3 != 0);
        let contradicts = incapable && self.ecn != 1;
        (!contradicts).then_some(congested)
    }

    fn is_complete(&self) -> bool {
        // Pieces never overlap nor end behind the total, so their sum reaches it only without a gap.
        self.total == Some(self.bytes) && self.first.is_some()
    }

    fn assemble(self) -> Option<Datagram> {
        let congested = self.is_congested()?;
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
            let front =
                first.edit(|p| reassembled_header(p, &headers, payload_len, congested, out))?;
            for piece in &self.pieces {
                let start = front + piece.offset;
                out.get_mut(start..start + piece.data.len())?
                    .copy_from_slice(&piece.data);
            }
            frame.truncate(front + payload_len);
            Some(())
        })?;
        Some(Datagram {
            frame,
            mark: self.mark,
            pieces,
        })
    }
}

#[cfg(test)]
mod tests;

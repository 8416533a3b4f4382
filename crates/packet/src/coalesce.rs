//! Joining TCP segments that follow on each other into one datagram: the reverse of [`crate::segment`], for a
//! receiver that hands them on.
//!
//! As Linux's receive offload (GRO) does it: only what cutting the whole into segments could have made is joined, every
//! checksum is verified before, and the order within a flow stays. Never copies a payload: a [`Train`] is the header of
//! the whole and says whose payloads stand behind it.

use core::net::IpAddr;

use crate::checksum::Sum;
use crate::headers::{Family, Headers, Transport};
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, Ipv6};
use crate::tcp::{self, Tcp};

/// Datagrams that [`Trains`] take between two [`Trains::clear`].
pub const MOST: usize = 64;
/// Trains that are open at a time.
const OPEN: usize = 8;
/// Octets of the longest header that is joined: IPv6 and TCP with all options.
const HEAD_MAX: usize = ipv6::LEN + 60;

/// The datagrams of a batch, joined where they may be.
#[derive(Clone, Debug)]
pub struct Trains {
    trains: [Train; MOST],
    /// How many of `trains` there are.
    count: usize,
    /// Datagrams that were added.
    added: usize,
    /// Which trains another segment may join.
    open: [Option<usize>; OPEN],
    /// Which of `open` is the next to be given up for another one.
    next: usize,
    /// Octets that a joined datagram has at most.
    longest: usize,
}

/// Datagrams that leave as one; most are alone.
#[derive(Clone, Copy, Debug)]
pub struct Train {
    members: u64,
    flow: Flow,
    head: [u8; HEAD_MAX],
    transport_at: usize,
    head_len: usize,
    /// Payload octets of the first member.
    size: usize,
    /// Payload octets of all.
    payload_len: usize,
    /// Folded sum of all payloads.
    sum: u16,
    /// Sequence number that the next member has.
    sequence: u32,
    flags: u8,
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    source: IpAddr,
    destination: IpAddr,
    ports: (u16, u16),
}

/// A TCP segment that may be part of a train.
#[derive(Clone, Copy, Debug)]
struct Segment<'a> {
    head: &'a [u8],
    transport_at: usize,
    payload_len: usize,
    /// Folded sum of the payload.
    sum: u16,
    sequence: u32,
    flags: u8,
}

impl Trains {
    /// No trains yet; joined datagrams will have at most `longest` octets (and 65,535).
    #[must_use]
    pub const fn new(longest: usize) -> Self {
        Self {
            trains: [Train::EMPTY; MOST],
            count: 0,
            added: 0,
            open: [None; OPEN],
            next: 0,
            longest: if longest < 0xffff { longest } else { 0xffff },
        }
    }

    /// Forgets all datagrams, for the next batch.
    pub const fn clear(&mut self) {
        (self.count, self.added) = (0, 0);
        self.open = [None; OPEN];
    }

    /// Takes the next datagram, whose headers are `headers`, as parsed by [`Headers::parse_datagram`]. Returns false, with
    /// nothing changed, when there were [`MOST`].
    pub fn add(&mut self, datagram: &[u8], headers: &Headers) -> bool {
        if self.added >= MOST {
            return false;
        }
        let member = 1 << self.added;
        self.added += 1;
        let flow = Flow::of(headers);
        let segment = Segment::of(datagram, headers);
        if let Some(segment) = &segment
            && self.join(flow, segment, member)
        {
            return true;
        }
        let whole_tcp = matches!(headers.transport, Transport::Tcp { .. });
        self.close(flow, whole_tcp && headers.fragment.is_none());
        self.begin(flow, segment.as_ref(), member);
        true
    }

    /// Completes the headers of the trains and gives them, in the order in which they must leave.
    pub fn finish(&mut self) -> &[Train] {
        self.open = [None; OPEN];
        let trains = self.trains.get_mut(..self.count).unwrap_or_default();
        for train in trains.iter_mut() {
            if train.is_joined() {
                // Cannot fail: the headers were there, and the lengths are bounded.
                let _ = train.complete();
            }
        }
        trains
    }

    /// Lets the segment join the open train of its flow, where it fits.
    fn join(&mut self, flow: Flow, segment: &Segment<'_>, member: u64) -> bool {
        for open in &mut self.open {
            let train = open.and_then(|index| self.trains.get_mut(index));
            let Some(train) = train.filter(|train| train.flow == flow) else {
                continue;
            };
            if !train.takes(segment, self.longest) {
                return false;
            }
            train.append(segment, member);
            if segment.payload_len < train.size || segment.is_last() {
                *open = None;
            }
            return true;
        }
        false
    }

    /// Ends the open train of a flow, or, where the ports of a datagram are not known, all trains between its addresses.
    fn close(&mut self, flow: Flow, ports_known: bool) {
        for open in &mut self.open {
            let train = open.and_then(|index| self.trains.get(index));
            let same = |train: &Train| {
                let theirs = train.flow;
                (theirs.source, theirs.destination) == (flow.source, flow.destination)
                    && (!ports_known || theirs.ports == flow.ports)
            };
            if train.is_some_and(same) {
                *open = None;
            }
        }
    }

    /// Begins a train; one that nothing can join where there is no segment.
    fn begin(&mut self, flow: Flow, segment: Option<&Segment<'_>>, member: u64) {
        let index = self.count;
        let Some(train) = self.trains.get_mut(index) else {
            return;
        };
        self.count += 1;
        train.members = member;
        train.flow = flow;
        let Some(segment) = segment.filter(|segment| !segment.is_last()) else {
            return;
        };
        train.start(segment);
        let place = self.open.iter().position(Option::is_none);
        let place = place.unwrap_or_else(|| {
            self.next = (self.next + 1) % OPEN;
            self.next
        });
        if let Some(open) = self.open.get_mut(place) {
            *open = Some(index);
        }
    }
}

impl Flow {
    fn of(headers: &Headers) -> Self {
        Self {
            source: headers.source,
            destination: headers.destination,
            ports: headers.ports(),
        }
    }
}

impl<'a> Segment<'a> {
    /// The datagram as a segment that may be joined to others of its flow: TCP without IP options or extension headers,
    /// no fragment, with a payload, ACK, no SYN, RST or URG, and with a right checksum.
    fn of(datagram: &'a [u8], headers: &Headers) -> Option<Self> {
        let Transport::Tcp {
            sequence,
            flags,
            header_len,
            ..
        } = headers.transport
        else {
            return None;
        };
        let fixed_len = match headers.family {
            Family::V4 => ipv4::LEN,
            Family::V6 => ipv6::LEN,
        };
        let transport_at = headers.transport_offset;
        let plain = transport_at == fixed_len && headers.fragment.is_none();
        let wanted = flags & (tcp::SYN | tcp::RST | tcp::URG | tcp::ACK) == tcp::ACK;
        let header_len = usize::from(header_len);
        if !plain || !wanted || header_len < tcp::LEN || headers.end != datagram.len() {
            return None;
        }
        let (head, payload) = datagram.split_at_checked(transport_at + header_len)?;
        let transport = head.get(transport_at..)?;
        let sum = Sum::of(payload).fold();
        let (source, destination) = (headers.source, headers.destination);
        let len = header_len + payload.len();
        let whole =
            Sum::of(transport)
                .u16(sum)
                .pseudo_header(source, destination, headers.protocol, len);
        (!payload.is_empty() && whole.fold() == 0xffff).then_some(Self {
            head,
            transport_at,
            payload_len: payload.len(),
            sum,
            sequence,
            flags,
        })
    }

    /// Whether the sender wants what came so far to be handed on.
    fn is_last(&self) -> bool {
        self.flags & (tcp::PSH | tcp::FIN) != 0
    }
}

impl Train {
    const EMPTY: Self = Self {
        members: 0,
        flow: Flow {
            source: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            destination: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            ports: (0, 0),
        },
        head: [0; HEAD_MAX],
        transport_at: 0,
        head_len: 0,
        size: 0,
        payload_len: 0,
        sum: 0,
        sequence: 0,
        flags: 0,
    };

    /// The datagrams that it is made of, in their order: bit n stands for the n-th one added, from 0.
    pub fn members(&self) -> impl Iterator<Item = usize> + use<> {
        let members = self.members;
        (0..MOST).filter(move |n| members >> n & 1 != 0)
    }

    /// IP and TCP header of the whole, behind which the members' payloads stand: what each has behind as many octets. `None`
    /// where there is one member, which stays as it is.
    #[must_use]
    pub fn head(&self) -> Option<&[u8]> {
        self.is_joined()
            .then(|| self.head.get(..self.head_len))
            .flatten()
    }

    const fn is_joined(&self) -> bool {
        self.members.count_ones() > 1
    }

    fn start(&mut self, segment: &Segment<'_>) {
        // The head is at most HEAD_MAX long: no extension headers, and the data offset has four bits.
        if let Some(head) = self.head.get_mut(..segment.head.len()) {
            head.copy_from_slice(segment.head);
        }
        self.transport_at = segment.transport_at;
        self.head_len = segment.head.len();
        self.size = segment.payload_len;
        self.payload_len = segment.payload_len;
        self.sum = segment.sum;
        self.flags = segment.flags;
        self.sequence = segment.sequence.wrapping_add(low32(segment.payload_len));
    }

    /// Whether the segment, of the same flow, continues the train, and the whole will have at most `longest` octets: the
    /// conditions of Linux's GRO.
    fn takes(&self, segment: &Segment<'_>, longest: usize) -> bool {
        let flags = (self.flags ^ segment.flags) & !(tcp::CWR | tcp::FIN | tcp::PSH);
        segment.sequence == self.sequence
            && flags == 0
            && segment.flags & tcp::CWR == 0
            && segment.payload_len <= self.size
            && self.head_len + self.payload_len + segment.payload_len <= longest
            && self
                .head
                .get(..self.head_len)
                .is_some_and(|head| alike(head, segment.head, self.transport_at))
    }

    fn append(&mut self, segment: &Segment<'_>, member: u64) {
        self.members |= member;
        // Behind an odd number of octets the halves of each word are the other way round.
        let sum = if self.payload_len.is_multiple_of(2) {
            segment.sum
        } else {
            segment.sum.swap_bytes()
        };
        self.sum = Sum::ZERO.u16(self.sum).u16(sum).fold();
        self.payload_len += segment.payload_len;
        self.flags |= segment.flags & (tcp::FIN | tcp::PSH);
        self.sequence = self.sequence.wrapping_add(low32(segment.payload_len));
    }

    /// Fits the header to the whole.
    fn complete(&mut self) -> Option<()> {
        let head = self.head.get_mut(..self.head_len)?;
        let behind = self.head_len - self.transport_at + self.payload_len;
        let (network, transport) = head.split_at_mut_checked(self.transport_at)?;
        if self.flow.source.is_ipv4() {
            let total = u16::try_from(ipv4::LEN + behind).ok()?;
            Ipv4::of_mut(network)?.set_total_len(total);
            ipv4::fill_checksum(network);
        } else {
            Ipv6::of_mut(network)?.set_payload_len(u16::try_from(behind).ok()?);
        }
        let mut header = Tcp::of_mut(transport)?;
        header.set_flags(self.flags);
        header.set_checksum(0);
        let (source, destination) = (self.flow.source, self.flow.destination);
        let checksum = Sum::of(transport)
            .u16(self.sum)
            .pseudo_header(source, destination, crate::protocol::TCP, behind)
            .finish();
        Tcp::of_mut(transport)?.set_checksum(checksum);
        Some(())
    }
}

/// Whether two headers, of one flow and with TCP at `transport_at`, differ in nothing that cutting a datagram into segments
/// would not change: lengths, checksums, IPv4 identification, sequence number, flags.
fn alike(one: &[u8], other: &[u8], transport_at: usize) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let same = |from: usize, to: usize| one.get(from..to) == other.get(from..to);
    let network = if transport_at == ipv4::LEN {
        // Version, TOS; flags, TTL, protocol.
        same(0, 2) && same(6, 10)
    } else {
        // Version, traffic class, flow label; next header, hop limit.
        same(0, 4) && same(6, 8)
    };
    let at = transport_at;
    // Acknowledgment, data offset; window; urgent pointer and options.
    network && same(at + 8, at + 13) && same(at + 14, at + 16) && same(at + 18, one.len())
}

/// Octets of a payload as sequence numbers count them.
fn low32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

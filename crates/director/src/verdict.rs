//! What became of a packet: every packet ends in exactly one [`Verdict`].

use packet::Malformed;

/// What the director decided about one received frame.
///
/// Frames to transmit stand in [`crate::frame::Output`]; the verdict says why.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sent on towards a real server or a client.
    Forwarded,
    /// Kept until the next hop's link address is known, or until the missing fragments arrive.
    Held,
    /// Answered by the director itself (ARP, NDP, echo, RST, ICMP error).
    Answered,
    /// Not the director's business: the host's own stack sees the frame as if ulvs were not there.
    Pass,
    /// Dropped, and why.
    Drop(DropReason),
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Held => "held",
            Self::Answered => "answered",
            Self::Pass => "passed",
            Self::Drop(_) => "dropped",
        }
    }
}

/// Why a packet was dropped; each has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// The frame could not be read.
    Malformed(Malformed),
    /// The connection's real server was deleted (kernel: dropped silently, BEHAVIOURS 29).
    DestinationUnavailable,
    /// IP options that forbid forwarding: a source route, or one that is malformed (BEHAVIOURS 17).
    IpOptions,
    /// Every real server is quiesced, overloaded or missing; answered with ICMP port unreachable.
    NoDestination,
    /// The TTL or hop limit ran out; answered with ICMP time exceeded.
    TtlExpired,
    /// Too big for the path and not to be fragmented; answered with ICMP fragmentation needed / packet too big.
    TooBig,
    /// No route to the next hop, or a blackhole route.
    NoRoute,
    /// The next hop did not answer address resolution.
    NeighbourUnreachable,
    /// The queue of packets that wait for one next hop is full.
    NeighbourQueueFull,
    /// The connection table is full, or there are as many persistence templates as may be.
    TableFull,
    /// Fragments did not all arrive in time, overlap, or exceed the reassembly limits.
    Reassembly,
    /// The first packet of a connection, given up by the `drop_packet` defence.
    Defence,
    /// An ICMP error whose quoted packet could not be read or whose checksum is wrong.
    BadIcmp,
    /// The persistence engine found nothing to go by (SIP without a Call-ID).
    PersistenceData,
    /// A segment of an FTP control connection with a wrong TCP checksum (kernel: `tcp_csum_check`).
    BadChecksum,
    /// A segment of an FTP connection whose other end has not agreed to it (kernel: connection tracking).
    Handshake,
    /// The interface named by a route is not one the director transmits on.
    NoInterface,
}

impl DropReason {
    /// Every reason, in the order of [`DropReason::index`]; [`Malformed::NotIp`] is none, such frames are passed.
    pub const ALL: [Self; 23] = [
        Self::Malformed(Malformed::LinkTruncated),
        Self::Malformed(Malformed::NetworkTruncated),
        Self::Malformed(Malformed::BadVersion),
        Self::Malformed(Malformed::BadLength),
        Self::Malformed(Malformed::BadHeaderChecksum),
        Self::Malformed(Malformed::ExtensionTruncated),
        Self::Malformed(Malformed::TransportTruncated),
        Self::DestinationUnavailable,
        Self::IpOptions,
        Self::NoDestination,
        Self::TtlExpired,
        Self::TooBig,
        Self::NoRoute,
        Self::NeighbourUnreachable,
        Self::NeighbourQueueFull,
        Self::TableFull,
        Self::Reassembly,
        Self::Defence,
        Self::BadIcmp,
        Self::PersistenceData,
        Self::BadChecksum,
        Self::Handshake,
        Self::NoInterface,
    ];

    /// Position in [`DropReason::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|&reason| reason == self)
            .unwrap_or(0)
    }

    /// Name of the reason's counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(Malformed::LinkTruncated) => "link_truncated",
            Self::Malformed(Malformed::NotIp) => "not_ip",
            Self::Malformed(Malformed::NetworkTruncated) => "network_truncated",
            Self::Malformed(Malformed::BadVersion) => "bad_version",
            Self::Malformed(Malformed::BadLength) => "bad_length",
            Self::Malformed(Malformed::BadHeaderChecksum) => "bad_header_checksum",
            Self::Malformed(Malformed::ExtensionTruncated) => "extension_truncated",
            Self::Malformed(Malformed::TransportTruncated) => "transport_truncated",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::IpOptions => "ip_options",
            Self::NoDestination => "no_destination",
            Self::TtlExpired => "ttl_expired",
            Self::TooBig => "too_big",
            Self::NoRoute => "no_route",
            Self::NeighbourUnreachable => "neighbour_unreachable",
            Self::NeighbourQueueFull => "neighbour_queue_full",
            Self::TableFull => "table_full",
            Self::Reassembly => "reassembly",
            Self::Defence => "defence",
            Self::BadIcmp => "bad_icmp",
            Self::PersistenceData => "persistence_data",
            Self::BadChecksum => "bad_checksum",
            Self::Handshake => "handshake",
            Self::NoInterface => "no_interface",
        }
    }
}

/// What became of frames that were kept for later: as many are waiting as were taken, but neither released nor dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Kept, so far.
    pub taken: u64,
    /// Went on.
    pub released: u64,
    /// Given up, and counted under their drop reason as well.
    pub dropped: u64,
}

/// Counts of one worker, each verdict and each drop reason apart.
///
/// Every frame has one verdict, and a fragment or a packet that was held may be dropped later, so that always
/// `received + fragments.dropped + neighbours.dropped = forwarded + answered + passed + held + all of dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames given to the director.
    pub received: u64,
    /// [`Verdict::Forwarded`].
    pub forwarded: u64,
    /// Packets that were not given to the director, the kernel having sent them on by itself ([`crate::assist`]).
    pub assisted: u64,
    /// [`Verdict::Held`].
    pub held: u64,
    /// [`Verdict::Answered`].
    pub answered: u64,
    /// [`Verdict::Pass`].
    pub passed: u64,
    /// [`Verdict::Drop`], by [`DropReason::index`], and what was given up later.
    pub dropped: [u64; DropReason::ALL.len()],
    /// Fragments whose datagram was not whole yet.
    pub fragments: Kept,
    /// Packets that waited for a next hop's link address, the director's own among them. They are counted by the worker
    /// that did it, which need not be the same for one packet: the sums of all workers add up.
    pub neighbours: Kept,
}

impl Counters {
    /// Counts one verdict.
    #[inline]
    pub(crate) fn count(&mut self, verdict: Verdict) {
        self.received += 1;
        match verdict {
            Verdict::Forwarded => self.forwarded += 1,
            Verdict::Held => self.held += 1,
            Verdict::Answered => self.answered += 1,
            Verdict::Pass => self.passed += 1,
            Verdict::Drop(reason) => self.dropped[reason.index()] += 1,
        }
    }

    /// Counts packets that the kernel sent on by itself.
    pub(crate) fn count_assisted(&mut self, packets: u64) {
        self.assisted = self.assisted.wrapping_add(packets);
    }

    /// How many packets were dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason.index()]
    }
}

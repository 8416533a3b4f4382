//! Plain packets: TCP or UDP right behind an IP header without options or extension headers, in one piece, with a hop
//! to spare. Nearly all packets are.
//!
//! Promises: what [`Plain::read`] takes, [`crate::Headers::parse`] reads the same; what [`Plain::forward`] does to it,
//! [`crate::decrement_ttl`] and [`crate::translate`] do, to the octet. The types know the family, so that no step asks
//! for it again: that, and having only one step each way, is all that is gained.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::{fold, header_is_valid, words};
use crate::headers::Family;
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, Ipv6};
use crate::protocol;
use crate::tcp::{self, Tcp};
use crate::udp::{self, Udp};
use crate::view::put;

/// What forwarding needs to know of a plain packet between addresses of type `A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// What stands behind the IP header.
    pub upper: Upper,
    /// Octets of the IP datagram.
    pub len: usize,
}

/// The upper-layer protocol of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// TCP with these flags ([`crate::Transport::Tcp`]).
    Tcp {
        /// Flags octet.
        flags: u8,
    },
    /// UDP.
    Udp {
        /// The sender wrote the checksum 0, "none".
        is_unsummed: bool,
    },
}

impl Upper {
    /// IANA protocol number.
    #[inline(always)]
    #[must_use]
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Tcp { .. } => protocol::TCP,
            Self::Udp { .. } => protocol::UDP,
        }
    }

    /// Octet of the checksum field in the upper-layer header.
    const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp { .. } => tcp::CHECKSUM as usize,
            Self::Udp { .. } => udp::CHECKSUM as usize,
        }
    }
}

/// What forwarding does to the endpoints of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite<A> {
    /// Nothing.
    None,
    /// Source address and port become these.
    Source(A, u16),
    /// Destination address and port become these.
    Destination(A, u16),
}

/// An address, by its family.
pub trait Address: Copy + Into<IpAddr> {
    /// Reads the plain packet at the start of `network`; `None` when it is not one.
    fn read(network: &[u8]) -> Option<Plain<Self>>;

    /// Takes one from the hop limit of the packet at the start of `network` and puts `new` where `old` stands, at this
    /// end of the packet. Returns what that changes in sums over the addresses.
    fn write(network: &mut [u8], end: End, old: Self, new: Self) -> Option<Difference>;

    /// The family.
    const FAMILY: Family;
    /// Octets of the IP header.
    const HEADER_LEN: usize;
}

/// One of the two ends of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

impl<A: Address> Plain<A> {
    /// Reads the packet whose IP header begins at the start of `network`; `None` when it is not a plain one.
    #[inline(always)]
    #[must_use]
    pub fn read(network: &[u8]) -> Option<Self> {
        A::read(network)
    }

    /// Takes one from the hop limit and rewrites one end, with all checksums. `network` is what the packet was read
    /// from; `is_partial` says that its upper-layer checksum is ([`crate::Offload::partial_checksum`]). A UDP checksum
    /// that is missing is not filled in: who rewrites a packet that [`Upper::Udp`] calls unsummed needs
    /// [`crate::translate`]. `None`, for other octets than those that were read.
    #[inline(always)]
    pub fn forward(&self, network: &mut [u8], rewrite: Rewrite<A>, is_partial: bool) -> Option<()> {
        let (end, old, new) = match rewrite {
            Rewrite::None => {
                let (end, same) = (End::Destination, self.destination);
                return A::write(network, end, same, same).map(|_| ());
            }
            Rewrite::Source(address, port) => {
                let old = (self.source, self.source_port);
                (End::Source, old, (address, port))
            }
            Rewrite::Destination(address, port) => {
                let old = (self.destination, self.destination_port);
                (End::Destination, old, (address, port))
            }
        };
        let addresses = A::write(network, end, old.0, new.0)?;
        let transport = network.get_mut(A::HEADER_LEN..)?;
        let (old, new) = (old.1.to_be_bytes(), new.1.to_be_bytes());
        match end {
            End::Source => put(transport, 0, new)?,
            End::Destination => put(transport, 2, new)?,
        }
        let field: &mut [u8; 2] = transport
            .get_mut(self.upper.checksum_at()..)?
            .first_chunk_mut()?;
        let ports = addresses.minus(old).plus(new);
        *field = match (is_partial, self.upper) {
            (true, _) => addresses.apply_partial(*field),
            (false, Upper::Tcp { .. }) => ports.apply(*field),
            (false, Upper::Udp { .. }) => match ports.apply(*field) {
                // As `udp::sent_checksum`.
                [0, 0] => [0xff, 0xff],
                sum => sum,
            },
        };
        Some(())
    }
}

/// What a rewrite changes in a sum, as [`crate::checksum::Change`]; but words are added as they lie in memory, because
/// the sum is the same in either octet order, but for the order of the result (RFC 1071, 2).
#[derive(Clone, Copy, Debug)]
pub struct Difference(u64);

impl Difference {
    #[inline(always)]
    fn plus(self, word: [u8; 2]) -> Self {
        Self(self.0 + u64::from(u16::from_ne_bytes(word)))
    }

    #[inline(always)]
    fn minus(self, word: [u8; 2]) -> Self {
        self.plus([!word[0], !word[1]])
    }

    /// A complete checksum after the change.
    #[inline(always)]
    fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        let sum = fold(self.minus(checksum).0);
        (!sum).to_ne_bytes()
    }

    /// A partial checksum after the change.
    #[inline(always)]
    fn apply_partial(self, checksum: [u8; 2]) -> [u8; 2] {
        fold(self.plus(checksum).0).to_ne_bytes()
    }
}

impl Address for Ipv4Addr {
    const FAMILY: Family = Family::V4;
    const HEADER_LEN: usize = ipv4::LEN;

    #[inline(always)]
    fn read(network: &[u8]) -> Option<Plain<Self>> {
        let fixed: &[u8; ipv4::LEN] = network.first_chunk()?;
        let header = Ipv4::of(network)?;
        let is_fragment = header.fragmentation() & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) != 0;
        if header.version_ihl() != 0x45 || is_fragment || header.ttl() <= 1 {
            return None;
        }
        let len = usize::from(header.total_len());
        let transport = network.get(ipv4::LEN..len)?;
        if !header_is_valid(fixed) {
            return None;
        }
        let (source, destination) = (header.source(), header.destination());
        with_ports(header.protocol(), transport, source, destination, len)
    }

    #[inline(always)]
    fn write(network: &mut [u8], end: End, old: Self, new: Self) -> Option<Difference> {
        let header: &mut [u8; ipv4::LEN] = network.first_chunk_mut()?;
        let minus = u32::from_ne_bytes(old.octets());
        let plus = u32::from_ne_bytes(new.octets());
        let addresses = Difference(u64::from(!minus) + u64::from(plus));
        let [.., ttl, protocol, high, low] = *header.first_chunk::<12>()?;
        let hops = ttl.checked_sub(1)?;
        let change = addresses.minus([ttl, protocol]).plus([hops, protocol]);
        let [high, low] = change.apply([high, low]);
        *header.get_mut(8..)?.first_chunk_mut()? = [hops, protocol, high, low];
        match end {
            End::Source => put(header, 12, new.octets())?,
            End::Destination => put(header, 16, new.octets())?,
        }
        Some(addresses)
    }
}

impl Address for Ipv6Addr {
    const FAMILY: Family = Family::V6;
    const HEADER_LEN: usize = ipv6::LEN;

    #[inline(always)]
    fn read(network: &[u8]) -> Option<Plain<Self>> {
        let header = Ipv6::of(network)?;
        if header.version_class_flow() >> 28 != 6 || header.hop_limit() <= 1 {
            return None;
        }
        let len = ipv6::LEN + usize::from(header.payload_len());
        let transport = network.get(ipv6::LEN..len)?;
        let (source, destination) = (header.source(), header.destination());
        with_ports(header.next_header(), transport, source, destination, len)
    }

    #[inline(always)]
    fn write(network: &mut [u8], end: End, old: Self, new: Self) -> Option<Difference> {
        let mut header = Ipv6::of_mut(network)?;
        let hops = header.hop_limit().checked_sub(1)?;
        header.set_hop_limit(hops);
        match end {
            End::Source => header.set_source(new),
            End::Destination => header.set_destination(new),
        }
        // As they lie in memory.
        let [old, new] = [old, new].map(|address| words(address, u32::from_ne_bytes));
        let sum = old.iter().map(|word| u64::from(!word)).sum::<u64>();
        Some(Difference(
            new.iter().map(|&word| u64::from(word)).sum::<u64>() + sum,
        ))
    }
}

/// The packet between these addresses, with the ports and the like of `transport`.
#[inline(always)]
fn with_ports<A>(
    protocol: u8,
    transport: &[u8],
    source: A,
    destination: A,
    len: usize,
) -> Option<Plain<A>> {
    let (source_port, destination_port, upper) = match protocol {
        protocol::TCP => {
            let header = Tcp::of(transport)?;
            let flags = header.flags();
            (header.source(), header.destination(), Upper::Tcp { flags })
        }
        protocol::UDP => {
            let header = Udp::of(transport)?;
            let is_unsummed = header.checksum() == 0;
            (
                header.source(),
                header.destination(),
                Upper::Udp { is_unsummed },
            )
        }
        _ => return None,
    };
    Some(Plain {
        source,
        destination,
        source_port,
        destination_port,
        upper,
        len,
    })
}

//! One pass over a frame: everything the director decides on.

use core::net::IpAddr;

use crate::Packet;
use crate::options::Options;
use crate::parse;

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The fields of one IP datagram. Offsets count octets from the frame's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Address family.
    pub family: Family,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper-layer protocol number (IANA), behind any IPv6 extension headers.
    pub protocol: u8,
    /// IPv4 TOS / IPv6 traffic class.
    pub tos: u8,
    /// IPv4 TTL / IPv6 hop limit.
    pub ttl: u8,
    /// IPv4 "don't fragment"; always true for IPv6.
    pub dont_fragment: bool,
    /// IPv4 identification; 0 for IPv6.
    pub id: u16,
    /// Offset of the IP header (= the link header's length).
    pub network_offset: usize,
    /// Offset of the upper-layer header.
    pub transport_offset: usize,
    /// Offset just behind the IP datagram; Ethernet padding lies behind it.
    pub end: usize,
    /// Whether IPv4 options or IPv6 extension headers (other than a fragment header) are present.
    pub has_options: bool,
    /// What [`crate::process_options`] did; nothing yet after parsing.
    pub options: Options,
    /// Set for every fragment, the first one included; not for atomic fragments (RFC 6946).
    pub fragment: Option<Fragment>,
    /// The upper-layer header as far as the director looks at it.
    pub transport: Transport,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Offset of this piece in the datagram, octets.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// Upper-layer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP (RFC 9293).
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Sequence number.
        sequence: u32,
        /// Acknowledgment number.
        acknowledgment: u32,
        /// Flags octet: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
        flags: u8,
        /// Header length, octets (data offset times 4; not validated to be within the datagram).
        header_len: u8,
    },
    /// UDP (RFC 768).
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Checksum field; 0 = none.
        checksum: u16,
    },
    /// SCTP (RFC 9260).
    Sctp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Type of the first chunk, when there is one.
        chunk: Option<u8>,
        /// Type of the second chunk, when there is one (COOKIE-ECHO bundling).
        second_chunk: Option<u8>,
    },
    /// ICMP (RFC 792) or ICMPv6 (RFC 4443).
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// TCP, UDP or SCTP whose header is cut off by the end of the datagram.
    Truncated {
        /// Source and destination port, where that much is there.
        ports: Option<(u16, u16)>,
    },
    /// A later fragment: the upper-layer header is in another frame.
    Fragment,
    /// Anything else (ESP, AH, GRE, IPIP, ...).
    Other,
}

impl Transport {
    /// Source and destination port; (0, 0) where there are none.
    #[must_use]
    pub fn ports(&self) -> (u16, u16) {
        match *self {
            Self::Tcp {
                source,
                destination,
                ..
            }
            | Self::Udp {
                source,
                destination,
                ..
            }
            | Self::Sctp {
                source,
                destination,
                ..
            } => (source, destination),
            Self::Truncated { ports } => ports.unwrap_or_default(),
            Self::Icmp { .. } | Self::Fragment | Self::Other => (0, 0),
        }
    }
}

/// Why a frame could not be read. Each is a drop reason with a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Malformed {
    /// The frame is shorter than its link header.
    LinkTruncated,
    /// EtherType is neither IPv4 nor IPv6 (ARP is read by [`crate`]'s ARP view).
    NotIp,
    /// The frame ends inside the IP header, or the IP header's length is below its minimum.
    NetworkTruncated,
    /// The version nibble contradicts the EtherType.
    BadVersion,
    /// The IP total length exceeds the frame, or is shorter than the header.
    BadLength,
    /// IPv4 header checksum is wrong.
    BadHeaderChecksum,
    /// The frame ends inside an IPv6 extension header.
    ExtensionTruncated,
    /// The ICMP header is cut off, or too little of another upper-layer header is there for what is asked.
    TransportTruncated,
}

impl Headers {
    /// Reads the frame's headers.
    ///
    /// # Errors
    /// [`Malformed`] says what the frame lacks; the packet is not changed.
    #[inline]
    pub fn parse(packet: &Packet<'_>) -> Result<Self, Malformed> {
        parse::frame(
            packet.bytes(),
            packet.link_len,
            packet.offload.gso.is_some(),
        )
    }

    /// Reads an IP datagram that stands alone: offsets count from its first octet.
    ///
    /// # Errors
    /// As [`Headers::parse`].
    pub fn parse_datagram(datagram: &[u8]) -> Result<Self, Malformed> {
        parse::frame(datagram, 0, false)
    }

    /// Source and destination port; (0, 0) where there are none.
    #[must_use]
    pub fn ports(&self) -> (u16, u16) {
        self.transport.ports()
    }
}

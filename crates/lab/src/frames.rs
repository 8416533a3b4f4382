//! The frames that clients send: Ethernet, IPv4, TCP or UDP, written over and over into the same memory.

use core::net::{IpAddr, Ipv4Addr};

use director::scheduler::lots::mix;
use packet::{Mac, Packet, checksum};

/// Octets in front of a frame.
const HEADROOM: usize = 64;
/// Octets of an Ethernet header.
const LINK: usize = 14;
/// Octets of Ethernet and IPv4 header.
const TRANSPORT: usize = LINK + 20;
/// Octets of the longest frame: with a TCP header.
const LONGEST: usize = TRANSPORT + 20;

/// A client's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Begins a TCP connection.
    Syn,
    /// Anything on the way.
    Data,
    /// The client is done.
    Fin,
    /// A UDP datagram.
    Datagram,
}

impl Kind {
    /// TCP flags (RFC 9293 section 3.1).
    const fn flags(self) -> u8 {
        match self {
            Self::Syn => 0x02,
            Self::Data | Self::Datagram => 0x10,
            Self::Fin => 0x11,
        }
    }
}

/// A client's endpoint and the service that it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Client's address.
    pub(crate) client: Ipv4Addr,
    /// Client's port.
    pub(crate) port: u16,
    /// Virtual address.
    pub(crate) vip: Ipv4Addr,
    /// Virtual port.
    pub(crate) service_port: u16,
}

impl Flow {
    /// All of it in one number, well mixed.
    pub(crate) fn hash(&self) -> u64 {
        let client = u64::from(self.client.to_bits()) << 16 | u64::from(self.port);
        mix(client ^ mix(u64::from(self.vip.to_bits())))
    }
}

/// The IPv4 address that the lab gives a client: its own, or for an IPv6 client of a trace one that is made of it.
pub(crate) fn ipv4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let [low, high] = [bits, bits >> 64]
                .map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
            let [.., a, b, c, d] = mix(low ^ mix(high)).to_be_bytes();
            // Network 16.0.0.0/4: unicast, and nothing of the lab's own is in it.
            Ipv4Addr::new(16 | a & 15, b, c, d)
        }
    }
}

/// Memory of one frame.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    octets: [u8; HEADROOM + LONGEST],
    len: usize,
}

impl FrameBuffer {
    pub(crate) const fn new() -> Self {
        Self {
            octets: [0; HEADROOM + LONGEST],
            len: 0,
        }
    }

    /// Writes a packet of `flow` to the interface with address `to`.
    pub(crate) fn write(&mut self, to: Mac, flow: &Flow, kind: Kind) {
        let (protocol, transport_len): (u8, u8) = match kind {
            Kind::Datagram => (17, 8),
            _ => (6, 20),
        };
        let frame = &mut self.octets[HEADROOM..];
        frame[..6].copy_from_slice(&to.0);
        frame[6..LINK].copy_from_slice(&[2, 0, 0, 0, 3, 3, 8, 0]);
        let ip = &mut frame[LINK..TRANSPORT];
        let total = 20 + transport_len;
        ip[..12].copy_from_slice(&[0x45, 0, 0, total, 0, 1, 0x40, 0, 64, protocol, 0, 0]);
        ip[12..16].copy_from_slice(&flow.client.octets());
        ip[16..20].copy_from_slice(&flow.vip.octets());
        let sum = checksum::Sum::of(ip).finish();
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let transport = &mut frame[TRANSPORT..];
        transport[..2].copy_from_slice(&flow.port.to_be_bytes());
        transport[2..4].copy_from_slice(&flow.service_port.to_be_bytes());
        if kind == Kind::Datagram {
            transport[4..8].copy_from_slice(&[0, 8, 0, 0]);
        } else {
            transport[4..20].copy_from_slice(&[
                0,
                0,
                0,
                1,
                0,
                0,
                0,
                1,
                0x50,
                kind.flags(),
                255,
                255,
                0,
                0,
                0,
                0,
            ]);
        }
        self.len = TRANSPORT + usize::from(transport_len);
    }

    /// The frame, as a link would hand it over.
    pub(crate) fn packet(&mut self) -> Packet<'_> {
        let end = HEADROOM + self.len;
        Packet::new(&mut self.octets, HEADROOM..end, LINK)
    }
}

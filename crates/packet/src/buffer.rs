//! A frame in place: bytes with headroom, and what the link knows beside the bytes.

use core::ops::Range;

/// A frame inside a larger buffer, so that headers can be put in front without a copy.
///
/// The frame is `buffer[start..end]`; bytes before `start` are headroom, bytes after `end` tailroom.
/// On Ethernet links the frame begins with the Ethernet header, without the 802.1Q tag, which stands
/// in [`Packet::vlan`]; on TUN links it begins with the IP header ([`Packet::link_len`] = 0).
#[derive(Debug)]
pub struct Packet<'a> {
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
    /// Octets of link-layer header in front of the network header: 14 on Ethernet, 0 on TUN.
    pub link_len: usize,
    /// What is left to be done to the frame: checksum and segmentation.
    pub offload: Offload,
    /// The 802.1Q tag that the link took off, to be put back on transmit.
    pub vlan: Option<Vlan>,
}

/// An 802.1Q / 802.1ad tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Tag protocol identifier, host order: 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Tag control information, host order: priority, DEI, VLAN identifier.
    pub tci: u16,
}

/// Work that the sender left to the device, as the virtio-net header says it (virtio 1.2, 5.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// `Some(offset)`: the checksum field at `offset` octets into the transport header (TCP 16, UDP 6)
    /// holds only the pseudo-header sum (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
    pub partial_checksum: Option<u16>,
    /// Octets from the frame start to the transport header, valid with `partial_checksum` or `gso`.
    pub checksum_start: u16,
    /// The frame is a super-frame that stands for several segments.
    pub gso: Option<GsoKind>,
    /// Payload octets of each segment of a super-frame.
    pub gso_size: u16,
    /// The virtio-net ECN bit (`VIRTIO_NET_HDR_GSO_ECN`).
    pub gso_ecn: bool,
}

impl Offload {
    /// Nothing is left to do.
    pub const NONE: Self = Self {
        partial_checksum: None,
        checksum_start: 0,
        gso: None,
        gso_size: 0,
        gso_ecn: false,
    };
}

/// Kind of super-frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4 (`VIRTIO_NET_HDR_GSO_TCPV4`).
    TcpV4,
    /// TCP over IPv6 (`VIRTIO_NET_HDR_GSO_TCPV6`).
    TcpV6,
    /// UDP datagrams of equal size (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    UdpL4,
}

impl<'a> Packet<'a> {
    /// The frame at `frame` of `buffer`, with a link-layer header of `link_len` octets.
    ///
    /// A range outside the buffer is cut to it.
    #[must_use]
    #[inline]
    pub fn new(buffer: &'a mut [u8], frame: Range<usize>, link_len: usize) -> Self {
        let end = frame.end.min(buffer.len());
        let start = frame.start.min(end);
        Self {
            buffer,
            start,
            end,
            link_len,
            offload: Offload::default(),
            vlan: None,
        }
    }

    /// The whole frame.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The whole frame, to be rewritten in place.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// The network header and all behind it.
    #[must_use]
    #[inline]
    pub fn network(&self) -> &[u8] {
        self.bytes().get(self.link_len..).unwrap_or(&[])
    }

    /// Octets in the frame.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the frame holds no octet.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Octets that can be put in front of the frame.
    #[must_use]
    #[inline]
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Moves the frame's start: grows the frame by `count` octets at the front and returns whether
    /// the headroom sufficed; the new octets hold whatever the buffer held.
    #[must_use]
    #[inline]
    pub fn push_front(&mut self, count: usize) -> bool {
        match self.start.checked_sub(count) {
            Some(start) => {
                self.start = start;
                true
            }
            None => false,
        }
    }

    /// Takes `count` octets off the front (at most the whole frame).
    #[inline]
    pub fn pull_front(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Cuts the frame to at most `len` octets (padding behind the IP datagram goes).
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start.saturating_add(len));
    }

    /// Opens a gap of `count` octets behind the link header, which moves to the front, and returns
    /// whether the headroom sufficed. [`Offload::checksum_start`] moves with the transport header.
    #[must_use]
    pub(crate) fn open_behind_link(&mut self, count: usize) -> bool {
        let Some(checksum_start) = u16::try_from(count)
            .ok()
            .and_then(|count| self.offload.checksum_start.checked_add(count))
        else {
            return false;
        };
        let link_len = self.link_len.min(self.len());
        if !self.push_front(count) {
            return false;
        }
        self.bytes_mut().copy_within(count..count + link_len, 0);
        self.offload.checksum_start = checksum_start;
        true
    }
}

//! Frames on their way out: still in the ring they came in by, or owned.

use packet::{Offload, Packet, Vlan};

use crate::HEADROOM;

/// A frame to be sent, with what the link must know beside the bytes.
#[derive(Debug)]
pub enum Outgoing<'a> {
    /// A received frame, sent from where it lies.
    InPlace(Packet<'a>),
    /// A frame made here (segments, ICMP errors, ARP) or handed over by another worker.
    Owned(Frame),
}

impl Outgoing<'_> {
    /// The whole frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::InPlace(packet) => packet.bytes(),
            Self::Owned(frame) => frame.bytes(),
        }
    }

    /// What is left to be done to the frame.
    #[must_use]
    pub fn offload(&self) -> &Offload {
        match self {
            Self::InPlace(packet) => &packet.offload,
            Self::Owned(frame) => &frame.offload,
        }
    }

    /// The 802.1Q tag to be put in.
    #[must_use]
    pub fn vlan(&self) -> Option<Vlan> {
        match self {
            Self::InPlace(packet) => packet.vlan,
            Self::Owned(frame) => frame.vlan,
        }
    }

    /// Octets of link-layer header in front of the network header.
    #[must_use]
    pub fn link_len(&self) -> usize {
        match self {
            Self::InPlace(packet) => packet.link_len,
            Self::Owned(frame) => frame.link_len,
        }
    }
}

impl<'a> From<Packet<'a>> for Outgoing<'a> {
    fn from(packet: Packet<'a>) -> Self {
        Self::InPlace(packet)
    }
}

impl From<Frame> for Outgoing<'_> {
    fn from(frame: Frame) -> Self {
        Self::Owned(frame)
    }
}

/// A frame with its own memory, which may cross threads and outlive the batch it came in.
#[derive(Clone, Debug)]
pub struct Frame {
    buffer: Vec<u8>,
    start: usize,
    /// Octets of link-layer header in front of the network header: 14 on Ethernet, 0 on TUN.
    pub link_len: usize,
    /// What is left to be done to the frame.
    pub offload: Offload,
    /// The 802.1Q tag to be put in.
    pub vlan: Option<Vlan>,
}

impl Frame {
    /// A copy of `bytes` behind [`HEADROOM`] free octets, complete (no offload) and untagged.
    #[must_use]
    pub fn new(bytes: &[u8], link_len: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEADROOM + bytes.len());
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(bytes);
        Self {
            buffer,
            start: HEADROOM,
            link_len,
            offload: Offload::default(),
            vlan: None,
        }
    }

    /// The frame that begins at `start` of `buffer` and reaches to its end, complete (no offload) and
    /// untagged; nothing is copied.
    #[must_use]
    pub fn from_buffer(buffer: Vec<u8>, start: usize, link_len: usize) -> Self {
        Self {
            start: start.min(buffer.len()),
            buffer,
            link_len,
            offload: Offload::default(),
            vlan: None,
        }
    }

    /// The whole frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    /// Octets in the frame.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether the frame holds no octet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame as a packet to be parsed and rewritten in place.
    #[must_use]
    pub fn packet(&mut self) -> Packet<'_> {
        let range = self.start..self.buffer.len();
        let mut packet = Packet::new(&mut self.buffer, range, self.link_len);
        packet.offload = self.offload;
        packet.vlan = self.vlan;
        packet
    }
}

impl From<&Packet<'_>> for Frame {
    fn from(packet: &Packet<'_>) -> Self {
        Self {
            offload: packet.offload,
            vlan: packet.vlan,
            ..Self::new(packet.bytes(), packet.link_len)
        }
    }
}

/// Empties a vector and gives it another element type of the same layout, keeping its memory.
///
/// A batch vector's element type carries the lifetime of one receive call, so a fresh vector is
/// needed for each; this makes it without allocating:
/// `let mut batch: Vec<Packet<'_>> = recycle(store); ...; store = recycle(batch);`
#[must_use]
pub fn recycle<T, U>(mut vector: Vec<T>) -> Vec<U> {
    vector.clear();
    // The standard library reuses the allocation of an in-place map between equal layouts; the
    // closure is never called, the vector being empty.
    vector.into_iter().filter_map(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recycling_keeps_the_memory() {
        let mut bytes = [0_u8; 4];
        let mut vector = Vec::with_capacity(64);
        vector.push(Packet::new(&mut bytes, 0..4, 0));
        let before = vector.as_ptr().addr();
        let other: Vec<Packet<'static>> = recycle(vector);
        assert!(other.is_empty());
        assert_eq!((other.as_ptr().addr(), other.capacity()), (before, 64));
    }

    #[test]
    fn a_buffer_is_taken_over() {
        let frame = Frame::from_buffer(vec![1, 2, 3, 4], 1, 0);
        assert_eq!((frame.bytes(), frame.len()), (&[2, 3, 4][..], 3));
        assert!(Frame::from_buffer(vec![1], 9, 0).is_empty());
    }

    #[test]
    fn a_frame_is_the_packet_it_was_made_of() {
        let mut buffer = [7_u8; 100];
        let mut packet = Packet::new(&mut buffer, 10..90, 14);
        packet.vlan = Some(Vlan {
            tpid: 0x8100,
            tci: 5,
        });
        packet.offload.partial_checksum = Some(16);
        let mut frame = Frame::from(&packet);
        assert_eq!((frame.len(), frame.is_empty()), (80, false));
        let again = frame.packet();
        assert_eq!(again.bytes(), packet.bytes());
        assert_eq!((again.vlan, again.offload), (packet.vlan, packet.offload));
        assert!(again.headroom() >= HEADROOM);
        let outgoing = Outgoing::from(frame);
        assert_eq!((outgoing.bytes().len(), outgoing.link_len()), (80, 14));
        assert_eq!(outgoing.vlan(), packet.vlan);
        assert_eq!(*outgoing.offload(), packet.offload);
    }
}

//! What leaves the director: frames in place or newly made, each with its egress interface; and what a
//! synchronisation master tells.

use core::ops::Range;

use packet::{Family, Headers, Malformed, Offload, Packet, TunnelChecksum, TunnelKind, Vlan};

use crate::sync;

/// Octets left free in front of a frame that the director makes itself, for tunnel and link headers.
pub const HEADROOM: usize = 96;

const _: () = assert!(
    HEADROOM
        >= packet::ethernet::LEN
            + packet::tunnel::overhead(TunnelKind::Gue, Family::V6, TunnelChecksum::Full),
    "there is room for the longest headers"
);

/// A frame in memory of its own: one that the director made, or kept while an address was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFrame {
    buffer: Vec<u8>,
    start: usize,
    /// Octets of link-layer header in front of the network header.
    pub link_len: usize,
    /// Checksum and segmentation left to do.
    pub offload: Offload,
    /// 802.1Q tag to be inserted on transmit.
    pub vlan: Option<Vlan>,
}

impl OwnedFrame {
    /// No octet, in no memory.
    const EMPTY: Self = Self {
        buffer: Vec::new(),
        start: 0,
        link_len: 0,
        offload: Offload::NONE,
        vlan: None,
    };

    /// A frame of `len` zero octets with [`HEADROOM`] in front and no link header yet.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self {
            buffer: vec![0; HEADROOM + len],
            start: HEADROOM,
            link_len: 0,
            offload: Offload::default(),
            vlan: None,
        }
    }

    /// A copy of `packet`, with [`HEADROOM`] in front.
    #[must_use]
    pub fn copy_of(packet: &Packet<'_>) -> Self {
        let mut buffer = Vec::with_capacity(HEADROOM + packet.len());
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(packet.bytes());
        Self {
            buffer,
            start: HEADROOM,
            link_len: packet.link_len,
            offload: packet.offload,
            vlan: packet.vlan,
        }
    }

    /// The frame's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
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

    /// Replaces the octets at `place` by `octets`, as many or not; a place outside the frame is cut to it.
    pub(crate) fn splice(&mut self, place: Range<usize>, octets: &[u8]) {
        let end = (self.start + place.end).min(self.buffer.len());
        let start = (self.start + place.start).min(end);
        self.buffer.splice(start..end, octets.iter().copied());
    }

    /// Reads the frame's headers.
    ///
    /// # Errors
    /// As [`Headers::parse`].
    pub(crate) fn headers(&mut self) -> Result<Headers, Malformed> {
        self.edit(|packet| Headers::parse(packet))
    }

    /// The memory of the frame and where in it the frame begins, for a link that takes it over.
    #[must_use]
    pub fn into_buffer(self) -> (Vec<u8>, usize) {
        (self.buffer, self.start)
    }

    /// Lets `edit` rewrite the frame as a [`Packet`] and keeps what became of it.
    pub fn edit<T>(&mut self, edit: impl FnOnce(&mut Packet<'_>) -> T) -> T {
        let whole = self.buffer.len();
        let mut packet = Packet::new(&mut self.buffer, self.start..whole, self.link_len);
        packet.offload = self.offload;
        packet.vlan = self.vlan;
        let result = edit(&mut packet);
        let (start, len) = (packet.headroom(), packet.len());
        (self.link_len, self.offload, self.vlan) = (packet.link_len, packet.offload, packet.vlan);
        self.start = start;
        self.buffer.truncate(start + len);
        result
    }
}

/// A frame on its way out.
#[derive(Debug)]
pub enum Frame<'a> {
    /// Rewritten where the link received it.
    InPlace(Packet<'a>),
    /// In memory of its own.
    Owned(OwnedFrame),
}

impl Frame<'_> {
    /// The frame's bytes, without the 802.1Q tag.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::InPlace(packet) => packet.bytes(),
            Self::Owned(frame) => frame.bytes(),
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

    /// Checksum and segmentation left to do.
    #[must_use]
    pub fn offload(&self) -> Offload {
        match self {
            Self::InPlace(packet) => packet.offload,
            Self::Owned(frame) => frame.offload,
        }
    }

    /// 802.1Q tag to be inserted on transmit.
    #[must_use]
    pub fn vlan(&self) -> Option<Vlan> {
        match self {
            Self::InPlace(packet) => packet.vlan,
            Self::Owned(frame) => frame.vlan,
        }
    }

    /// Reads the frame's headers.
    ///
    /// # Errors
    /// As [`Headers::parse`].
    pub(crate) fn headers(&mut self) -> Result<Headers, Malformed> {
        match self {
            Self::InPlace(packet) => Headers::parse(packet),
            Self::Owned(frame) => frame.headers(),
        }
    }

    /// The frame; an empty one stays in its place.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::Owned(OwnedFrame::EMPTY))
    }

    /// Sees to it that so many octets, [`HEADROOM`] at most, can be put in front of the frame: one that has less room
    /// moves into memory of its own. Links leave enough for every tunnel, but not for a link header where they have none.
    pub(crate) fn make_room(&mut self, octets: usize) {
        if let Some(roomy) =
            self.edit(|packet| (packet.headroom() < octets).then(|| OwnedFrame::copy_of(packet)))
        {
            *self = Self::Owned(roomy);
        }
    }

    /// Lets `edit` rewrite the frame.
    pub(crate) fn edit<T>(&mut self, edit: impl FnOnce(&mut Packet<'_>) -> T) -> T {
        match self {
            Self::InPlace(packet) => edit(packet),
            Self::Owned(frame) => frame.edit(edit),
        }
    }
}

/// A frame and the interface it leaves by.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Interface index (kernel ifindex).
    pub interface: u32,
    /// The frame, link header included.
    pub frame: Frame<'a>,
}

/// Where the director puts the frames of one batch, in order.
#[derive(Debug, Default)]
pub struct Output<'a> {
    /// Frames to transmit, oldest first.
    pub frames: Vec<Outgoing<'a>>,
    /// What a synchronisation master has to tell, oldest first; nothing while none runs.
    pub told: Vec<sync::Entry>,
}

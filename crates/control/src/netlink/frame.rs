//! Netlink message headers, and the walk over the messages of a datagram.

use super::FAMILY_ID;
use super::attribute::Writer;

/// Message is a request.
pub const NLM_F_REQUEST: u16 = 0x1;
/// Message is one of several, ended by `NLMSG_DONE`.
pub const NLM_F_MULTI: u16 = 0x2;
/// An acknowledgement is asked for even on success.
pub const NLM_F_ACK: u16 = 0x4;
/// Request for a list (`NLM_F_ROOT | NLM_F_MATCH`).
pub const NLM_F_DUMP: u16 = 0x300;
/// The original message in an acknowledgement is cut to its header.
pub(super) const NLM_F_CAPPED: u16 = 0x100;
/// Attributes follow the request that an error repeats (extended acknowledgement).
pub(super) const NLM_F_ACK_TLVS: u16 = 0x200;

/// Error or acknowledgement.
pub(super) const NLMSG_ERROR: u16 = 2;
/// End of a list.
pub(super) const NLMSG_DONE: u16 = 3;
/// Types below are netlink's own.
const NLMSG_MIN_TYPE: u16 = 16;

/// Octets of `struct nlmsghdr`.
pub(super) const HEADER_LENGTH: usize = 16;
/// Octets of `struct genlmsghdr`.
pub(super) const GENERIC_LENGTH: usize = 4;
/// Version of the IPVS family, in every generic header.
const GENERIC_VERSION: u8 = 1;

/// `struct nlmsghdr` without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type: the family's id, `NLMSG_ERROR` or `NLMSG_DONE`.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Sequence number, the client's choice.
    pub sequence: u32,
    /// Port id: in a reply the client's.
    pub port: u32,
}

impl Header {
    /// Whether the message asks for a list.
    #[must_use]
    pub const fn is_dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }

    /// The message: this header, then `payload`.
    pub(super) fn message(&self, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_LENGTH + payload.len()).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(HEADER_LENGTH + payload.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&self.kind.to_ne_bytes());
        message.extend_from_slice(&self.flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&self.port.to_ne_bytes());
        message.extend_from_slice(payload);
        message
    }

    /// A message of the IPVS family: generic header with `command`, then what `fill` writes.
    pub(super) fn generic(&self, command: u8, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(&[command, GENERIC_VERSION, 0, 0]);
        fill(&mut writer);
        Self {
            kind: FAMILY_ID,
            ..*self
        }
        .message(&writer.into_bytes())
    }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) header: Header,
    /// The whole message, header included.
    pub(super) bytes: &'a [u8],
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

/// Walks the messages of a datagram as `netlink_rcv_skb` does: a length that is too short or reaches
/// beyond the datagram ends the walk silently.
pub(super) fn frames(mut rest: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    core::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let (&[k, l, f, g, s, t, u, v, p, q, r, w], _) = tail.split_first_chunk::<12>()?;
        let bytes = rest.get(..length)?;
        let payload = bytes.get(HEADER_LENGTH..)?;
        rest = rest
            .get(length.checked_next_multiple_of(4)?..)
            .unwrap_or(&[]);
        let header = Header {
            kind: u16::from_ne_bytes([k, l]),
            flags: u16::from_ne_bytes([f, g]),
            sequence: u32::from_ne_bytes([s, t, u, v]),
            port: u32::from_ne_bytes([p, q, r, w]),
        };
        Some(Frame {
            header,
            bytes,
            payload,
        })
    })
}

/// Whether netlink hands the message to a family at all.
pub(super) const fn is_request(header: &Header) -> bool {
    header.flags & NLM_F_REQUEST != 0 && header.kind >= NLMSG_MIN_TYPE
}

/// How many requests of a datagram end in an acknowledgement, an error or the end of a list. A client
/// has its whole answer when the [`answered`] of what it received add up to this.
#[must_use]
pub fn expected(requests: &[u8]) -> usize {
    frames(requests)
        .filter(|frame| is_request(&frame.header))
        .filter(|frame| frame.header.is_dump() || frame.header.flags & NLM_F_ACK != 0)
        .count()
}

/// How many acknowledgements, errors and ends of lists a reply datagram holds.
#[must_use]
pub fn answered(reply: &[u8]) -> usize {
    frames(reply)
        .filter(|frame| matches!(frame.header.kind, NLMSG_ERROR | NLMSG_DONE))
        .count()
}

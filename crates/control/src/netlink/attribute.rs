//! Netlink attributes (`struct nlattr`): a type, a length and a value, padded to four octets.
//!
//! Reads as leniently as `nla_parse_deprecated` does: unknown types are skipped by the caller, a
//! truncated tail ends the list, the last of several equal attributes wins. What is too short or too
//! long for its type is an error.

use super::Errno;

/// Octets of an attribute's header: length u16, type u16.
const HEADER: usize = 4;
/// The type's two upper bits are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`), not part of it.
const TYPE_MASK: u16 = 0x3fff;

/// Iterates over the attributes of a nest or of a message's payload.
#[derive(Clone, Debug)]
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let &[a, b, c, d, ..] = self.rest else {
            return None;
        };
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let kind = u16::from_ne_bytes([c, d]) & TYPE_MASK;
        let value = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// The first `N` octets of a value. Longer values are taken, as the kernel's liberal policy does.
pub(super) fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], Errno> {
    value.first_chunk().copied().ok_or(Errno::ERANGE)
}

pub(super) fn u8_value(value: &[u8]) -> Result<u8, Errno> {
    array(value).map(u8::from_ne_bytes)
}

pub(super) fn u16_value(value: &[u8]) -> Result<u16, Errno> {
    array(value).map(u16::from_ne_bytes)
}

/// A u16 in network byte order.
pub(super) fn be16_value(value: &[u8]) -> Result<u16, Errno> {
    array(value).map(u16::from_be_bytes)
}

pub(super) fn u32_value(value: &[u8]) -> Result<u32, Errno> {
    array(value).map(u32::from_ne_bytes)
}

pub(super) fn u64_value(value: &[u8]) -> Result<u64, Errno> {
    array(value).map(u64::from_ne_bytes)
}

/// Binary of at most `N` octets (`NLA_BINARY`); what is missing is zero.
pub(super) fn binary<const N: usize>(value: &[u8]) -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    bytes
        .get_mut(..value.len())
        .ok_or(Errno::ERANGE)?
        .copy_from_slice(value);
    Ok(bytes)
}

/// A NUL-terminated string of at most `max` octets without the NUL (`NLA_NUL_STRING`).
/// An octet beyond ASCII becomes `?`, so that the string stays as long: no name that IPVS knows contains one.
pub(super) fn string(value: &[u8], max: usize) -> Result<String, Errno> {
    let end = value
        .iter()
        .position(|&octet| octet == 0)
        .ok_or(Errno::EINVAL)?;
    let bytes = value
        .get(..end)
        .filter(|bytes| bytes.len() <= max)
        .ok_or(Errno::ERANGE)?;
    let ascii = |&octet: &u8| {
        if octet.is_ascii() {
            char::from(octet)
        } else {
            '?'
        }
    };
    Ok(bytes.iter().map(ascii).collect())
}

/// Writes attributes behind whatever the buffer already holds.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends without a header (fixed message parts).
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends one attribute; a value over 65,531 octets is cut there (no IPVS value comes near).
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) {
        let room = usize::from(u16::MAX) - HEADER;
        let value = value.get(..room).unwrap_or(value);
        let length = u16::try_from(value.len() + HEADER).unwrap_or(u16::MAX);
        self.raw(&length.to_ne_bytes());
        self.raw(&kind.to_ne_bytes());
        self.raw(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(super) fn put_u8(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    pub(super) fn put_u16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// A u16 in network byte order.
    pub(super) fn put_be16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_be_bytes());
    }

    pub(super) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    pub(super) fn put_u64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// A NUL-terminated string, cut at `max` octets (at a character boundary) and at its first NUL.
    pub(super) fn put_string(&mut self, kind: u16, text: &str, max: usize) {
        let text = text.split('\0').next().unwrap_or_default();
        let mut bytes = text.as_bytes()[..text.floor_char_boundary(max)].to_vec();
        bytes.push(0);
        self.put(kind, &bytes);
    }

    /// Appends an attribute whose value is what `fill` writes.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.put(kind, &inner.bytes);
    }
}

//! GRE (RFC 2784, RFC 2890): the header in front of a tunnelled packet.

use crate::checksum::Sum;
use crate::view::{header, put};

/// Octets of the header without optional fields.
pub const LEN: usize = 4;
/// Octets of the header with a checksum.
pub const LEN_CHECKSUM: usize = 8;

/// "A checksum is present" in [`Gre::flags_version`].
pub const CHECKSUM_PRESENT: u16 = 0x8000;
/// "A key is present" (RFC 2890).
pub const KEY_PRESENT: u16 = 0x2000;
/// "A sequence number is present" (RFC 2890).
pub const SEQUENCE_PRESENT: u16 = 0x1000;
/// Everything else that must be 0: routing, reserved bits, version (RFC 2784, 2.3).
const MUST_BE_ZERO: u16 = !(CHECKSUM_PRESENT | KEY_PRESENT | SEQUENCE_PRESENT);

header! {
    /// The first four octets of the GRE header.
    Gre, 4 {
        /// Flags and version.
        flags_version, set_flags_version: u16 = 0;
        /// EtherType of the payload.
        protocol, set_protocol: u16 = 2;
    }
}

/// Reads the header at the start of `bytes`: the EtherType of the payload and the octets of the
/// header. `None` when it is cut off, carries flags that RFC 2784 and 2890 do not define, or a wrong
/// checksum.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(u16, usize)> {
    let checksum = Gre::of(bytes)?.flags_version() & CHECKSUM_PRESENT != 0;
    if checksum && Sum::of(bytes).fold() != 0xffff {
        return None;
    }
    peek(bytes)
}

/// As [`read`], without a look at the checksum: the packet may have been cut short.
pub(crate) fn peek(bytes: &[u8]) -> Option<(u16, usize)> {
    let header = Gre::of(bytes)?;
    let flags = header.flags_version();
    if flags & MUST_BE_ZERO != 0 {
        return None;
    }
    let optional = [CHECKSUM_PRESENT, KEY_PRESENT, SEQUENCE_PRESENT];
    let len = LEN
        + 4 * optional
            .into_iter()
            .filter(|flag| flags & flag != 0)
            .count();
    (bytes.len() >= len).then(|| (header.protocol(), len))
}

/// Writes the header for a payload of EtherType `protocol`; with `checksum`, `bytes` is the whole GRE
/// packet and its checksum is filled in. `None`, when `bytes` is too short.
pub(crate) fn write(bytes: &mut [u8], protocol: u16, checksum: bool) -> Option<()> {
    let mut header = Gre::of_mut(bytes)?;
    header.set_flags_version(if checksum { CHECKSUM_PRESENT } else { 0 });
    header.set_protocol(protocol);
    if checksum {
        put(bytes, LEN, [0; 4])?;
        let sum = Sum::of(bytes).finish();
        put(bytes, LEN, sum.to_be_bytes())?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        assert_eq!(read(&[0, 0, 0x86, 0xdd]), Some((0x86dd, 4)));
        assert_eq!(read(&[0x20, 0, 8, 0, 0, 0, 0, 1]), Some((0x0800, 8)));
        assert_eq!(read(&[0x80, 0, 8, 0, 0x77, 0xff, 0, 0]), Some((0x0800, 8)));
        assert_eq!(
            read(&[0x80, 0, 8, 0, 0x77, 0xfe, 0, 0]),
            None,
            "wrong checksum"
        );
        assert_eq!(read(&[0x20, 0, 8, 0, 0, 0, 0]), None, "key cut off");
        assert_eq!(read(&[0x40, 0, 8, 0, 0, 0, 0, 1]), None, "source routing");
        assert_eq!(read(&[0, 1, 8, 0]), None, "version 1 (PPTP)");
        assert_eq!(read(&[0, 0, 8]), None);
    }

    #[test]
    fn writes() {
        let mut bytes = [0xa5; 4];
        write(&mut bytes, 0x86dd, false).unwrap();
        assert_eq!(bytes, [0, 0, 0x86, 0xdd]);
        let mut bytes = [0xa5; 8];
        write(&mut bytes, 0x0800, true).unwrap();
        assert_eq!(bytes, [0x80, 0, 8, 0, 0x77, 0xff, 0, 0]);
        assert!(write(&mut [0xa5; 7], 0x0800, true).is_none());
    }
}

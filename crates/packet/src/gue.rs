//! GUE, generic UDP encapsulation (draft-ietf-intarea-gue, as the kernel's `fou` and IPVS write it):
//! the header between UDP and the tunnelled packet.

use crate::view::header;

/// Octets of the header without optional fields.
pub const LEN: usize = 4;

/// Private flags present: four more octets of flags follow.
pub const PRIVATE: u16 = 0x0001;
/// The private flag for remote checksum offload: four octets, checksum start and offset.
pub const REMOTE_CHECKSUM: u32 = 0x8000_0000;

header! {
    /// The GUE header, version 0.
    Gue, 4 {
        /// Version (2 bits), control bit, octets of optional fields in units of four (5 bits).
        version_len, set_version_len: u8 = 0;
        /// Protocol number of the payload.
        protocol, set_protocol: u8 = 1;
        /// Flags.
        flags, set_flags: u16 = 2;
    }
}

/// Reads the header at the start of `bytes`: the protocol number of the payload and the octets of
/// the header, optional fields included. `None` for a header that is cut off, of version 1, a control
/// message, or with flags: none of the optional fields is understood, and to skip what changes the
/// meaning of the payload (remote checksum offload) would be wrong.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(u8, usize)> {
    let header = Gue::of(bytes)?;
    let len = LEN + 4 * usize::from(header.version_len() & 0x1f);
    let plain = header.version_len() & 0xe0 == 0 && header.flags() == 0;
    (plain && bytes.len() >= len).then(|| (header.protocol(), len))
}

/// The header in front of a payload of protocol number `protocol`.
#[must_use]
pub(crate) const fn to_bytes(protocol: u8) -> [u8; LEN] {
    [0, protocol, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        assert_eq!(read(&[0, 4, 0, 0]), Some((4, 4)));
        assert_eq!(read(&[1, 41, 0, 0, 9, 9, 9, 9]), Some((41, 8)));
        assert_eq!(
            read(&[1, 41, 0, 0, 9, 9, 9]),
            None,
            "optional field cut off"
        );
        assert_eq!(read(&[0x20, 4, 0, 0]), None, "control message");
        assert_eq!(read(&[0x45, 0, 0, 20]), None, "version 1");
        assert_eq!(
            read(&[2, 4, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            None,
            "remote checksum offload"
        );
        assert_eq!(read(&[0, 4, 0]), None);
    }

    #[test]
    fn writes() {
        let mut bytes = [0xa5; 4];
        let mut header = Gue::of_mut(&mut bytes).unwrap();
        header.set_version_len(0);
        header.set_protocol(4);
        header.set_flags(0);
        assert_eq!(bytes, to_bytes(4));
    }
}

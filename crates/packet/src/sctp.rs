//! SCTP (RFC 9260): the common header of 12 octets, the chunk header, and the CRC32c checksum.

use crate::view::{header, put};

/// Octets of the common header.
pub const LEN: usize = 12;
/// Offset of the checksum in the common header, octets.
pub const CHECKSUM: u16 = 8;

/// Chunk types that the director looks at (RFC 9260, 3.2).
pub mod chunk {
    /// DATA.
    pub const DATA: u8 = 0;
    /// INIT.
    pub const INIT: u8 = 1;
    /// INIT ACK.
    pub const INIT_ACK: u8 = 2;
    /// ABORT.
    pub const ABORT: u8 = 6;
    /// SHUTDOWN ACK.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// ERROR.
    pub const ERROR: u8 = 9;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 10;
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = 11;
    /// SHUTDOWN COMPLETE.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

header! {
    /// The common header.
    Sctp, 12 {
        /// Source port.
        source, set_source: u16 = 0;
        /// Destination port.
        destination, set_destination: u16 = 2;
        /// Verification tag.
        tag, set_tag: u32 = 4;
        /// The four octets of the checksum as one big-endian number; the CRC32c itself is sent with
        /// its lowest octet first, see [`crc32c`].
        checksum, set_checksum: u32 = 8;
    }
}

header! {
    /// The header of a chunk.
    Chunk, 4 {
        /// Type.
        kind, set_kind: u8 = 0;
        /// Flags.
        flags, set_flags: u8 = 1;
        /// Octets of the chunk, this header included, padding excluded.
        length, set_length: u16 = 2;
    }
}

/// The first two chunks' types; `chunks` begins behind the common header. The second chunk starts at
/// the next multiple of four octets, and only where the first one's length is valid.
pub(crate) fn first_chunks(chunks: &[u8]) -> (Option<u8>, Option<u8>) {
    let Some(first) = Chunk::of(chunks) else {
        return (None, None);
    };
    let len = usize::from(first.length());
    let second = (len >= 4)
        .then(|| chunks.get(len.next_multiple_of(4)..))
        .flatten()
        .and_then(Chunk::of)
        .map(|second| second.kind());
    (Some(first.kind()), second)
}

/// Tables for eight octets at a time; entry `[0]` is the plain one of the reflected polynomial
/// 0x82f63b78 (Castagnoli; RFC 9260, appendix A).
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut octet = 0;
    let mut start = 0_u32;
    while octet < 256 {
        let mut crc = start;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][octet] = crc;
        octet += 1;
        start += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut octet = 0;
        while octet < 256 {
            let crc = tables[table - 1][octet];
            tables[table][octet] = crc >> 8 ^ tables[0][(crc & 0xff) as usize];
            octet += 1;
        }
        table += 1;
    }
    tables
}

/// One table step: `octet` indexes a table of 256 entries, so the access cannot fail.
#[inline]
fn step(table: usize, octet: u8) -> u32 {
    TABLES[table & 7][usize::from(octet)]
}

/// Continues a CRC32c (state, not complemented) over `bytes`.
fn update(mut crc: u32, bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<8>();
    for &[a, b, c, d, e, f, g, h] in blocks {
        let [w, x, y, z] = (crc ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
        crc = step(7, w)
            ^ step(6, x)
            ^ step(5, y)
            ^ step(4, z)
            ^ step(3, e)
            ^ step(2, f)
            ^ step(1, g)
            ^ step(0, h);
    }
    for octet in rest {
        let [low, ..] = crc.to_le_bytes();
        crc = crc >> 8 ^ step(0, low ^ octet);
    }
    crc
}

/// CRC32c of `bytes` (RFC 9260, appendix A).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    !update(!0, bytes)
}

/// The checksum of the SCTP packet `packet`, its checksum field taken as zero, as the four octets
/// that are sent; `None` when the common header is cut off.
#[must_use]
pub fn checksum_of(packet: &[u8]) -> Option<[u8; 4]> {
    let (header, chunks) = packet.split_first_chunk::<LEN>()?;
    let [fixed @ .., _, _, _, _] = header;
    Some((!update(update(update(!0, fixed), &[0; 4]), chunks)).to_le_bytes())
}

/// Fills in the checksum; `None`, with nothing changed, when the common header is cut off.
pub(crate) fn fill_checksum(packet: &mut [u8]) -> Option<()> {
    let checksum = checksum_of(packet)?;
    put(packet, usize::from(CHECKSUM), checksum)
}

/// Whether the packet carries the right checksum.
#[must_use]
pub fn is_valid(packet: &[u8]) -> bool {
    checksum_of(packet).is_some_and(|right| packet.get(8..12) == Some(&right))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ABORT of recording tcp_states.sctp_sloppy0.
    const ABORT: [u8; 16] = [
        0x00, 0x50, 0x0b, 0xb8, 0x00, 0x00, 0x00, 0x07, 0xe0, 0x8b, 0xe8, 0x19, 0x06, 0x01, 0x00,
        0x04,
    ];

    #[test]
    fn reads() {
        let header = Sctp::of(&ABORT).unwrap();
        assert_eq!(
            (header.source(), header.destination(), header.tag()),
            (80, 3000, 7)
        );
        assert_eq!(header.checksum(), 0xe08b_e819);
        let chunk = Chunk::of(&ABORT[12..]).unwrap();
        assert_eq!(
            (chunk.kind(), chunk.flags(), chunk.length()),
            (chunk::ABORT, 1, 4)
        );
        assert!(is_valid(&ABORT));
    }

    #[test]
    fn writes() {
        let mut bytes = [0xa5; 16];
        let mut header = Sctp::of_mut(&mut bytes).unwrap();
        header.set_source(80);
        header.set_destination(3000);
        header.set_tag(7);
        header.set_checksum(0);
        let mut chunk = Chunk::of_mut(&mut bytes[12..]).unwrap();
        chunk.set_kind(chunk::ABORT);
        chunk.set_flags(1);
        chunk.set_length(4);
        fill_checksum(&mut bytes).unwrap();
        assert_eq!(bytes, ABORT);
    }

    #[test]
    fn crc_check_values() {
        // RFC 3720, B.4, and the catalogue's check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn bundled_chunks() {
        assert_eq!(first_chunks(&[]), (None, None));
        assert_eq!(
            first_chunks(&[10, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 4]),
            (Some(10), Some(0))
        );
        assert_eq!(first_chunks(&[10, 0, 0, 3, 6, 0, 0, 4]), (Some(10), None));
        assert_eq!(
            first_chunks(&[10, 0, 0xff, 0xff, 6, 0, 0, 4]),
            (Some(10), None)
        );
    }
}

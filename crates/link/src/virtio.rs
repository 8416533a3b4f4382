//! [`Offload`] to and from the virtio-net header (virtio 1.2, 5.1.6; Linux `virtio_net.h`).
//!
//! AF_PACKET (`PACKET_VNET_HDR`) and TUN (`IFF_VNET_HDR`) put this header in front of each frame.
//! Both use the legacy form: 10 octets, fields in the machine's byte order:
//! flags u8, gso_type u8, hdr_len u16, gso_size u16, csum_start u16, csum_offset u16.

use packet::{GsoKind, Offload};

/// Octets of the header.
pub(crate) const LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Octets of the longest frame that a header describes.
const UDP_HEADER: usize = 8;
/// Where the data offset stands in a TCP header.
const TCP_DATA_OFFSET: usize = 12;

/// Reads the header. `None`: a kind of super-frame that this program does not know.
pub(crate) fn decode(header: [u8; LEN]) -> Option<Offload> {
    let [
        flags,
        gso_type,
        _,
        _,
        size0,
        size1,
        start0,
        start1,
        offset0,
        offset1,
    ] = header;
    let gso = match gso_type & !GSO_ECN {
        GSO_NONE => None,
        GSO_TCPV4 => Some(GsoKind::TcpV4),
        GSO_TCPV6 => Some(GsoKind::TcpV6),
        GSO_UDP_L4 => Some(GsoKind::UdpL4),
        _ => return None,
    };
    let partial = flags & NEEDS_CSUM != 0;
    Some(Offload {
        partial_checksum: partial.then_some(u16::from_ne_bytes([offset0, offset1])),
        checksum_start: u16::from_ne_bytes([start0, start1]),
        gso,
        gso_size: u16::from_ne_bytes([size0, size1]),
        gso_ecn: gso_type & GSO_ECN != 0,
    })
}

/// Writes the header for `frame`, whose tag, when it has one, will take `tag_len` octets in front of
/// the network header.
pub(crate) fn encode(offload: &Offload, frame: &[u8], tag_len: u16) -> [u8; LEN] {
    if offload.partial_checksum.is_none() && offload.gso.is_none() {
        return [0; LEN];
    }
    let start = offload.checksum_start.saturating_add(tag_len);
    let (gso_type, size) = match offload.gso {
        None => (GSO_NONE, 0),
        Some(GsoKind::TcpV4) => (GSO_TCPV4, offload.gso_size),
        Some(GsoKind::TcpV6) => (GSO_TCPV6, offload.gso_size),
        Some(GsoKind::UdpL4) => (GSO_UDP_L4, offload.gso_size),
    };
    let ecn = if offload.gso_ecn && offload.gso.is_some() {
        GSO_ECN
    } else {
        GSO_NONE
    };
    let flags = if offload.partial_checksum.is_some() {
        NEEDS_CSUM
    } else {
        0
    };
    let [len0, len1] = headers_len(offload, frame)
        .saturating_add(tag_len)
        .to_ne_bytes();
    let [size0, size1] = size.to_ne_bytes();
    let [start0, start1] = start.to_ne_bytes();
    let [offset0, offset1] = offload.partial_checksum.unwrap_or(0).to_ne_bytes();
    [
        flags,
        gso_type | ecn,
        len0,
        len1,
        size0,
        size1,
        start0,
        start1,
        offset0,
        offset1,
    ]
}

/// Octets up to the payload: the kernel puts that many in one piece and the rest in pages, so for a
/// super-frame the value decides how it is copied.
fn headers_len(offload: &Offload, frame: &[u8]) -> u16 {
    let start = usize::from(offload.checksum_start);
    let transport = match offload.gso {
        Some(GsoKind::TcpV4 | GsoKind::TcpV6) => {
            let words = frame
                .get(start + TCP_DATA_OFFSET)
                .map_or(0, |octet| octet >> 4);
            usize::from(words) * 4
        }
        Some(GsoKind::UdpL4) => UDP_HEADER,
        None => usize::from(offload.partial_checksum.unwrap_or(0)) + 2,
    };
    u16::try_from((start + transport).min(frame.len())).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u8, kind: u8, fields: [u16; 4]) -> [u8; LEN] {
        let mut header = [flags, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, field) in fields.iter().enumerate() {
            header[2 + 2 * at..4 + 2 * at].copy_from_slice(&field.to_ne_bytes());
        }
        header
    }

    #[test]
    fn complete_frames_have_an_empty_header() {
        assert_eq!(encode(&Offload::default(), &[0; 60], 0), [0; LEN]);
        assert_eq!(decode([0; LEN]), Some(Offload::default()));
    }

    #[test]
    fn a_super_frame_survives_and_a_tag_shifts_it() {
        let mut frame = [0_u8; 3000];
        frame[34 + TCP_DATA_OFFSET] = 8 << 4; // 32 octets of TCP header
        let seen = header(NEEDS_CSUM, GSO_TCPV4 | GSO_ECN, [66, 1448, 34, 16]);
        let offload = decode(seen).expect("a known kind");
        assert_eq!(
            offload,
            Offload {
                partial_checksum: Some(16),
                checksum_start: 34,
                gso: Some(GsoKind::TcpV4),
                gso_size: 1448,
                gso_ecn: true,
            }
        );
        assert_eq!(encode(&offload, &frame, 0), seen);
        let tagged = header(NEEDS_CSUM, GSO_TCPV4 | GSO_ECN, [70, 1448, 38, 16]);
        assert_eq!(encode(&offload, &frame, 4), tagged);
    }

    #[test]
    fn every_kind_comes_back() {
        for kind in [GSO_NONE, GSO_TCPV6, GSO_UDP_L4] {
            let size = if kind == GSO_NONE { 0 } else { 1000 };
            let offload = decode(header(NEEDS_CSUM, kind, [0, size, 54, 6])).expect("known");
            let again = decode(encode(&offload, &[0; 2000], 0)).expect("known");
            assert_eq!(offload, again);
        }
    }

    #[test]
    fn unknown_kinds_are_refused() {
        assert_eq!(decode(header(0, 3, [0; 4])), None); // UFO, gone from Linux
        assert_eq!(decode(header(0, 0x20, [0; 4])), None); // UDP tunnel
    }

    #[test]
    fn header_lengths_stay_inside_the_frame() {
        let offload = Offload {
            partial_checksum: Some(u16::MAX),
            checksum_start: u16::MAX,
            gso: Some(GsoKind::TcpV6),
            ..Offload::default()
        };
        let written = encode(&offload, &[0; 40], 4);
        assert_eq!(u16::from_ne_bytes([written[2], written[3]]), 44);
    }
}

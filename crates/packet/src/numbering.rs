//! TCP segments whose payload was changed on the way: length, checksum, and the sequence numbers of what follows.

use crate::checksum::{Change, Sum};
use crate::headers::{Family, Headers, Transport};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::tcp::Tcp;
use crate::view::{put, u16_at};
use crate::{Packet, protocol, tcp};

/// Options of the TCP header (RFC 9293 section 3.1, RFC 2018 section 3).
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const SACK: u8 = 5;
/// Octets of a SACK block: two sequence numbers.
const SACK_BLOCK: usize = 8;

/// Replaces the sequence number by `sequence` of it, and the acknowledgment number and the edges of SACK
/// blocks by `acknowledgment` of them, those only where ACK is set. The checksum follows incrementally; a
/// partial one does not cover them.
///
/// Returns whether it could: false for what is no TCP segment, or is cut off. Malformed options end the search
/// for SACK blocks.
#[must_use]
pub fn renumber(
    packet: &mut Packet<'_>,
    headers: &Headers,
    sequence: impl Fn(u32) -> u32,
    acknowledgment: impl Fn(u32) -> u32,
) -> bool {
    let Transport::Tcp { header_len, .. } = headers.transport else {
        return false;
    };
    let partial = packet.offload.partial_checksum.is_some();
    let start = headers.transport_offset;
    let range = start..start + usize::from(header_len);
    let Some(segment) = packet.bytes_mut().get_mut(range) else {
        return false;
    };
    let Some(mut header) = Tcp::of_mut(segment) else {
        return false;
    };
    let old = header.sequence();
    header.set_sequence(sequence(old));
    let mut change = Change::NONE.u32(old, header.sequence());
    if header.flags() & tcp::ACK != 0 {
        let old = header.acknowledgment();
        header.set_acknowledgment(acknowledgment(old));
        change = change.u32(old, header.acknowledgment());
        change = change.and(renumber_sack(segment, acknowledgment));
    }
    if partial {
        return true;
    }
    let at = usize::from(tcp::CHECKSUM);
    u16_at(segment, at).is_some_and(|field| {
        let field = change.apply(field);
        put(segment, at, field.to_be_bytes()).is_some()
    })
}

/// Replaces the edges of the SACK blocks in the header `segment`, and returns what that does to its checksum.
fn renumber_sack(segment: &mut [u8], acknowledgment: impl Fn(u32) -> u32) -> Change {
    let mut change = Change::NONE;
    let mut at = tcp::LEN;
    while let Some(&kind) = segment.get(at) {
        match kind {
            END_OF_OPTIONS => break,
            NO_OPERATION => at += 1,
            _ => {
                let len = segment.get(at + 1).map_or(0, |&len| usize::from(len));
                let Some(option) = segment.get_mut(at..at + len).filter(|_| len >= 2) else {
                    break;
                };
                if kind == SACK && (len - 2).is_multiple_of(SACK_BLOCK) {
                    let (edges, _) = option[2..].as_chunks_mut::<4>();
                    for edge in edges {
                        let old = *edge;
                        *edge = acknowledgment(u32::from_be_bytes(old)).to_be_bytes();
                        change = change.u32(in_words(old, at), in_words(*edge, at));
                    }
                }
                at += len;
            }
        }
    }
    change
}

/// Four octets at an offset as the words that a checksum sees: at an odd one they are swapped (RFC 1071, 2 B).
fn in_words(octets: [u8; 4], at: usize) -> u32 {
    let [a, b, c, d] = octets;
    if at.is_multiple_of(2) {
        u32::from_be_bytes([a, b, c, d])
    } else {
        u32::from_be_bytes([b, a, d, c])
    }
}

/// Makes the IP length and the TCP checksum right again after the payload was replaced, perhaps by one of another
/// length: the frame ends with the new payload. A partial checksum stays partial.
///
/// `headers` are those from before; they are out of date afterwards. Returns whether it could: false, with nothing
/// changed, for what is no whole TCP segment and where the length does not fit its field.
#[must_use]
pub fn refit(packet: &mut Packet<'_>, headers: &Headers) -> bool {
    let is_tcp = matches!(headers.transport, Transport::Tcp { .. });
    let (network, transport) = (headers.network_offset, headers.transport_offset);
    let at = transport + usize::from(tcp::CHECKSUM);
    let partial = packet.offload.partial_checksum.is_some();
    let (Some(whole), Some(len), Some(field)) = (
        packet.len().checked_sub(network),
        packet.len().checked_sub(transport),
        u16_at(packet.bytes(), at),
    ) else {
        return false;
    };
    let old_len = headers.end.saturating_sub(transport);
    let (Ok(old_len), Ok(new_len)) = (u16::try_from(old_len), u16::try_from(len)) else {
        return false;
    };
    if !is_tcp || headers.fragment.is_some() || !set_length(packet, headers, whole) {
        return false;
    }
    let checksum = if partial {
        Change::NONE.u16(old_len, new_len).apply_partial(field)
    } else {
        let (source, destination) = (headers.source, headers.destination);
        let bytes = packet.bytes_mut();
        if put(bytes, at, [0, 0]).is_none() {
            return false;
        }
        Sum::of(&bytes[transport..])
            .pseudo_header(source, destination, protocol::TCP, len)
            .finish()
    };
    put(packet.bytes_mut(), at, checksum.to_be_bytes()).is_some()
}

/// Writes the length of an IP datagram of `whole` octets into its header.
fn set_length(packet: &mut Packet<'_>, headers: &Headers, whole: usize) -> bool {
    let Some(network) = packet.bytes_mut().get_mut(headers.network_offset..) else {
        return false;
    };
    match headers.family {
        Family::V4 => {
            let (Some(mut header), Ok(new)) = (Ipv4::of_mut(network), u16::try_from(whole)) else {
                return false;
            };
            let change = Change::NONE.u16(header.total_len(), new);
            let checksum = change.apply(header.checksum());
            header.set_total_len(new);
            header.set_checksum(checksum);
        }
        Family::V6 => {
            let payload = whole.saturating_sub(crate::ipv6::LEN);
            let (Some(mut header), Ok(new)) = (Ipv6::of_mut(network), u16::try_from(payload))
            else {
                return false;
            };
            header.set_payload_len(new);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use etherparse::{PacketBuilder, TcpOptionElement};
    use proptest::prelude::*;

    use super::*;
    use crate::{checksum, finish_checksum};

    fn frame(v6: bool, options: &[TcpOptionElement], payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let builder = if v6 {
            builder.ipv6([1; 16], [2; 16], 64)
        } else {
            builder.ipv4([192, 0, 2, 10], [10, 8, 0, 1], 64)
        };
        let builder = builder.tcp(1001, 21, 1000, 8192).ack(5001);
        let mut bytes = Vec::new();
        let builder = builder.options(options).unwrap();
        builder.write(&mut bytes, payload).unwrap();
        bytes
    }

    fn is_right(bytes: &mut [u8]) -> bool {
        let len = bytes.len();
        let packet = Packet::new(bytes, 0..len, 14);
        let headers = Headers::parse(&packet).unwrap();
        headers.end == len && checksum::is_valid(&packet, &headers)
    }

    #[test]
    fn sack_blocks_are_renumbered_wherever_they_stand() {
        for pad in 0..4 {
            let mut options = std::vec![TcpOptionElement::Noop; pad];
            options.push(TcpOptionElement::SelectiveAcknowledgement(
                (5100, 5200),
                [Some((5300, 5400)), None, None],
            ));
            let mut bytes = frame(false, &options, b"NOOP\r\n");
            let len = bytes.len();
            let mut packet = Packet::new(&mut bytes, 0..len, 14);
            let headers = Headers::parse(&packet).unwrap();
            assert!(renumber(&mut packet, &headers, |it| it + 7, |it| it - 1));
            assert!(is_right(&mut bytes), "{pad}");
            let sliced = etherparse::SlicedPacket::from_ethernet(&bytes).unwrap();
            let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else {
                panic!("not TCP");
            };
            assert_eq!(
                (tcp.sequence_number(), tcp.acknowledgment_number()),
                (1007, 5000)
            );
            let sack = tcp
                .options_iterator()
                .find_map(|option| match option.unwrap() {
                    TcpOptionElement::SelectiveAcknowledgement(first, more) => {
                        Some((first, more[0]))
                    }
                    _ => None,
                });
            assert_eq!(sack, Some(((5099, 5199), Some((5299, 5399)))));
        }
    }

    proptest! {
        /// Any payload may replace any other, and the datagram is right afterwards; also when the checksum is
        /// left to the device.
        #[test]
        fn a_replaced_payload_leaves_right(
            v6: bool,
            partial: bool,
            old in prop::collection::vec(any::<u8>(), 0..80),
            new in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut bytes = frame(v6, &[], &old);
            let whole = bytes.len();
            let mut packet = Packet::new(&mut bytes, 0..whole, 14);
            let headers = Headers::parse(&packet).unwrap();
            let offload = crate::Offload {
                partial_checksum: partial.then_some(tcp::CHECKSUM),
                checksum_start: u16::try_from(headers.transport_offset).unwrap(),
                ..crate::Offload::default()
            };
            if partial {
                let len = headers.end - headers.transport_offset;
                let sum = Sum::of(&[]).pseudo_header(headers.source, headers.destination, 6, len);
                let at = headers.transport_offset + usize::from(tcp::CHECKSUM);
                let folded = !sum.finish();
                put(packet.bytes_mut(), at, folded.to_be_bytes()).unwrap();
            }
            bytes.truncate(whole - old.len());
            bytes.extend(&new);
            let whole = bytes.len();
            let mut packet = Packet::new(&mut bytes, 0..whole, 14);
            packet.offload = offload;
            prop_assert!(refit(&mut packet, &headers));
            prop_assert!(finish_checksum(&mut packet));
            prop_assert!(is_right(&mut bytes));
        }

        /// Whatever stands in the header, renumbering ends, and there and back again is the same frame.
        #[test]
        fn renumbering_can_be_undone(
            options in prop::collection::vec(any::<u8>(), 0..40),
            shift: u32,
        ) {
            let mut bytes = frame(false, &[const { TcpOptionElement::Noop }; 40], b"x");
            bytes[54..54 + options.len()].copy_from_slice(&options);
            let before = bytes.clone();
            let whole = bytes.len();
            let mut packet = Packet::new(&mut bytes, 0..whole, 14);
            let headers = Headers::parse(&packet).unwrap();
            let add = |it: u32| it.wrapping_add(shift);
            let sub = |it: u32| it.wrapping_sub(shift);
            prop_assert!(renumber(&mut packet, &headers, add, add));
            prop_assert!(renumber(&mut packet, &headers, sub, sub));
            // The checksum may come back as the other zero.
            prop_assert_eq!(&bytes[..50], &before[..50]);
            prop_assert_eq!(&bytes[52..], &before[52..]);
        }
    }
}

//! IPv4 options on their way through the director, as Linux treats them on receive (BEHAVIOURS 17):
//! the route is recorded, source routes are refused, everything else passes.

use core::net::Ipv4Addr;

use crate::Packet;
use crate::headers::{Family, Headers};
use crate::ipv4;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Why a packet's options forbid to forward it. The packet is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionFault {
    /// A loose or strict source route: Linux drops these unless told otherwise
    /// (`accept_source_route`).
    SourceRoute,
    /// An option's length or pointer is impossible.
    Malformed,
}

/// Checks the options of an IPv4 packet, and records `address` (the director's, towards which the
/// packet was sent: for a VIP the VIP) in a record-route option that has room. Timestamps are not
/// filled in. Packets without options and IPv6 packets pass.
///
/// # Errors
/// [`OptionFault`] says why the packet must be dropped.
pub fn process_options(
    packet: &mut Packet<'_>,
    headers: &Headers,
    address: Ipv4Addr,
) -> Result<(), OptionFault> {
    if headers.family == Family::V6 || !headers.has_options {
        return Ok(());
    }
    let range = headers.network_offset..headers.transport_offset;
    let header = packet
        .bytes_mut()
        .get_mut(range)
        .ok_or(OptionFault::Malformed)?;
    let options = header.get_mut(ipv4::LEN..).ok_or(OptionFault::Malformed)?;
    let Some(slot) = find_slot(options)? else {
        return Ok(());
    };
    let slots = options
        .get_mut(slot..)
        .and_then(<[u8]>::split_first_chunk_mut);
    let Some((recorded, _)) = slots else {
        return Err(OptionFault::Malformed);
    };
    *recorded = address.octets();
    advance_pointer(options);
    ipv4::fill_checksum(header);
    Ok(())
}

/// Checks all options and returns where in them the next address of a record route belongs.
fn find_slot(options: &[u8]) -> Result<Option<usize>, OptionFault> {
    let mut slot = None;
    let mut recorded = false;
    let mut at = 0;
    while let Some((kind, rest)) = options.get(at..).and_then(<[u8]>::split_first) {
        let len = match *kind {
            END => break,
            NO_OPERATION => 1,
            _ => rest.first().map_or(0, |len| usize::from(*len)),
        };
        if len == 0 || len > rest.len() + 1 || (len < 2 && *kind != NO_OPERATION) {
            return Err(OptionFault::Malformed);
        }
        match *kind {
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(OptionFault::SourceRoute),
            RECORD_ROUTE => {
                let pointer = rest.get(1).map_or(0, |pointer| usize::from(*pointer));
                // The pointer counts from 1; it is behind the option once that is full.
                let full = pointer > len;
                if len < 3 || pointer < 4 || recorded || (!full && pointer + 3 > len) {
                    return Err(OptionFault::Malformed);
                }
                recorded = true;
                slot = (!full).then_some(at + pointer - 1);
            }
            _ => {}
        }
        at += len;
    }
    Ok(slot)
}

/// Moves the pointer of the record-route option behind the address that was recorded. The options
/// were checked.
fn advance_pointer(mut options: &mut [u8]) {
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (NO_OPERATION, rest) => rest,
            (RECORD_ROUTE, [_, pointer, ..]) => {
                *pointer = pointer.saturating_add(4);
                return;
            }
            (END, _) => return,
            (_, rest) => {
                let len = rest
                    .first()
                    .map_or(0, |len| usize::from(*len).saturating_sub(1));
                rest.get_mut(len..).unwrap_or_default()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);

    fn process(options: &[u8]) -> Result<Vec<u8>, OptionFault> {
        let mut bytes = ipv4::Fields {
            tos: 0,
            total_len: u16::try_from(20 + options.len()).unwrap(),
            id: 1,
            dont_fragment: false,
            ttl: 64,
            protocol: 200,
            source: Ipv4Addr::new(192, 0, 2, 10),
            destination: VIP,
        }
        .to_bytes()
        .to_vec();
        bytes[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
        bytes.extend_from_slice(options);
        ipv4::fill_checksum(&mut bytes);
        let before = bytes.clone();
        let len = bytes.len();
        let mut packet = Packet::new(&mut bytes, 0..len, 0);
        let headers = Headers::parse(&packet).unwrap();
        let result = process_options(&mut packet, &headers, VIP);
        if result.is_err() {
            assert_eq!(packet.bytes(), before);
        }
        Headers::parse(&packet).unwrap();
        result.map(|()| bytes[20..].to_vec())
    }

    #[test]
    fn as_recorded() {
        // packets.opts_dr: no-operations, record route, exhausted loose source route.
        assert_eq!(process(&[1, 1, 1, 1]).unwrap(), [1, 1, 1, 1]);
        let empty = [7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let filled = [7, 15, 8, 10, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(process(&empty).unwrap(), filled);
        let routed = [0x83, 7, 8, 1, 2, 3, 4, 0];
        assert_eq!(process(&routed), Err(OptionFault::SourceRoute));
    }

    #[test]
    fn a_full_route_passes_and_others_come_first() {
        let full = [7, 7, 8, 1, 2, 3, 4, 0];
        assert_eq!(process(&full).unwrap(), full);
        // Router alert and a no-operation in front.
        let options = [148, 4, 0, 0, 1, 7, 7, 4, 0, 0, 0, 0];
        assert_eq!(
            process(&options).unwrap(),
            [148, 4, 0, 0, 1, 7, 7, 8, 10, 8, 0, 1]
        );
        let behind_end = [0, 7, 7, 4, 0, 0, 0, 0];
        assert_eq!(process(&behind_end).unwrap(), behind_end);
    }

    #[test]
    fn impossible_options_are_refused() {
        let cases: [&[u8]; 7] = [
            &[7, 0, 4, 0],
            &[7, 1, 4, 0],
            &[7, 5, 4, 0],
            &[1, 1, 1, 7],
            &[7, 3, 3, 0],
            &[7, 6, 4, 0, 0, 0, 0, 0],
            &[7, 3, 4, 7, 3, 4, 0, 0],
        ];
        for options in cases {
            assert_eq!(process(options), Err(OptionFault::Malformed), "{options:?}");
        }
    }
}

//! IPv4 options on their way through the director, as Linux treats them (BEHAVIOURS 17; recordings `found.options_*`): on
//! receive the route is recorded and the time stamped, what is impossible is refused; an answer of the director's own
//! repeats what was recorded, with itself as one more hop.

use core::net::Ipv4Addr;

use crate::Packet;
use crate::headers::{Family, Headers};
use crate::ipv4;
use crate::view::put;

pub(crate) const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const COMMERCIAL_SECURITY: u8 = 134;
const STRICT_SOURCE_ROUTE: u8 = 137;
const ROUTER_ALERT: u8 = 148;

/// Kinds of timestamp (RFC 791): times alone, with addresses, at the addresses given.
const TIME_ONLY: u8 = 0;
const TIME_AND_ADDRESS: u8 = 1;
pub(crate) const TIME_AT_ADDRESS: u8 = 3;

/// Why a packet's options forbid to forward it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionFault {
    /// A loose or strict source route: Linux drops these unless told otherwise
    /// (`accept_source_route`), without an answer.
    SourceRoute,
    /// The octet at this offset of the IP header is impossible: answered with ICMP parameter problem.
    Malformed {
        /// Offset, octets.
        at: u8,
    },
}

/// What the host writes into options.
#[derive(Clone, Copy, Debug)]
pub struct OptionHost<F> {
    /// The host's address towards the sender; the packet's destination where that is the host's.
    pub address: Ipv4Addr,
    /// Milliseconds since midnight UTC.
    pub time: u32,
    /// Whether an address is another host's: not this one's, and no broadcast or multicast address.
    pub is_elsewhere: F,
}

/// What was done with a packet's options, and what is to be repeated of them. Offsets count from the IP header, 0 =
/// there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Why it must not be forwarded.
    pub fault: Option<OptionFault>,
    pub(crate) record_route: u8,
    pub(crate) timestamp: u8,
    pub(crate) security: u8,
    /// An address was recorded.
    pub(crate) routed: bool,
    /// A time was stamped, and an address with it.
    pub(crate) timed: bool,
    pub(crate) addressed: bool,
    /// The next address given is this host's too.
    pub(crate) timed_again: bool,
    /// The header checksum is out of date.
    changed: bool,
    pub(crate) time: u32,
}

/// Reads the options of an IPv4 packet, records `host`'s address in a record-route option that has room, stamps the
/// time, and notes in `headers` what it did and whether anything forbids to forward the packet. The header checksum is
/// left as it was, as in what Linux quotes; [`seal_options`] makes it right. Packets without options and IPv6 packets
/// stay as they are.
pub fn process_options<F: Fn(Ipv4Addr) -> bool>(
    packet: &mut Packet<'_>,
    headers: &mut Headers,
    host: &OptionHost<F>,
) {
    if headers.family == Family::V6 || !headers.has_options {
        return;
    }
    let range = headers.network_offset..headers.transport_offset;
    let Some(header) = packet.bytes_mut().get_mut(range) else {
        return;
    };
    let mut options = Options {
        time: host.time,
        ..Options::default()
    };
    let fault = options.read(header, host);
    options.fault = match fault {
        Some(at) => Some(OptionFault::Malformed {
            at: u8::try_from(at).unwrap_or(u8::MAX),
        }),
        None => options.fault,
    };
    headers.options = options;
}

/// Makes the header checksum right after [`process_options`].
pub fn seal_options(packet: &mut Packet<'_>, headers: &mut Headers) {
    if !headers.options.changed {
        return;
    }
    headers.options.changed = false;
    let range = headers.network_offset..headers.transport_offset;
    if let Some(header) = packet.bytes_mut().get_mut(range) {
        ipv4::fill_checksum(header);
    }
}

/// Records `address` in place of what [`process_options`] recorded of the route: a router does so when it knows by which
/// way the packet leaves.
pub fn record_route(packet: &mut Packet<'_>, headers: &mut Headers, address: Ipv4Addr) {
    let Options {
        record_route,
        routed: true,
        ..
    } = headers.options
    else {
        return;
    };
    let header = packet.bytes_mut().get_mut(headers.network_offset..);
    let recorded = header.and_then(|header| {
        let at = usize::from(record_route);
        let pointer = usize::from(*header.get(at + 2)?);
        put(header, (at + pointer).checked_sub(5)?, address.octets())
    });
    if recorded.is_some() {
        headers.options.changed = true;
    }
}

impl Options {
    /// Goes through all options of `header`; the offset of what is impossible.
    fn read<F: Fn(Ipv4Addr) -> bool>(
        &mut self,
        header: &mut [u8],
        host: &OptionHost<F>,
    ) -> Option<usize> {
        let mut source_route = false;
        let mut at = ipv4::LEN;
        while let Some(&kind) = header.get(at) {
            if kind == END {
                let rest = header.get_mut(at..)?;
                self.changed |= rest.iter().any(|octet| *octet != END);
                rest.fill(END);
                break;
            }
            if kind == NO_OPERATION {
                at += 1;
                continue;
            }
            let len = header.get(at + 1).map_or(0, |len| usize::from(*len));
            let Some(option) = header.get_mut(at..at + len).filter(|_| len >= 2) else {
                return Some(at);
            };
            let offset = u8::try_from(at).unwrap_or_default();
            let fault = match kind {
                LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE if source_route => Some(0),
                LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => {
                    source_route = true;
                    pointer(option, 3, 4).err()
                }
                RECORD_ROUTE if self.record_route != 0 => Some(0),
                RECORD_ROUTE => self.record(option, offset, host.address).err(),
                TIMESTAMP if self.timestamp != 0 => Some(0),
                TIMESTAMP => self.stamp(option, offset, host).err(),
                ROUTER_ALERT => (len < 4).then_some(1),
                COMMERCIAL_SECURITY if self.security != 0 => Some(0),
                COMMERCIAL_SECURITY => {
                    self.security = offset;
                    // Too short, or of a domain that nobody configured.
                    Some(if len < 8 { 1 } else { 2 })
                }
                _ => None,
            };
            if let Some(fault) = fault {
                return Some(at + fault);
            }
            at += len;
        }
        self.fault = source_route.then_some(OptionFault::SourceRoute);
        None
    }

    /// Records the route; the offset in the option of what is impossible.
    fn record(&mut self, option: &mut [u8], offset: u8, address: Ipv4Addr) -> Result<(), usize> {
        let at = pointer(option, 3, 4)?;
        if let Some(at) = at {
            put(option, at, address.octets()).ok_or(POINTER)?;
            advance(option, 4);
            self.routed = true;
            self.changed = true;
        }
        self.record_route = offset;
        Ok(())
    }

    /// Stamps the time; the offset in the option of what is impossible.
    fn stamp<F: Fn(Ipv4Addr) -> bool>(
        &mut self,
        option: &mut [u8],
        offset: u8,
        host: &OptionHost<F>,
    ) -> Result<(), usize> {
        let at = pointer(option, 4, 5)?;
        let flags = option.get(FLAGS).copied().unwrap_or_default();
        let kind = flags & 0x0f;
        match (at, kind) {
            (Some(at), TIME_ONLY) => {
                put(option, at, host.time.to_be_bytes()).ok_or(POINTER)?;
                advance(option, 4);
                self.timed = true;
            }
            (Some(at), TIME_AND_ADDRESS) => {
                if option.len() < at + 8 {
                    return Err(POINTER);
                }
                put(option, at, host.address.octets()).ok_or(POINTER)?;
                put(option, at + 4, host.time.to_be_bytes()).ok_or(POINTER)?;
                advance(option, 8);
                self.timed = true;
                self.addressed = true;
            }
            (Some(at), TIME_AT_ADDRESS) => {
                if option.len() < at + 8 {
                    return Err(POINTER);
                }
                if !address_at(option, at).is_some_and(&host.is_elsewhere) {
                    put(option, at + 4, host.time.to_be_bytes()).ok_or(POINTER)?;
                    advance(option, 8);
                    self.timed = true;
                    self.timed_again = option.len() >= at + 16
                        && !address_at(option, at + 8).is_some_and(&host.is_elsewhere);
                }
            }
            (Some(_), _) | (None, TIME_AT_ADDRESS) => {}
            (None, _) => {
                // One more host that found no room.
                let overflow = flags >> 4;
                let flags = (overflow < 15).then_some(kind | (overflow + 1) << 4);
                put(option, FLAGS, [flags.ok_or(FLAGS)?]).ok_or(FLAGS)?;
                self.changed = true;
            }
        }
        self.changed |= self.timed;
        self.timestamp = offset;
        Ok(())
    }
}

/// Offsets in an option: of its pointer, and of a timestamp's overflow count and kind.
pub(crate) const POINTER: usize = 2;
pub(crate) const FLAGS: usize = 3;

/// Where the next record of an option belongs; none when it is full. An option is `shortest` octets at least and its
/// pointer, which counts from 1, no less than `first`; else the offset of what is wrong.
fn pointer(option: &[u8], shortest: usize, first: usize) -> Result<Option<usize>, usize> {
    if option.len() < shortest {
        return Err(1);
    }
    let pointer = option
        .get(POINTER)
        .map_or(0, |pointer| usize::from(*pointer));
    // Nothing is written into a source route.
    let is_written = matches!(option.first(), Some(&(RECORD_ROUTE | TIMESTAMP)));
    let is_cut_off = (option.len() - 2..=option.len()).contains(&pointer);
    if pointer < first || (is_written && is_cut_off) {
        return Err(POINTER);
    }
    Ok((pointer <= option.len()).then(|| pointer - 1))
}

/// Moves the pointer of an option on.
pub(crate) fn advance(option: &mut [u8], octets: u8) {
    if let Some(pointer) = option.get_mut(POINTER) {
        *pointer = pointer.saturating_add(octets);
    }
}

fn address_at(option: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: &[u8; 4] = option.get(at..)?.first_chunk()?;
    Some(Ipv4Addr::from_octets(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option_echo::Echo;
    use std::vec::Vec;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
    const TIME: [u8; 4] = [0, 0xab, 0x6c, 0x4c];

    /// The options after processing, what forbids to forward them, and what an answer repeats.
    fn process(options: &[u8]) -> (Vec<u8>, Option<OptionFault>, Option<Vec<u8>>) {
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
        let len = bytes.len();
        let mut packet = Packet::new(&mut bytes, 0..len, 0);
        let mut headers = Headers::parse(&packet).unwrap();
        let host = OptionHost {
            address: VIP,
            time: u32::from_be_bytes(TIME),
            is_elsewhere: |address| address == Ipv4Addr::new(1, 2, 3, 4),
        };
        process_options(&mut packet, &mut headers, &host);
        let echo = Echo::of(packet.bytes(), &headers.options, VIP);
        seal_options(&mut packet, &mut headers);
        Headers::parse(&packet).unwrap();
        let echo = echo.map(|echo| echo.octets().to_vec());
        (packet.bytes()[20..].to_vec(), headers.options.fault, echo)
    }

    #[track_caller]
    fn passes(before: &str, after: &str, echo: Option<&str>) {
        let (options, fault, echoed) = process(&hex(before));
        assert_eq!((options, fault), (hex(after), None));
        assert_eq!(echoed, echo.map(hex));
    }

    fn hex(text: &str) -> Vec<u8> {
        let octet = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(octet).collect()
    }

    #[test]
    fn routes_are_recorded_and_repeated() {
        passes("01010101", "01010101", Some(""));
        let empty = "070f0400000000000000000000000000";
        let filled = "070f080a080001000000000000000000";
        let repeated = "070f0c0a0800010a0800010000000000";
        passes(empty, filled, Some(repeated));
        let full = "0707080102030400";
        passes(full, full, Some(full));
        // What stands behind the end is cleared.
        passes("0007070400000000", "0000000000000000", Some(""));
    }

    #[test]
    fn times_are_stamped_and_repeated() {
        passes(
            "440c05000000000000000000",
            "440c090000ab6c4c00000000",
            Some("440c0d0000ab6c4c00ab6c4c"),
        );
        let addressed = "44140d010a08000100ab6c4c0000000000000000";
        passes(
            "4414050100000000000000000000000000000000",
            addressed,
            Some("441415010a08000100ab6c4c0a08000100ab6c4c"),
        );
        let elsewhere = "440c05030102030400000000";
        passes(elsewhere, elsewhere, Some(elsewhere));
        passes(
            "441405030a080001000000000a08000200000000",
            "44140d030a08000100ab6c4c0a08000200000000",
            Some("441415030a08000100ab6c4c0a08000200ab6c4c"),
        );
        // No room: counted. An address without room for its time: no answer at all.
        passes(
            "440809e001020304",
            "440809f001020304",
            Some("440809f001020304"),
        );
        passes(
            "440d0501000000000000000000000000",
            "440d0d010a08000100ab6c4c00000000",
            None,
        );
    }

    #[test]
    fn impossible_options_are_refused_where_they_are() {
        for (options, at) in [
            ("07000400", 20),
            ("07ff0400", 20),
            ("07020101", 21),
            ("0707050000000000", 22),
            ("0707030000000000", 22),
            ("44030500", 21),
            ("4408070000000000", 22),
            ("440809f001020304", 23),
            ("07070400000000070704000000000000", 27),
            ("01010107", 23),
            ("94030000", 21),
            ("8606000000010000", 21),
            ("8608000000010102", 22),
            ("8307030102030400", 22),
            ("83070401020304830704010203040000", 27),
        ] {
            let (_, fault, _) = process(&hex(options));
            assert_eq!(fault, Some(OptionFault::Malformed { at }), "{options}");
        }
        for options in ["8307080102030400", "8907040102030400"] {
            let (_, fault, _) = process(&hex(options));
            assert_eq!(fault, Some(OptionFault::SourceRoute), "{options}");
        }
    }
}

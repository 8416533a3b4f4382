//! Neighbor discovery (RFC 4861): neighbor solicitations and advertisements, read and built.

use core::net::{IpAddr, Ipv6Addr};

use crate::Packet;
use crate::checksum::is_valid;
use crate::datagram::Datagram;
use crate::ethernet::{self, Ethernet, Mac};
use crate::headers::{Headers, Transport};
use crate::icmp_error::fill_checksum;
use crate::icmpv6::{NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION};
use crate::ipv6;
use crate::protocol;
use crate::view::{header, put};

/// Octets of a frame that this module builds, Ethernet header included.
pub const FRAME_LEN: usize = ethernet::LEN + ipv6::LEN + MESSAGE_LEN;

/// Octets of a message with one link-layer address option.
const MESSAGE_LEN: usize = Message::LEN + OPTION_LEN;
/// Octets of a link-layer address option of Ethernet.
const OPTION_LEN: usize = 8;
/// The hop limit that proves that a message comes from the link (RFC 4861, 7.1).
const HOP_LIMIT: u8 = 255;
/// Option: source link-layer address.
const SOURCE_LINK: u8 = 1;
/// Option: target link-layer address.
const TARGET_LINK: u8 = 2;

const ROUTER: u32 = 0x8000_0000;
const SOLICITED: u32 = 0x4000_0000;
const OVERRIDE: u32 = 0x2000_0000;

header! {
    /// A neighbor solicitation or advertisement, without options.
    Message, 24 {
        /// Type.
        kind, set_kind: u8 = 0;
        /// Code, 0.
        code, set_code: u8 = 1;
        /// Checksum.
        checksum, set_checksum: u16 = 2;
        /// Flags of an advertisement: router, solicited, override (from the top bit).
        flags, set_flags: u32 = 4;
        /// Target address.
        target, set_target: Ipv6Addr = 8;
    }
}

/// "Who has the target address?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; `::` in duplicate address detection.
    pub source: Ipv6Addr,
    /// The asker's MAC address, when it said it.
    pub source_mac: Option<Mac>,
    /// The address asked for.
    pub target: Ipv6Addr,
}

/// "The target address is here."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The address.
    pub target: Ipv6Addr,
    /// Its MAC address, when it was said.
    pub target_mac: Option<Mac>,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces what is known.
    pub overrides: bool,
    /// The sender is a router.
    pub router: bool,
}

/// A neighbor discovery message that a director heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ndp {
    /// Neighbor solicitation.
    Solicitation(Solicitation),
    /// Neighbor advertisement.
    Advertisement(Advertisement),
}

/// The solicited-node multicast address of `address` (RFC 4291, 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

impl Ndp {
    /// Reads a solicitation or advertisement. `None` when the packet is none, or one that RFC 4861,
    /// 7.1 says to discard: hop limit below 255, wrong checksum or code, a multicast target, options
    /// of length 0, an asker without address that names its MAC address or asks by unicast, a
    /// solicited advertisement to a group.
    #[must_use]
    pub fn of(packet: &Packet<'_>, headers: &Headers) -> Option<Self> {
        let Transport::Icmp { kind, code: 0 } = headers.transport else {
            return None;
        };
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (headers.source, headers.destination)
        else {
            return None;
        };
        if headers.ttl != HOP_LIMIT || !is_valid(packet, headers) {
            return None;
        }
        let bytes = packet.bytes().get(headers.transport_offset..headers.end)?;
        let message = Message::of(bytes)?;
        let options = bytes.get(Message::LEN..)?;
        let target = message.target();
        if target.is_multicast() || !options_are_valid(options) {
            return None;
        }
        match kind {
            NEIGHBOR_SOLICITATION => {
                let source_mac = link_option(options, SOURCE_LINK);
                let probe = source.is_unspecified();
                if probe && (source_mac.is_some() || destination != solicited_node(target)) {
                    return None;
                }
                Some(Self::Solicitation(Solicitation {
                    source,
                    source_mac,
                    target,
                }))
            }
            NEIGHBOR_ADVERTISEMENT => {
                let flags = message.flags();
                let solicited = flags & SOLICITED != 0;
                if solicited && destination.is_multicast() {
                    return None;
                }
                Some(Self::Advertisement(Advertisement {
                    target,
                    target_mac: link_option(options, TARGET_LINK),
                    solicited,
                    overrides: flags & OVERRIDE != 0,
                    router: flags & ROUTER != 0,
                }))
            }
            _ => None,
        }
    }
}

/// Whether every option has a length, and none is cut off.
fn options_are_valid(mut options: &[u8]) -> bool {
    while let [_, len, ..] = options {
        match options.get(usize::from(*len) * 8..) {
            Some(rest) if *len != 0 => options = rest,
            _ => return false,
        }
    }
    options.is_empty()
}

/// The Ethernet address in the first option of this kind.
fn link_option(mut options: &[u8], wanted: u8) -> Option<Mac> {
    while let [kind, len, rest @ ..] = options {
        if *kind == wanted && *len == 1 {
            return rest.first_chunk().map(|octets| Mac(*octets));
        }
        options = options.get(usize::from(*len).max(1) * 8..)?;
    }
    None
}

impl Solicitation {
    /// Writes the question of the host at `mac` and `source` for `target` as an Ethernet frame to the
    /// solicited-node group, or to `to`, if given (a unicast probe of a known neighbour). Returns its
    /// octets, [`FRAME_LEN`]; `None` when `out` is too short.
    #[must_use]
    pub fn write(
        mac: Mac,
        source: Ipv6Addr,
        target: Ipv6Addr,
        to: Option<Mac>,
        out: &mut [u8],
    ) -> Option<usize> {
        let group = solicited_node(target);
        let destination = if to.is_some() { target } else { group };
        let macs = (to.unwrap_or_else(|| Mac::of_multicast(group)), mac);
        let message = (NEIGHBOR_SOLICITATION, 0, target, SOURCE_LINK);
        write(macs, source, destination, message, out)
    }

    /// Writes the answer "the target is at `mac`" as an Ethernet frame. It goes to the asker at
    /// `asker_mac` (the source of the frame that asked), or to all nodes when the asker has no
    /// address yet (RFC 4861, 7.2.4). Returns its octets, [`FRAME_LEN`]; `None` when `out` is too
    /// short.
    #[must_use]
    pub fn answer(&self, mac: Mac, asker_mac: Mac, out: &mut [u8]) -> Option<usize> {
        if self.source.is_unspecified() {
            return Advertisement::announce(mac, self.target, out);
        }
        let message = (
            NEIGHBOR_ADVERTISEMENT,
            SOLICITED | OVERRIDE,
            self.target,
            TARGET_LINK,
        );
        write((asker_mac, mac), self.target, self.source, message, out)
    }
}

impl Advertisement {
    /// Writes the unsolicited announcement that `address` is at `mac`, as an Ethernet frame to all
    /// nodes (RFC 4861, 7.2.6). Returns its octets, [`FRAME_LEN`]; `None` when `out` is too short.
    #[must_use]
    pub fn announce(mac: Mac, address: Ipv6Addr, out: &mut [u8]) -> Option<usize> {
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let macs = (Mac::of_multicast(ALL_NODES), mac);
        let message = (NEIGHBOR_ADVERTISEMENT, OVERRIDE, address, TARGET_LINK);
        write(macs, address, ALL_NODES, message, out)
    }
}

/// Writes a frame between `macs` (destination, source) with the `message`: type, flags, target, and
/// the kind of the option that says the source MAC address.
fn write(
    macs: (Mac, Mac),
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: (u8, u32, Ipv6Addr, u8),
    out: &mut [u8],
) -> Option<usize> {
    let (source, destination) = (IpAddr::V6(source), IpAddr::V6(destination));
    let frame = out.get_mut(..FRAME_LEN)?;
    let mut link = Ethernet::of_mut(frame)?;
    link.set_destination(macs.0);
    link.set_source(macs.1);
    link.set_ether_type(ethernet::IPV6);
    let network = frame.get_mut(ethernet::LEN..)?;
    let (protocol, tos) = (protocol::ICMPV6, 0);
    let datagram = Datagram {
        source,
        destination,
        protocol,
        tos,
        ttl: HOP_LIMIT,
        id: None,
    };
    let at = datagram.write(network, MESSAGE_LEN)?;
    let bytes = network.get_mut(at..)?;
    let (kind, flags, target, option) = message;
    let mut header = Message::of_mut(bytes)?;
    header.set_kind(kind);
    header.set_code(0);
    header.set_flags(flags);
    header.set_target(target);
    let [a, b, c, d, e, f] = macs.1.0;
    put(bytes, Message::LEN, [option, 1, a, b, c, d, e, f])?;
    fill_checksum(bytes, source, destination)?;
    Some(FRAME_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Mac = Mac([2, 0, 0, 0, 1, 0xfe]);
    const OWNER: Mac = Mac([2, 0, 0, 0, 1, 1]);

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn read(bytes: &mut [u8]) -> Option<Ndp> {
        let len = bytes.len();
        let packet = Packet::new(bytes, 0..len, 14);
        Ndp::of(&packet, &Headers::parse(&packet).ok()?)
    }

    fn question() -> [u8; FRAME_LEN] {
        let mut bytes = [0xa5; FRAME_LEN];
        let (source, target) = (address("fd00:1::fe"), address("fd00:8::1"));
        assert_eq!(
            Solicitation::write(ASKER, source, target, None, &mut bytes),
            Some(86)
        );
        bytes
    }

    /// Sets one octet and makes the checksum right again.
    fn spoil(bytes: &mut [u8], at: usize, octet: u8) {
        bytes[at] = octet;
        let (source, destination) = {
            let header = ipv6::Ipv6::of(&bytes[14..]).unwrap();
            (header.source(), header.destination())
        };
        fill_checksum(&mut bytes[54..], source.into(), destination.into()).unwrap();
    }

    #[test]
    fn solicitation_both_ways() {
        let mut bytes = question();
        assert_eq!(
            bytes[..14],
            [0x33, 0x33, 0xff, 0, 0, 1, 2, 0, 0, 0, 1, 0xfe, 0x86, 0xdd]
        );
        assert_eq!(bytes[38..54], address("ff02::1:ff00:1").octets());
        assert_eq!(bytes[78..86], [1, 1, 2, 0, 0, 0, 1, 0xfe]);
        let expected = Solicitation {
            source: address("fd00:1::fe"),
            source_mac: Some(ASKER),
            target: address("fd00:8::1"),
        };
        assert_eq!(read(&mut bytes), Some(Ndp::Solicitation(expected)));
        let (source, target) = (expected.source, expected.target);
        Solicitation::write(ASKER, source, target, Some(OWNER), &mut bytes).unwrap();
        assert_eq!(
            (&bytes[..6], &bytes[38..54]),
            (&OWNER.0[..], &target.octets()[..])
        );
        let short = &mut [0; FRAME_LEN - 1];
        assert_eq!(
            Solicitation::write(ASKER, source, target, None, short),
            None
        );
    }

    #[test]
    fn advertisement_both_ways() {
        let Some(Ndp::Solicitation(asked)) = read(&mut question()) else {
            panic!("a solicitation");
        };
        let mut bytes = [0xa5; FRAME_LEN];
        assert_eq!(asked.answer(OWNER, ASKER, &mut bytes), Some(86));
        assert_eq!(
            (&bytes[..6], &bytes[22..38]),
            (&ASKER.0[..], &asked.target.octets()[..])
        );
        assert_eq!(bytes[58..62], [0x60, 0, 0, 0], "solicited, override");
        let expected = Advertisement {
            target: asked.target,
            target_mac: Some(OWNER),
            solicited: true,
            overrides: true,
            router: false,
        };
        assert_eq!(read(&mut bytes), Some(Ndp::Advertisement(expected)));

        let probe = Solicitation {
            source: Ipv6Addr::UNSPECIFIED,
            ..asked
        };
        probe.answer(OWNER, ASKER, &mut bytes).unwrap();
        assert_eq!(
            bytes[..6],
            [0x33, 0x33, 0, 0, 0, 1],
            "an asker without address: all nodes"
        );
        let expected = Advertisement {
            solicited: false,
            ..expected
        };
        assert_eq!(read(&mut bytes), Some(Ndp::Advertisement(expected)));
    }

    #[test]
    fn what_is_discarded() {
        let cases = [
            (21, 254, "hop limit"),
            (55, 1, "code"),
            (62, 0xff, "multicast target"),
            (79, 0, "option of length 0"),
            (79, 2, "option cut off"),
            (54, 134, "router advertisement"),
        ];
        for (at, octet, why) in cases {
            let mut bytes = question();
            spoil(&mut bytes, at, octet);
            assert_eq!(read(&mut bytes), None, "{why}");
        }
        let mut bytes = question();
        bytes[56] ^= 1;
        assert_eq!(read(&mut bytes), None, "checksum");
        let mut bytes = question();
        bytes[22..38].fill(0);
        spoil(&mut bytes, 55, 0);
        assert_eq!(read(&mut bytes), None, "no address, but a MAC address");
        spoil(&mut bytes, 78, 9);
        assert!(read(&mut bytes).is_some(), "a probe");
        spoil(&mut bytes, 53, 2);
        assert_eq!(read(&mut bytes), None, "a probe to another group");
        let Some(Ndp::Solicitation(asked)) = read(&mut question()) else {
            panic!("a solicitation");
        };
        asked.answer(OWNER, ASKER, &mut bytes).unwrap();
        bytes[38] = 0xff;
        spoil(&mut bytes, 55, 0);
        assert_eq!(read(&mut bytes), None, "solicited, to a group");
    }

    #[test]
    fn options_are_searched() {
        let mut options = [5, 1, 0, 0, 0, 0, 5, 220, 1, 1, 2, 0, 0, 0, 1, 0xfe];
        assert!(options_are_valid(&options));
        assert_eq!(link_option(&options, SOURCE_LINK), Some(ASKER));
        assert_eq!(link_option(&options, TARGET_LINK), None);
        options[1] = 0;
        assert_eq!(link_option(&options, SOURCE_LINK), Some(ASKER));
        assert!(!options_are_valid(&options));
        assert!(!options_are_valid(&options[..1]));
    }
}

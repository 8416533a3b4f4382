//! Telling the network that an owned VIP is here: an ARP announcement (RFC 5227, 2.3) or an unsolicited neighbour
//! advertisement (RFC 4861, 7.2.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use link::{Frame, Outgoing};
use packet::checksum::Sum;
use packet::{Mac, ethernet, protocol};

use crate::links::Links;
use crate::network::tables::Link;

/// All nodes on the link (RFC 4291, 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The override flag of a neighbour advertisement (RFC 4861, 4.4).
const OVERRIDE: u8 = 0x20;

/// Announces `vip` on `interface`, whose hardware address is the VIP's from now on.
pub fn send(links: &Links, interface: u32, link: &Link, vip: IpAddr) {
    let frame = match vip {
        IpAddr::V4(vip) => arp(link.mac, vip),
        IpAddr::V6(vip) => advertisement(link.mac, vip),
    };
    let frame = Outgoing::Owned(Frame::new(&frame, ethernet::LEN));
    let sent = links.send(interface, &[frame]);
    if sent.failed() > 0 {
        tracing::warn!(
            "cannot announce VIP {vip} on {} (errno {:?})",
            link.name,
            sent.last_errno
        );
    } else {
        tracing::debug!("announced VIP {vip} on {}", link.name);
    }
}

/// An ARP request whose sender and target are both the VIP.
fn arp(mac: Mac, vip: Ipv4Addr) -> Vec<u8> {
    // Ethernet, IPv4, address lengths 6 and 4, request (RFC 826).
    let fixed = [0, 1, 8, 0, 6, 4, 0, 1];
    let parts: [&[u8]; 5] = [&fixed, &mac.0, &vip.octets(), &[0; 6], &vip.octets()];
    ethernet_frame(Mac::BROADCAST, mac, ethernet::ARP, &parts.concat())
}

fn advertisement(mac: Mac, vip: Ipv6Addr) -> Vec<u8> {
    // Type 136, code 0, checksum, flags, target; option 2 (target link-layer address), one unit of 8 octets.
    let parts: [&[u8]; 4] = [
        &[136, 0, 0, 0, OVERRIDE, 0, 0, 0],
        &vip.octets(),
        &[2, 1],
        &mac.0,
    ];
    let mut message = parts.concat();
    let sum = Sum::of(&message).pseudo_header(
        vip.into(),
        ALL_NODES.into(),
        protocol::ICMPV6,
        message.len(),
    );
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.finish().to_be_bytes());
    }
    let len = u16::try_from(message.len()).unwrap_or(0).to_be_bytes();
    // Version 6; hop limit 255 proves that no router forwarded it.
    let fixed = [0x60, 0, 0, 0, len[0], len[1], protocol::ICMPV6, 255];
    let parts: [&[u8]; 4] = [&fixed, &vip.octets(), &ALL_NODES.octets(), &message];
    ethernet_frame(
        Mac::of_multicast(ALL_NODES),
        mac,
        ethernet::IPV6,
        &parts.concat(),
    )
}

fn ethernet_frame(to: Mac, from: Mac, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 4] = [&to.0, &from.0, &ether_type.to_be_bytes(), payload];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn an_arp_announcement() {
        let frame = arp(MAC, [10, 1, 0, 9].into());
        assert_eq!(
            frame,
            [
                255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 6, // Ethernet
                0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 1, 0, 9, // sender
                0, 0, 0, 0, 0, 0, 10, 1, 0, 9, // target
            ]
        );
    }

    #[test]
    fn an_unsolicited_advertisement() {
        let vip: Ipv6Addr = "fd00::9".parse().unwrap();
        let frame = advertisement(MAC, vip);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv6(network)) = sliced.net else {
            panic!("not IPv6")
        };
        let header = network.header();
        assert_eq!((header.hop_limit(), header.source_addr()), (255, vip));
        let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else {
            panic!("not ICMPv6")
        };
        let (source, destination) = (header.source(), header.destination());
        assert!(icmp.is_checksum_valid(source, destination));
        assert!(
            matches!(icmp.icmp_type(), Icmpv6Type::NeighborAdvertisement(flags)
            if flags.r#override && !flags.solicited && !flags.router)
        );
    }
}

//! Any bytes as a frame: parsing, rewriting, encapsulation and decapsulation never panic, and what they
//! promise of one another holds.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use packet::{
    Headers, Packet, Translation, Tunnel, TunnelChecksum, TunnelKind, decapsulate, decrement_ttl,
    encapsulate, translate,
};

/// Octets in front of the frame.
const HEADROOM: usize = 96;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, frame)) = data.split_first() else {
        return;
    };
    let link_len = if choice & 1 == 0 { 14 } else { 0 };
    let mut frame = frame.to_vec();
    if choice & 64 == 0 {
        right_header_checksum(&mut frame, link_len);
    }
    let frame = frame.as_slice();
    let _ = decapsulate(frame);
    let headers = match with(frame, link_len, |packet| Headers::parse(packet)) {
        Ok(headers) => headers,
        Err(_) => return,
    };
    assert_eq!(headers.network_offset, link_len);
    assert!(headers.network_offset < headers.transport_offset);
    assert!(headers.transport_offset <= headers.end && headers.end <= frame.len());
    assert_eq!(headers.source.is_ipv4(), headers.destination.is_ipv4());
    shorter_hop_limit(frame, link_len, &headers);
    there_and_back(frame, link_len, &headers);
    through_a_tunnel(frame, link_len, &headers, choice);
});

/// Puts the right IPv4 header checksum in: no mutation would ever find it.
fn right_header_checksum(frame: &mut [u8], link_len: usize) {
    let Some(first) = frame.get(link_len) else {
        return;
    };
    let len = usize::from(first & 15) * 4;
    let Some(header) = frame.get_mut(link_len..link_len + len.max(20)) else {
        return;
    };
    header[10..12].fill(0);
    let sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    let checksum = !(folded as u16);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Runs `work` on a copy of the frame with headroom.
fn with<T>(frame: &[u8], link_len: usize, work: impl FnOnce(&mut Packet<'_>) -> T) -> T {
    let mut buffer = vec![0; HEADROOM + frame.len()];
    buffer[HEADROOM..].copy_from_slice(frame);
    let whole = buffer.len();
    let mut packet = Packet::new(&mut buffer, HEADROOM..whole, link_len);
    work(&mut packet)
}

/// A decremented hop limit leaves a frame that parses to the same but for the hop limit.
fn shorter_hop_limit(frame: &[u8], link_len: usize, headers: &Headers) {
    with(frame, link_len, |packet| {
        let before = packet.bytes().to_vec();
        match decrement_ttl(packet, headers) {
            Some(left) => {
                let after = Headers::parse(packet).expect("still parses");
                assert_eq!(after.ttl, left);
                assert_eq!(
                    Headers {
                        ttl: headers.ttl,
                        ..after
                    },
                    *headers
                );
            }
            None => {
                assert!(headers.ttl <= 1);
                assert_eq!(packet.bytes(), before);
            }
        }
    });
}

/// A translation and its reverse give the frame back, but for a UDP checksum that was zero or a
/// checksum's other zero.
fn there_and_back(frame: &[u8], link_len: usize, headers: &Headers) {
    with(frame, link_len, |packet| {
        let other = match headers.destination {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(10, 2, 0, 11)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x11)),
        };
        let there = Translation {
            source: None,
            destination: Some((other, 8080)),
        };
        if translate(packet, headers, there).is_err() {
            assert_eq!(packet.bytes(), frame);
            return;
        }
        let after = Headers::parse(packet).expect("a translated frame parses");
        assert_eq!(after.destination, other);
        assert_eq!(after.source, headers.source);
        let back = Translation {
            source: None,
            destination: Some((headers.destination, headers.ports().1)),
        };
        translate(packet, &after, back).expect("the reverse is possible");
        let again = Headers::parse(packet).expect("parses again");
        assert_eq!(again.destination, headers.destination);
        assert_eq!(again.ports(), headers.ports());
        assert_eq!(packet.len(), frame.len());
        let changed = packet
            .bytes()
            .iter()
            .zip(frame)
            .filter(|(new, old)| new != old);
        assert!(changed.count() <= 4, "more than a checksum changed");
    });
}

/// What went into a tunnel comes out.
fn through_a_tunnel(frame: &[u8], link_len: usize, headers: &Headers, choice: u8) {
    let kind = match choice >> 1 & 3 {
        0 => TunnelKind::Ipip,
        1 => TunnelKind::Gre,
        _ => TunnelKind::Gue,
    };
    let v6 = choice & 8 != 0;
    let address = |last: u8| {
        if v6 {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, u16::from(last)))
        } else {
            IpAddr::V4(Ipv4Addr::new(10, 2, 0, last))
        }
    };
    let tunnel = Tunnel {
        kind,
        source: address(1),
        destination: address(11),
        source_port: 40_000,
        destination_port: 6080,
        checksum: if choice & 16 != 0 {
            TunnelChecksum::Full
        } else {
            TunnelChecksum::None
        },
        id: 7,
        copy_df: choice & 32 != 0,
    };
    with(frame, link_len, |packet| {
        if encapsulate(packet, headers, &tunnel).is_err() {
            return;
        }
        let outer = Headers::parse(packet).expect("an outer header parses");
        assert_eq!(outer.destination, tunnel.destination);
        assert_eq!(outer.source, tunnel.source);
        let datagram = &packet.bytes()[packet.link_len..];
        let inner = decapsulate(datagram).expect("comes out again");
        let went_in = &frame[headers.network_offset..headers.end];
        assert_eq!(&datagram[inner], went_in);
    });
}

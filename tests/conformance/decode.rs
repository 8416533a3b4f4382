//! A frame as a line of text, for people: link names, addresses, ports, flags, checksums right or wrong.
//!
//! Independent of the `packet` crate on purpose: what is judged must not be the judge.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::recording::Frame;

/// The frame in one line.
pub(crate) fn frame(frame: &Frame) -> String {
    let bytes = &frame.0;
    ethernet(bytes).unwrap_or_else(|| format!("short frame {}", hex(bytes, 24)))
}

/// Ethernet and what lies in it; `None` when cut off.
fn ethernet(bytes: &[u8]) -> Option<String> {
    let destination = bytes.get(0..6)?;
    let source = bytes.get(6..12)?;
    let kind = be16(bytes, 12)?;
    let link = format!("{}>{} ", mac(source), mac(destination));
    let payload = bytes.get(14..)?;
    Some(match kind {
        0x0800 | 0x86dd => link + &ip(payload, false),
        0x0806 => link + &arp(payload).unwrap_or_else(|| format!("ARP short {}", hex(payload, 28))),
        _ => format!("{link}ethertype {kind:04x}"),
    })
}

/// ARP in the words of the recordings.
fn arp(bytes: &[u8]) -> Option<String> {
    Some(format!(
        "ARP op={} {} asks {}",
        be16(bytes, 6)?,
        v4(bytes, 14)?,
        v4(bytes, 24)?
    ))
}

/// An IP datagram; `quoted` when it stands inside an ICMP error and may be cut off.
fn ip(bytes: &[u8], quoted: bool) -> String {
    let text = match bytes.first().map(|first| first >> 4) {
        Some(4) => ipv4(bytes, quoted),
        Some(6) => ipv6(bytes, quoted),
        _ => None,
    };
    text.unwrap_or_else(|| format!("raw {}", hex(bytes, 24)))
}

/// IPv4 header and payload.
fn ipv4(bytes: &[u8], quoted: bool) -> Option<String> {
    let header_len = usize::from(bytes.first()? & 15) * 4;
    let total = usize::from(be16(bytes, 2)?);
    let id = be16(bytes, 4)?;
    let fragment = be16(bytes, 6)?;
    let offset = fragment & 0x1fff;
    let (source, destination) = (v4(bytes, 12)?, v4(bytes, 16)?);
    let mut text = format!("IP {source}>{destination} ttl={} id={id}", bytes.get(8)?);
    if fragment & 0x4000 != 0 {
        text += " DF";
    }
    if fragment & 0x2000 != 0 {
        text += " MF";
    }
    if offset != 0 {
        let _ = write!(text, " off={}", u32::from(offset) * 8);
    }
    let _ = write!(text, " tos={:02x} len={total}", bytes.get(1)?);
    let header = bytes.get(..header_len)?;
    if header_len > 20 {
        let _ = write!(text, " opt={}", hex(bytes.get(20..header_len)?, 40));
    }
    if sum(&[header]) != 0xffff {
        text += " ipcsum=BAD";
    }
    if offset != 0 {
        let _ = write!(text, " frag {} bytes", total.saturating_sub(header_len));
        return Some(text);
    }
    let end = total.clamp(header_len, bytes.len());
    let whole = fragment & 0x2000 == 0 && (!quoted || bytes.len() >= total);
    let pseudo = [source.octets().as_slice(), &destination.octets()].concat();
    text.push(' ');
    text += &upper(*bytes.get(9)?, &pseudo, bytes.get(header_len..end)?, whole);
    Some(text)
}

/// IPv6 header, extension headers and payload.
fn ipv6(bytes: &[u8], quoted: bool) -> Option<String> {
    let word = be32(bytes, 0)?;
    let payload_len = usize::from(be16(bytes, 4)?);
    let (source, destination) = (v6(bytes, 8)?, v6(bytes, 24)?);
    let mut text = format!(
        "IP6 {source}>{destination} hl={} tc={:02x} fl={:05x} plen={payload_len}",
        bytes.get(7)?,
        (word >> 20) & 0xff,
        word & 0xf_ffff
    );
    let mut whole = !quoted || bytes.len() >= 40 + payload_len;
    let mut next = *bytes.get(6)?;
    let mut at = 40;
    while matches!(next, 0 | 43 | 44 | 60) {
        if next == 44 {
            let offset = be16(bytes, at + 2)?;
            let _ = write!(
                text,
                " frag(off={} mf={} id={:08x})",
                offset & 0xfff8,
                offset & 1,
                be32(bytes, at + 4)?
            );
            next = *bytes.get(at)?;
            at += 8;
            if offset & 0xfff8 != 0 {
                let _ = write!(text, " nh={next} {} bytes", bytes.len().saturating_sub(at));
                return Some(text);
            }
            whole = false;
        } else {
            let len = (usize::from(*bytes.get(at + 1)?) + 1) * 8;
            let _ = write!(text, " ext{next}:{}", hex(bytes.get(at..at + len)?, 64));
            next = *bytes.get(at)?;
            at += len;
        }
    }
    let end = (40 + payload_len).clamp(at, bytes.len().max(at));
    let pseudo = [source.octets().as_slice(), &destination.octets()].concat();
    text.push(' ');
    text += &upper(next, &pseudo, bytes.get(at..end)?, whole);
    Some(text)
}

/// The upper-layer header; `whole` when the checksum can be judged.
fn upper(protocol: u8, addresses: &[u8], bytes: &[u8], whole: bool) -> String {
    let text = match protocol {
        1 => icmp(bytes, whole),
        58 => icmp6(addresses, bytes, whole),
        6 => tcp(addresses, bytes, whole),
        17 => udp(addresses, bytes, whole),
        132 => sctp(bytes),
        4 | 41 => Some(ip(bytes, !whole)),
        47 => gre(bytes, whole),
        _ => Some(format!("proto={protocol} {}", hex(bytes, 16))),
    };
    text.unwrap_or_else(|| format!("proto={protocol} short:{}", hex(bytes, 16)))
}

/// TCP.
fn tcp(addresses: &[u8], bytes: &[u8], whole: bool) -> Option<String> {
    let header_len = usize::from(bytes.get(12)? >> 4) * 4;
    let bits = *bytes.get(13)?;
    be16(bytes, 18)?;
    let flags: String = "FSRPAUEC"
        .chars()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, letter)| letter)
        .collect();
    let mut text = format!(
        "TCP {}>{} {} seq={} ack={} win={} len={}",
        be16(bytes, 0)?,
        be16(bytes, 2)?,
        if flags.is_empty() { "-" } else { &flags },
        be32(bytes, 4)?,
        be32(bytes, 8)?,
        be16(bytes, 14)?,
        bytes.len().saturating_sub(header_len)
    );
    if header_len > 20
        && let Some(options) = bytes.get(20..header_len)
    {
        let _ = write!(text, " opt={}", hex(options, 40));
    }
    if whole {
        text += transport_sum(6, addresses, bytes);
    }
    Some(text)
}

/// UDP, and GUE on its usual ports.
fn udp(addresses: &[u8], bytes: &[u8], whole: bool) -> Option<String> {
    let port = be16(bytes, 2)?;
    let mut text = format!("UDP {}>{port} len={}", be16(bytes, 0)?, be16(bytes, 4)?);
    let checksum = be16(bytes, 6)?;
    if whole {
        text += if checksum == 0 {
            " csum=zero"
        } else {
            transport_sum(17, addresses, bytes)
        };
    }
    if GUE_PORTS.contains(&port) && bytes.len() > 30 {
        let header_len = usize::from(bytes.get(8)? & 0x1f) * 4 + 4;
        let _ = write!(
            text,
            " | GUE {} | {}",
            hex(bytes.get(8..8 + header_len)?, 32),
            ip(bytes.get(8 + header_len..)?, !whole)
        );
    }
    Some(text)
}

/// UDP destination ports that the recordings use for GUE.
pub(crate) const GUE_PORTS: [u16; 4] = [6080, 5555, 6081, 6082];

/// SCTP: ports, verification tag and the first chunk.
fn sctp(bytes: &[u8]) -> Option<String> {
    Some(format!(
        "SCTP {}>{} tag={:08x} csum={:08x} chunk={}",
        be16(bytes, 0)?,
        be16(bytes, 2)?,
        be32(bytes, 4)?,
        be32(bytes, 8)?,
        bytes.get(12).map_or(-1, |kind| i32::from(*kind))
    ))
}

/// ICMP, with the datagram that an error quotes.
fn icmp(bytes: &[u8], whole: bool) -> Option<String> {
    let (kind, code) = (*bytes.first()?, *bytes.get(1)?);
    let mut text = format!("ICMP {kind}/{code}");
    if whole {
        text += verdict(sum(&[bytes]) == 0xffff);
    }
    if matches!(kind, 3 | 4 | 5 | 11 | 12) {
        match (kind, code) {
            (3, 4) => {
                let _ = write!(text, " mtu={}", be16(bytes, 6)?);
            }
            (5, _) => {
                let _ = write!(text, " gw={}", v4(bytes, 4)?);
            }
            _ => {}
        }
        let _ = write!(text, " {{ {} }}", ip(bytes.get(8..)?, true));
    } else {
        let _ = write!(text, " id={}", be16(bytes, 4)?);
    }
    Some(text)
}

/// ICMPv6, with the datagram that an error quotes.
fn icmp6(addresses: &[u8], bytes: &[u8], whole: bool) -> Option<String> {
    let (kind, code) = (*bytes.first()?, *bytes.get(1)?);
    let mut text = format!("ICMP6 {kind}/{code}");
    if whole {
        text += transport_sum(58, addresses, bytes);
    }
    if kind < 128 {
        if kind == 2 {
            let _ = write!(text, " mtu={}", be32(bytes, 4)?);
        }
        let _ = write!(text, " {{ {} }}", ip(bytes.get(8..)?, true));
    } else if matches!(kind, 135 | 136) {
        let _ = write!(text, " target={}", v6(bytes, 8)?);
    }
    Some(text)
}

/// GRE and the datagram in it.
fn gre(bytes: &[u8], whole: bool) -> Option<String> {
    let (flags, protocol) = (be16(bytes, 0)?, be16(bytes, 2)?);
    let optional = [0x8000, 0x2000, 0x1000]
        .iter()
        .filter(|bit| flags & **bit != 0)
        .count();
    let mut text = format!("GRE flags={flags:04x} proto={protocol:04x}");
    if flags & 0x8000 != 0 && whole {
        text += verdict(sum(&[bytes]) == 0xffff);
    }
    let _ = write!(text, " | {}", ip(bytes.get(4 + optional * 4..)?, !whole));
    Some(text)
}

/// Whether the checksum over pseudo-header and segment is right.
fn transport_sum(protocol: u8, addresses: &[u8], bytes: &[u8]) -> &'static str {
    let Ok(len) = u32::try_from(bytes.len()) else {
        return verdict(false);
    };
    // One layout serves both families: the sum does not care where in the pseudo-header a field stands.
    let tail = [0, 0, 0, protocol];
    verdict(sum(&[addresses, &len.to_be_bytes(), &tail, bytes]) == 0xffff)
}

/// In the words of the recordings.
fn verdict(right: bool) -> &'static str {
    if right { " csum=ok" } else { " csum=BAD" }
}

/// One's complement sum over parts, each padded to an even length; all but the last must be even.
pub(crate) fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            total += u64::from(pair[0]) << 8 | u64::from(low);
        }
    }
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    u16::try_from(total).unwrap_or(u16::MAX)
}

/// Name of the recordings' well-known MACs, else the address.
pub(crate) fn mac(bytes: &[u8]) -> String {
    match *bytes {
        [2, 0, 0, 0, 1, 1] => "cl0".to_owned(),
        [2, 0, 0, 0, 2, 1] => "sv0".to_owned(),
        [2, 0, 0, 0, 1, 0xfe] => "clgw".to_owned(),
        [2, 0, 0, 0, 2, 0xfd] => "rsgw".to_owned(),
        [2, 0, 0, 0, 2, host @ 0x11..=0x18] => format!("rs{}", host - 0x10),
        _ => bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(":"),
    }
}

/// At most `limit` octets in hexadecimal.
pub(crate) fn hex(bytes: &[u8], limit: usize) -> String {
    bytes
        .iter()
        .take(limit)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Big-endian 16 bits at an offset.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Big-endian 32 bits at an offset.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// IPv4 address at an offset.
fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(be32(bytes, at)?))
}

/// IPv6 address at an offset.
fn v6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(octets))
}

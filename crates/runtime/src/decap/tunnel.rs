//! From a tunnelled datagram to the inner one that the host may have.
//!
//! Pure: bytes in, a range or a counted reason out. Never panics on any bytes.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;

use packet::checksum::{self, Sum};
use packet::{Headers, Packet, Transport, protocol, tcp, tunnel, udp};

/// How a datagram came in, and so where its tunnel header lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// By a raw IPv4 socket: the outer IPv4 header stands in front.
    Ipv4,
    /// By a raw IPv6 socket of protocol 4 or 41: the inner datagram itself.
    Ipv6Ipip,
    /// By a raw IPv6 socket of protocol 47: the GRE header stands in front.
    Ipv6Gre,
    /// By a UDP socket: the GUE header stands in front.
    Gue,
}

/// Why a datagram was not handed to the host. Each is a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No tunnel of a known kind, a wrong checksum, or no IP datagram inside.
    Unreadable,
    /// The inner destination is not one of the VIPs given on the command line.
    NotVip,
}

/// Finds the inner datagram in `datagram`, checks that it is for one of `vips`, and completes its checksum where
/// receive offload left it half done. Returns where it lies and its headers.
///
/// # Errors
/// [`Refusal`] says why the datagram must not reach the host.
pub fn open(
    datagram: &mut [u8],
    outer: Outer,
    vips: &HashSet<IpAddr>,
) -> Result<(Range<usize>, Headers), Refusal> {
    let range = match outer {
        Outer::Ipv4 => tunnel::decapsulate(datagram),
        Outer::Ipv6Ipip => Ok(0..datagram.len()),
        Outer::Ipv6Gre => tunnel::decapsulate_gre(datagram),
        Outer::Gue => tunnel::decapsulate_gue(datagram),
    };
    let range = range.map_err(|_| Refusal::Unreadable)?;
    let inner = datagram.get_mut(range.clone()).ok_or(Refusal::Unreadable)?;
    let headers = Headers::parse_datagram(inner).map_err(|_| Refusal::Unreadable)?;
    if !vips.contains(&headers.destination) {
        return Err(Refusal::NotVip);
    }
    complete_checksum(inner, &headers);
    Ok((range.start..range.start + headers.end, headers))
}

/// Receive offload of the host (GRO) joins tunnelled TCP segments to one datagram whose checksum field holds only
/// the pseudo-header's sum; a raw socket hands it over like that, and the host would drop it.
fn complete_checksum(inner: &mut [u8], headers: &Headers) {
    let (number, field) = match headers.transport {
        Transport::Tcp { .. } => (protocol::TCP, tcp::CHECKSUM),
        Transport::Udp { checksum, .. } if checksum != 0 => (protocol::UDP, udp::CHECKSUM),
        _ => return,
    };
    if headers.fragment.is_some() {
        return;
    }
    let (source, destination) = (headers.source, headers.destination);
    let Some(transport) = inner.get_mut(headers.transport_offset..headers.end) else {
        return;
    };
    let field = usize::from(field);
    let Some(found) = transport
        .get(field..)
        .and_then(|rest| rest.first_chunk::<2>())
    else {
        return;
    };
    let partial = Sum::ZERO.pseudo_header(source, destination, number, transport.len());
    if u16::from_be_bytes(*found) != partial.fold()
        || checksum::transport_is_valid(source, destination, number, transport)
    {
        return;
    }
    let len = transport.len();
    let mut packet = Packet::new(transport, 0..len, 0);
    packet.offload.partial_checksum = u16::try_from(field).ok();
    // Cannot fail: the field was just read.
    let _ = checksum::finish_checksum(&mut packet);
}

#[cfg(test)]
mod tests {
    use packet::{Tunnel, TunnelChecksum, TunnelKind};

    use super::*;

    const VIP: [&str; 2] = ["10.0.0.1", "fd00::1"];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn vips() -> HashSet<IpAddr> {
        VIP.iter().map(|text| ip(text)).collect()
    }

    /// A UDP datagram of `10.9.9.9` or `fd09::9` to `destination`.
    fn datagram(destination: IpAddr) -> Vec<u8> {
        let builder = match destination {
            IpAddr::V4(to) => etherparse::PacketBuilder::ipv4([10, 9, 9, 9], to.octets(), 60),
            IpAddr::V6(to) => {
                let from: std::net::Ipv6Addr = "fd09::9".parse().unwrap();
                etherparse::PacketBuilder::ipv6(from.octets(), to.octets(), 60)
            }
        };
        let mut bytes = Vec::new();
        builder.udp(4000, 53).write(&mut bytes, b"hello").unwrap();
        bytes
    }

    /// `inner` behind an outer header to `outer`.
    fn tunnelled(inner: &[u8], outer: &str, kind: TunnelKind, checksum: TunnelChecksum) -> Vec<u8> {
        let destination = ip(outer);
        let source = if destination.is_ipv4() {
            ip("10.3.0.1")
        } else {
            ip("fd03::1")
        };
        let mut buffer = vec![0; 100];
        buffer.extend_from_slice(inner);
        let mut packet = Packet::new(&mut buffer, 100..100 + inner.len(), 0);
        let headers = Headers::parse(&packet).unwrap();
        let tunnel = Tunnel {
            kind,
            source,
            destination,
            source_port: 40_000,
            destination_port: 6080,
            checksum,
            id: 1,
            copy_df: true,
        };
        packet::encapsulate(&mut packet, &headers, &tunnel).unwrap();
        packet.bytes().to_vec()
    }

    #[test]
    fn every_tunnel_in_both_families() {
        for vip in VIP.map(ip) {
            let inner = datagram(vip);
            for kind in [TunnelKind::Ipip, TunnelKind::Gre, TunnelKind::Gue] {
                for checksum in [TunnelChecksum::None, TunnelChecksum::Full] {
                    let v4 = tunnelled(&inner, "10.3.0.2", kind, checksum);
                    let v6 = tunnelled(&inner, "fd03::2", kind, checksum);
                    let mut cases = vec![(v4.clone(), Outer::Ipv4)];
                    match kind {
                        TunnelKind::Ipip => cases.push((v6[40..].to_vec(), Outer::Ipv6Ipip)),
                        TunnelKind::Gre => cases.push((v6[40..].to_vec(), Outer::Ipv6Gre)),
                        TunnelKind::Gue => cases.push((v4[28..].to_vec(), Outer::Gue)),
                    }
                    for (mut bytes, outer) in cases {
                        let (range, headers) = open(&mut bytes, outer, &vips()).unwrap();
                        let to = headers.destination;
                        assert_eq!((&bytes[range], to), (&inner[..], vip), "{kind:?} {outer:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn others_destinations_are_refused() {
        let inner = datagram(ip("10.0.0.2"));
        let mut bytes = tunnelled(&inner, "10.3.0.2", TunnelKind::Ipip, TunnelChecksum::None);
        assert_eq!(open(&mut bytes, Outer::Ipv4, &vips()), Err(Refusal::NotVip));
    }

    #[test]
    fn no_bytes_panic() {
        let inner = datagram(ip(VIP[0]));
        let whole = tunnelled(&inner, "10.3.0.2", TunnelKind::Gre, TunnelChecksum::Full);
        for outer in [Outer::Ipv4, Outer::Ipv6Ipip, Outer::Ipv6Gre, Outer::Gue] {
            for len in 0..whole.len() {
                assert!(open(&mut whole[..len].to_vec(), outer, &vips()).is_err());
            }
        }
    }

    #[test]
    fn a_checksum_left_to_the_device_is_completed() {
        let mut inner = datagram(ip(VIP[0]));
        let right = inner.clone();
        let partial =
            Sum::ZERO.pseudo_header(ip("10.9.9.9"), ip(VIP[0]), protocol::UDP, inner.len() - 20);
        inner[26..28].copy_from_slice(&partial.fold().to_be_bytes());
        open(&mut inner, Outer::Ipv6Ipip, &vips()).unwrap();
        assert_eq!(inner, right);
        // A checksum that is simply wrong stays wrong: the host must see it.
        inner[26] ^= 0x55;
        let wrong = inner.clone();
        open(&mut inner, Outer::Ipv6Ipip, &vips()).unwrap();
        assert_eq!(inner, wrong);
    }
}

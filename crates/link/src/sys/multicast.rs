//! Being sent the frames of a multicast group, for answering neighbour solicitations.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;

use super::socket::{self, set_option};

/// Membership in an IPv6 multicast group on one interface; ends when dropped. Needs no capability
/// beyond `CAP_NET_RAW`.
#[derive(Debug)]
pub struct Membership {
    _udp: OwnedFd,
    _packet: OwnedFd,
}

impl Membership {
    /// Joins `group` on the interface of that index.
    ///
    /// A UDP socket joins the group, so that the kernel reports it (MLD) and snooping switches let
    /// its frames through; a packet socket asks the interface for the group's MAC address, which
    /// covers interfaces that filter (macvlan) when IPv6 is turned off on them.
    ///
    /// # Errors
    /// `ENODEV`, `EINVAL` (not a multicast address), `ENOBUFS` (too many memberships).
    pub fn join(index: u32, group: Ipv6Addr) -> io::Result<Self> {
        let packet = socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        let [.., a, b, c, d] = group.octets();
        let request = libc::packet_mreq {
            mr_ifindex: i32::try_from(index).unwrap_or(0),
            mr_type: u16::try_from(libc::PACKET_MR_MULTICAST).unwrap_or(0),
            mr_alen: 6,
            mr_address: [0x33, 0x33, a, b, c, d, 0, 0],
        };
        set_option(
            &packet,
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            &request,
        )?;
        let udp = socket::open(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
        let request = libc::ipv6_mreq {
            ipv6mr_multiaddr: libc::in6_addr {
                s6_addr: group.octets(),
            },
            ipv6mr_interface: index,
        };
        set_option(
            &udp,
            libc::IPPROTO_IPV6,
            libc::IPV6_ADD_MEMBERSHIP,
            &request,
        )?;
        Ok(Self {
            _udp: udp,
            _packet: packet,
        })
    }
}

/// The solicited-node multicast address of `address` (RFC 4291, 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solicited_node_address_keeps_24_bits() {
        let address = "2001:db8::12:3456".parse().expect("an address");
        assert_eq!(solicited_node(address).to_string(), "ff02::1:ff12:3456");
    }
}

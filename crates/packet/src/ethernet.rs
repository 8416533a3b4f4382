//! Ethernet II (IEEE 802.3, clause 3): addresses and the 14-octet header.

use core::fmt;

use crate::view::header;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of an 802.1ad service tag.
pub const SERVICE_VLAN: u16 = 0x88a8;

/// Octets of the Ethernet header.
pub const LEN: usize = 14;

/// A 48-bit MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set; true for broadcast too.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is the broadcast address.
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// The group address that an IPv6 multicast address maps to: 33:33 and its last four octets
    /// (RFC 2464, 7).
    #[must_use]
    pub const fn of_multicast(group: core::net::Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl From<[u8; 6]> for Mac {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

header! {
    /// The Ethernet header.
    Ethernet, 14 {
        /// Destination address.
        destination, set_destination: Mac = 0;
        /// Source address.
        source, set_source: Mac = 6;
        /// EtherType, or below 1536 the length of an 802.3 frame.
        ether_type, set_ether_type: u16 = 12;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 14] = [2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 0xfe, 0x08, 0x00];

    #[test]
    fn reads() {
        let header = Ethernet::of(&BYTES).unwrap();
        assert_eq!(header.destination(), Mac([2, 0, 0, 0, 1, 1]));
        assert_eq!(header.source(), Mac([2, 0, 0, 0, 1, 0xfe]));
        assert_eq!(header.ether_type(), IPV4);
        assert!(Ethernet::of(&BYTES[..13]).is_none());
    }

    #[test]
    fn writes() {
        let mut bytes = [0xa5; 14];
        let mut header = Ethernet::of_mut(&mut bytes).unwrap();
        header.set_destination(Mac([2, 0, 0, 0, 1, 1]));
        header.set_source(Mac([2, 0, 0, 0, 1, 0xfe]));
        header.set_ether_type(IPV4);
        assert_eq!(bytes, BYTES);
    }

    #[test]
    fn addresses() {
        assert!(Mac::BROADCAST.is_multicast() && Mac::BROADCAST.is_broadcast());
        assert!(!Mac([2, 0, 0, 0, 1, 1]).is_multicast());
        assert_eq!(
            std::format!("{}", Mac([2, 0, 0, 0xa, 1, 0xfe])),
            "02:00:00:0a:01:fe"
        );
        let group = "ff02::1:ff00:1".parse().unwrap();
        assert_eq!(Mac::of_multicast(group), Mac([0x33, 0x33, 0xff, 0, 0, 1]));
    }
}

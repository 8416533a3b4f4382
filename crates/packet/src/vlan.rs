//! 802.1Q tags: off the frame into [`Packet::vlan`] and back, for links that carry them inside the
//! frame (pcap files, devices without tag offload).

use crate::buffer::{Packet, Vlan};
use crate::ethernet::{self, SERVICE_VLAN, VLAN};
use crate::view::{header, put};

/// Octets of a tag.
pub const LEN: usize = 4;

/// Octets of the two MAC addresses, behind which a tag stands.
const ADDRESSES: usize = 12;

header! {
    /// A tag; the frame's EtherType follows it.
    Tag, 4 {
        /// Tag protocol identifier.
        tpid, set_tpid: u16 = 0;
        /// Tag control information.
        tci, set_tci: u16 = 2;
    }
}

impl Vlan {
    /// VLAN identifier, 12 bits; 0 = priority alone.
    #[must_use]
    pub const fn id(self) -> u16 {
        self.tci & 0x0fff
    }
}

/// Takes the outermost tag off an Ethernet frame into [`Packet::vlan`], and returns whether there was
/// one. A frame whose tag is off already is left alone.
pub fn take_tag(packet: &mut Packet<'_>) -> bool {
    if packet.link_len != ethernet::LEN || packet.vlan.is_some() {
        return false;
    }
    let Some(tag) = packet.bytes().get(ADDRESSES..).and_then(Tag::of) else {
        return false;
    };
    let vlan = Vlan {
        tpid: tag.tpid(),
        tci: tag.tci(),
    };
    if !matches!(vlan.tpid, VLAN | SERVICE_VLAN) || packet.len() < ethernet::LEN + LEN {
        return false;
    }
    packet.bytes_mut().copy_within(..ADDRESSES, LEN);
    packet.pull_front(LEN);
    let start = packet.offload.checksum_start.saturating_sub(4);
    packet.offload.checksum_start = start;
    packet.vlan = Some(vlan);
    true
}

/// Puts [`Packet::vlan`] back into an Ethernet frame, and returns whether the frame is complete now:
/// false, with nothing changed, when headroom lacks.
#[must_use]
pub fn put_tag(packet: &mut Packet<'_>) -> bool {
    let Some(vlan) = packet.vlan.filter(|_| packet.link_len == ethernet::LEN) else {
        return true;
    };
    let Some(checksum_start) = packet.offload.checksum_start.checked_add(4) else {
        return false;
    };
    if packet.len() < ethernet::LEN || !packet.push_front(LEN) {
        return false;
    }
    let bytes = packet.bytes_mut();
    bytes.copy_within(LEN..LEN + ADDRESSES, 0);
    let [a, b] = vlan.tpid.to_be_bytes();
    let [c, d] = vlan.tci.to_be_bytes();
    let done = put(bytes, ADDRESSES, [a, b, c, d]).is_some();
    packet.offload.checksum_start = checksum_start;
    packet.vlan = None;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGGED: [u8; 22] = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x81, 0, 0xa0, 0x2a, 8, 0, 0x45, 0, 0, 20,
    ];

    #[test]
    fn there_and_back() {
        let mut buffer = TAGGED;
        let mut packet = Packet::new(&mut buffer, 0..22, 14);
        packet.offload.checksum_start = 38;
        assert!(take_tag(&mut packet));
        assert_eq!(
            packet.vlan,
            Some(Vlan {
                tpid: 0x8100,
                tci: 0xa02a
            })
        );
        assert_eq!(packet.vlan.unwrap().id(), 42);
        assert_eq!(packet.offload.checksum_start, 34);
        assert_eq!(
            (&packet.bytes()[..12], &packet.bytes()[12..]),
            (&TAGGED[..12], &TAGGED[16..])
        );
        assert!(!take_tag(&mut packet), "no second tag");
        assert!(put_tag(&mut packet));
        assert_eq!((packet.vlan, packet.offload.checksum_start), (None, 38));
        assert_eq!(packet.bytes(), TAGGED);
        assert!(put_tag(&mut packet), "nothing to put");
        assert_eq!(packet.bytes(), TAGGED);
    }

    #[test]
    fn what_is_left_alone() {
        let mut buffer = TAGGED;
        let mut packet = Packet::new(&mut buffer, 0..17, 14);
        assert!(!take_tag(&mut packet), "cut off behind the tag");
        let mut packet = Packet::new(&mut buffer, 0..22, 0);
        assert!(!take_tag(&mut packet), "no Ethernet");
        let mut packet = Packet::new(&mut buffer, 0..22, 14);
        packet.vlan = Some(Vlan {
            tpid: 0x8100,
            tci: 1,
        });
        assert!(!put_tag(&mut packet), "no headroom");
        assert_eq!(packet.bytes(), TAGGED);
        buffer[12..14].copy_from_slice(&[0x88, 0xa8]);
        assert!(
            take_tag(&mut Packet::new(&mut buffer, 0..22, 14)),
            "802.1ad"
        );
    }
}

//! A flow that the kernel is to send on, as the programs read it.

use std::net::IpAddr;

use packet::{Mac, Translation};

use super::layout::{
    ADDRESS, ADDRESS_CHANGE, ADDRESS_FLAGS, CHECKSUM_AT, DECISION, DESTINATION, EGRESS,
    HEADER_CHANGE, IPV4_HEADER, IPV6_HEADER, KEY, LINK, MACS, MTU, NEW_PORT, OLD_PORT, PORT_FLAGS,
    SOURCE, TCP, TRANSLATES, UDP, UDP_BIT,
};

/// `BPF_F_PSEUDO_HDR`: what changes is in the pseudo-header, so in partial checksums too.
const PSEUDO_HEADER: u32 = 1 << 4;
/// `BPF_F_MARK_MANGLED_0`: a checksum of 0 stays none, and none becomes 0.
const MANGLED: u32 = 1 << 5;
/// The width of a port among the flags.
const TWO_OCTETS: u32 = 2;

/// One direction of a connection, and what becomes of its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// TCP 6 or UDP 17.
    pub protocol: u8,
    /// Source address and port, in host order.
    pub source: (IpAddr, u16),
    /// Destination address and port, in host order.
    pub destination: (IpAddr, u16),
    /// Index of the interface that the packets arrive on.
    pub ingress: u32,
    /// Index of the interface to send by.
    pub egress: u32,
    /// Link address of the next hop.
    pub next_hop: Mac,
    /// Link address of the interface to send by.
    pub sender: Mac,
    /// Largest IP datagram that fits there, octets.
    pub mtu: u32,
    /// What replaces source or destination, one of them at most.
    pub translation: Translation,
}

impl Flow {
    /// How the programs find it; none when there can be no such flow.
    pub(super) fn key(&self) -> Option<[u8; KEY]> {
        let bit = match i32::from(self.protocol) {
            TCP => 0,
            UDP => UDP_BIT,
            _ => return None,
        };
        if self.ingress >= UDP_BIT {
            return None;
        }
        let mut key = [0; KEY];
        let mut rest = key.as_mut_slice();
        for octets in [
            &mapped(self.source.0)[..],
            &mapped(self.destination.0),
            &self.source.1.to_be_bytes(),
            &self.destination.1.to_be_bytes(),
            &(self.ingress | bit).to_ne_bytes(),
        ] {
            let (place, behind) = rest.split_at_mut_checked(octets.len())?;
            place.copy_from_slice(octets);
            rest = behind;
        }
        Some(key)
    }

    /// What becomes of its packets, as the programs read it from [`EGRESS`] on; none when that is more than they can.
    pub(super) fn decision(&self) -> Option<[u8; DECISION]> {
        let mut decision = Decision([0; DECISION]);
        decision.put(EGRESS, &self.egress.to_ne_bytes())?;
        decision.put(MTU, &self.mtu.to_ne_bytes())?;
        decision.put(MACS, &self.next_hop.0)?;
        decision.put(MACS + 6, &self.sender.0)?;
        let Translation {
            source,
            destination,
        } = self.translation;
        match (source, destination) {
            (None, None) => {}
            (Some(new), None) => self.translate(&mut decision, SOURCE, self.source, new)?,
            (None, Some(new)) => {
                self.translate(&mut decision, DESTINATION, self.destination, new)?;
            }
            (Some(_), Some(_)) => return None,
        }
        Some(decision.0)
    }

    fn translate(
        &self,
        decision: &mut Decision,
        which: u32,
        old: (IpAddr, u16),
        new: (IpAddr, u16),
    ) -> Option<()> {
        let (change, header) = match (old.0, new.0) {
            (IpAddr::V4(old), IpAddr::V4(new)) => {
                decision.put(ADDRESS, &new.octets())?;
                let change = change(&old.octets(), &new.octets());
                decision.put(HEADER_CHANGE, &u32::from(folded(change)).to_ne_bytes())?;
                (change, IPV4_HEADER)
            }
            (IpAddr::V6(old), IpAddr::V6(new)) => {
                decision.put(ADDRESS, &new.octets())?;
                (change(&old.octets(), &new.octets()), IPV6_HEADER)
            }
            _ => return None,
        };
        let (place, flags) = match i32::from(self.protocol) {
            TCP => (16, 0),
            _ => (6, MANGLED),
        };
        let place = u32::try_from(LINK + header + place).ok()?;
        decision.put(TRANSLATES, &which.to_ne_bytes())?;
        decision.put(NEW_PORT, &new.1.to_be_bytes())?;
        decision.put(OLD_PORT, &old.1.to_be_bytes())?;
        decision.put(ADDRESS_CHANGE, &change.to_ne_bytes())?;
        decision.put(CHECKSUM_AT, &place.to_ne_bytes())?;
        decision.put(ADDRESS_FLAGS, &(flags | PSEUDO_HEADER).to_ne_bytes())?;
        decision.put(PORT_FLAGS, &(flags | TWO_OCTETS).to_ne_bytes())
    }
}

struct Decision([u8; DECISION]);

impl Decision {
    fn put(&mut self, at: i16, octets: &[u8]) -> Option<()> {
        let at = usize::try_from(at - EGRESS).ok()?;
        let place = self.0.get_mut(at..)?.get_mut(..octets.len())?;
        place.copy_from_slice(octets);
        Some(())
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The new words less the old ones in one's complement, as memory holds them: what changes in a sum over them.
fn change(old: &[u8], new: &[u8]) -> u32 {
    let words = |octets: &[u8], flip: u32| -> u64 {
        octets
            .chunks_exact(4)
            .filter_map(|word| word.first_chunk())
            .map(|word| u64::from(u32::from_ne_bytes(*word) ^ flip))
            .sum()
    };
    let sum = words(new, 0) + words(old, u32::MAX);
    // At most 35 bits.
    let sum = (sum & u64::from(u32::MAX)) + (sum >> 32);
    let sum = (sum & u64::from(u32::MAX)) + (sum >> 32);
    u32::try_from(sum).unwrap_or(u32::MAX)
}

/// 32 bits of a sum as 16.
fn folded(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from(sum).unwrap_or(u16::MAX)
}

//! What a packet says about the flow it belongs to, and the keyed hash of it.

use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use packet::Headers;
use siphasher::sip::SipHasher13;

/// Addresses and ports of a packet, as they stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// IANA protocol number.
    pub protocol: u8,
    /// Source address, and port in host order.
    pub source: (IpAddr, u16),
    /// Destination address, and port in host order.
    pub destination: (IpAddr, u16),
}

impl FlowKey {
    /// The flow of a packet with these headers.
    #[inline]
    #[must_use]
    pub fn of(headers: &Headers) -> Self {
        let (source, destination) = headers.ports();
        Self {
            protocol: headers.protocol,
            source: (copy(&headers.source), source),
            destination: (copy(&headers.destination), destination),
        }
    }

    /// The key of packets that go the other way: what an ICMP error's quoted packet is looked up
    /// by.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            source: self.destination,
            destination: self.source,
        }
    }
}

/// Which keyed hash spreads the flows over the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashKind {
    /// foldhash with a secret seed (its "quality" variant: the fast one spreads neighbouring ports
    /// badly): about 2 ns a packet, and without knowledge of the seed collisions are not to be
    /// aimed at.
    #[default]
    Fold,
    /// SipHash-1-3: a cryptographer's answer to collision attacks, about 10 ns a packet dearer.
    Sip13,
}

/// A seeded hash function over [`FlowKey`]s.
#[derive(Clone, Debug)]
pub(super) struct FlowHash {
    kind: HashKind,
    seed: [u64; 2],
    shared: SharedSeed,
}

impl FlowHash {
    /// The function of this kind and secret.
    pub(super) fn new(kind: HashKind, seed: [u64; 2]) -> Self {
        Self {
            kind,
            seed,
            shared: SharedSeed::from_u64(seed[1]),
        }
    }

    /// 64 bits that depend on every bit of the key and of the seed.
    #[inline(always)]
    pub(super) fn hash(&self, key: &FlowKey) -> u64 {
        match self.kind {
            HashKind::Fold => feed(FoldHasher::with_seed(self.seed[0], &self.shared), key),
            HashKind::Sip13 => feed(SipHasher13::new_with_keys(self.seed[0], self.seed[1]), key),
        }
    }
}

/// Gives the key to a hasher in as few words as it has.
#[inline(always)]
fn feed(mut hasher: impl Hasher, key: &FlowKey) -> u64 {
    let ports = u64::from(key.source.1) << 32
        | u64::from(key.destination.1) << 16
        | u64::from(key.protocol);
    match (&key.source.0, &key.destination.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            hasher.write_u64(u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits()));
        }
        (source, destination) => {
            hasher.write_u128(bits(source));
            hasher.write_u128(bits(destination));
        }
    }
    hasher.write_u64(ports);
    hasher.finish()
}

/// The address, read as it was written a moment ago: as a whole, an IPv4 address would be read together with octets that
/// nobody wrote, and the processor would wait until all of it is in the cache.
#[inline]
fn copy(address: &IpAddr) -> IpAddr {
    match *address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits())),
        IpAddr::V6(address) => IpAddr::V6(address),
    }
}

/// The address as an IPv6 one.
#[inline(always)]
pub(crate) fn bits(address: &IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// Every tag and every low bit pattern must come up about equally often, also for neighbouring
    /// clients.
    fn spread(kind: HashKind, key: impl Fn(u32) -> FlowKey) {
        const FLOWS: u32 = 1 << 16;
        let hash = FlowHash::new(kind, [7, 11]);
        let mut low = vec![0_u32; 1 << 12];
        let mut high = vec![0_u32; 1 << 8];
        for number in 0..FLOWS {
            let value = hash.hash(&key(number));
            low[usize::try_from(value % (1 << 12)).unwrap()] += 1;
            high[usize::try_from(value >> 56).unwrap()] += 1;
        }
        // Mean 16 and 256; 6 standard deviations.
        assert!(
            low.iter().all(|&count| count <= 16 + 24),
            "{kind:?} {:?}",
            low.iter().max()
        );
        assert!(
            high.iter()
                .all(|&count| (256 - 96..=256 + 96).contains(&count)),
            "{kind:?}"
        );
    }

    #[test]
    fn neighbouring_flows_spread() {
        for kind in [HashKind::Fold, HashKind::Sip13] {
            spread(kind, |number| FlowKey {
                protocol: 6,
                source: (
                    Ipv4Addr::from_bits(0xC000_0200 + (number >> 12)).into(),
                    (number % 4096) as u16,
                ),
                destination: (Ipv4Addr::new(10, 8, 0, 1).into(), 80),
            });
            spread(kind, |number| FlowKey {
                protocol: 17,
                source: (
                    Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)).into(),
                    4000,
                ),
                destination: (Ipv6Addr::from_bits(0xfd00_0008 << 96 | 1).into(), 53),
            });
        }
    }

    #[test]
    fn the_seed_matters() {
        let key = FlowKey {
            protocol: 6,
            source: (Ipv4Addr::new(192, 0, 2, 10).into(), 2001),
            destination: (Ipv4Addr::new(10, 8, 0, 1).into(), 80),
        };
        for kind in [HashKind::Fold, HashKind::Sip13] {
            let first = FlowHash::new(kind, [1, 2]).hash(&key);
            assert_ne!(first, FlowHash::new(kind, [3, 2]).hash(&key));
            assert_ne!(first, FlowHash::new(kind, [1, 3]).hash(&key));
            assert_ne!(first, FlowHash::new(kind, [1, 2]).hash(&key.reversed()));
        }
    }
}

//! Lots for schedulers that draw: the same start gives the same draws, so that a replay decides the same.

use core::net::IpAddr;

use packet::Family;
use siphasher::sip::SipHasher13;

use crate::service::ServiceKey;

/// Between one state and the next: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes the bits of a number, one to one: what SplitMix64 gives in this state.
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Draws lots (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Lots {
    state: u64,
}

impl Lots {
    /// Lots that begin at this number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number below `limit`, each about as likely (none is preferred by more than `limit` in 2^64); 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let lot = mix(self.state);
        self.state = self.state.wrapping_add(STEP);
        lot.checked_rem(limit).unwrap_or(0)
    }
}

/// Where the lots of this service begin in a director of this seed: else all services would draw the same in step.
pub(crate) fn seed(director: u64, key: &ServiceKey) -> u64 {
    let address = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    let (kind, value, port) = match key {
        ServiceKey::Address {
            protocol,
            address: vip,
            port,
        } => (protocol.number(), address(vip), *port),
        ServiceKey::Mark {
            family: Family::V4,
            mark,
        } => (0, u128::from(*mark), 4),
        ServiceKey::Mark {
            family: Family::V6,
            mark,
        } => (0, u128::from(*mark), 6),
    };
    let mut octets = [0; 19];
    octets[0] = kind;
    octets[1..17].copy_from_slice(&value.to_be_bytes());
    octets[17..].copy_from_slice(&port.to_be_bytes());
    SipHasher13::new_with_keys(director, director).hash(&octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    #[test]
    fn the_same_start_gives_the_same_lots_and_no_limit_is_reached() {
        let draw = |seed| {
            let mut lots = Lots::new(seed);
            (0..1000).map(|_| lots.below(7)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for number in 0..7 {
            let count = draw(3).into_iter().filter(|&lot| lot == number).count();
            assert!((100..190).contains(&count), "{number}: {count}");
        }
        assert_eq!(Lots::new(5).below(0), 0);
        // The first numbers of SplitMix64 that begins at 1234567, as its authors' code gives them.
        let mut lots = Lots::new(1_234_567);
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!(first.map(|_| lots.below(u64::MAX)), first);
    }

    #[test]
    fn services_and_directors_draw_different_lots() {
        let web = |port| ServiceKey::Address {
            protocol: Protocol::Tcp,
            address: IpAddr::from([10, 8, 0, 1]),
            port,
        };
        let mark = |family| ServiceKey::Mark { family, mark: 1 };
        let seeds = [
            seed(0, &web(80)),
            seed(0, &web(81)),
            seed(1, &web(80)),
            seed(0, &mark(Family::V4)),
            seed(0, &mark(Family::V6)),
        ];
        for (place, one) in seeds.iter().enumerate() {
            assert!(seeds[..place].iter().all(|other| other != one), "{place}");
        }
        assert_eq!(seed(1, &web(80)), seed(1, &web(80)));
    }
}

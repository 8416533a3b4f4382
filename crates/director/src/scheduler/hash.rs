//! Hashes of addresses, as the kernel's hashing schedulers compute them.

use core::net::IpAddr;

use packet::Family;

/// The golden ratio constant of the kernel's `hash_32`.
const GOLDEN_RATIO: u32 = 0x61c8_8647;

/// The exclusive or of an address's 32-bit words in host order.
pub(super) fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let octets = address.octets();
            octets
                .as_chunks()
                .0
                .iter()
                .fold(0, |fold, &word| fold ^ u32::from_be_bytes(word))
        }
    }
}

/// [`fold`] of a real server's address as a service of `family` sees it: of an IPv6 address, an IPv4 service has the
/// first word alone.
pub(super) fn fold_as(family: Family, address: IpAddr) -> u32 {
    match (family, address) {
        (Family::V4, IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.octets();
            u32::from_be_bytes([a, b, c, d])
        }
        _ => fold(address),
    }
}

/// The upper `bits` bits (1 to 16) of `value` times the golden ratio.
pub(super) fn bucket(value: u32, bits: u32) -> usize {
    let hash = value.wrapping_mul(GOLDEN_RATIO) >> (32 - bits);
    usize::try_from(hash).unwrap_or(0)
}

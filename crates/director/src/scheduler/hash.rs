//! Hashes of addresses, as the kernel's hashing schedulers compute them.

use core::net::IpAddr;

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

/// The upper `bits` bits (1 to 16) of `value` times the golden ratio.
pub(super) fn bucket(value: u32, bits: u32) -> usize {
    let hash = value.wrapping_mul(GOLDEN_RATIO) >> (32 - bits);
    usize::try_from(hash).unwrap_or(0)
}

//! The order in which listings are sorted.
//!
//! The real program subtracts 32-bit numbers and takes the sign, which is no order where the difference
//! does not fit (200.0.0.1 comes before 10.0.0.1, and there are circles); what comes out then depends
//! on the sorting method, so this is the C library's: a merge sort that halves downwards.

use core::net::IpAddr;

use control::netlink::{DestReply, ServiceKey, ServiceReply};

/// Sorts by "comes after": whether the first comes after the second.
fn merge_sort<T>(items: Vec<T>, after: &impl Fn(&T, &T) -> bool) -> Vec<T> {
    let length = items.len();
    if length < 2 {
        return items;
    }
    let mut left = items;
    let right = left.split_off(length / 2);
    let mut right = merge_sort(right, after).into_iter().peekable();
    let mut sorted = Vec::with_capacity(length);
    for item in merge_sort(left, after) {
        while let Some(smaller) = right.next_if(|other| after(&item, other)) {
            sorted.push(smaller);
        }
        sorted.push(item);
    }
    sorted.extend(right);
    sorted
}

/// The sign that a C int has after subtracting two u32.
const fn difference(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// An address as four 32-bit words in host order; IPv4 in the first.
fn address_words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(v4) => [u32::from(v4), 0, 0, 0],
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            [96, 64, 32, 0].map(|shift| low_word(bits >> shift))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low 32 bits are what is meant"
)]
const fn low_word(bits: u128) -> u32 {
    bits as u32
}

/// Compares all four words if the first address is IPv6, else the first word only: two addresses of
/// different families are compared as well.
fn address_difference(a: IpAddr, b: IpAddr) -> i32 {
    let count = if a.is_ipv6() { 4 } else { 1 };
    let pairs = address_words(a)
        .into_iter()
        .zip(address_words(b))
        .take(count);
    pairs
        .map(|(a, b)| difference(a, b))
        .find(|sign| *sign != 0)
        .unwrap_or(0)
}

/// Services: by mark, family, protocol, address, port.
pub(super) fn services(services: Vec<ServiceReply>) -> Vec<ServiceReply> {
    let parts = |key: ServiceKey| match key {
        ServiceKey::Mark { mark, .. } => (mark, 6, None, 0),
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => (0, protocol, Some(address), port),
    };
    merge_sort(services, &|a, b| {
        let (mark_a, protocol_a, address_a, port_a) = parts(a.key);
        let (mark_b, protocol_b, address_b, port_b) = parts(b.key);
        let family = |service: &ServiceReply| i32::from(service.key.family().number());
        let signs = [
            difference(mark_a, mark_b),
            family(a) - family(b),
            i32::from(protocol_a) - i32::from(protocol_b),
            match (address_a, address_b) {
                (Some(a), Some(b)) => address_difference(a, b),
                _ => 0,
            },
            i32::from(port_a) - i32::from(port_b),
        ];
        first_sign(&signs) > 0
    })
}

/// Destinations: by address, port.
pub(super) fn dests(dests: Vec<DestReply>) -> Vec<DestReply> {
    merge_sort(dests, &|a, b| {
        let ports = i32::from(a.key.port) - i32::from(b.key.port);
        first_sign(&[address_difference(a.key.address, b.key.address), ports]) > 0
    })
}

fn first_sign(signs: &[i32]) -> i32 {
    signs.iter().copied().find(|sign| *sign != 0).unwrap_or(0)
}

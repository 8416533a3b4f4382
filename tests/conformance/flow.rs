//! Whose packet a frame is, and what becomes of its connection, in the words of `/proc/net/ip_vs_conn`.

use crate::decode;
use crate::recording::{Entry, Port};

/// A client's address and port, as `/proc/net/ip_vs_conn` prints them.
pub(crate) type Client = (String, String);

/// The client's endpoint of a TCP, UDP or SCTP frame, as `/proc/net/ip_vs_conn` prints it.
pub(crate) fn client(port: Port, frame: &[u8]) -> Option<Client> {
    let v4 = frame.get(12..14)? == [8, 0];
    let (upper, address_len, source) = if v4 {
        (14 + usize::from(frame.get(14)? & 15) * 4, 4, 26)
    } else {
        (54, 16, 22)
    };
    let (address, number) = match port {
        Port::Client => (source, upper),
        Port::Server => (source + address_len, upper + 2),
    };
    let octets = frame.get(address..address + address_len)?;
    let text = if v4 {
        decode::hex(octets, 4).to_uppercase()
    } else {
        octets
            .chunks(2)
            .map(|pair| decode::hex(pair, 2))
            .collect::<Vec<_>>()
            .join(":")
    };
    let number = frame.get(number..number + 2)?;
    Some((text, decode::hex(number, 2).to_uppercase()))
}

/// Whether the frame asks for a new TCP connection.
pub(crate) fn begins(frame: &[u8]) -> bool {
    let (protocol, upper) = match frame.get(12..14) {
        Some([8, 0]) => (
            frame.get(23),
            14 + usize::from(frame.get(14).copied().unwrap_or(0) & 15) * 4,
        ),
        _ => (frame.get(20), 54),
    };
    protocol == Some(&6) && frame.get(upper + 13).is_some_and(|flags| flags & 2 != 0)
}

/// Same states, remaining times within a second; entries without time left do not count (the kernel
/// removes an entry that was replaced one tick later).
pub(crate) fn same_entries(kernel: &[Entry], ours: &[Entry]) -> bool {
    let alive = |entries: &[Entry]| {
        let mut list: Vec<(String, i64)> = entries
            .iter()
            .filter(|(_, seconds)| seconds != "0")
            .map(|(state, seconds)| (state.clone(), seconds.parse().unwrap_or(-1)))
            .collect();
        list.sort();
        list
    };
    let (kernel, ours) = (alive(kernel), alive(ours));
    kernel.len() == ours.len()
        && kernel
            .iter()
            .zip(&ours)
            .all(|(kernel, ours)| kernel.0 == ours.0 && kernel.1.abs_diff(ours.1) <= 1)
}

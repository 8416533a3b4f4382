//! Version 0: a header of 4 octets, then entries of 24 octets (48 with sequence number shifts). IPv4 alone, no
//! lifetimes. Numbers in network order, but for the shifts: those are in the sender's own, as in the kernel.

use core::net::IpAddr;

use director::sync::{Entry, FLAGS_SEQUENCE, SequenceShift};

use super::Problem;

/// Octets of an entry without shifts.
const ENTRY: usize = 24;
/// Octets of the shifts.
const SHIFTS: usize = 24;

/// An entry's octets; `None` when the version has no form for it (IPv6).
pub(super) fn write(entry: &Entry) -> Option<Vec<u8>> {
    let [client, virtual_server, server] = [entry.client, entry.virtual_server, entry.server];
    let mut octets = Vec::with_capacity(ENTRY);
    octets.extend([0, entry.protocol]);
    for (_, port) in [client, virtual_server, server] {
        octets.extend(port.to_be_bytes());
    }
    for (address, _) in [client, virtual_server, server] {
        let IpAddr::V4(address) = address else {
            return None;
        };
        octets.extend(address.octets());
    }
    let [_, _, high, low] = entry.flags.to_be_bytes();
    octets.extend([high, low]);
    octets.extend(entry.state.to_be_bytes());
    if entry.flags & FLAGS_SEQUENCE != 0 {
        for shift in entry.shifts.unwrap_or_default() {
            for number in [shift.initial, shift.delta, shift.previous_delta] {
                octets.extend(number.to_ne_bytes());
            }
        }
    }
    Some(octets)
}

/// Reads entries one after the other.
pub(super) fn read(count: u8, mut body: &[u8], entries: &mut Vec<Entry>) -> Result<(), Problem> {
    for _ in 0..count {
        let (entry, rest) = body
            .split_first_chunk::<ENTRY>()
            .ok_or(Problem::Truncated)?;
        let mut entry = read_entry(entry);
        body = rest;
        if entry.flags & FLAGS_SEQUENCE != 0 {
            let (value, rest) = body
                .split_first_chunk::<SHIFTS>()
                .ok_or(Problem::Truncated)?;
            entry.shifts = Some(shifts(value, u32::from_ne_bytes));
            body = rest;
        }
        entries.push(entry);
    }
    Ok(())
}

fn read_entry(octets: &[u8; ENTRY]) -> Entry {
    let &[
        _,
        protocol,
        c0,
        c1,
        v0,
        v1,
        d0,
        d1,
        ca,
        cb,
        cc,
        cd,
        va,
        vb,
        vc,
        vd,
        da,
        db,
        dc,
        dd,
        f0,
        f1,
        s0,
        s1,
    ] = octets;
    Entry {
        protocol,
        flags: u16::from_be_bytes([f0, f1]).into(),
        state: u16::from_be_bytes([s0, s1]),
        client: ([ca, cb, cc, cd].into(), u16::from_be_bytes([c0, c1])),
        virtual_server: ([va, vb, vc, vd].into(), u16::from_be_bytes([v0, v1])),
        server: ([da, db, dc, dd].into(), u16::from_be_bytes([d0, d1])),
        mark: 0,
        timeout: 0,
        shifts: None,
        engine: None,
    }
}

/// Shifts in both directions, towards the real server first.
pub(super) fn shifts(octets: &[u8; SHIFTS], number: fn([u8; 4]) -> u32) -> [SequenceShift; 2] {
    let (words, _) = octets.as_chunks::<4>();
    let at = |index: usize| words.get(index).copied().map_or(0, number);
    [0, 3].map(|first| SequenceShift {
        initial: at(first),
        delta: at(first + 1),
        previous_delta: at(first + 2),
    })
}

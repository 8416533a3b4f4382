//! The program that acts: on the TCX hook, it sends on what the filter took.
//!
//! What becomes of a frame is what the director does with it: one off the TTL or hop limit, with NAT
//! one address and port and the checksums over them, new link addresses, out by the interface that
//! the flow's entry names. A frame that the filter did not take goes to the next program; if it is of
//! a flow that waits to be taken over, it is counted: sockets that see frames on their way in have it
//! by now.

use super::filter_program::Maps;
use super::layout::{
    ADDRESS, ADDRESS_CHANGE, ADDRESS_FLAGS, CELL_DATAGRAM, CELL_FLOW, CELL_FRAME, CELL_INTERFACE,
    CELL_TAKEN, CHECKSUM_AT, DELIVERED, EGRESS, HEADER_CHANGE, IPV4, IPV4_HEADER, IPV6_HEADER,
    LAST, LINK, MACS, NEW_PORT, OCTETS, OLD_PORT, PACKETS, PORT_FLAGS, SKB_DATA, SKB_DATA_END,
    SKB_INTERFACE, SKB_LEN, SKB_PROTOCOL, SOURCE, TRANSLATES,
};
use crate::ebpf::{
    Assembler, BYTE, DOUBLE, FRAME, HALF, Label, MAP_LOOKUP_ELEM, R0, R1, R2, R3, R4, R5, WORD,
    network_order,
};

// Helper functions, by the kernel's numbers.
const L4_CSUM_REPLACE: i32 = 11;
const REDIRECT: i32 = 23;
const SKB_CHANGE_TAIL: i32 = 38;
const SKB_PULL_DATA: i32 = 39;
const CSUM_UPDATE: i32 = 40;
const KTIME_GET_COARSE_NS: i32 = 160;

/// `TCX_NEXT`.
const NEXT: i32 = -1;
/// `TCX_DROP`.
const DROP: i32 = 2;

/// The `__sk_buff`.
const SKB: u8 = 6;
/// What the filter left.
const CELL: u8 = 7;
/// The flow's entry.
const FLOW: u8 = 8;
/// Where the frame begins.
const DATA: u8 = 9;

/// An entry's number on the stack.
const ENTRY_AT: i16 = -8;

/// The program.
pub(super) fn build(maps: Maps) -> Vec<[u8; 8]> {
    let mut program = Assembler::default();
    let (next, drop) = (program.label(), program.label());
    program.copy(SKB, R1);
    program.store_constant(WORD, ENTRY_AT, 0);
    look_up(&mut program, maps.cell, next);
    program.copy(CELL, R0);
    program.load(WORD, R1, CELL, CELL_FLOW);
    program.jump_if_equal(R1, 0, next);
    program.store(WORD, ENTRY_AT, R1);
    program.store_constant_at(WORD, CELL, CELL_FLOW, 0);
    for (field, of) in [(CELL_INTERFACE, SKB_INTERFACE), (CELL_FRAME, SKB_LEN)] {
        program.load(WORD, R1, CELL, field);
        program.load(WORD, R2, SKB, of);
        program.jump_if_different(R1, R2, next);
    }
    look_up(&mut program, maps.flows, next);
    program.copy(FLOW, R0);
    program.load(WORD, R1, CELL, CELL_TAKEN);
    let taken = program.label();
    program.jump_if_not_equal(R1, 0, taken);
    program.set(R1, 1);
    // Seen after the frame in its ring.
    program.fetch_and_add(FLOW, DELIVERED, R1);
    program.jump(next);
    program.place(taken);
    count(&mut program);
    trim(&mut program, drop);
    rewrite(&mut program, drop);
    program.load(WORD, R1, FLOW, EGRESS);
    program.set(R2, 0);
    program.call(REDIRECT);
    program.exit();
    program.place(drop);
    program.set(R0, DROP);
    program.exit();
    program.place(next);
    program.set(R0, NEXT);
    program.exit();
    program.finish()
}

fn look_up(program: &mut Assembler, map: std::os::fd::RawFd, next: Label) {
    program.load_map(R1, map);
    program.copy(R2, FRAME);
    program.add_constant(R2, ENTRY_AT.into());
    program.call(MAP_LOOKUP_ELEM);
    program.jump_if_equal(R0, 0, next);
}

fn count(program: &mut Assembler) {
    program.set(R1, 1);
    program.add_to_memory(FLOW, PACKETS, R1);
    program.load(WORD, R1, CELL, CELL_DATAGRAM);
    program.add_to_memory(FLOW, OCTETS, R1);
    program.call(KTIME_GET_COARSE_NS);
    program.store_at(DOUBLE, FLOW, LAST, R0);
}

/// Padding goes.
fn trim(program: &mut Assembler, drop: Label) {
    let exact = program.label();
    program.load(WORD, R2, CELL, CELL_DATAGRAM);
    program.add_constant(R2, LINK.into());
    program.load(WORD, R1, SKB, SKB_LEN);
    // The filter lets nothing through that is cut short.
    program.jump_if_beyond(R2, R1, drop);
    let padded = program.label();
    program.jump_if_different(R1, R2, padded);
    program.jump(exact);
    program.place(padded);
    program.copy(R1, SKB);
    program.set(R3, 0);
    program.call(SKB_CHANGE_TAIL);
    program.jump_if_not_equal(R0, 0, drop);
    program.place(exact);
}

fn rewrite(program: &mut Assembler, drop: Label) {
    let (v6, done) = (program.label(), program.label());
    let plain = program.label();
    program.load(WORD, R1, FLOW, TRANSLATES);
    program.jump_if_equal(R1, 0, plain);
    transport_checksum(program, drop);
    program.place(plain);
    program.load(WORD, R1, SKB, SKB_PROTOCOL);
    program.jump_if_not_equal(R1, network_order(IPV4), v6);
    reach(program, LINK + IPV4_HEADER + 4, drop);
    ipv4(program, done);
    program.place(v6);
    reach(program, LINK + IPV6_HEADER + 4, drop);
    ipv6(program);
    program.place(done);
    for word in [0, 4, 8] {
        program.load(WORD, R1, FLOW, MACS + word);
        program.store_at(WORD, DATA, word, R1);
    }
}

/// The checksum of TCP or UDP for the new address and port. In a partial one the port is not yet.
fn transport_checksum(program: &mut Assembler, drop: Label) {
    let counted = program.label();
    program.copy(R1, SKB);
    program.load(WORD, R2, FLOW, CHECKSUM_AT);
    program.set(R3, 0);
    program.load(WORD, R4, FLOW, ADDRESS_CHANGE);
    program.load(WORD, R5, FLOW, ADDRESS_FLAGS);
    program.call(L4_CSUM_REPLACE);
    program.jump_if_not_equal(R0, 0, drop);
    // The helper takes the change out of the device's sum over the datagram, as IPv4's header checksum does. IPv6
    // has none: what the address adds and what the checksum takes are even.
    program.load(WORD, R1, SKB, SKB_PROTOCOL);
    program.jump_if_equal(R1, network_order(IPV4), counted);
    program.copy(R1, SKB);
    program.load(WORD, R2, FLOW, ADDRESS_CHANGE);
    program.call(CSUM_UPDATE);
    program.place(counted);
    program.copy(R1, SKB);
    program.load(WORD, R2, FLOW, CHECKSUM_AT);
    program.load(HALF, R3, FLOW, OLD_PORT);
    program.load(HALF, R4, FLOW, NEW_PORT);
    program.load(WORD, R5, FLOW, PORT_FLAGS);
    program.call(L4_CSUM_REPLACE);
    program.jump_if_not_equal(R0, 0, drop);
}

/// DATA = the frame's first `len` octets, which lie in a row.
fn reach(program: &mut Assembler, len: i16, drop: Label) {
    let there = program.label();
    let check = |program: &mut Assembler| {
        program.load(WORD, DATA, SKB, SKB_DATA);
        program.load(WORD, R2, SKB, SKB_DATA_END);
        program.copy(R1, DATA);
        program.add_constant(R1, len.into());
    };
    check(program);
    program.jump_if_within(R1, R2, there);
    program.copy(R1, SKB);
    program.set(R2, len.into());
    program.call(SKB_PULL_DATA);
    check(program);
    program.jump_if_beyond(R1, R2, drop);
    program.place(there);
}

/// TTL and header checksum (RFC 1624, equation 3), address and port.
fn ipv4(program: &mut Assembler, done: Label) {
    const TTL: i16 = LINK + 8;
    const CHECKSUM: i16 = LINK + 10;
    program.load(HALF, R1, DATA, TTL);
    program.load(BYTE, R2, DATA, TTL);
    program.add_constant(R2, -1);
    program.store_at(BYTE, DATA, TTL, R2);
    program.load(HALF, R2, DATA, TTL);
    program.load(HALF, R3, DATA, CHECKSUM);
    program.exclusive_or(R3, 0xffff);
    program.exclusive_or(R1, 0xffff);
    program.add(R3, R1);
    program.add(R3, R2);
    program.load(WORD, R1, FLOW, HEADER_CHANGE);
    program.add(R3, R1);
    for _ in 0..2 {
        program.copy(R1, R3);
        program.shift_right(R1, 16);
        program.and(R3, 0xffff);
        program.add(R3, R1);
    }
    program.exclusive_or(R3, 0xffff);
    program.store_at(HALF, DATA, CHECKSUM, R3);
    let transport = LINK + IPV4_HEADER;
    endpoint(program, WORD, [LINK + 12, LINK + 16], transport, done);
}

fn ipv6(program: &mut Assembler) {
    const HOP_LIMIT: i16 = LINK + 7;
    program.load(BYTE, R1, DATA, HOP_LIMIT);
    program.add_constant(R1, -1);
    program.store_at(BYTE, DATA, HOP_LIMIT, R1);
    let done = program.label();
    let transport = LINK + IPV6_HEADER;
    endpoint(program, DOUBLE, [LINK + 8, LINK + 24], transport, done);
    program.place(done);
}

/// Address and port, source or destination, where they are translated. With [`DOUBLE`] the address has two of them.
fn endpoint(program: &mut Assembler, width: u8, addresses: [i16; 2], transport: i16, done: Label) {
    let [source, destination] = addresses;
    let to_source = program.label();
    program.load(WORD, R1, FLOW, TRANSLATES);
    program.jump_if_equal(R1, 0, done);
    program.load(HALF, R2, FLOW, NEW_PORT);
    program.load(width, R3, FLOW, ADDRESS);
    program.load(width, R4, FLOW, ADDRESS + 8);
    program.jump_if_equal(R1, SOURCE.cast_signed(), to_source);
    let write = |program: &mut Assembler, address, port| {
        program.store_at(HALF, DATA, port, R2);
        program.store_at(width, DATA, address, R3);
        if width == DOUBLE {
            program.store_at(width, DATA, address + 8, R4);
        }
        program.jump(done);
    };
    write(program, destination, transport + 2);
    program.place(to_source);
    write(program, source, transport);
}

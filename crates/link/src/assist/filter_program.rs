//! The program that decides: it filters what the director's packet sockets receive.
//!
//! A frame is taken when the map has its flow, as the state of things is now, and it needs no
//! judgement:
//! ```text
//! to this host's link address, no 802.1Q tag
//! IPv4 without options, whole, its header checksum right; or IPv6 without extension headers
//! TTL or hop limit above 1
//! TCP with ACK, without FIN, SYN, RST and URG; or UDP, with a checksum where it is translated
//! no larger than what fits on the way, segments of a super-frame likewise
//! ```
//! What is taken does not arrive at the socket; the program on the TCX hook, which runs next for the
//! same frame on the same processor, finds the flow in the cell and sends the frame on.
//!
//! As long as the flow is not taken over, such a frame is counted and left to the director; when the
//! other program finds it in the cell, it stands in the socket's ring. So it can be told that no
//! frame is on its way there that a newer one would overtake.

use std::os::fd::RawFd;

use super::layout::{
    ARRIVED, CELL_DATAGRAM, CELL_FLOW, CELL_FRAME, CELL_INTERFACE, CELL_TAKEN, GENERATION, IPV4,
    IPV4_HEADER, IPV6, IPV6_HEADER, LINK, MTU, SKB_GSO_SIZE, SKB_INTERFACE, SKB_LEN,
    SKB_PACKET_TYPE, SKB_PROTOCOL, SKB_VLAN_PRESENT, TAKEN_OVER, TCP, TRANSLATES, UDP, UDP_BIT,
};
use crate::ebpf::{
    Assembler, BYTE, DOUBLE, FRAME, HALF, Label, MAP_LOOKUP_ELEM, R0, R1, R2, R3, R4, WORD,
    network_order,
};

/// `bpf_skb_load_bytes`: R1 the frame, R2 an offset, R3 where to, R4 how many octets; R0 = 0.
const SKB_LOAD_BYTES: i32 = 26;

/// The `__sk_buff`.
const SKB: u8 = 6;
/// What is left for the program behind.
const CELL: u8 = 7;
/// Where the transport header is; then the largest datagram that leaves.
const SIZE: u8 = 8;
/// Octets of the IP datagram.
const DATAGRAM: u8 = 9;

// The stack, offsets from its end.
const KEY_AT: i16 = -40;
const DESTINATION_AT: i16 = KEY_AT + 16;
const PORTS_AT: i16 = KEY_AT + 32;
const INTERFACE_AT: i16 = KEY_AT + 36;
/// An entry's number.
const ENTRY_AT: i16 = -48;
/// IP header and the first 8 octets behind.
const HEADER_AT: i16 = -96;
/// Data offset and flags of TCP.
const FLAGS_AT: i16 = -104;
const PROTOCOL_AT: i16 = -112;
/// Of UDP.
const CHECKSUM_AT: i16 = -120;
const GENERATION_AT: i16 = -128;

/// FIN, SYN, RST, ACK, URG.
const TCP_FLAGS: i32 = 0x37;
const TCP_ACK: i32 = 0x10;

/// Descriptors of the maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maps {
    /// Entries by key.
    pub(super) keys: RawFd,
    /// Entries.
    pub(super) flows: RawFd,
    /// What is left for the program behind.
    pub(super) cell: RawFd,
}

/// The program.
pub(super) fn build(maps: Maps) -> Vec<[u8; 8]> {
    let mut program = Assembler::default();
    let (v4, v6) = (program.label(), program.label());
    let (parsed, pass, taken) = (program.label(), program.label(), program.label());
    program.copy(SKB, R1);
    program.store_constant(WORD, ENTRY_AT, 0);
    look_up(&mut program, maps.cell, ENTRY_AT, pass);
    program.copy(CELL, R0);
    program.store_constant_at(WORD, CELL, CELL_FLOW, 0);
    for field in [SKB_PACKET_TYPE, SKB_VLAN_PRESENT] {
        program.load(WORD, R1, SKB, field);
        program.jump_if_not_equal(R1, 0, pass);
    }
    program.load(WORD, R1, SKB, SKB_PROTOCOL);
    program.jump_if_equal(R1, network_order(IPV4), v4);
    program.jump_if_equal(R1, network_order(IPV6), v6);
    program.jump(pass);
    program.place(v4);
    ipv4(&mut program, parsed, pass);
    program.place(v6);
    ipv6(&mut program, pass);
    program.place(parsed);
    length(&mut program, pass);
    transport(&mut program, pass);
    find(&mut program, maps, pass);
    count(&mut program, taken);
    tell(&mut program, 0);
    program.jump(pass);
    program.place(taken);
    tell(&mut program, 1);
    program.set(R0, 0);
    program.exit();
    program.place(pass);
    program.set(R0, -1);
    program.exit();
    program.finish()
}

/// R0 = the value of the key on the stack; without one the frame passes.
fn look_up(program: &mut Assembler, map: RawFd, key: i16, pass: Label) {
    program.load_map(R1, map);
    program.copy(R2, FRAME);
    program.add_constant(R2, key.into());
    program.call(MAP_LOOKUP_ELEM);
    program.jump_if_equal(R0, 0, pass);
}

/// Copies octets of the frame to the stack; what is too short passes.
fn load(program: &mut Assembler, to: i16, len: i32, pass: Label) {
    program.copy(R1, SKB);
    program.copy(R3, FRAME);
    program.add_constant(R3, to.into());
    program.set(R4, len);
    program.call(SKB_LOAD_BYTES);
    program.jump_if_not_equal(R0, 0, pass);
}

fn ipv4(program: &mut Assembler, parsed: Label, pass: Label) {
    program.set(R2, LINK.into());
    load(program, HEADER_AT, i32::from(IPV4_HEADER) + 8, pass);
    program.load(BYTE, R1, FRAME, HEADER_AT);
    program.jump_if_not_equal(R1, 0x45, pass);
    program.load(HALF, R1, FRAME, HEADER_AT + 6);
    program.jump_if_any(R1, network_order(0x3fff), pass);
    program.load(BYTE, R1, FRAME, HEADER_AT + 8);
    program.jump_if_below(R1, 2, pass);
    checksum(program, pass);
    program.load(HALF, DATAGRAM, FRAME, HEADER_AT + 2);
    program.host_order(DATAGRAM);
    for place in [KEY_AT, DESTINATION_AT] {
        program.store_constant(DOUBLE, place, 0);
        program.store_constant(WORD, place + 8, i32::from_ne_bytes([0, 0, 0xff, 0xff]));
    }
    program.move_stack(WORD, HEADER_AT + 12, KEY_AT + 12);
    program.move_stack(WORD, HEADER_AT + 16, DESTINATION_AT + 12);
    program.move_stack(WORD, HEADER_AT + IPV4_HEADER, PORTS_AT);
    program.move_stack(HALF, HEADER_AT + IPV4_HEADER + 6, CHECKSUM_AT);
    program.load(BYTE, R1, FRAME, HEADER_AT + 9);
    program.store(WORD, PROTOCOL_AT, R1);
    program.set(SIZE, (LINK + IPV4_HEADER).into());
    program.jump(parsed);
}

/// The header's words add up to all ones (RFC 1071).
fn checksum(program: &mut Assembler, pass: Label) {
    program.load(WORD, R1, FRAME, HEADER_AT);
    for place in [4, 8, 12, 16] {
        program.load(WORD, R2, FRAME, HEADER_AT + place);
        program.add(R1, R2);
    }
    // 35 bits, then 20, then 17, then 16.
    for _ in 0..3 {
        program.copy(R2, R1);
        program.shift_right(R2, 16);
        program.and(R1, 0xffff);
        program.add(R1, R2);
    }
    program.jump_if_not_equal(R1, 0xffff, pass);
}

fn ipv6(program: &mut Assembler, pass: Label) {
    program.set(R2, LINK.into());
    load(program, HEADER_AT, i32::from(IPV6_HEADER) + 8, pass);
    program.load(BYTE, R1, FRAME, HEADER_AT);
    program.shift_right(R1, 4);
    program.jump_if_not_equal(R1, 6, pass);
    program.load(BYTE, R1, FRAME, HEADER_AT + 7);
    program.jump_if_below(R1, 2, pass);
    program.load(HALF, DATAGRAM, FRAME, HEADER_AT + 4);
    program.host_order(DATAGRAM);
    program.add_constant(DATAGRAM, IPV6_HEADER.into());
    for half in [0, 8] {
        program.move_stack(DOUBLE, HEADER_AT + 8 + half, KEY_AT + half);
        program.move_stack(DOUBLE, HEADER_AT + 24 + half, DESTINATION_AT + half);
    }
    program.move_stack(WORD, HEADER_AT + IPV6_HEADER, PORTS_AT);
    program.move_stack(HALF, HEADER_AT + IPV6_HEADER + 6, CHECKSUM_AT);
    program.load(BYTE, R1, FRAME, HEADER_AT + 6);
    program.store(WORD, PROTOCOL_AT, R1);
    program.set(SIZE, (LINK + IPV6_HEADER).into());
}

/// The datagram is in the frame; a super-frame has nothing behind it.
fn length(program: &mut Assembler, pass: Label) {
    let fits = program.label();
    program.load(WORD, R1, SKB, SKB_LEN);
    program.copy(R2, DATAGRAM);
    program.add_constant(R2, LINK.into());
    program.jump_if_beyond(R2, R1, pass);
    program.load(WORD, R3, SKB, SKB_GSO_SIZE);
    program.jump_if_equal(R3, 0, fits);
    program.jump_if_different(R1, R2, pass);
    program.place(fits);
}

/// Nothing but data and acknowledgments; then the size of what leaves.
fn transport(program: &mut Assembler, pass: Label) {
    let (tcp, sized, whole, done) = (
        program.label(),
        program.label(),
        program.label(),
        program.label(),
    );
    program.load(WORD, R1, SKB, SKB_INTERFACE);
    program.load(WORD, R2, FRAME, PROTOCOL_AT);
    program.jump_if_equal(R2, TCP, tcp);
    program.jump_if_not_equal(R2, UDP, pass);
    program.set(R2, 1);
    program.shift_left(R2, UDP_BIT.ilog2().cast_signed());
    program.or(R1, R2);
    program.store(WORD, INTERFACE_AT, R1);
    program.add_constant(SIZE, 8);
    program.jump(sized);

    program.place(tcp);
    program.store(WORD, INTERFACE_AT, R1);
    program.copy(R2, SIZE);
    program.add_constant(R2, 12);
    load(program, FLAGS_AT, 2, pass);
    program.load(BYTE, R1, FRAME, FLAGS_AT + 1);
    program.and(R1, TCP_FLAGS);
    program.jump_if_not_equal(R1, TCP_ACK, pass);
    program.load(BYTE, R1, FRAME, FLAGS_AT);
    program.shift_right(R1, 4);
    program.jump_if_below(R1, 5, pass);
    program.shift_left(R1, 2);
    program.add(SIZE, R1);

    program.place(sized);
    program.copy(R1, DATAGRAM);
    program.add_constant(R1, LINK.into());
    program.jump_if_beyond(SIZE, R1, pass);
    program.load(WORD, R1, SKB, SKB_GSO_SIZE);
    program.jump_if_equal(R1, 0, whole);
    program.add(SIZE, R1);
    program.add_constant(SIZE, (-LINK).into());
    program.jump(done);
    program.place(whole);
    program.copy(SIZE, DATAGRAM);
    program.place(done);
}

/// The flow's entry, if it is of the present generation and the datagram fits.
fn find(program: &mut Assembler, maps: Maps, pass: Label) {
    let plain = program.label();
    look_up(program, maps.flows, ENTRY_AT, pass);
    program.move_to_stack(DOUBLE, (R0, GENERATION), GENERATION_AT);
    look_up(program, maps.keys, KEY_AT, pass);
    program.move_to_stack(WORD, (R0, 0), ENTRY_AT);
    look_up(program, maps.flows, ENTRY_AT, pass);
    program.load(DOUBLE, R1, R0, GENERATION);
    program.load(DOUBLE, R2, FRAME, GENERATION_AT);
    program.jump_if_different(R1, R2, pass);
    program.load(WORD, R1, R0, MTU);
    program.jump_if_beyond(SIZE, R1, pass);
    program.load(WORD, R1, R0, TRANSLATES);
    program.jump_if_equal(R1, 0, plain);
    program.load(WORD, R1, FRAME, PROTOCOL_AT);
    program.jump_if_not_equal(R1, UDP, plain);
    // It would have to be computed.
    program.load(HALF, R1, FRAME, CHECKSUM_AT);
    program.jump_if_equal(R1, 0, pass);
    program.place(plain);
}

/// R0 is the flow's entry: counts a frame of one that is not taken over.
fn count(program: &mut Assembler, taken: Label) {
    let over = TAKEN_OVER.cast_signed();
    program.load(DOUBLE, R1, R0, ARRIVED);
    program.jump_if_any(R1, over, taken);
    program.set(R1, 1);
    program.fetch_and_add(R0, ARRIVED, R1);
    program.jump_if_any(R1, over, taken);
}

/// Leaves the frame's flow for the program behind.
fn tell(program: &mut Assembler, taken: i32) {
    program.store_constant_at(WORD, CELL, CELL_TAKEN, taken);
    for (field, from) in [(CELL_INTERFACE, SKB_INTERFACE), (CELL_FRAME, SKB_LEN)] {
        program.load(WORD, R1, SKB, from);
        program.store_at(WORD, CELL, field, R1);
    }
    program.store_at(WORD, CELL, CELL_DATAGRAM, DATAGRAM);
    program.load(WORD, R1, FRAME, ENTRY_AT);
    program.store_at(WORD, CELL, CELL_FLOW, R1);
}

//! The XDP program (RFC 9669 instruction set), written out by a small assembler. Of the frames of an
//! interface it gives to the AF_XDP socket of their receive queue:
//! ```text
//! Ethernet, at most one 802.1Q tag, no longer than a socket's chunk holds
//! IPv4 without options, or IPv6 without extension headers; no fragment
//! UDP, and TCP where that is asked for
//! of a flow that the guard's rules name:
//!     to an owned virtual address, to a service, or from a real server and not to the host
//! ```
//! Everything else passes, to packet sockets and the host, and so does what is for a queue without
//! a socket. Nothing is dropped or changed.

use std::os::fd::RawFd;

use crate::ebpf::{Assembler, BYTE, HALF, Label, R0, R1, R2, R3, WORD, network_order};
use crate::guard::matching::{self, DESTINATION_AT, PORTS_AT, PROTOCOL, SOURCE_AT};

/// What a program is built for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The map of the guard's rules.
    pub(super) flows: RawFd,
    /// The map of sockets.
    pub(super) sockets: RawFd,
    /// Octets of the longest frame that a socket takes.
    pub(super) capacity: u32,
    /// Whether TCP goes to the sockets too.
    pub(super) tcp: bool,
    /// Whether frames may come in several pieces, and the kernel can tell (Linux 5.18).
    pub(super) pieces: bool,
}

/// `XDP_PASS`.
const PASS: i32 = 2;
/// `bpf_redirect_map`: R1 the map, R2 the key, R3 the result where there is no such entry.
const REDIRECT_MAP: i32 = 51;
/// `bpf_xdp_get_buff_len`: R1 the frame; R0 = the octets of all its pieces.
const XDP_GET_BUFF_LEN: i32 = 188;

// struct xdp_md
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE_INDEX: i16 = 16;

/// Register of the `xdp_md`.
const CONTEXT: u8 = 6;
/// Register of the frame's first octet; behind a tag, 4 octets further.
const DATA_START: u8 = 8;
/// Register of the frame's end.
const END: u8 = 9;

// Offsets in a frame without tag.
const ETHERTYPE: i16 = 12;
const NETWORK: i16 = 14;
const TAG: i16 = 4;

const TCP: i32 = 6;
const UDP: i32 = 17;

/// The program's instructions.
pub(super) fn build(plan: Plan) -> Vec<[u8; 8]> {
    let mut code = Assembler::default();
    let labels = [(); 6].map(|()| code.label());
    let [pass, hit, sender, v4, v6, parsed] = labels;
    frame(&mut code, plan, pass);
    ethertype(&mut code, v4, v6, pass);
    code.place(v4);
    ipv4(&mut code, plan, pass);
    code.jump(parsed);
    code.place(v6);
    ipv6(&mut code, plan, pass);
    code.place(parsed);
    matching::owned(&mut code, plan.flows, hit);
    matching::flow(&mut code, plan.flows, sender, hit, pass);
    code.place(hit);
    code.load_map(R1, plan.sockets);
    code.load(WORD, R2, CONTEXT, RX_QUEUE_INDEX);
    code.set(R3, PASS);
    code.call(REDIRECT_MAP);
    code.exit();
    code.place(pass);
    code.set(R0, PASS);
    code.exit();
    code.finish()
}

/// Loads where the frame is; what a socket does not take whole passes.
///
/// Here and below, constants alone are added to pointers, and pointers are compared and not
/// subtracted: everything else would take `CAP_PERFMON`.
fn frame(code: &mut Assembler, plan: Plan, pass: Label) {
    let capacity = i32::try_from(plan.capacity).unwrap_or(i32::MAX);
    code.copy(CONTEXT, R1);
    if plan.pieces {
        code.call(XDP_GET_BUFF_LEN);
        code.jump_if_above(R0, capacity, pass);
    }
    code.load(WORD, DATA_START, CONTEXT, DATA);
    code.load(WORD, END, CONTEXT, DATA_END);
    code.copy(R2, DATA_START);
    code.add_constant(R2, capacity);
    code.jump_if_beyond(END, R2, pass);
}

/// Passes unless `len` octets from the frame's first on are there.
fn need(code: &mut Assembler, len: i16, pass: Label) {
    code.copy(R3, DATA_START);
    code.add_constant(R3, len.into());
    code.jump_if_beyond(R3, END, pass);
}

/// Jumps by the EtherType, behind a tag where there is one.
fn ethertype(code: &mut Assembler, v4: Label, v6: Label, pass: Label) {
    let (tagged, known) = (code.label(), code.label());
    need(code, NETWORK + TAG, pass);
    code.load(HALF, R2, DATA_START, ETHERTYPE);
    for tag in [0x8100, 0x88a8] {
        code.jump_if_equal(R2, network_order(tag), tagged);
    }
    code.jump(known);
    code.place(tagged);
    code.add_constant(DATA_START, TAG.into());
    code.load(HALF, R2, DATA_START, ETHERTYPE);
    code.place(known);
    code.jump_if_equal(R2, network_order(0x86dd), v6);
    code.jump_if_not_equal(R2, network_order(0x0800), pass);
    code.jump(v4);
}

fn ipv4(code: &mut Assembler, plan: Plan, pass: Label) {
    need(code, NETWORK + 20, pass);
    for place in [SOURCE_AT, DESTINATION_AT] {
        code.store_constant(crate::ebpf::DOUBLE, place, 0);
        code.store_constant(WORD, place + 8, i32::from_ne_bytes([0, 0, 0xff, 0xff]));
    }
    code.move_to_stack(WORD, (DATA_START, NETWORK + 12), SOURCE_AT + 12);
    code.move_to_stack(WORD, (DATA_START, NETWORK + 16), DESTINATION_AT + 12);
    // Version 4 without options; no offset, nor more fragments.
    code.load(BYTE, R2, DATA_START, NETWORK);
    code.jump_if_not_equal(R2, 0x45, pass);
    code.load(HALF, R2, DATA_START, NETWORK + 6);
    code.and(R2, network_order(0x3fff));
    code.jump_if_not_equal(R2, 0, pass);
    protocol(code, NETWORK + 9, plan, pass);
    ports(code, NETWORK + 20, pass);
}

fn ipv6(code: &mut Assembler, plan: Plan, pass: Label) {
    need(code, NETWORK + 40, pass);
    // Words: what is more is not aligned in a frame.
    for word in [0, 4, 8, 12] {
        code.move_to_stack(WORD, (DATA_START, NETWORK + 8 + word), SOURCE_AT + word);
        code.move_to_stack(
            WORD,
            (DATA_START, NETWORK + 24 + word),
            DESTINATION_AT + word,
        );
    }
    protocol(code, NETWORK + 6, plan, pass);
    ports(code, NETWORK + 40, pass);
}

/// Loads the protocol that stands at that place, and passes unless it is one for the sockets.
fn protocol(code: &mut Assembler, at: i16, plan: Plan, pass: Label) {
    let known = code.label();
    code.load(BYTE, PROTOCOL, DATA_START, at);
    code.jump_if_equal(PROTOCOL, UDP, known);
    if plan.tcp {
        code.jump_if_equal(PROTOCOL, TCP, known);
    }
    code.jump(pass);
    code.place(known);
}

/// Puts the ports that stand at that place where the matching looks for them.
fn ports(code: &mut Assembler, at: i16, pass: Label) {
    need(code, at + 4, pass);
    code.move_to_stack(WORD, (DATA_START, at), PORTS_AT);
}

//! The guard's BPF program (RFC 9669 instruction set), written out by a small assembler.
//!
//! In short, for a frame that is IPv4 or IPv6:
//! ```text
//! destination is owned                                  -> drop
//! TCP, UDP or SCTP:
//!     destination is a service (by port or by any port) -> drop
//!     source is a real server (by port or by any port)
//!         and destination is not local                  -> drop
//! an ICMP error: the packet that it quotes
//!     was to a real server (by port or by any port)
//!         and the error's destination is not local      -> drop
//! otherwise                                             -> next
//! ```

use std::os::fd::RawFd;

use super::matching::{self, DESTINATION_AT, PORTS_AT, PROTOCOL, SOURCE_AT};
use crate::ebpf::{
    Assembler, BYTE, DOUBLE, FRAME, HALF, Label, R0, R1, R2, R3, R4, R5, WORD, network_order,
};

/// `TCX_NEXT`: on to the next program and the host's stack.
const NEXT: i32 = -1;
/// `TCX_DROP`.
const DROP: i32 = 2;

/// `bpf_skb_load_bytes_relative`.
const SKB_LOAD_BYTES_RELATIVE: i32 = 68;
/// `BPF_HDR_START_NET`: offsets count from the network header, with or without a link header.
const FROM_NETWORK: i32 = 1;
/// `offsetof(struct __sk_buff, protocol)`; the value is in network order.
const SKB_PROTOCOL: i16 = 16;

/// Register of the `__sk_buff`.
const SKB: u8 = 6;
/// Register of the upper-layer header's offset.
const TRANSPORT: u8 = 8;

/// Ports, or the first octets of an extension header.
const SCRATCH_AT: i16 = PORTS_AT;
/// IP header.
const HEADER_AT: i16 = -112;

/// Protocols whose header begins with the ports: TCP, UDP, SCTP.
const WITH_PORTS: [i32; 3] = [6, 17, 132];
const ICMP: i32 = 1;
const ICMPV6: i32 = 58;

/// IPv6 extension headers walked over.
const EXTENSIONS: usize = 6;

/// The program being written: its instructions, and where a packet's way through it ends.
struct Program {
    code: Assembler,
    map: RawFd,
    next: Label,
    drop: Label,
}

/// The program, for the map with that descriptor.
pub(super) fn build(map: RawFd) -> Vec<[u8; 8]> {
    let mut code = Assembler::default();
    let (next, drop) = (code.label(), code.label());
    let mut program = Program {
        code,
        map,
        next,
        drop,
    };
    let (v4, v6, parsed) = (
        program.code.label(),
        program.code.label(),
        program.code.label(),
    );
    program.code.copy(SKB, R1);
    program.code.load(WORD, R2, SKB, SKB_PROTOCOL);
    program.code.jump_if_equal(R2, network_order(0x0800), v4);
    program.code.jump_if_equal(R2, network_order(0x86dd), v6);
    let next = program.next;
    program.code.jump(next);
    program.code.place(v4);
    ipv4(&mut program, parsed);
    program.code.place(v6);
    ipv6(&mut program, parsed);
    program.code.place(parsed);
    decide(&mut program);
    program.code.finish()
}

fn ipv4(program: &mut Program, parsed: Label) {
    let unfragmented = program.code.label();
    program.load_packet(None, 0, HEADER_AT, 20);
    for place in [SOURCE_AT, DESTINATION_AT] {
        program.code.store_constant(DOUBLE, place, 0);
        program
            .code
            .store_constant(WORD, place + 8, i32::from_ne_bytes([0, 0, 0xff, 0xff]));
    }
    program
        .code
        .move_stack(WORD, HEADER_AT + 12, SOURCE_AT + 12);
    program
        .code
        .move_stack(WORD, HEADER_AT + 16, DESTINATION_AT + 12);
    program.code.load(BYTE, PROTOCOL, FRAME, HEADER_AT + 9);
    program.code.load(BYTE, TRANSPORT, FRAME, HEADER_AT);
    program.code.and(TRANSPORT, 15);
    program.code.shift_left(TRANSPORT, 2);
    program.code.load(HALF, R1, FRAME, HEADER_AT + 6);
    program.code.and(R1, network_order(0x1fff));
    program.code.jump_if_equal(R1, 0, unfragmented);
    program.code.set(PROTOCOL, 0);
    program.code.place(unfragmented);
    program.code.jump(parsed);
}

fn ipv6(program: &mut Program, parsed: Label) {
    program.load_packet(None, 0, HEADER_AT, 40);
    for half in [0, 8] {
        program
            .code
            .move_stack(DOUBLE, HEADER_AT + 8 + half, SOURCE_AT + half);
        program
            .code
            .move_stack(DOUBLE, HEADER_AT + 24 + half, DESTINATION_AT + half);
    }
    program.code.load(BYTE, PROTOCOL, FRAME, HEADER_AT + 6);
    program.code.set(TRANSPORT, 40);
    for _ in 0..EXTENSIONS {
        extension(program, parsed);
    }
}

/// Steps over one extension header, or jumps to `parsed` when there is none.
fn extension(program: &mut Program, parsed: Label) {
    const HOP_BY_HOP: i32 = 0;
    const ROUTING: i32 = 43;
    const FRAGMENT: i32 = 44;
    const DESTINATION_OPTIONS: i32 = 60;
    let (options, fragment, first, done) = (
        program.code.label(),
        program.code.label(),
        program.code.label(),
        program.code.label(),
    );
    for kind in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS] {
        program.code.jump_if_equal(PROTOCOL, kind, options);
    }
    program.code.jump_if_equal(PROTOCOL, FRAGMENT, fragment);
    program.code.jump(parsed);

    program.code.place(options);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 2);
    program.code.load(BYTE, PROTOCOL, FRAME, SCRATCH_AT);
    program.code.load(BYTE, R1, FRAME, SCRATCH_AT + 1);
    program.code.shift_left(R1, 3);
    program.code.add(TRANSPORT, R1);
    program.code.add_constant(TRANSPORT, 8);
    program.code.jump(done);

    program.code.place(fragment);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 4);
    program.code.load(BYTE, PROTOCOL, FRAME, SCRATCH_AT);
    program.code.add_constant(TRANSPORT, 8);
    program.code.load(HALF, R1, FRAME, SCRATCH_AT + 2);
    program.code.and(R1, network_order(0xfff8));
    program.code.jump_if_equal(R1, 0, first);
    program.code.set(PROTOCOL, 0);
    program.code.jump(parsed);
    program.code.place(first);
    program.code.place(done);
}

fn decide(program: &mut Program) {
    let Program {
        map, drop, next, ..
    } = *program;
    matching::owned(&mut program.code, map, drop);
    let (v4_error, v6_error) = (program.code.label(), program.code.label());
    let (ports, sender) = (program.code.label(), program.code.label());
    for protocol in WITH_PORTS {
        program.code.jump_if_equal(PROTOCOL, protocol, ports);
    }
    program.code.jump_if_equal(PROTOCOL, ICMP, v4_error);
    program.code.jump_if_equal(PROTOCOL, ICMPV6, v6_error);
    program.code.jump(next);
    quoted(program, v4_error, v6_error, sender);
    program.code.place(ports);
    program.load_packet(Some(TRANSPORT), 0, PORTS_AT, 4);
    matching::flow(&mut program.code, map, sender, drop, next);
    program.code.place(drop);
    program.code.set(R0, DROP);
    program.code.exit();
    program.code.place(next);
    program.code.set(R0, NEXT);
    program.code.exit();
}

/// Puts where the packet that an ICMP error quotes was to in the place of the error's own sender (address, protocol
/// and port), and jumps to `sender`. The quoted IPv4 header may have options; behind an IPv6 one extension headers
/// are walked over as in any packet.
fn quoted(program: &mut Program, v4: Label, v6: Label, sender: Label) {
    /// Octets of an error ahead of what it quotes.
    const HEADER: i32 = 8;
    let next = program.next;
    let (error, found, transport) = (
        program.code.label(),
        program.code.label(),
        program.code.label(),
    );
    program.code.place(v4);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 1);
    program.code.load(BYTE, R1, FRAME, SCRATCH_AT);
    for kind in super::TRANSLATED_ERRORS {
        program.code.jump_if_equal(R1, kind.into(), error);
    }
    program.code.jump(next);
    program.code.place(error);
    program.code.add_constant(TRANSPORT, HEADER);
    program.load_packet(Some(TRANSPORT), 0, HEADER_AT, 20);
    program.code.load(HALF, R1, FRAME, HEADER_AT + 6);
    program.code.and(R1, network_order(0x1fff));
    program.code.jump_if_not_equal(R1, 0, next);
    // The error's own source is mapped already.
    program
        .code
        .move_stack(WORD, HEADER_AT + 16, SOURCE_AT + 12);
    program.code.load(BYTE, PROTOCOL, FRAME, HEADER_AT + 9);
    program.code.load(BYTE, R1, FRAME, HEADER_AT);
    program.code.and(R1, 15);
    program.code.shift_left(R1, 2);
    program.code.add(TRANSPORT, R1);
    program.code.jump(found);

    program.code.place(v6);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 1);
    program.code.load(BYTE, R1, FRAME, SCRATCH_AT);
    // All others are informational (RFC 4443, section 2.1).
    program.code.and(R1, 0x80);
    program.code.jump_if_not_equal(R1, 0, next);
    program.code.add_constant(TRANSPORT, HEADER);
    program.load_packet(Some(TRANSPORT), 0, HEADER_AT, 40);
    for half in [0, 8] {
        program
            .code
            .move_stack(DOUBLE, HEADER_AT + 24 + half, SOURCE_AT + half);
    }
    program.code.load(BYTE, PROTOCOL, FRAME, HEADER_AT + 6);
    program.code.add_constant(TRANSPORT, 40);
    for _ in 0..EXTENSIONS {
        extension(program, found);
    }

    program.code.place(found);
    for protocol in WITH_PORTS {
        program.code.jump_if_equal(PROTOCOL, protocol, transport);
    }
    program.code.jump(next);
    program.code.place(transport);
    program.code.add_constant(TRANSPORT, 2);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 2);
    program.code.jump(sender);
}

impl Program {
    /// Copies octets of the packet, `base` + `offset` from its network header, to the stack; what is
    /// too short for that passes.
    fn load_packet(&mut self, base: Option<u8>, offset: i32, to: i16, len: i32) {
        self.code.copy(R1, SKB);
        match base {
            Some(base) => self.code.copy(R2, base),
            None => self.code.set(R2, offset),
        }
        self.code.copy(R3, FRAME);
        self.code.add_constant(R3, to.into());
        self.code.set(R4, len);
        self.code.set(R5, FROM_NETWORK);
        self.code.call(SKB_LOAD_BYTES_RELATIVE);
        let next = self.next;
        self.code.jump_if_not_equal(R0, 0, next);
    }
}

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

use super::Role;

/// Octets of a key: address 16, port 2, protocol 1, role 1.
pub(super) const KEY: usize = 20;

/// The octet that stands for a role in a key.
pub(super) fn role(role: Role) -> u8 {
    match role {
        Role::Service => 0,
        Role::RealServer => 1,
        Role::Local => 2,
        Role::Owned => 3,
    }
}

/// `TCX_NEXT`: on to the next program and the host's stack.
const NEXT: i32 = -1;
/// `TCX_DROP`.
const DROP: i32 = 2;

/// Helper functions, by the kernel's numbers.
const MAP_LOOKUP_ELEM: i32 = 1;
const SKB_LOAD_BYTES_RELATIVE: i32 = 68;
/// `BPF_HDR_START_NET`: offsets count from the network header, with or without a link header.
const FROM_NETWORK: i32 = 1;
/// `offsetof(struct __sk_buff, protocol)`; the value is in network order.
const SKB_PROTOCOL: i16 = 16;

// Registers: R0 result, R1-R5 arguments (lost in calls), R6-R9 kept, R10 frame pointer.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;
/// The `__sk_buff`.
const SKB: u8 = 6;
/// Upper-layer protocol; 0 when there are no ports to look at.
const PROTOCOL: u8 = 7;
/// Offset of the upper-layer header.
const TRANSPORT: u8 = 8;
const FRAME: u8 = 10;

// The stack, offsets from R10. Addresses begin on 8-octet boundaries, as the verifier demands.
const KEY_AT: i16 = -24;
const SOURCE_AT: i16 = -40;
const DESTINATION_AT: i16 = -56;
/// Ports, or the first octets of an extension header.
const SCRATCH_AT: i16 = -64;
/// IP header.
const HEADER_AT: i16 = -112;

/// Protocols whose header begins with the ports: TCP, UDP, SCTP.
const WITH_PORTS: [i32; 3] = [6, 17, 132];
const ICMP: i32 = 1;
const ICMPV6: i32 = 58;

/// IPv6 extension headers walked over.
const EXTENSIONS: usize = 6;

/// Widths of memory access.
const WORD: u8 = 0x00;
const HALF: u8 = 0x08;
const BYTE: u8 = 0x10;
const DOUBLE: u8 = 0x18;

/// A place to jump to.
#[derive(Clone, Copy, Debug)]
struct Label(usize);

#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
    jump: Option<Label>,
}

#[derive(Debug)]
struct Assembler {
    instructions: Vec<Instruction>,
    labels: Vec<usize>,
    map: RawFd,
    next: Label,
    drop: Label,
}

/// The program, for the map with that descriptor.
pub(super) fn build(map: RawFd) -> Vec<[u8; 8]> {
    let mut program = Assembler {
        instructions: Vec::new(),
        labels: vec![0, 0],
        map,
        next: Label(0),
        drop: Label(1),
    };
    let (v4, v6, parsed) = (program.label(), program.label(), program.label());
    program.copy(SKB, R1);
    program.load(WORD, R2, SKB, SKB_PROTOCOL);
    program.jump_if_equal(R2, network_order(0x0800), v4);
    program.jump_if_equal(R2, network_order(0x86dd), v6);
    let next = program.next;
    program.jump(next);
    program.place(v4);
    ipv4(&mut program, parsed);
    program.place(v6);
    ipv6(&mut program, parsed);
    program.place(parsed);
    decide(&mut program);
    program.finish()
}

fn ipv4(program: &mut Assembler, parsed: Label) {
    let unfragmented = program.label();
    program.load_packet(None, 0, HEADER_AT, 20);
    for place in [SOURCE_AT, DESTINATION_AT] {
        program.store_constant(DOUBLE, place, 0);
        program.store_constant(WORD, place + 8, i32::from_ne_bytes([0, 0, 0xff, 0xff]));
    }
    program.move_stack(WORD, HEADER_AT + 12, SOURCE_AT + 12);
    program.move_stack(WORD, HEADER_AT + 16, DESTINATION_AT + 12);
    program.load(BYTE, PROTOCOL, FRAME, HEADER_AT + 9);
    program.load(BYTE, TRANSPORT, FRAME, HEADER_AT);
    program.and(TRANSPORT, 15);
    program.shift_left(TRANSPORT, 2);
    program.load(HALF, R1, FRAME, HEADER_AT + 6);
    program.and(R1, network_order(0x1fff));
    program.jump_if_equal(R1, 0, unfragmented);
    program.set(PROTOCOL, 0);
    program.place(unfragmented);
    program.jump(parsed);
}

fn ipv6(program: &mut Assembler, parsed: Label) {
    program.load_packet(None, 0, HEADER_AT, 40);
    for half in [0, 8] {
        program.move_stack(DOUBLE, HEADER_AT + 8 + half, SOURCE_AT + half);
        program.move_stack(DOUBLE, HEADER_AT + 24 + half, DESTINATION_AT + half);
    }
    program.load(BYTE, PROTOCOL, FRAME, HEADER_AT + 6);
    program.set(TRANSPORT, 40);
    for _ in 0..EXTENSIONS {
        extension(program, parsed);
    }
}

/// Steps over one extension header, or jumps to `parsed` when there is none.
fn extension(program: &mut Assembler, parsed: Label) {
    const HOP_BY_HOP: i32 = 0;
    const ROUTING: i32 = 43;
    const FRAGMENT: i32 = 44;
    const DESTINATION_OPTIONS: i32 = 60;
    let (options, fragment, first, done) = (
        program.label(),
        program.label(),
        program.label(),
        program.label(),
    );
    for kind in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS] {
        program.jump_if_equal(PROTOCOL, kind, options);
    }
    program.jump_if_equal(PROTOCOL, FRAGMENT, fragment);
    program.jump(parsed);

    program.place(options);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 2);
    program.load(BYTE, PROTOCOL, FRAME, SCRATCH_AT);
    program.load(BYTE, R1, FRAME, SCRATCH_AT + 1);
    program.shift_left(R1, 3);
    program.add(TRANSPORT, R1);
    program.add_constant(TRANSPORT, 8);
    program.jump(done);

    program.place(fragment);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 4);
    program.load(BYTE, PROTOCOL, FRAME, SCRATCH_AT);
    program.add_constant(TRANSPORT, 8);
    program.load(HALF, R1, FRAME, SCRATCH_AT + 2);
    program.and(R1, network_order(0xfff8));
    program.jump_if_equal(R1, 0, first);
    program.set(PROTOCOL, 0);
    program.jump(parsed);
    program.place(first);
    program.place(done);
}

fn decide(program: &mut Assembler) {
    let (drop, next) = (program.drop, program.next);
    program.lookup(DESTINATION_AT, None, false, Role::Owned, drop);
    let (v4_error, v6_error) = (program.label(), program.label());
    let (ports, sender) = (program.label(), program.label());
    for protocol in WITH_PORTS {
        program.jump_if_equal(PROTOCOL, protocol, ports);
    }
    program.jump_if_equal(PROTOCOL, ICMP, v4_error);
    program.jump_if_equal(PROTOCOL, ICMPV6, v6_error);
    program.jump(next);
    quoted(program, v4_error, v6_error, sender);
    program.place(ports);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 4);
    let (source_port, destination_port) = (SCRATCH_AT, SCRATCH_AT + 2);
    program.lookup(
        DESTINATION_AT,
        Some(destination_port),
        true,
        Role::Service,
        drop,
    );
    program.lookup(DESTINATION_AT, None, true, Role::Service, drop);
    program.place(sender);
    let reply = program.label();
    program.lookup(SOURCE_AT, Some(source_port), true, Role::RealServer, reply);
    program.lookup(SOURCE_AT, None, true, Role::RealServer, reply);
    program.jump(next);
    program.place(reply);
    program.lookup(DESTINATION_AT, None, false, Role::Local, next);
    program.place(drop);
    program.set(R0, DROP);
    program.exit();
    program.place(next);
    program.set(R0, NEXT);
    program.exit();
}

/// Puts where the packet that an ICMP error quotes was to in the place of the error's own sender (address, protocol
/// and port), and jumps to `sender`. The quoted IPv4 header may have options; behind an IPv6 one extension headers
/// are walked over as in any packet.
fn quoted(program: &mut Assembler, v4: Label, v6: Label, sender: Label) {
    /// Octets of an error ahead of what it quotes.
    const HEADER: i32 = 8;
    let next = program.next;
    let (error, found, transport) = (program.label(), program.label(), program.label());
    program.place(v4);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 1);
    program.load(BYTE, R1, FRAME, SCRATCH_AT);
    for kind in super::TRANSLATED_ERRORS {
        program.jump_if_equal(R1, kind.into(), error);
    }
    program.jump(next);
    program.place(error);
    program.add_constant(TRANSPORT, HEADER);
    program.load_packet(Some(TRANSPORT), 0, HEADER_AT, 20);
    program.load(HALF, R1, FRAME, HEADER_AT + 6);
    program.and(R1, network_order(0x1fff));
    program.jump_if_not_equal(R1, 0, next);
    // The error's own source is mapped already.
    program.move_stack(WORD, HEADER_AT + 16, SOURCE_AT + 12);
    program.load(BYTE, PROTOCOL, FRAME, HEADER_AT + 9);
    program.load(BYTE, R1, FRAME, HEADER_AT);
    program.and(R1, 15);
    program.shift_left(R1, 2);
    program.add(TRANSPORT, R1);
    program.jump(found);

    program.place(v6);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 1);
    program.load(BYTE, R1, FRAME, SCRATCH_AT);
    // All others are informational (RFC 4443, section 2.1).
    program.and(R1, 0x80);
    program.jump_if_not_equal(R1, 0, next);
    program.add_constant(TRANSPORT, HEADER);
    program.load_packet(Some(TRANSPORT), 0, HEADER_AT, 40);
    for half in [0, 8] {
        program.move_stack(DOUBLE, HEADER_AT + 24 + half, SOURCE_AT + half);
    }
    program.load(BYTE, PROTOCOL, FRAME, HEADER_AT + 6);
    program.add_constant(TRANSPORT, 40);
    for _ in 0..EXTENSIONS {
        extension(program, found);
    }

    program.place(found);
    for protocol in WITH_PORTS {
        program.jump_if_equal(PROTOCOL, protocol, transport);
    }
    program.jump(next);
    program.place(transport);
    program.add_constant(TRANSPORT, 2);
    program.load_packet(Some(TRANSPORT), 0, SCRATCH_AT, 2);
    program.jump(sender);
}

/// 16 bits as they compare when loaded from memory in network order.
fn network_order(value: u16) -> i32 {
    i32::from(value.to_be())
}

impl Assembler {
    fn label(&mut self) -> Label {
        self.labels.push(0);
        Label(self.labels.len() - 1)
    }

    fn place(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = self.instructions.len();
        }
    }

    fn push(&mut self, code: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        self.instructions.push(Instruction {
            code,
            destination,
            source,
            offset,
            immediate,
            jump: None,
        });
    }

    fn jump_by(&mut self, code: u8, destination: u8, immediate: i32, label: Label) {
        self.instructions.push(Instruction {
            code,
            destination,
            source: 0,
            offset: 0,
            immediate,
            jump: Some(label),
        });
    }

    fn jump(&mut self, label: Label) {
        self.jump_by(0x05, 0, 0, label);
    }

    fn jump_if_equal(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x15, register, value, label);
    }

    fn jump_if_not_equal(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x55, register, value, label);
    }

    fn set(&mut self, register: u8, value: i32) {
        self.push(0xb7, register, 0, 0, value);
    }

    fn copy(&mut self, to: u8, from: u8) {
        self.push(0xbf, to, from, 0, 0);
    }

    fn add(&mut self, to: u8, from: u8) {
        self.push(0x0f, to, from, 0, 0);
    }

    fn add_constant(&mut self, register: u8, value: i32) {
        self.push(0x07, register, 0, 0, value);
    }

    fn and(&mut self, register: u8, value: i32) {
        self.push(0x57, register, 0, 0, value);
    }

    fn shift_left(&mut self, register: u8, bits: i32) {
        self.push(0x67, register, 0, 0, bits);
    }

    fn load(&mut self, width: u8, to: u8, from: u8, offset: i16) {
        self.push(0x61 | width, to, from, offset, 0);
    }

    fn store(&mut self, width: u8, at: i16, from: u8) {
        self.push(0x63 | width, FRAME, from, at, 0);
    }

    fn store_constant(&mut self, width: u8, at: i16, value: i32) {
        self.push(0x62 | width, FRAME, 0, at, value);
    }

    fn move_stack(&mut self, width: u8, from: i16, to: i16) {
        self.load(width, R1, FRAME, from);
        self.store(width, to, R1);
    }

    fn call(&mut self, helper: i32) {
        self.push(0x85, 0, 0, 0, helper);
    }

    fn exit(&mut self) {
        self.push(0x95, 0, 0, 0, 0);
    }

    /// Copies octets of the packet, `base` + `offset` from its network header, to the stack; what is
    /// too short for that passes.
    fn load_packet(&mut self, base: Option<u8>, offset: i32, to: i16, len: i32) {
        self.copy(R1, SKB);
        match base {
            Some(base) => self.copy(R2, base),
            None => self.set(R2, offset),
        }
        self.copy(R3, FRAME);
        self.add_constant(R3, to.into());
        self.set(R4, len);
        self.set(R5, FROM_NETWORK);
        self.call(SKB_LOAD_BYTES_RELATIVE);
        let next = self.next;
        self.jump_if_not_equal(R0, 0, next);
    }

    /// Jumps to `found` when the map has an entry of this role for the address, the port (any port
    /// without one) and the packet's protocol (or none).
    fn lookup(
        &mut self,
        address: i16,
        port: Option<i16>,
        protocol: bool,
        kind: Role,
        found: Label,
    ) {
        self.move_stack(DOUBLE, address, KEY_AT);
        self.move_stack(DOUBLE, address + 8, KEY_AT + 8);
        match port {
            Some(port) => self.move_stack(HALF, port, KEY_AT + 16),
            None => self.store_constant(HALF, KEY_AT + 16, 0),
        }
        if protocol {
            self.store(BYTE, KEY_AT + 18, PROTOCOL);
        } else {
            self.store_constant(BYTE, KEY_AT + 18, 0);
        }
        self.store_constant(BYTE, KEY_AT + 19, role(kind).into());
        // BPF_LD_IMM64 with BPF_PSEUDO_MAP_FD: two slots.
        let map = self.map;
        self.push(0x18, R1, 1, 0, map);
        self.push(0, 0, 0, 0, 0);
        self.copy(R2, FRAME);
        self.add_constant(R2, KEY_AT.into());
        self.call(MAP_LOOKUP_ELEM);
        self.jump_if_not_equal(R0, 0, found);
    }

    fn finish(self) -> Vec<[u8; 8]> {
        let labels = self.labels;
        let encode = |(at, instruction): (usize, &Instruction)| {
            let offset = instruction.jump.map_or(instruction.offset, |label| {
                // Every label is placed further on, within some hundred instructions.
                let place = labels.get(label.0).copied().unwrap_or(0);
                i16::try_from(place.saturating_sub(at + 1)).unwrap_or(0)
            });
            let [offset0, offset1] = offset.to_ne_bytes();
            let [a, b, c, d] = instruction.immediate.to_ne_bytes();
            let registers = if cfg!(target_endian = "little") {
                instruction.source << 4 | instruction.destination
            } else {
                instruction.destination << 4 | instruction.source
            };
            [instruction.code, registers, offset0, offset1, a, b, c, d]
        };
        self.instructions.iter().enumerate().map(encode).collect()
    }
}

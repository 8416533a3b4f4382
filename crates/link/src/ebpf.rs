//! Writes eBPF programs (RFC 9669) instruction by instruction, with labels that are placed further on.
//!
//! Knows the instruction set and the calling convention; what a program means is told where it is
//! written. A mistake in one shows when the kernel's verifier refuses it.

use std::os::fd::RawFd;

// Registers: R0 result, R1-R5 arguments (lost in calls), R6-R9 kept.
pub(crate) const R0: u8 = 0;
pub(crate) const R1: u8 = 1;
pub(crate) const R2: u8 = 2;
pub(crate) const R3: u8 = 3;
pub(crate) const R4: u8 = 4;
pub(crate) const R5: u8 = 5;
/// The end of the stack, which has 512 octets.
pub(crate) const FRAME: u8 = 10;

/// Widths of memory access.
pub(crate) const WORD: u8 = 0x00;
pub(crate) const HALF: u8 = 0x08;
pub(crate) const BYTE: u8 = 0x10;
pub(crate) const DOUBLE: u8 = 0x18;

/// `bpf_map_lookup_elem`: R1 the map, R2 the key's address; R0 = the value's address or 0.
pub(crate) const MAP_LOOKUP_ELEM: i32 = 1;

/// A place to jump to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label(usize);

#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
    jump: Option<Label>,
}

/// A program being written.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    instructions: Vec<Instruction>,
    labels: Vec<usize>,
}

/// 16 bits as they compare when loaded from memory in network order.
pub(crate) fn network_order(value: u16) -> i32 {
    i32::from(value.to_be())
}

impl Assembler {
    /// A label whose place is not known yet.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(0);
        Label(self.labels.len() - 1)
    }

    /// Puts the label here.
    pub(crate) fn place(&mut self, label: Label) {
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

    fn jump_by(&mut self, code: u8, destination: u8, source: u8, immediate: i32, label: Label) {
        self.instructions.push(Instruction {
            code,
            destination,
            source,
            offset: 0,
            immediate,
            jump: Some(label),
        });
    }

    pub(crate) fn jump(&mut self, label: Label) {
        self.jump_by(0x05, 0, 0, 0, label);
    }

    pub(crate) fn jump_if_equal(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x15, register, 0, value, label);
    }

    pub(crate) fn jump_if_not_equal(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x55, register, 0, value, label);
    }

    /// Jumps when the unsigned value of a register is more than `value`.
    pub(crate) fn jump_if_above(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x25, register, 0, value, label);
    }

    /// Jumps when the unsigned value of a register is less than `value`.
    pub(crate) fn jump_if_below(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0xa5, register, 0, value, label);
    }

    /// Jumps when some of these bits of a register are set.
    pub(crate) fn jump_if_any(&mut self, register: u8, bits: i32, label: Label) {
        self.jump_by(0x45, register, 0, bits, label);
    }

    /// Jumps when two registers differ.
    pub(crate) fn jump_if_different(&mut self, register: u8, other: u8, label: Label) {
        self.jump_by(0x5d, register, other, 0, label);
    }

    /// Jumps when the first register, such as a pointer into a packet, is not beyond the second.
    pub(crate) fn jump_if_within(&mut self, register: u8, end: u8, label: Label) {
        self.jump_by(0xbd, register, end, 0, label);
    }

    /// Jumps when the first register, such as a pointer into a packet, is beyond the second.
    pub(crate) fn jump_if_beyond(&mut self, register: u8, end: u8, label: Label) {
        self.jump_by(0x2d, register, end, 0, label);
    }

    pub(crate) fn set(&mut self, register: u8, value: i32) {
        self.push(0xb7, register, 0, 0, value);
    }

    pub(crate) fn copy(&mut self, to: u8, from: u8) {
        self.push(0xbf, to, from, 0, 0);
    }

    pub(crate) fn add(&mut self, to: u8, from: u8) {
        self.push(0x0f, to, from, 0, 0);
    }

    pub(crate) fn add_constant(&mut self, register: u8, value: i32) {
        self.push(0x07, register, 0, 0, value);
    }

    pub(crate) fn and(&mut self, register: u8, value: i32) {
        self.push(0x57, register, 0, 0, value);
    }

    pub(crate) fn shift_left(&mut self, register: u8, bits: i32) {
        self.push(0x67, register, 0, 0, bits);
    }

    pub(crate) fn exclusive_or(&mut self, register: u8, value: i32) {
        self.push(0xa7, register, 0, 0, value);
    }

    pub(crate) fn or(&mut self, to: u8, from: u8) {
        self.push(0x4f, to, from, 0, 0);
    }

    pub(crate) fn shift_right(&mut self, register: u8, bits: i32) {
        self.push(0x77, register, 0, 0, bits);
    }

    /// The 16 bits of a register from network order to the host's.
    pub(crate) fn host_order(&mut self, register: u8) {
        self.push(0xdc, register, 0, 0, 16);
    }

    /// To memory.
    pub(crate) fn store_at(&mut self, width: u8, to: u8, offset: i16, from: u8) {
        self.push(0x63 | width, to, from, offset, 0);
    }

    /// To memory.
    pub(crate) fn store_constant_at(&mut self, width: u8, to: u8, offset: i16, value: i32) {
        self.push(0x62 | width, to, 0, offset, value);
    }

    /// Adds 64 bits to memory, as one operation.
    pub(crate) fn add_to_memory(&mut self, to: u8, offset: i16, from: u8) {
        self.push(0xdb, to, from, offset, 0);
    }

    /// Adds 64 bits to memory, as one operation before and after all others; the register gets what was there.
    pub(crate) fn fetch_and_add(&mut self, to: u8, offset: i16, register: u8) {
        const FETCH: i32 = 1;
        self.push(0xdb, to, register, offset, FETCH);
    }

    pub(crate) fn load(&mut self, width: u8, to: u8, from: u8, offset: i16) {
        self.push(0x61 | width, to, from, offset, 0);
    }

    /// To the stack.
    pub(crate) fn store(&mut self, width: u8, at: i16, from: u8) {
        self.push(0x63 | width, FRAME, from, at, 0);
    }

    /// To the stack.
    pub(crate) fn store_constant(&mut self, width: u8, at: i16, value: i32) {
        self.push(0x62 | width, FRAME, 0, at, value);
    }

    /// From one place of memory to one of the stack, by R1.
    pub(crate) fn move_to_stack(&mut self, width: u8, from: (u8, i16), to: i16) {
        let (register, offset) = from;
        self.load(width, R1, register, offset);
        self.store(width, to, R1);
    }

    /// From one place of the stack to another, by R1.
    pub(crate) fn move_stack(&mut self, width: u8, from: i16, to: i16) {
        self.move_to_stack(width, (FRAME, from), to);
    }

    /// The map with that descriptor, as an argument of a call.
    pub(crate) fn load_map(&mut self, to: u8, map: RawFd) {
        // BPF_LD_IMM64 with BPF_PSEUDO_MAP_FD: two slots.
        self.push(0x18, to, 1, 0, map);
        self.push(0, 0, 0, 0, 0);
    }

    /// Calls a helper function, by the kernel's number.
    pub(crate) fn call(&mut self, helper: i32) {
        self.push(0x85, 0, 0, 0, helper);
    }

    /// Ends the program; R0 is its result.
    pub(crate) fn exit(&mut self) {
        self.push(0x95, 0, 0, 0, 0);
    }

    /// The program as the kernel takes it.
    pub(crate) fn finish(self) -> Vec<[u8; 8]> {
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

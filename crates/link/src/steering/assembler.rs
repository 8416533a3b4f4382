//! Writing classic-BPF programs with labels (Linux `Documentation/networking/filter.rst`).

/// Most instructions of a program (`BPF_MAXINSNS`).
pub(super) const MAX_LEN: usize = 4096;

/// One classic-BPF instruction, as `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions skipped when a condition holds.
    pub jt: u8,
    /// Instructions skipped when it does not hold.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A place in a program, to be jumped to from before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// The operations that the steering program is made of. A is the accumulator, X the index register,
/// M the scratch memory; octets count from the network header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// A = 32, 16 or 8 bits at a fixed place.
    Load(Width, u32),
    /// A = 32, 16 or 8 bits at X + a fixed offset.
    LoadAtX(Width, u32),
    /// A = `M[k]`.
    LoadScratch(u32),
    /// X = `M[k]`.
    LoadXScratch(u32),
    /// A = constant.
    Constant(u32),
    /// `M[k]` = A.
    Store(u32),
    /// X = A.
    CopyToX,
    /// A += X, A ^= X.
    AddX,
    XorX,
    /// A op= constant.
    Add(u32),
    And(u32),
    Xor(u32),
    Multiply(u32),
    ShiftLeft(u32),
    ShiftRight(u32),
    /// The result is A.
    ReturnA,
    /// The result is a constant.
    Return(u32),
}

/// Operand widths.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    Word,
    Half,
    Byte,
}

/// Conditions on A.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    Equal(u32),
    AtLeast(u32),
    AnyBit(u32),
}

/// A program being written.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    steps: Vec<Step>,
    labels: Vec<Option<usize>>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Op(Op),
    /// Skips the next step when the condition fails (or holds, by the flag).
    Guard(Test, bool),
    Jump(Label),
}

impl Assembler {
    /// A label whose place is not known yet.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts the label here.
    pub(super) fn place(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.steps.len());
        }
    }

    pub(super) fn op(&mut self, op: Op) {
        self.steps.push(Step::Op(op));
    }

    pub(super) fn ops(&mut self, ops: &[Op]) {
        self.steps.extend(ops.iter().copied().map(Step::Op));
    }

    pub(super) fn jump(&mut self, label: Label) {
        self.steps.push(Step::Jump(label));
    }

    /// Jumps when the condition holds.
    pub(super) fn jump_if(&mut self, test: Test, label: Label) {
        self.steps
            .extend([Step::Guard(test, false), Step::Jump(label)]);
    }

    /// Jumps when the condition does not hold.
    pub(super) fn jump_unless(&mut self, test: Test, label: Label) {
        self.steps
            .extend([Step::Guard(test, true), Step::Jump(label)]);
    }

    /// Steps written so far.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The program; `None` when it is longer than the kernel allows.
    ///
    /// A conditional jump is written as a test that skips an unconditional one, whose reach is not
    /// limited to 255 instructions as a conditional jump's is.
    pub(super) fn finish(self) -> Option<Vec<Instruction>> {
        if self.steps.len() > MAX_LEN {
            return None;
        }
        let places = &self.labels;
        self.steps
            .iter()
            .enumerate()
            .map(|(at, step)| encode(*step, at, places))
            .collect()
    }
}

// linux/bpf_common.h
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const IND: u16 = 0x40;
const MEM: u16 = 0x60;
const X: u16 = 0x08;
const A: u16 = 0x10;

fn encode(step: Step, at: usize, places: &[Option<usize>]) -> Option<Instruction> {
    let plain = |code, k| Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    Some(match step {
        Step::Op(op) => {
            let (code, k) = operation(op);
            plain(code, k)
        }
        Step::Guard(test, skip_when_true) => {
            let (code, k) = match test {
                Test::Equal(k) => (JMP | 0x10, k),
                Test::AtLeast(k) => (JMP | 0x30, k),
                Test::AnyBit(k) => (JMP | 0x40, k),
            };
            let skip = u8::from(skip_when_true);
            Instruction {
                code,
                jt: skip,
                jf: 1 - skip,
                k,
            }
        }
        Step::Jump(label) => {
            // Classic BPF jumps forward only; a label behind is a mistake in the program's text,
            // which every test of it shows.
            let place = (*places.get(label.0)?)?;
            plain(JMP, u32::try_from(place.checked_sub(at + 1)?).ok()?)
        }
    })
}

fn operation(op: Op) -> (u16, u32) {
    match op {
        Op::Load(width, k) => (LD | ABS | size(width), k),
        Op::LoadAtX(width, k) => (LD | IND | size(width), k),
        Op::LoadScratch(k) => (LD | MEM, k),
        Op::LoadXScratch(k) => (LDX | MEM, k),
        Op::Constant(k) => (LD | IMM, k),
        Op::Store(k) => (ST, k),
        Op::CopyToX => (MISC, 0),
        Op::AddX => (ALU | X, 0),
        Op::XorX => (ALU | 0xa0 | X, 0),
        Op::Add(k) => (ALU, k),
        Op::And(k) => (ALU | 0x50, k),
        Op::Xor(k) => (ALU | 0xa0, k),
        Op::Multiply(k) => (ALU | 0x20, k),
        Op::ShiftLeft(k) => (ALU | 0x60, k),
        Op::ShiftRight(k) => (ALU | 0x70, k),
        Op::ReturnA => (RET | A, 0),
        Op::Return(k) => (RET, k),
    }
}

fn size(width: Width) -> u16 {
    match width {
        Width::Word => 0x00,
        Width::Half => 0x08,
        Width::Byte => 0x10,
    }
}

//! Which worker owns a frame.

/// One classic-BPF instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// How frames are shared out.
#[derive(Clone, Debug)]
pub struct Steering {}

impl Steering {
    /// Steering for these virtual addresses.
    #[must_use]
    pub fn new(_vips: &[std::net::IpAddr], _seed: u32) -> Self {
        Self {}
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> Vec<Instruction> {
        vec![Instruction {
            code: 6,
            jt: 0,
            jf: 0,
            k: 0,
        }]
    }
}

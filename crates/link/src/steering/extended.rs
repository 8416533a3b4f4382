//! The steering program as extended BPF (RFC 9669), for TUN devices, which take no classic one.
//!
//! Promises: the same result as the classic program, modulo the workers. Instruction for instruction: the kernel
//! itself runs classic BPF this way, with the same loads, of which one past the end ends the program with 0.

use super::assembler::Instruction;

/// A: also where packet loads leave their result, and the program its own.
const A: u8 = 0;
/// The context, where packet loads look for it.
const CONTEXT: u8 = 6;
const X: u8 = 7;
const STACK: u8 = 10;

/// `SKF_AD_OFF + SKF_AD_PROTOCOL` of classic BPF.
const ETHER_TYPE: u32 = 0xffff_f000;
/// Offset of `protocol` in `struct __sk_buff`, network order.
const PROTOCOL: i16 = 16;

// Classes and modes; arithmetic is that of 32 bits, comparisons too (Linux 5.1).
const LDX: u8 = 0x01;
const STX: u8 = 0x63;
const ALU: u8 = 0x04;
const MOVE: u8 = 0xb0;
const MODULO: u8 = 0x90;
const BY_REGISTER: u8 = 0x08;
const MEMORY: u8 = 0x60;
const JUMP: u8 = 0x05;
const COMPARE: u8 = 0x06;
const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
/// `be16`: network order to the machine's, upper bits 0.
const TO_HOST_ORDER: u8 = 0xdc;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, k: u32) -> [u8; 8] {
    let ([offset0, offset1], [k0, k1, k2, k3]) = (offset.to_ne_bytes(), k.to_ne_bytes());
    let registers = if cfg!(target_endian = "little") {
        source << 4 | destination
    } else {
        destination << 4 | source
    };
    [code, registers, offset0, offset1, k0, k1, k2, k3]
}

/// The place of `M[k]` on the stack.
fn scratch(k: u32) -> Option<i16> {
    Some(-4 * (i16::try_from(k).ok()? + 1))
}

/// Translates a program of [`super::Steering::program`] for this many workers; `None` where it has an operation that such
/// a program does not have, or jumps too far.
pub(super) fn translate(classic: &[Instruction], workers: u32) -> Option<Vec<[u8; 8]>> {
    let prologue = vec![
        instruction(ALU | 0x03 | BY_REGISTER | MOVE, CONTEXT, 1, 0, 0),
        // The kernel wants registers written before they are read, whatever way led there.
        instruction(ALU | MOVE, A, 0, 0, 0),
        instruction(ALU | MOVE, X, 0, 0, 0),
    ];
    let reachable = reachable(classic);
    let mut places = Vec::with_capacity(classic.len() + 1);
    let mut next = prologue.len();
    for (step, reachable) in classic.iter().zip(&reachable) {
        places.push(next);
        if *reachable {
            next += expand(step, workers, |_| Some(0))?.len();
        }
    }
    places.push(next);
    let mut program = prologue;
    for (at, step) in classic.iter().enumerate() {
        if reachable.get(at) == Some(&false) {
            continue;
        }
        let target = |(from, skip): (usize, u32)| {
            let to = places.get(at + 1 + usize::try_from(skip).ok()?)?;
            // Relative to the instruction behind the jump.
            let begin = places.get(at)? + from + 1;
            i16::try_from(to.checked_sub(begin)?).ok()
        };
        program.extend(expand(step, workers, target)?);
    }
    Some(program)
}

/// Which instructions can be reached: the kernel takes no others. All jumps go forward.
fn reachable(classic: &[Instruction]) -> Vec<bool> {
    let mut reachable = vec![false; classic.len()];
    let mark = |reachable: &mut Vec<bool>, at: usize, skip: u32| {
        let to = usize::try_from(skip).ok().map(|skip| at + 1 + skip);
        if let Some(place) = to.and_then(|to| reachable.get_mut(to)) {
            *place = true;
        }
    };
    if let Some(first) = reachable.first_mut() {
        *first = true;
    }
    for (at, &Instruction { code, jt, jf, k }) in classic.iter().enumerate() {
        if reachable.get(at) != Some(&true) {
            continue;
        }
        match code {
            0x06 | 0x16 => {}
            0x05 => mark(&mut reachable, at, k),
            0x15 | 0x35 | 0x45 => {
                mark(&mut reachable, at, jt.into());
                mark(&mut reachable, at, jf.into());
            }
            _ => mark(&mut reachable, at, 0),
        }
    }
    reachable
}

/// The instructions for one; `jump` says how far a jump reaches from the given one of them that skips so many classic
/// instructions.
fn expand(
    step: &Instruction,
    workers: u32,
    jump: impl Fn((usize, u32)) -> Option<i16>,
) -> Option<Vec<[u8; 8]>> {
    let &Instruction { code, jt, jf, k } = step;
    let code = u8::try_from(code).ok()?;
    let result = [instruction(ALU | MODULO, A, 0, 0, workers), EXIT];
    Some(match code {
        // A = EtherType.
        0x28 if k == ETHER_TYPE => vec![
            instruction(LDX | MEMORY, A, CONTEXT, PROTOCOL, 0),
            instruction(TO_HOST_ORDER, A, 0, 0, 16),
        ],
        // A = octets of the packet.
        0x20 | 0x28 | 0x30 => vec![instruction(code, 0, 0, 0, k)],
        0x40 | 0x48 | 0x50 => vec![instruction(code, 0, X, 0, k)],
        // A or X = M[k], M[k] = A.
        0x60 => vec![instruction(LDX | MEMORY, A, STACK, scratch(k)?, 0)],
        0x61 => vec![instruction(LDX | MEMORY, X, STACK, scratch(k)?, 0)],
        0x02 => vec![instruction(STX, STACK, A, scratch(k)?, 0)],
        // A = k, X = A.
        0x00 => vec![instruction(ALU | MOVE, A, 0, 0, k)],
        0x07 => vec![instruction(ALU | BY_REGISTER | MOVE, X, A, 0, 0)],
        // Arithmetic has the same numbers.
        0x0c | 0xac => vec![instruction(code, A, X, 0, 0)],
        0x04 | 0x54 | 0xa4 | 0x24 | 0x64 | 0x74 => vec![instruction(code, A, 0, 0, k)],
        // So have comparisons: one jump if it holds, one if not.
        0x15 | 0x35 | 0x45 => vec![
            instruction(code & 0xf0 | COMPARE, A, 0, jump((0, jt.into()))?, k),
            instruction(JUMP, 0, 0, jump((1, jf.into()))?, 0),
        ],
        0x05 => vec![instruction(JUMP, 0, 0, jump((0, k))?, 0)],
        0x16 => result.to_vec(),
        0x06 => [&[instruction(ALU | MOVE, A, 0, 0, k)][..], &result].concat(),
        _ => return None,
    })
}

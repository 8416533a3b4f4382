//! The steering program. It must compute what [`Steering::frame`] computes, bit for bit.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::assembler::{Assembler, Instruction, Label, Op, Test, Width};
use super::{
    FRAGMENT, ICMP, ICMP_ERRORS, ICMPV6, ICMPV6_INFORMATION, MIX, SCTP, SHIFT, Steering, TCP, UDP,
    low_word,
};

/// `SKF_AD_OFF + SKF_AD_PROTOCOL`: the EtherType, host order, without tags.
const ETHER_TYPE: u32 = 0xffff_f000;
/// Virtual addresses in a leaf of the search tree: below this, one after the other is as fast.
const LEAF: usize = 16;

// Scratch memory. All of it is written before it is read on every path, as the kernel demands.
/// Offset of the IP header that counts: 0, or that of the packet inside an ICMP error.
const BASE: u32 = 0;
/// 0: the source endpoint counts; 1: the destination endpoint.
const SIDE: u32 = 1;
/// The hash so far.
const HASH: u32 = 2;
/// Offset of the address, or of the ports.
const PLACE: u32 = 3;

/// The program for a steering; `None` when it is too long for the kernel.
pub(super) fn build(steering: &Steering) -> Option<Vec<Instruction>> {
    let mut assembler = Assembler::default();
    let (v4, v6) = (assembler.label(), assembler.label());
    assembler.op(Op::Load(Width::Half, ETHER_TYPE));
    assembler.jump_if(Test::Equal(0x0800), v4);
    assembler.jump_if(Test::Equal(0x86dd), v6);
    assembler.op(Op::Return(0));
    assembler.place(v4);
    ipv4(&mut assembler, steering);
    assembler.place(v6);
    ipv6(&mut assembler, steering);
    assembler.finish()
}

fn ipv4(program: &mut Assembler, steering: &Steering) {
    // A short frame ends here with 0, as does every load past the end.
    program.op(Op::Load(Width::Word, 16));
    let (hit, miss) = (program.label(), program.label());
    if steering.coarse {
        program.jump(hit);
    } else {
        let vips: Vec<Ipv4Addr> = steering.v4.iter().copied().collect();
        search(
            program,
            &vips,
            |vip| vip.to_bits(),
            miss,
            &mut |program, vip| {
                program.jump_if(Test::Equal(vip.to_bits()), hit);
            },
        );
    }
    side(program, hit, miss);

    let (flow, error) = (program.label(), program.label());
    program.op(Op::Load(Width::Byte, 9));
    program.jump_unless(Test::Equal(ICMP.into()), flow);
    program.op(Op::Load(Width::Half, 6));
    program.jump_if(Test::AnyBit(0x1fff), flow);
    header_len(program, None);
    program.op(Op::LoadAtX(Width::Byte, 0));
    for kind in ICMP_ERRORS {
        program.jump_if(Test::Equal(kind.into()), error);
    }
    program.jump(flow);
    program.place(error);
    header_len(program, None);
    turn(program, &[Op::LoadScratch(PLACE), Op::Add(8)]);

    program.place(flow);
    place_address(program, 2);
    program.ops(&[
        Op::LoadAtX(Width::Word, 12),
        Op::Xor(steering.seed),
        Op::Multiply(MIX[0]),
        Op::Store(HASH),
        Op::LoadXScratch(BASE),
        Op::LoadAtX(Width::Half, 6),
    ]);
    let without_port = program.label();
    program.jump_if(Test::AnyBit(FRAGMENT.into()), without_port);
    program.op(Op::LoadAtX(Width::Byte, 9));
    ports_or(program, without_port);
    header_len(program, Some(BASE));
    place_port(program, PLACE);
    program.op(Op::LoadAtX(Width::Half, 0));
    finish(program, without_port);
}

fn ipv6(program: &mut Assembler, steering: &Steering) {
    // The whole destination must be there, or the result is 0; so look at its last word first.
    program.op(Op::Load(Width::Word, 36));
    let (hit, miss) = (program.label(), program.label());
    if steering.coarse {
        program.jump(hit);
    } else {
        let mut vips: Vec<Ipv6Addr> = steering.v6.iter().copied().collect();
        vips.sort_by_key(|vip| last_word(*vip));
        search(
            program,
            &vips,
            |vip| last_word(*vip),
            miss,
            &mut |program, vip| {
                let next = program.label();
                program.jump_unless(Test::Equal(last_word(*vip)), next);
                for (at, shift) in [(32, 32), (28, 64), (24, 96)] {
                    program.op(Op::Load(Width::Word, at));
                    program.jump_unless(Test::Equal(low_word(vip.to_bits() >> shift)), next);
                }
                program.jump(hit);
                program.place(next);
                program.op(Op::Load(Width::Word, 36));
            },
        );
    }
    side(program, hit, miss);

    let flow = program.label();
    program.op(Op::Load(Width::Byte, 6));
    program.jump_unless(Test::Equal(ICMPV6.into()), flow);
    program.op(Op::Load(Width::Byte, 40));
    program.jump_if(Test::AtLeast(ICMPV6_INFORMATION.into()), flow);
    turn(program, &[Op::Constant(48)]);

    program.place(flow);
    place_address(program, 4);
    program.ops(&[Op::Constant(steering.seed), Op::Store(HASH)]);
    for offset in [8, 12, 16, 20] {
        program.ops(&[
            Op::LoadXScratch(PLACE),
            Op::LoadAtX(Width::Word, offset),
            Op::LoadXScratch(HASH),
            Op::XorX,
            Op::Multiply(MIX[0]),
            Op::Store(HASH),
        ]);
    }
    let without_port = program.label();
    program.ops(&[Op::LoadXScratch(BASE), Op::LoadAtX(Width::Byte, 6)]);
    ports_or(program, without_port);
    place_port(program, BASE);
    program.op(Op::LoadAtX(Width::Half, 40));
    finish(program, without_port);
}

fn last_word(address: Ipv6Addr) -> u32 {
    low_word(address.to_bits())
}

/// Finds A among sorted `vips`: `found` tests one and jumps away when it is the one, keeping A
/// otherwise; none of them: jumps to `miss`. Equal keys stay in one leaf.
fn search<T>(
    program: &mut Assembler,
    vips: &[T],
    key: fn(&T) -> u32,
    miss: Label,
    found: &mut impl FnMut(&mut Assembler, &T),
) {
    let middle = vips.get(vips.len() / 2).map(key);
    let split = vips.partition_point(|vip| Some(key(vip)) < middle);
    match middle {
        // A program that is too long already need not grow without end.
        Some(pivot)
            if vips.len() > LEAF && split > 0 && program.len() <= 2 * super::assembler::MAX_LEN =>
        {
            let (low, high) = vips.split_at(split);
            let upper = program.label();
            program.jump_if(Test::AtLeast(pivot), upper);
            search(program, low, key, miss, found);
            program.place(upper);
            search(program, high, key, miss, found);
        }
        _ => {
            for vip in vips {
                found(program, vip);
            }
            program.jump(miss);
        }
    }
}

/// Stores which side counts, and that the outer header does.
fn side(program: &mut Assembler, hit: Label, miss: Label) {
    let done = program.label();
    program.place(hit);
    program.ops(&[Op::Constant(0), Op::Store(SIDE)]);
    program.jump(done);
    program.place(miss);
    program.ops(&[Op::Constant(1), Op::Store(SIDE)]);
    program.place(done);
    program.ops(&[Op::Constant(0), Op::Store(BASE)]);
}

/// Makes the packet inside an ICMP error the one that counts, `offset` leaving its place in A.
fn turn(program: &mut Assembler, offset: &[Op]) {
    program.ops(offset);
    program.ops(&[
        Op::Store(BASE),
        Op::LoadScratch(SIDE),
        Op::Xor(1),
        Op::Store(SIDE),
    ]);
}

/// X and PLACE = base + length of the IPv4 header there.
fn header_len(program: &mut Assembler, base: Option<u32>) {
    match base {
        None => program.op(Op::Load(Width::Byte, 0)),
        Some(base) => program.ops(&[Op::LoadXScratch(base), Op::LoadAtX(Width::Byte, 0)]),
    }
    program.ops(&[Op::And(15), Op::ShiftLeft(2)]);
    if base.is_some() {
        program.op(Op::AddX);
    }
    program.ops(&[Op::Store(PLACE), Op::CopyToX]);
}

/// X and PLACE = base + side * address length (2 to the power of `shift` octets).
fn place_address(program: &mut Assembler, shift: u32) {
    program.ops(&[
        Op::LoadScratch(SIDE),
        Op::ShiftLeft(shift),
        Op::LoadXScratch(BASE),
        Op::AddX,
        Op::Store(PLACE),
        Op::CopyToX,
    ]);
}

/// X = the offset in `place` + side * 2 octets.
fn place_port(program: &mut Assembler, place: u32) {
    program.ops(&[
        Op::LoadScratch(SIDE),
        Op::ShiftLeft(1),
        Op::LoadXScratch(place),
        Op::AddX,
        Op::CopyToX,
    ]);
}

/// Jumps unless A is a protocol with ports.
fn ports_or(program: &mut Assembler, without_port: Label) {
    let ports = program.label();
    program.jump_if(Test::Equal(TCP.into()), ports);
    program.jump_if(Test::Equal(UDP.into()), ports);
    program.jump_unless(Test::Equal(SCTP.into()), without_port);
    program.place(ports);
}

/// The result: the hash so far, with A for port, or from `without_port` on without.
fn finish(program: &mut Assembler, without_port: Label) {
    let mixed = program.label();
    program.ops(&[Op::LoadXScratch(HASH), Op::XorX]);
    program.jump(mixed);
    program.place(without_port);
    program.op(Op::LoadScratch(HASH));
    program.place(mixed);
    program.ops(&[
        Op::Multiply(MIX[1]),
        Op::CopyToX,
        Op::ShiftRight(SHIFT[0]),
        Op::XorX,
        Op::Multiply(MIX[2]),
        Op::CopyToX,
        Op::ShiftRight(SHIFT[1]),
        Op::XorX,
        Op::ReturnA,
    ]);
}

//! Which worker owns a frame: one function of the client's endpoint, in Rust and as a classic-BPF
//! program for a packet-socket fanout group.
//!
//! Both directions of a connection must meet in one worker. What both have in common, translated or
//! not, is the client's address and port: the source of a frame to a virtual address, the
//! destination of a frame to anything else. ICMP errors count as the frame they are about, turned
//! round. Later and first fragments, and protocols without ports, count as port 0; so do IPv6
//! packets with extension headers, which the program cannot walk (classic BPF has no loop).
//!
//! The kernel's choice is therefore a good guess, equal to [`Steering::frame`] to the bit; the owner
//! of a flow is what [`Steering::flow`] says of its parsed addresses and ports, and a worker that
//! gets a frame of another's flow hands it over.

mod assembler;
mod extended;
mod program;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use assembler::Instruction;

/// Odd multipliers with bits well spread (from the murmur3 and xxhash finishers).
const MIX: [u32; 3] = [0x85eb_ca6b, 0xc2b2_ae35, 0x27d4_eb2f];
/// Shifts of the finisher.
const SHIFT: [u32; 2] = [16, 15];

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// ICMP types that carry the packet they are about: unreachable, source quench, time exceeded,
/// parameter problem (RFC 792).
const ICMP_ERRORS: [u8; 4] = [3, 4, 11, 12];
/// ICMPv6 types below this carry the packet they are about (RFC 4443, 2.1).
const ICMPV6_INFORMATION: u8 = 128;
/// "More fragments" and the fragment offset, in the 16 bits at octet 6 of an IPv4 header.
const FRAGMENT: u16 = 0x3fff;

/// How the frames of a director are shared out among its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    v4: BTreeSet<Ipv4Addr>,
    v6: BTreeSet<Ipv6Addr>,
    seed: u32,
    program: Vec<Instruction>,
    /// More virtual addresses than a program can hold: every frame counts as one to a virtual
    /// address, and replies are handed over.
    coarse: bool,
}

impl Steering {
    /// Steering for a director that answers for `vips`. The seed keeps strangers from choosing
    /// their worker; it must be the same for all interfaces.
    ///
    /// Beyond about 1,700 IPv4 or 300 IPv6 addresses the kernel's program has no room for the list:
    /// then frames from real servers go to a worker by chance, which hands them over.
    #[must_use]
    pub fn new(vips: &[IpAddr], seed: u32) -> Self {
        let mut steering = Self {
            v4: BTreeSet::new(),
            v6: BTreeSet::new(),
            seed,
            program: Vec::new(),
            coarse: false,
        };
        for vip in vips {
            match vip.to_canonical() {
                IpAddr::V4(vip) => drop(steering.v4.insert(vip)),
                IpAddr::V6(vip) => drop(steering.v6.insert(vip)),
            }
        }
        match program::build(&steering) {
            Some(program) => steering.program = program,
            None => {
                steering.coarse = true;
                steering.program = program::build(&steering).unwrap_or_default();
            }
        }
        steering
    }

    /// The hash of an endpoint: `hash % workers` is the owner of its connections.
    #[must_use]
    pub fn endpoint(&self, address: IpAddr, port: u16) -> u32 {
        let words = match address.to_canonical() {
            IpAddr::V4(address) => self.words([address.to_bits()]),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                self.words([96, 64, 32, 0].map(|shift| low_word(bits >> shift)))
            }
        };
        finish(words ^ u32::from(port))
    }

    /// The hash of a flow, by the frame that was seen of it: [`Steering::endpoint`] of the client.
    #[must_use]
    pub fn flow(&self, source: (IpAddr, u16), destination: (IpAddr, u16)) -> u32 {
        let (address, port) = if self.is_virtual(destination.0) {
            source
        } else {
            destination
        };
        self.endpoint(address, port)
    }

    /// Whether the director answers for this address.
    #[must_use]
    pub fn is_virtual(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contains(&address),
            IpAddr::V6(address) => self.v6.contains(&address),
        }
    }

    /// What [`Steering::program`] computes of a frame: `network` is the frame from its IP header on,
    /// of the EtherType given. 0 for what is not IP or is cut off.
    #[must_use]
    pub fn frame(&self, ether_type: u16, network: &[u8]) -> u32 {
        let hash = match ether_type {
            0x0800 => self.ipv4(network),
            0x86dd => self.ipv6(network),
            _ => None,
        };
        hash.unwrap_or(0)
    }

    /// The program for `PACKET_FANOUT_DATA`. The kernel takes its result modulo the workers.
    #[must_use]
    pub fn program(&self) -> &[Instruction] {
        &self.program
    }

    /// The same as extended BPF, with the number of the worker as its result; `None` where it jumps too far for that.
    pub(crate) fn extended_program(&self, workers: usize) -> Option<Vec<[u8; 8]>> {
        extended::translate(&self.program, u32::try_from(workers).ok()?.max(1))
    }

    fn words<const COUNT: usize>(&self, words: [u32; COUNT]) -> u32 {
        words
            .iter()
            .fold(self.seed, |hash, word| (hash ^ word).wrapping_mul(MIX[0]))
    }

    fn ipv4(&self, network: &[u8]) -> Option<u32> {
        let destination = Ipv4Addr::from(chunk::<4>(network, 16)?);
        let mut to_virtual = self.coarse || self.v4.contains(&destination);
        let mut at = 0;
        if byte(network, 9)? == ICMP && half(network, 6)? & 0x1fff == 0 {
            let message = header_len(network, 0)?;
            if ICMP_ERRORS.contains(&byte(network, message)?) {
                at = message + 8;
                to_virtual = !to_virtual;
            }
        }
        let address = at + if to_virtual { 12 } else { 16 };
        let hash = self.words([u32::from_be_bytes(chunk(network, address)?)]);
        if half(network, at + 6)? & FRAGMENT != 0 || !has_ports(byte(network, at + 9)?) {
            return Some(finish(hash));
        }
        let ports = at + header_len(network, at)?;
        let port = half(network, ports + if to_virtual { 0 } else { 2 })?;
        Some(finish(hash ^ u32::from(port)))
    }

    fn ipv6(&self, network: &[u8]) -> Option<u32> {
        const HEADER: usize = 40;
        let destination = Ipv6Addr::from(chunk::<16>(network, 24)?);
        let mut to_virtual = self.coarse || self.v6.contains(&destination);
        let mut at = 0;
        if byte(network, 6)? == ICMPV6 && byte(network, HEADER)? < ICMPV6_INFORMATION {
            at = HEADER + 8;
            to_virtual = !to_virtual;
        }
        let address = at + if to_virtual { 8 } else { 24 };
        let mut words = [0; 4];
        for (word, offset) in words.iter_mut().zip([0, 4, 8, 12]) {
            *word = u32::from_be_bytes(chunk(network, address + offset)?);
        }
        let hash = self.words(words);
        if !has_ports(byte(network, at + 6)?) {
            return Some(finish(hash));
        }
        let port = half(network, at + HEADER + if to_virtual { 0 } else { 2 })?;
        Some(finish(hash ^ u32::from(port)))
    }
}

/// Spreads every bit over the low ones, which decide the worker.
fn finish(hash: u32) -> u32 {
    let hash = hash.wrapping_mul(MIX[1]);
    let hash = (hash ^ hash >> SHIFT[0]).wrapping_mul(MIX[2]);
    hash ^ hash >> SHIFT[1]
}

fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

fn low_word(bits: u128) -> u32 {
    u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(0)
}

fn chunk<const LEN: usize>(bytes: &[u8], at: usize) -> Option<[u8; LEN]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    chunk(bytes, at).map(u16::from_be_bytes)
}

/// Octets of the IPv4 header at `at`, unchecked as in the program.
fn header_len(bytes: &[u8], at: usize) -> Option<usize> {
    byte(bytes, at).map(|first| usize::from(first & 15) * 4)
}

#[cfg(test)]
mod tests;

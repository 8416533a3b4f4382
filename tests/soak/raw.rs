//! Whole frames on a client's cable: from addresses that no machine has, half-open connections, garbage.

use std::net::Ipv4Addr;
use std::sync::Arc;

use link::steering::Steering;
use link::{Outgoing, Transmit, Transmitted};
use packet::Packet;
use packet::checksum::Sum;

use super::draw::Draw;

/// Octets of Ethernet, IPv4 and UDP headers.
const UDP_HEADERS: usize = 14 + 20 + 8;
/// Octets of a small UDP frame: 64 on the wire with its checksum.
const SMALL: usize = 60;

/// An interface that frames are put on, opened by a thread inside the namespace.
pub(crate) struct Wire {
    sender: Arc<dyn Transmit>,
    /// Destination and source address.
    macs: [u8; 12],
}

impl Wire {
    /// Opens `interface` of the thread's namespace. `from` and `to` are Ethernet addresses as `ip link` shows them.
    pub(crate) fn open(interface: &str, from: &str, to: &str) -> Self {
        let opened = link::af_packet::open(interface, 1, &Steering::new(&[], 0));
        let (links, _) = opened.unwrap_or_else(|error| panic!("{error}"));
        let sender = links
            .into_iter()
            .next()
            .map(|link| link.sender)
            .expect("one link was asked for");
        let mut macs = [0; 12];
        let octets = to.split(':').chain(from.split(':'));
        for (octet, text) in macs.iter_mut().zip(octets) {
            *octet = u8::from_str_radix(text, 16).expect("an Ethernet address");
        }
        Self { sender, macs }
    }

    /// Puts frames on the wire, in order; what became of them.
    pub(crate) fn send<'a>(&self, frames: impl Iterator<Item = &'a mut Vec<u8>>) -> Transmitted {
        let outgoing: Vec<Outgoing<'_>> = frames
            .map(|frame| {
                let end = frame.len();
                Outgoing::InPlace(Packet::new(frame, 0..end, 14))
            })
            .collect();
        self.sender.transmit(&outgoing)
    }

    /// A small UDP frame without UDP checksum.
    pub(crate) fn udp(&self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
        let mut frame = self.ipv4(from.0, to.0, 17, SMALL);
        frame[34..36].copy_from_slice(&from.1.to_be_bytes());
        frame[36..38].copy_from_slice(&to.1.to_be_bytes());
        let length = u16::try_from(SMALL - UDP_HEADERS + 8).unwrap_or(0);
        frame[38..40].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// The first segment of a TCP connection.
    pub(crate) fn syn(&self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
        let mut frame = self.ipv4(from.0, to.0, 6, 14 + 20 + 20);
        frame[34..36].copy_from_slice(&from.1.to_be_bytes());
        frame[36..38].copy_from_slice(&to.1.to_be_bytes());
        // Five words of header, SYN, a window.
        frame[46..50].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]);
        let sum = Sum::ZERO
            .pseudo_header(from.0.into(), to.0.into(), 6, 20)
            .bytes(&frame[34..54]);
        frame[50..52].copy_from_slice(&sum.finish().to_be_bytes());
        frame
    }

    /// A frame of `length` octets with an IPv4 header and zeros behind it.
    fn ipv4(&self, from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0; length];
        frame[..12].copy_from_slice(&self.macs);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        let total = u16::try_from(length - 14).unwrap_or(u16::MAX);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        frame[22..24].copy_from_slice(&[64, protocol]);
        frame[26..30].copy_from_slice(&from.octets());
        frame[30..34].copy_from_slice(&to.octets());
        seal(&mut frame);
        frame
    }

    /// A frame that is wrong in one of many ways: changed octets, cut off, a lone fragment, noise.
    pub(crate) fn garbage(&self, draw: &mut Draw, to: (Ipv4Addr, u16)) -> Vec<u8> {
        let from = (stranger(draw), 1024 + u16::from(draw.octet()));
        let mut frame = if draw.chance(50) {
            self.udp(from, to)
        } else {
            self.syn(from, to)
        };
        match draw.below(5) {
            0 => {
                for _ in 0..=draw.below(4) {
                    let at = 12 + draw.below(frame.len() - 12);
                    frame[at] = draw.octet();
                }
            }
            1 => {
                // The same, but its IPv4 checksum is right.
                let at = 14 + draw.below(40);
                frame[at] ^= 1 << draw.below(8);
                seal(&mut frame);
            }
            2 => frame.truncate(14 + draw.below(frame.len() - 14)),
            3 => {
                // More fragments, at some offset.
                frame[18..20].copy_from_slice(&[0, draw.octet()]);
                let offset = u8::try_from(draw.below(3)).unwrap_or(0);
                frame[20..22].copy_from_slice(&[0x20, offset]);
                frame.truncate(14 + 20 + 24);
                let total = u16::try_from(frame.len() - 14).unwrap_or(0);
                frame[16..18].copy_from_slice(&total.to_be_bytes());
                seal(&mut frame);
            }
            _ => {
                frame.truncate(14);
                // No shorter: the kernel drops tagged frames without a whole tag before anybody sees them.
                for _ in 0..6 + draw.below(200) {
                    frame.push(draw.octet());
                }
                let types = [
                    [0x08, 0x00],
                    [0x86, 0xdd],
                    [0x08, 0x06],
                    [0x81, 0x00],
                    [0, 0],
                ];
                frame[12..14].copy_from_slice(&types[draw.below(types.len())]);
            }
        }
        frame
    }
}

/// Changes the source of a frame of [`Wire::udp`].
pub(crate) fn set_source(frame: &mut [u8], from: (Ipv4Addr, u16)) {
    frame[26..30].copy_from_slice(&from.0.octets());
    frame[34..36].copy_from_slice(&from.1.to_be_bytes());
    seal(frame);
}

/// An address that no machine has: one of 10.64.0.0/10.
pub(crate) fn stranger(draw: &mut Draw) -> Ipv4Addr {
    Ipv4Addr::new(10, 64 | draw.octet() & 63, draw.octet(), draw.octet())
}

/// Computes the IPv4 header checksum.
fn seal(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = Sum::of(&frame[14..34]).finish();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

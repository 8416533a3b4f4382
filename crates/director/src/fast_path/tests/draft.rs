//! Frames of a test.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::checksum::Sum;
use packet::{Packet, Vlan, protocol};

use super::setting::{OUTSIDE, OWN, PEER, PORT, Setting};
use crate::protocol::Protocol;

const HEADROOM: usize = 64;

/// A frame to be, plain but for what is set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Draft {
    pub(super) client: u8,
    /// From this real server to the client.
    pub(super) from_server: Option<u8>,
    pub(super) flags: u8,
    pub(super) payload: usize,
    /// Hops that it has gone already.
    pub(super) hops: u8,
    pub(super) may_fragment: bool,
    pub(super) is_partial: bool,
    pub(super) is_unsummed: bool,
    pub(super) has_option: bool,
    pub(super) is_fragment: bool,
    pub(super) is_corrupt: bool,
    pub(super) is_foreign: bool,
    pub(super) padding: usize,
    pub(super) vlan: Option<u16>,
}

impl Draft {
    /// The frame, headroom in front.
    pub(super) fn write(&self, setting: Setting) -> Vec<u8> {
        let client = (setting.client(self.client), 4000);
        let (source, destination) = match self.from_server {
            Some(last) => ((setting.server(last), 8000), client),
            None => (client, (setting.vip(), PORT)),
        };
        let transport = self.transport(setting, source, destination);
        let mac = if self.is_foreign { PEER } else { OWN };
        let mut frame = [&[0; HEADROOM][..], &mac.0, &PEER.0].concat();
        let len = u16::try_from(transport.len()).unwrap();
        frame.extend(match (source.0, destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4(setting, source, destination, len)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ipv6(setting, source, destination, len)
            }
            _ => unreachable!("families are not mixed"),
        });
        frame.extend(transport);
        frame.resize(frame.len() + self.padding, 0xee);
        frame
    }

    /// EtherType and IP header, in front of `len` octets.
    fn ipv4(&self, setting: Setting, source: Ipv4Addr, destination: Ipv4Addr, len: u16) -> Vec<u8> {
        let words = 5 + u8::from(self.has_option);
        let [high, low] = (len + 4 * u16::from(words)).to_be_bytes();
        let flags = u8::from(!self.may_fragment) << 6 | u8::from(self.is_fragment) << 5;
        let fixed = [0x40 | words, 0, high, low, 0, 7, flags, 0];
        let fate = [64 - self.hops, setting.protocol.number(), 0, 0];
        let mut header = [&fixed[..], &fate, &source.octets(), &destination.octets()].concat();
        if self.has_option {
            header.extend([1, 1, 1, 0]);
        }
        let sum = Sum::of(&header).finish() ^ u16::from(self.is_corrupt);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&[8, 0][..], &header].concat()
    }

    /// The same of IPv6.
    fn ipv6(&self, setting: Setting, source: Ipv6Addr, destination: Ipv6Addr, len: u16) -> Vec<u8> {
        let number = setting.protocol.number();
        let (next, option) = match self.has_option {
            true => (
                protocol::DESTINATION_OPTIONS,
                &[number, 0, 1, 4, 0, 0, 0, 0][..],
            ),
            false => (number, &[][..]),
        };
        let [high, low] = (len + u16::try_from(option.len()).unwrap()).to_be_bytes();
        let version = if self.is_corrupt { 0x50 } else { 0x60 };
        let fixed = [
            0x86,
            0xdd,
            version,
            0,
            0,
            0,
            high,
            low,
            next,
            64 - self.hops,
        ];
        [&fixed[..], &source.octets(), &destination.octets(), option].concat()
    }

    fn transport(
        &self,
        setting: Setting,
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
    ) -> Vec<u8> {
        let mut octets = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
        let at = match setting.protocol {
            Protocol::Tcp => {
                octets.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, self.flags, 1, 0, 0, 0, 0, 0]);
                16
            }
            _ => {
                let len = u16::try_from(8 + self.payload).unwrap();
                octets.extend(len.to_be_bytes());
                octets.extend([0, 0]);
                6
            }
        };
        octets.extend((0..self.payload).map(|at| at.to_le_bytes()[0]));
        let number = setting.protocol.number();
        let body = if self.is_partial {
            Sum::ZERO
        } else {
            Sum::of(&octets)
        };
        let sum = body.pseudo_header(source.0, destination.0, number, octets.len());
        let field = match (
            self.is_partial,
            self.is_unsummed && setting.protocol == Protocol::Udp,
        ) {
            (_, true) => 0,
            (true, _) => sum.fold(),
            (false, _) => sum.finish(),
        };
        octets[at..at + 2].copy_from_slice(&field.to_be_bytes());
        octets
    }

    pub(super) fn packet<'a>(&self, setting: Setting, octets: &'a mut [u8]) -> Packet<'a> {
        let end = octets.len();
        let mut packet = Packet::new(octets, HEADROOM..end, 14);
        packet.vlan = self.vlan.map(|tci| Vlan {
            tpid: packet::ethernet::VLAN,
            tci,
        });
        if self.is_partial {
            let is_tcp = setting.protocol == Protocol::Tcp;
            packet.offload.partial_checksum = Some(if is_tcp { 16 } else { 6 });
            packet.offload.checksum_start = if setting.is_v6 { 54 } else { 34 };
        }
        packet
    }

    pub(super) fn interface(&self, setting: Setting) -> u32 {
        match self.from_server {
            Some(_) if !setting.is_one_armed => 2,
            _ => OUTSIDE,
        }
    }
}

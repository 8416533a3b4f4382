//! Capture files made of frames for tests: pcap with microseconds, from 1 700 000 000 on.

use etherparse::PacketBuilder;
use packet::Mac;

pub(crate) const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
pub(crate) const DIRECTOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(crate) const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 2, 0x0b]);

const START: u32 = 1_700_000_000;
const ETHERNET: u32 = 1;
const RAW: u32 = 101;

/// A capture file.
pub(crate) struct Capture {
    link_type: u32,
    octets: Vec<u8>,
}

impl Capture {
    pub(crate) fn ethernet() -> Self {
        Self::with_link_type(ETHERNET)
    }

    pub(crate) fn raw() -> Self {
        Self::with_link_type(RAW)
    }

    pub(crate) fn with_link_type(link_type: u32) -> Self {
        let mut octets = [0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4].to_vec();
        octets.extend([0, 0, 65_535, link_type].map(u32::to_be_bytes).concat());
        Self { link_type, octets }
    }

    /// The whole file.
    pub(crate) fn octets(&self) -> Vec<u8> {
        self.octets.clone()
    }

    /// A TCP segment without data, so many seconds after the start.
    pub(crate) fn tcp(
        &mut self,
        at: u64,
        macs: (Mac, Mac),
        from: ([u8; 4], u16),
        to: ([u8; 4], u16),
        flags: u8,
    ) {
        let mut segment = PacketBuilder::ethernet2(macs.0.0, macs.1.0)
            .ipv4(from.0, to.0, 64)
            .tcp(from.1, to.1, 1, 1000);
        if flags & 2 != 0 {
            segment = segment.syn();
        }
        if flags & 16 != 0 {
            segment = segment.ack(1);
        }
        let mut frame = Vec::new();
        segment.write(&mut frame, &[]).unwrap();
        self.frame(at, &frame);
    }

    /// A datagram of ten octets.
    pub(crate) fn udp(
        &mut self,
        at: u64,
        macs: (Mac, Mac),
        from: ([u8; 4], u16),
        to: ([u8; 4], u16),
    ) {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(macs.0.0, macs.1.0)
            .ipv4(from.0, to.0, 64)
            .udp(from.1, to.1)
            .write(&mut frame, &[7; 10])
            .unwrap();
        self.frame(at, &frame);
    }

    fn frame(&mut self, at: u64, frame: &[u8]) {
        let frame = if self.link_type == RAW {
            &frame[14..]
        } else {
            frame
        };
        let length = u32::try_from(frame.len()).unwrap();
        let seconds = START + u32::try_from(at).unwrap();
        let header = [seconds, 0, length, length];
        self.octets.extend(header.map(u32::to_be_bytes).concat());
        self.octets.extend(frame);
    }
}

//! ARP for IPv4 over Ethernet (RFC 826): reading and building requests and replies.

use core::net::Ipv4Addr;

use crate::Packet;
use crate::ethernet::{self, Ethernet, Mac};
use crate::view::header;

/// Octets of an ARP frame, Ethernet header included, padding excluded.
pub const FRAME_LEN: usize = ethernet::LEN + 28;

const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const HARDWARE_ETHERNET: u16 = 1;

header! {
    /// The ARP packet for Ethernet and IPv4.
    ArpPacket, 28 {
        /// Hardware address space: 1 = Ethernet.
        hardware, set_hardware: u16 = 0;
        /// Protocol address space: the EtherType of IPv4.
        protocol, set_protocol: u16 = 2;
        /// Octets of the two address lengths: 6 and 4.
        lengths, set_lengths: u16 = 4;
        /// Operation.
        operation, set_operation: u16 = 6;
        /// Sender's MAC address.
        sender_mac, set_sender_mac: Mac = 8;
        /// Sender's IPv4 address.
        sender, set_sender: Ipv4Addr = 14;
        /// Target's MAC address; without meaning in a request.
        target_mac, set_target_mac: Mac = 18;
        /// Target's IPv4 address.
        target, set_target: Ipv4Addr = 24;
    }
}

/// Whether a message asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// "Who has the target address? Tell the sender."
    Request,
    /// "The sender address is at the sender's MAC address."
    Reply,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Sender's MAC address.
    pub sender_mac: Mac,
    /// Sender's address; 0.0.0.0 in a probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// Target's MAC address; zero in a request.
    pub target_mac: Mac,
    /// Target's address.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads the ARP message in an Ethernet frame; `None` when it is none, or not about IPv4 over
    /// Ethernet.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Option<Self> {
        let is_arp = packet.link_len == ethernet::LEN
            && Ethernet::of(packet.bytes())?.ether_type() == ethernet::ARP;
        let message = ArpPacket::of(packet.network()).filter(|_| is_arp)?;
        let space = (message.hardware(), message.protocol(), message.lengths());
        let operation = match message.operation() {
            REQUEST => Operation::Request,
            REPLY => Operation::Reply,
            _ => return None,
        };
        (space == (HARDWARE_ETHERNET, ethernet::IPV4, 0x0604)).then(|| Self {
            operation,
            sender_mac: message.sender_mac(),
            sender: message.sender(),
            target_mac: message.target_mac(),
            target: message.target(),
        })
    }

    /// The question for `target`'s MAC address.
    #[must_use]
    pub const fn request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        let target_mac = Mac([0; 6]);
        Self {
            operation: Operation::Request,
            sender_mac: mac,
            sender,
            target_mac,
            target,
        }
    }

    /// The announcement that `address` is at `mac` ("gratuitous ARP", RFC 5227, 2.3).
    #[must_use]
    pub const fn announcement(mac: Mac, address: Ipv4Addr) -> Self {
        Self::request(mac, address, address)
    }

    /// The answer to this request: its target is at `mac`.
    #[must_use]
    pub const fn reply(&self, mac: Mac) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }

    /// Writes the Ethernet frame into `out`, and returns its octets, [`FRAME_LEN`]. A reply goes to
    /// its target, a request to all, but for `to`, if given (a unicast probe of a known neighbour).
    /// `None` when `out` is too short.
    #[must_use]
    pub fn write(&self, to: Option<Mac>, out: &mut [u8]) -> Option<usize> {
        let (operation, destination) = match self.operation {
            Operation::Request => (REQUEST, Mac::BROADCAST),
            Operation::Reply => (REPLY, self.target_mac),
        };
        let frame = out.get_mut(..FRAME_LEN)?;
        let mut link = Ethernet::of_mut(frame)?;
        link.set_destination(to.unwrap_or(destination));
        link.set_source(self.sender_mac);
        link.set_ether_type(ethernet::ARP);
        let mut message = ArpPacket::of_mut(frame.get_mut(ethernet::LEN..)?)?;
        message.set_hardware(HARDWARE_ETHERNET);
        message.set_protocol(ethernet::IPV4);
        message.set_lengths(0x0604);
        message.set_operation(operation);
        message.set_sender_mac(self.sender_mac);
        message.set_sender(self.sender);
        message.set_target_mac(self.target_mac);
        message.set_target(self.target);
        Some(FRAME_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Mac = Mac([2, 0, 0, 0, 1, 0xfe]);
    const OWNER: Mac = Mac([2, 0, 0, 0, 1, 1]);

    /// "Who has 10.8.0.1? Tell 10.1.0.254."
    const BYTES: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 1, 0xfe, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2,
        0, 0, 0, 1, 0xfe, 10, 1, 0, 254, 0, 0, 0, 0, 0, 0, 10, 8, 0, 1,
    ];

    fn read(mut bytes: [u8; 42]) -> Option<Arp> {
        Arp::of(&Packet::new(&mut bytes, 0..42, 14))
    }

    #[test]
    fn reads() {
        let request = read(BYTES).unwrap();
        assert_eq!(
            request,
            Arp::request(
                ASKER,
                Ipv4Addr::new(10, 1, 0, 254),
                Ipv4Addr::new(10, 8, 0, 1)
            )
        );
        for (at, octet) in [(13, 0), (15, 6), (16, 0x86), (18, 8), (19, 16), (21, 3)] {
            let mut bytes = BYTES;
            bytes[at] = octet;
            assert_eq!(read(bytes), None, "{at}");
        }
        let mut bytes = BYTES;
        assert_eq!(Arp::of(&Packet::new(&mut bytes, 0..41, 14)), None);
        assert_eq!(
            Arp::of(&Packet::new(&mut bytes, 14..42, 0)),
            None,
            "TUN has no ARP"
        );
    }

    #[test]
    fn writes() {
        let request = read(BYTES).unwrap();
        let mut bytes = [0xa5; 42];
        assert_eq!(request.write(None, &mut bytes), Some(42));
        assert_eq!(bytes, BYTES);
        assert_eq!(request.write(None, &mut bytes[..41]), None);
        request.write(Some(OWNER), &mut bytes).unwrap();
        assert_eq!((&bytes[..6], &bytes[6..]), (&OWNER.0[..], &BYTES[6..]));
    }

    #[test]
    fn replies_to_the_asker() {
        let reply = read(BYTES).unwrap().reply(OWNER);
        let mut bytes = [0xa5; 42];
        reply.write(None, &mut bytes).unwrap();
        assert_eq!(read(bytes), Some(reply));
        assert_eq!(
            (&bytes[..6], reply.operation),
            (&ASKER.0[..], Operation::Reply)
        );
        assert_eq!(
            (reply.sender_mac, reply.sender),
            (OWNER, Ipv4Addr::new(10, 8, 0, 1))
        );
        assert_eq!(
            (reply.target_mac, reply.target),
            (ASKER, Ipv4Addr::new(10, 1, 0, 254))
        );
    }

    #[test]
    fn announces_to_all() {
        let vip = Ipv4Addr::new(10, 8, 0, 1);
        let mut bytes = [0xa5; 42];
        Arp::announcement(OWNER, vip)
            .write(None, &mut bytes)
            .unwrap();
        let read = read(bytes).unwrap();
        assert_eq!((read.sender, read.target), (vip, vip));
        assert_eq!(bytes[..6], [0xff; 6]);
    }
}

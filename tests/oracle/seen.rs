//! What came out of the kernel for each flow: which server it chose, and how far the two ends have got.

use std::net::IpAddr;

use crate::decode::{be16, be32};
use crate::frame::TCP;
use crate::plan::{Endpoint, Flow};
use crate::recording::Port;

/// An IP packet in a frame that came out.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// MAC it was sent to.
    pub(crate) link: [u8; 6],
    /// Sender.
    pub(crate) source: IpAddr,
    /// Receiver.
    pub(crate) destination: IpAddr,
    /// Protocol of the payload.
    protocol: u8,
    /// Where the payload begins in `octets`.
    upper: usize,
    /// From the IP header on.
    pub(crate) octets: Vec<u8>,
}

impl Packet {
    /// The packet in a frame, if there is one.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let octets = frame.get(14..)?.to_vec();
        let link = frame.get(..6)?.try_into().ok()?;
        let (source, destination, protocol, upper) = match be16(frame, 12)? {
            0x0800 => {
                let four = |at: usize| Some(IpAddr::from(be32(&octets, at)?.to_be_bytes()));
                let upper = usize::from(octets.first()? & 15) * 4;
                (four(12)?, four(16)?, *octets.get(9)?, upper)
            }
            0x86dd => {
                let sixteen = |at: usize| {
                    let address: [u8; 16] = octets.get(at..at + 16)?.try_into().ok()?;
                    Some(IpAddr::from(address))
                };
                let next = *octets.get(6)?;
                let (protocol, upper) = if next == 44 {
                    (*octets.get(40)?, 48)
                } else {
                    (next, 40)
                };
                (sixteen(8)?, sixteen(24)?, protocol, upper)
            }
            _ => return None,
        };
        Some(Self {
            link,
            source,
            destination,
            protocol,
            upper,
            octets,
        })
    }

    /// The sequence number that must follow this segment; `None` where it is not one.
    fn next_sequence(&self) -> Option<u32> {
        let header = usize::from(self.octets.get(self.upper + 12)? >> 4) * 4;
        let data = self.octets.len().saturating_sub(self.upper + header);
        let flags = *self.octets.get(self.upper + 13)?;
        let counted = u32::from(flags & 1) + u32::from(flags >> 1 & 1);
        let sequence = be32(&self.octets, self.upper + 4)?;
        (self.protocol == TCP)
            .then(|| sequence.wrapping_add(u32::try_from(data).unwrap_or(0) + counted))
    }
}

/// What is known of one flow.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The last packet that came out on the server side.
    pub(crate) to_server: Option<Packet>,
    /// The server's endpoint, where the kernel translates.
    pub(crate) server: Option<Endpoint>,
    /// The client's next sequence number.
    pub(crate) client_next: u32,
    /// The server's.
    pub(crate) server_next: u32,
    /// What the client acknowledges.
    pub(crate) client_saw: u32,
    /// What the server acknowledges.
    pub(crate) server_saw: u32,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            to_server: None,
            server: None,
            client_next: 1000,
            server_next: 5000,
            client_saw: 5001,
            server_saw: 1001,
        }
    }
}

impl Known {
    /// Takes notice of a frame that came out after a packet of this flow.
    pub(crate) fn note(&mut self, flow: &Flow, port: Port, frame: &[u8]) {
        let Some(packet) = Packet::read(frame) else {
            return;
        };
        match port {
            Port::Client => {
                if let Some(next) = packet.next_sequence() {
                    self.client_saw = next;
                }
            }
            Port::Server => {
                if let Some(next) = packet.next_sequence() {
                    self.server_saw = next;
                }
                let translated = packet.protocol == flow.protocol
                    && packet.source == flow.client.0
                    && packet.destination != flow.virtual_end.0;
                if translated {
                    self.server = be16(&packet.octets, packet.upper + 2)
                        .map(|port| (packet.destination, port));
                }
                self.to_server = Some(packet);
            }
        }
    }
}

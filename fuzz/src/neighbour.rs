//! ARP and neighbour discovery: questions, answers and announcements, true and false ones.

use std::net::IpAddr;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use packet::Mac;

use crate::host::{client_address, server_address, virtual_address};

/// ARP and neighbour discovery.
#[derive(Debug, Arbitrary)]
pub struct Neighbour {
    server_side: bool,
    v6: bool,
    answer: bool,
    /// Who speaks, and who is asked for.
    sender: u8,
    target: u8,
    /// The speaker's link address; 0 is the director's own.
    mac: u8,
}

impl Neighbour {
    /// The side it arrives on and the whole frame.
    #[must_use]
    pub fn frame(&self, own: Mac) -> (bool, Vec<u8>) {
        let mac = if self.mac == 0 {
            own
        } else {
            Mac([2, 0, 0, 0, 7, self.mac])
        };
        let mut frame = vec![0; 128];
        let family = if self.v6 { 4 } else { 0 };
        let sender = match self.sender & 0x30 {
            0x10 => client_address(self.v6, self.sender),
            0x20 if self.v6 => "fd00:1::fe".parse().expect("an address"),
            0x20 => "10.1.0.254".parse().expect("an address"),
            _ => server_address(self.sender & 3 | family),
        };
        let target = virtual_address(self.target & 1 | family >> 1);
        let len = match (sender, target) {
            (IpAddr::V4(sender), IpAddr::V4(target)) => {
                let question = packet::arp::Arp::request(mac, sender, target);
                if self.answer {
                    let asked = packet::arp::Arp::request(own, target, sender);
                    asked.reply(mac).write(None, &mut frame)
                } else {
                    question.write(None, &mut frame)
                }
            }
            (IpAddr::V6(sender), IpAddr::V6(target)) => {
                if self.answer {
                    let question = packet::ndp::Solicitation {
                        source: target,
                        source_mac: Some(own),
                        target: sender,
                    };
                    question.answer(mac, own, &mut frame)
                } else {
                    packet::ndp::Solicitation::write(mac, sender, target, None, &mut frame)
                }
            }
            _ => None,
        };
        frame.truncate(len.unwrap_or(0));
        (self.server_side, frame)
    }
}

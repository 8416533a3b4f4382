//! ARP and NDP (RFC 826, RFC 4861): asking for next hops, answering for owned VIPs, learning from what
//! others say.
//!
//! The kernel answers for the host's own addresses and learns for itself; the director answers for owned VIPs
//! alone, and learns only what was said to it or what corrects an entry it has.

use core::net::IpAddr;

use packet::arp::{self, Arp, Operation};
use packet::ndp::{self, Advertisement, Ndp, Solicitation};
use packet::{Headers, Mac, Packet};

use crate::director::{Batch, Datagram, Ingress, Worker};
use crate::frame::{Frame, Outgoing, Output, OwnedFrame};
use crate::net::{Interface, Network};
use crate::verdict::{DropReason, Verdict};

/// The question for the link address of `address`; none when the interface has no address to ask from.
pub(crate) fn request(
    network: &Network,
    interface: &Interface,
    address: IpAddr,
) -> Option<Outgoing<'static>> {
    let source = network.interface_source(interface.index, address);
    match (address, source) {
        (IpAddr::V4(target), source) => {
            // A host that asks from no address of its own probes (RFC 5227); Linux answers that too.
            let sender = match source {
                Some(IpAddr::V4(sender)) => sender,
                _ => core::net::Ipv4Addr::UNSPECIFIED,
            };
            let request = Arp::request(interface.mac, sender, target);
            frame(interface, arp::FRAME_LEN, |out| request.write(None, out))
        }
        (IpAddr::V6(target), Some(IpAddr::V6(source))) => {
            let mac = interface.mac;
            frame(interface, ndp::FRAME_LEN, |out| {
                Solicitation::write(mac, source, target, None, out)
            })
        }
        (IpAddr::V6(_), _) => None,
    }
}

/// The announcement that a VIP is at this interface: gratuitous ARP, unsolicited neighbor advertisement.
#[must_use]
pub fn announcement(interface: &Interface, vip: IpAddr) -> Option<Outgoing<'static>> {
    match vip {
        IpAddr::V4(vip) => {
            let announcement = Arp::announcement(interface.mac, vip);
            frame(interface, arp::FRAME_LEN, |out| {
                announcement.write(None, out)
            })
        }
        IpAddr::V6(vip) => frame(interface, ndp::FRAME_LEN, |out| {
            Advertisement::announce(interface.mac, vip, out)
        }),
    }
}

/// A frame that leaves by `interface`, of the octets that `write` puts into `len`.
fn frame(
    interface: &Interface,
    len: usize,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<Outgoing<'static>> {
    if interface.link_len == 0 {
        return None;
    }
    let mut frame = OwnedFrame::zeroed(len);
    frame.link_len = interface.link_len;
    frame.edit(|packet| {
        let octets = write(packet.bytes_mut())?;
        packet.truncate(octets);
        Some(())
    })?;
    Some(Outgoing {
        interface: interface.index,
        frame: Frame::Owned(frame),
    })
}

impl Worker {
    /// An ARP message.
    pub(crate) fn receive_arp(
        &mut self,
        batch: &Batch<'_>,
        ingress: &Ingress<'_>,
        packet: &Packet<'_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        let Some(message) = Arp::of(packet) else {
            return Verdict::Pass;
        };
        let interface = ingress.interface;
        if message.sender_mac == interface.mac {
            return Verdict::Pass;
        }
        let (sender, target) = (IpAddr::V4(message.sender), IpAddr::V4(message.target));
        match message.operation {
            Operation::Request if batch.network.is_owned(target) && sender != target => {
                if !message.sender.is_unspecified() {
                    self.learn(batch, interface, sender, message.sender_mac, output);
                }
                let answer = message.reply(interface.mac);
                let answer = frame(interface, arp::FRAME_LEN, |out| answer.write(None, out));
                send_tagged(answer, ingress, output)
            }
            Operation::Reply if message.target_mac == interface.mac => {
                self.learn(batch, interface, sender, message.sender_mac, output);
                Verdict::Pass
            }
            Operation::Request | Operation::Reply => {
                let neighbours = &self.host.neighbours;
                neighbours.correct(interface.index, sender, message.sender_mac, batch.now);
                Verdict::Pass
            }
        }
    }

    /// An IPv6 frame for a multicast group: a neighbor solicitation or advertisement, or not our business.
    pub(crate) fn receive_multicast(
        &mut self,
        batch: &Batch<'_>,
        ingress: &Ingress<'_>,
        packet: &Packet<'_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        match Headers::parse(packet) {
            Ok(headers) => match Ndp::of(packet, &headers) {
                Some(message) => {
                    let sender = source_mac(packet);
                    self.ndp(batch, ingress, &message, (sender, false), output)
                }
                None => Verdict::Pass,
            },
            Err(malformed) => Verdict::Drop(DropReason::Malformed(malformed)),
        }
    }

    /// A neighbor discovery message sent to this interface alone.
    pub(crate) fn receive_ndp(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'_, '_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        let headers = *datagram.headers;
        let ingress = datagram.ingress;
        match datagram
            .frame
            .edit(|packet| Some((Ndp::of(packet, &headers)?, source_mac(packet))))
        {
            Some((message, sender)) => self.ndp(batch, &ingress, &message, (sender, true), output),
            None => Verdict::Pass,
        }
    }

    fn ndp(
        &mut self,
        batch: &Batch<'_>,
        ingress: &Ingress<'_>,
        message: &Ndp,
        (sender, to_us): (Mac, bool),
        output: &mut Output<'_>,
    ) -> Verdict {
        let interface = ingress.interface;
        match *message {
            Ndp::Solicitation(question) if batch.network.is_owned(question.target.into()) => {
                if let Some(mac) = question.source_mac {
                    self.learn(batch, interface, question.source.into(), mac, output);
                }
                let answer = frame(interface, ndp::FRAME_LEN, |out| {
                    question.answer(interface.mac, sender, out)
                });
                send_tagged(answer, ingress, output)
            }
            Ndp::Solicitation(_) => Verdict::Pass,
            Ndp::Advertisement(answer) => {
                if let Some(mac) = answer.target_mac {
                    let target = IpAddr::V6(answer.target);
                    if to_us {
                        self.learn(batch, interface, target, mac, output);
                    } else if answer.overrides {
                        let neighbours = &self.host.neighbours;
                        let before = neighbours.lookup(interface.index, target, batch.now);
                        neighbours.correct(interface.index, target, mac, batch.now);
                        self.link_address_told(before, mac);
                    }
                }
                Verdict::Pass
            }
        }
    }

    /// Notes a link address, and sends what this worker kept for it.
    fn learn(
        &mut self,
        batch: &Batch<'_>,
        interface: &Interface,
        address: IpAddr,
        mac: Mac,
        output: &mut Output<'_>,
    ) {
        let neighbours = &self.host.neighbours;
        let before = neighbours.lookup(interface.index, address, batch.now);
        neighbours.learn(interface.index, address, mac, batch.now);
        self.link_address_told(before, mac);
        self.poll_neighbours(batch, output);
    }
}

/// Source address of an Ethernet frame.
fn source_mac(packet: &Packet<'_>) -> Mac {
    let source = packet
        .bytes()
        .get(6..12)
        .and_then(|octets| octets.first_chunk());
    Mac(source.copied().unwrap_or_default())
}

/// Sends an answer back the way the question came, with its 802.1Q tag.
fn send_tagged(
    answer: Option<Outgoing<'static>>,
    ingress: &Ingress<'_>,
    output: &mut Output<'_>,
) -> Verdict {
    let Some(mut answer) = answer else {
        return Verdict::Pass;
    };
    answer.frame.edit(|packet| packet.vlan = ingress.vlan);
    output.frames.push(answer);
    Verdict::Answered
}

//! Random packets of clients, servers and routers.

use std::net::IpAddr;

use crate::frame::{TCP, UDP, octets};
use crate::plan::{Body, Data, Flow, Outer, Sending, Speaker, Spoil, Step};
use crate::world::{Service, World};

/// Flags of a client's segments: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
const CLIENT_FLAGS: [u8; 17] = [
    2, 0x10, 0x10, 0x18, 0x11, 4, 0x14, 0x12, 0, 2, 0x10, 0x18, 0x11, 3, 0x20, 0x29, 0x3f,
];
/// Flags of a server's.
const SERVER_FLAGS: [u8; 9] = [0x12, 0x12, 0x10, 0x18, 0x11, 4, 0x14, 0x10, 0x18];
/// SCTP chunks from their type on: INIT first.
const CHUNKS: [&[u8]; 11] = [
    &[
        1, 0, 0, 20, 0, 0, 0, 7, 0, 0, 5, 0xdc, 0, 1, 0, 1, 0, 0, 0, 1,
    ],
    &[
        2, 0, 0, 20, 0, 0, 0, 7, 0, 0, 5, 0xdc, 0, 1, 0, 1, 0, 0, 0, 1,
    ],
    &[
        0, 3, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, b'd', b'a', b't', b'a',
    ],
    &[3, 0, 0, 16, 0, 0, 0, 1, 0, 0, 5, 0xdc, 0, 0, 0, 0],
    &[10, 0, 0, 8, b'c', b'o', b'o', b'k'],
    &[11, 0, 0, 4],
    &[7, 0, 0, 8, 0, 0, 0, 1],
    &[8, 0, 0, 4],
    &[14, 0, 0, 4],
    &[6, 0, 0, 4],
    &[9, 0, 0, 4],
];
/// Flows that get another packet are among the last so many.
const RECENT: usize = 12;

impl World {
    /// Puts a packet behind the plan.
    pub(crate) fn send(&mut self, sending: Sending) {
        self.plan.steps.push(Step::Send(Box::new(sending)));
    }

    /// The next packet's identification.
    pub(crate) fn next_id(&mut self) -> u16 {
        self.id = self.id.wrapping_add(1);
        self.id
    }

    /// A packet of a flow with an ordinary header.
    pub(crate) fn sending(&mut self, flow: usize, speaker: Speaker, body: Body) -> Sending {
        let id = self.next_id();
        let mut sending = Sending::new(flow, speaker, id, body);
        if self.draw.chance(25) {
            sending.outer.df = true;
        }
        if self.draw.chance(8) {
            sending.outer.tos = self.draw.of(&[3, 1, 2, 0xb8, 0x10]);
        }
        if self.draw.chance(5) {
            sending.outer.ttl = self.draw.of(&[1, 2, 255]);
        }
        sending
    }

    fn some_data(&mut self, speaker: Speaker) -> Data {
        // A server's packet fits its link; a client's may fit only until a tunnel takes its share.
        let large = self.focus.name == "forwarding" && speaker == Speaker::Client;
        let sizes: &[usize] = if large {
            &[
                0, 1, 100, 1200, 1400, 1420, 1432, 1440, 1452, 1460, 1472, 1480,
            ]
        } else {
            &[0, 0, 0, 5, 100, 512, 1200, 1440]
        };
        let size = if self.draw.chance(50) {
            self.draw.of(sizes)
        } else {
            0
        };
        Data::Octets(vec![b'x'; size])
    }

    fn body(&mut self, protocol: u8, speaker: Speaker, first: bool) -> Body {
        let data = self.some_data(speaker);
        match protocol {
            TCP => {
                let flags = match speaker {
                    Speaker::Client if first && self.draw.chance(92) => 2,
                    Speaker::Client => self.draw.of(&CLIENT_FLAGS),
                    _ => self.draw.of(&SERVER_FLAGS),
                };
                Body::Tcp {
                    flags,
                    data,
                    stream: false,
                }
            }
            UDP => Body::Udp {
                data,
                checksum: None,
            },
            _ => {
                let chunk = if first {
                    CHUNKS[0]
                } else {
                    self.draw.of(&CHUNKS)
                };
                Body::Sctp(chunk.to_vec())
            }
        }
    }

    /// A service, or none: a client of something that is not served.
    fn target(&mut self) -> Service {
        if self.services.is_empty() || self.draw.chance(4) {
            return Service::absent();
        }
        let place = self.draw.place(self.services.len());
        self.services[place].clone()
    }

    /// Adds a flow to a service.
    pub(crate) fn add_flow(&mut self, service: &Service) -> usize {
        let host = if self.draw.chance(10) {
            1
        } else {
            self.draw.between(10, 30)
        };
        let address = if service.address.is_ipv6() {
            IpAddr::from([
                0x2001,
                0xdb8,
                0xc,
                0,
                0,
                0,
                0,
                u16::try_from(host).unwrap_or(1),
            ])
        } else {
            IpAddr::from([192, 0, 2, u8::try_from(host).unwrap_or(1)])
        };
        let own = u16::try_from(self.draw.between(1024, 60_000)).unwrap_or(1024);
        let from = self.draw.of(&[1001, 1002, 1003, 2000, own]);
        let to = if service.port == 0 || service.mark.is_some() {
            self.draw.of(&[80, 443, 8080, 53, service.port.max(1)])
        } else if self.draw.chance(97) {
            service.port
        } else {
            77
        };
        let flow = Flow {
            protocol: service.protocol,
            client: (address, from),
            virtual_end: (service.address, to),
        };
        self.plan.flows.push(flow);
        self.plan.flows.len() - 1
    }

    /// The first packet of a client.
    pub(crate) fn new_flow(&mut self) {
        let service = self.target();
        self.first_packet(&service);
    }

    fn first_packet(&mut self, service: &Service) {
        let flow = self.add_flow(service);
        let body = self.body(service.protocol, Speaker::Client, true);
        let mut sending = self.sending(flow, Speaker::Client, body);
        let flows = &self.plan.flows;
        sending.settle = flows[..flow].iter().any(|earlier| earlier.is(&flows[flow]));
        self.send(sending);
    }

    /// Many clients of one service, one after another.
    pub(crate) fn burst(&mut self) {
        let service = self.target();
        for _ in 0..self.draw.between(5, 15) {
            self.first_packet(&service);
        }
    }

    /// One of the last flows; `None` when there is none.
    pub(crate) fn some_flow(&mut self) -> Option<(usize, Flow)> {
        let count = self.plan.flows.len();
        let recent = count.min(RECENT);
        let place = count - recent + self.draw.place(recent);
        self.plan
            .flows
            .get(place)
            .cloned()
            .map(|flow| (place, flow))
    }

    /// The next packet of a flow.
    pub(crate) fn old_flow(&mut self) {
        let Some((place, flow)) = self.some_flow() else {
            return self.new_flow();
        };
        let speaker = if self.draw.chance(40) {
            Speaker::Server
        } else {
            Speaker::Client
        };
        let body = self.body(flow.protocol, speaker, false);
        let mut sending = self.sending(place, speaker, body);
        sending.settle = speaker == Speaker::Client && may_begin(&sending.body);
        self.send(sending);
    }

    /// An ICMP error about a flow.
    pub(crate) fn error(&mut self, speaker: Speaker) {
        let Some((place, flow)) = self.some_flow() else {
            return;
        };
        let mtu = self.draw.of(&[1300, 1400, 576, 0]);
        let (kind, word) = if flow.client.0.is_ipv4() {
            let kind = self.draw.of(&[
                (3, 0),
                (3, 1),
                (3, 3),
                (3, 3),
                (3, 4),
                (3, 4),
                (11, 0),
                (11, 1),
                (4, 0),
                (5, 1),
                (12, 0),
                (3, 13),
            ]);
            (kind, if kind == (3, 4) { mtu } else { 0 })
        } else {
            let kind = self.draw.of(&[
                (1, 0),
                (1, 1),
                (1, 3),
                (1, 4),
                (1, 4),
                (2, 0),
                (2, 0),
                (3, 0),
                (4, 1),
            ]);
            (kind, if kind.0 == 2 { mtu.max(1280) } else { 0 })
        };
        let quote = self.draw.of(&[28, 40, 48, 60, 100, 1200]);
        // 6.1.192 checks the checksum where 6.1.176 does not: so a wrong one is left to the recordings of the former.
        let body = Body::Error {
            kind,
            word,
            quote,
            bad: false,
        };
        let sending = self.sending(place, speaker, body);
        self.send(sending);
    }

    /// A datagram in fragments.
    pub(crate) fn fragments(&mut self) {
        let Some((place, flow)) = self.some_flow() else {
            return;
        };
        let size = self.draw.of(&[600, 1600, 2500, 4000]);
        let data = Data::Octets(vec![b'z'; size]);
        let body = match flow.protocol {
            TCP => Body::Tcp {
                flags: self.draw.of(&[2, 0x10, 0x18]),
                data,
                stream: false,
            },
            UDP => Body::Udp {
                data,
                checksum: None,
            },
            _ => return self.old_flow(),
        };
        let mut sending = self.sending(place, Speaker::Client, body);
        sending.outer.df = false;
        let v6 = flow.client.0.is_ipv6();
        let whole = if v6 { 1448 } else { 1480 };
        // 6.1.176 cuts a tunnel packet as small as the fragments that came, 6.1.192 does not: where there are tunnels,
        // only as large as possible.
        let tunnels = self.focus.methods.contains(&'i');
        sending.fragments = Some(if tunnels {
            whole
        } else {
            self.draw.of(&[512, 1280, 1400, whole])
        });
        sending.settle = may_begin(&sending.body);
        self.send(sending);
    }

    /// A packet that is not as it should be.
    pub(crate) fn odd(&mut self) {
        let Some((place, flow)) = self.some_flow() else {
            return self.new_flow();
        };
        let v6 = flow.client.0.is_ipv6();
        let first = self.draw.chance(50);
        let body = self.body(flow.protocol, Speaker::Client, first);
        let mut sending = self.sending(place, Speaker::Client, body);
        sending.settle = may_begin(&sending.body);
        match self.draw.between(0, 9) {
            0 | 1 => sending
                .spoil
                .push(Spoil::Pad(usize::from(self.draw.of(&[1_u8, 4, 6, 18, 20])))),
            2 => {
                let left = usize::try_from(self.draw.between(0, 999)).unwrap_or(0);
                sending.spoil.push(Spoil::Cut(left));
            }
            3 | 4 => {
                let place = usize::try_from(self.draw.between(0, 999)).unwrap_or(0);
                let bit = u8::try_from(self.draw.between(0, 7)).unwrap_or(0);
                sending.spoil.push(Spoil::Flip(place, bit));
            }
            5 => sending.spoil.push(Spoil::Mac(self.draw.of(&[
                [0xff; 6],
                [2, 0, 0, 0, 9, 9],
                [1, 0, 0x5e, 0, 0, 1],
            ]))),
            // The states of TCP and SCTP are read where 6.1 expects their headers, as if no extension header stood
            // before them: so only before UDP.
            6 | 7 if v6 && flow.protocol != UDP => {}
            6 | 7 if v6 => sending.outer.extension = Some(self.draw.of(&[0, 60])),
            6 | 7 => sending.outer.options = self.ip_options(),
            8 if flow.protocol == UDP => {
                let checksum = Some(self.draw.of(&[0, 0x1234]));
                sending.body = Body::Udp {
                    data: Data::Octets(b"hello".to_vec()),
                    checksum,
                };
            }
            _ => sending.outer.ttl = self.draw.of(&[0, 1, 1, 2, 255]),
        }
        self.send(sending);
    }

    /// IPv4 options.
    fn ip_options(&mut self) -> Vec<u8> {
        let router = octets(IpAddr::from([10, 9, 9, 9]));
        match self.draw.between(0, 5) {
            0 => vec![1, 1, 1, 1],
            1 => vec![1, 1, 1, 1, 1, 1, 1, 0],
            2 => [&[1, 131, 7, 4], &router[..]].concat(),
            3 => [&[1, 7, 7, 4][..], &[0; 4]].concat(),
            4 => vec![148, 4, 0, 0],
            _ => vec![1, 7, 2, 1],
        }
    }

    /// Something that is neither TCP, UDP nor SCTP.
    pub(crate) fn other(&mut self) {
        let Some((place, _)) = self.some_flow() else {
            return;
        };
        let body = match self.draw.between(0, 3) {
            0 => Body::Other(50, vec![0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4]),
            1 => Body::Other(
                51,
                vec![
                    59, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
                ],
            ),
            _ => Body::Echo,
        };
        let mut sending = self.sending(place, Speaker::Client, body);
        sending.outer = Outer {
            id: sending.outer.id,
            ..Outer::default()
        };
        self.send(sending);
    }
}

/// Whether a client's packet may ask for a new connection.
fn may_begin(body: &Body) -> bool {
    match body {
        Body::Tcp { flags, .. } => flags & 2 != 0,
        Body::Sctp(chunk) => chunk.first() == Some(&1),
        _ => false,
    }
}

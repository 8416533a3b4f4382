//! From a planned packet, and what the kernel has chosen for its flow, to the frames of it.

use std::net::IpAddr;

use crate::frame::{Numbers, TCP, UDP, ethernet, icmp, octets, packets, sctp, tcp, udp};
use crate::plan::{Body, Data, Endpoint, Flow, Sending, Speaker, Spoil};
use crate::recording::Port;
use crate::seen::Known;

/// The director's MAC on the client side.
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// The director's MAC on the server side.
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
/// The clients' router.
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 1, 0xfe];

/// Who sends to whom.
struct Ends {
    from: Endpoint,
    to: Endpoint,
    /// MAC of the sender.
    link: [u8; 6],
}

/// The frames of a packet, in order; `None` where it needs a server that the kernel has not chosen.
pub(crate) fn frames(sending: &Sending, flow: &Flow, known: &mut Known) -> Option<Vec<Vec<u8>>> {
    let ends = ends(sending, flow, known)?;
    let (protocol, payload) = payload(sending, flow, known, &ends)?;
    let link = match sending.port() {
        Port::Client => CLIENT_MAC,
        Port::Server => SERVER_MAC,
    };
    let cut = sending.fragments;
    let whole = packets(
        ends.from.0,
        ends.to.0,
        &sending.outer,
        protocol,
        &payload,
        cut,
    );
    Some(
        whole
            .into_iter()
            .map(|packet| spoiled(&sending.spoil, link, ends.link, packet))
            .collect(),
    )
}

fn ends(sending: &Sending, flow: &Flow, known: &Known) -> Option<Ends> {
    let to_client = |port: u16, client_port: u16| {
        let server = known.server?;
        let link = known.to_server.as_ref()?.link;
        Some(Ends {
            from: (server.0, port),
            to: (flow.client.0, client_port),
            link,
        })
    };
    match sending.speaker {
        Speaker::Client => Some(Ends {
            from: flow.client,
            to: flow.virtual_end,
            link: GATEWAY_MAC,
        }),
        Speaker::Server => to_client(known.server?.1, flow.client.1),
        Speaker::ServerFrom(port, client_port) => to_client(port, client_port),
        Speaker::ClientRouter => {
            let v4 = flow.client.0.is_ipv4();
            let router = if v4 {
                IpAddr::from([198, 51, 100, 1])
            } else {
                IpAddr::from([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1])
            };
            Some(Ends {
                from: (router, 0),
                to: flow.virtual_end,
                link: GATEWAY_MAC,
            })
        }
        Speaker::ServerRouter => {
            let quoted = known.to_server.as_ref()?;
            let v4 = quoted.source.is_ipv4();
            // 6.1.176 takes every translated ICMPv6 error for one with a wrong checksum; 6.1.192 does not.
            if !v4 && known.server.is_some() {
                return None;
            }
            let router = if v4 {
                IpAddr::from([10, 2, 0, 250])
            } else {
                IpAddr::from([0xfd00, 2, 0, 0, 0, 0, 0, 0xfa])
            };
            let from = match &sending.body {
                // What has no such port is the server itself.
                Body::Error {
                    kind: (3, 3) | (1, 4),
                    ..
                } => quoted.destination,
                _ => router,
            };
            Some(Ends {
                from: (from, 0),
                to: (quoted.source, 0),
                link: quoted.link,
            })
        }
    }
}

/// Protocol and payload of the IP packet.
fn payload(
    sending: &Sending,
    flow: &Flow,
    known: &mut Known,
    ends: &Ends,
) -> Option<(u8, Vec<u8>)> {
    Some(match &sending.body {
        Body::Tcp {
            flags,
            data,
            stream,
        } => {
            let data = text(data, known);
            let numbers = if *stream {
                counted(sending.speaker, *flags, data.len(), known)
            } else {
                fixed(*flags)
            };
            (TCP, tcp(ends.from, ends.to, *flags, numbers, &data))
        }
        Body::Udp { data, checksum } => {
            (UDP, udp(ends.from, ends.to, &text(data, known), *checksum))
        }
        Body::Sctp(chunk) => (flow.protocol, sctp(ends.from, ends.to, chunk)),
        Body::Other(protocol, data) => (*protocol, data.clone()),
        Body::Echo => {
            let request = if ends.from.0.is_ipv4() { 8 } else { 128 };
            icmp(
                ends.from.0,
                ends.to.0,
                (request, 0),
                0x0001_0001,
                b"echo",
                false,
            )
        }
        Body::Error {
            kind,
            word,
            quote,
            bad,
        } => {
            let quoted = match sending.speaker {
                Speaker::ServerRouter => known.to_server.as_ref()?.octets.clone(),
                _ => told(flow),
            };
            let quoted = &quoted[..quoted.len().min(*quote)];
            icmp(ends.from.0, ends.to.0, *kind, *word, quoted, *bad)
        }
    })
}

/// A packet that the client may have got from the virtual endpoint.
fn told(flow: &Flow) -> Vec<u8> {
    let (from, to) = (flow.virtual_end, flow.client);
    let segment = match flow.protocol {
        TCP => tcp(from, to, 0x12, fixed(0x12), b""),
        UDP => udp(from, to, b"hello", None),
        _ => sctp(from, to, &[2, 0, 0, 4]),
    };
    let outer = crate::plan::Outer {
        id: 77,
        ..crate::plan::Outer::default()
    };
    packets(from.0, to.0, &outer, flow.protocol, &segment, None).concat()
}

fn fixed(flags: u8) -> Numbers {
    Numbers {
        sequence: if flags & 2 != 0 { 1000 } else { 1001 },
        acknowledgement: if flags & 0x10 != 0 { 5001 } else { 0 },
    }
}

/// Numbers as the stack of that end would count them.
fn counted(speaker: Speaker, flags: u8, len: usize, known: &mut Known) -> Numbers {
    let (next, acknowledgement) = match speaker {
        Speaker::Client => (&mut known.client_next, known.client_saw),
        _ => (&mut known.server_next, known.server_saw),
    };
    let sequence = *next;
    let length = u32::try_from(len).unwrap_or(0) + u32::from(flags & 1) + u32::from(flags >> 1 & 1);
    *next = next.wrapping_add(length);
    let acknowledgement = if flags & 0x10 != 0 {
        acknowledgement
    } else {
        0
    };
    Numbers {
        sequence,
        acknowledgement,
    }
}

fn text(data: &Data, known: &Known) -> Vec<u8> {
    match data {
        Data::Octets(octets) => octets.clone(),
        Data::Text(text) => {
            let server = known
                .server
                .map_or_else(String::new, |(address, _)| match address {
                    IpAddr::V4(_) => octets(address)
                        .iter()
                        .map(u8::to_string)
                        .collect::<Vec<_>>()
                        .join(","),
                    IpAddr::V6(_) => address.to_string(),
                });
            text.replace("{server}", &server).into_bytes()
        }
    }
}

fn spoiled(spoil: &[Spoil], link: [u8; 6], source: [u8; 6], mut packet: Vec<u8>) -> Vec<u8> {
    let mut destination = link;
    for how in spoil {
        let len = packet.len();
        match how {
            Spoil::Pad(count) => packet.resize(len + count, 0),
            Spoil::Cut(thousandths) => packet.truncate(len * thousandths / 1000),
            Spoil::Flip(thousandths, bit) => {
                if let Some(octet) = packet.get_mut(len * thousandths / 1000) {
                    *octet ^= 1 << bit;
                }
            }
            Spoil::Mac(mac) => destination = *mac,
        }
    }
    ethernet(destination, source, &packet)
}

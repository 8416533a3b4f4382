//! LVS-TUN: the client's packet inside another one, addressed to the real server.
//!
//! The tunnel takes room: what no longer fits is refused with the path MTU less the tunnel's headers when it
//! must not be fragmented, else the *outer* packet is fragmented (BEHAVIOURS 13 to 15). Super-frames are cut into
//! segments that fit, and the client is told the path MTU as well, because its segment size comes from the real
//! server's SYN-ACK, which never passes a tunnelling director.

use core::net::IpAddr;

use packet::{Family, Headers, Tunnel, encapsulate};

use super::{Entry, Passage, Target};
use crate::cut::Pieces;
use crate::destination::{Method, TunnelChecksum, TunnelConfig, TunnelKind};
use crate::director::{Batch, Datagram, Worker};
use crate::egress::Hop;
use crate::frame::{Frame, Output};
use crate::net::Network;
use crate::refuse::Refusal;
use crate::sysctl::Sysctl;
use crate::verdict::{DropReason, Verdict};

/// First of the UDP source ports of GUE: `net.ipv4.ip_local_port_range` 32768 to 60999.
const GUE_PORT_FIRST: u16 = 32_768;
/// How many there are.
const GUE_PORTS: u32 = 28_232;

/// What the path must leave inside a tunnel over IPv4, octets (RFC 791).
const LEAST_MTU_V4: usize = 68;
/// The same over IPv6 (RFC 8200 section 5).
const LEAST_MTU_V6: usize = 1280;

/// Tunnelling.
pub(super) const METHOD: Entry = Entry {
    method: Method::Tunnel,
    option: Some("-i"),
    name: "Tunnel",
    summary: "the packet travels inside another one (IPIP, GRE, GUE)",
    send,
};

fn send(worker: &mut Worker, passage: Passage<'_, '_, '_, '_>) -> Verdict {
    let Passage {
        batch,
        target,
        hop,
        datagram,
        output,
    } = passage;
    worker.tunnel(batch, target, hop, datagram, output)
}

impl Worker {
    /// Puts a client's packet into the tunnel to its real server.
    fn tunnel<'a>(
        &mut self,
        batch: &Batch<'_>,
        target: &Target,
        hop: &Hop,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let Some(tunnel) = self.tunnel_for(batch, target, hop, datagram.headers) else {
            return Verdict::Drop(DropReason::NoRoute);
        };
        let mtu = hop.mtu.saturating_sub(tunnel.overhead());
        if mtu < least_mtu(&tunnel) {
            return Verdict::Drop(DropReason::TooBig);
        }
        if self.is_too_big(datagram, mtu) {
            return self.refuse(batch, datagram, Refusal::TooBig { mtu }, output);
        }
        datagram.seal_options();
        if datagram.frame.offload().gso.is_none() {
            return self.tunnel_one(batch, hop, &tunnel, datagram, output);
        }
        if datagram.segment_len() > mtu {
            // The segments are made to fit, but the client had better send smaller ones itself.
            let _ = self.refuse(batch, datagram, Refusal::TooBig { mtu }, output);
        }
        let ingress = datagram.ingress;
        let mut verdict = Verdict::Drop(DropReason::TooBig);
        for mut frame in self.cut(datagram, mtu) {
            let Ok(mut headers) = frame.headers() else {
                continue;
            };
            let mut segment = Datagram {
                frame: Frame::Owned(frame),
                headers: &mut headers,
                pieces: Pieces::Whole,
                ingress,
            };
            verdict = self.tunnel_one(batch, hop, &tunnel, &mut segment, output);
        }
        verdict
    }

    /// Whether a client's packet must be refused as too big for what the tunnel leaves; with `pmtu_disc` off, IPv4 is
    /// fragmented whatever it says (BEHAVIOURS 15).
    fn is_too_big(&self, datagram: &Datagram<'_, '_>, mtu: usize) -> bool {
        let fragment_anyway =
            datagram.headers.family == Family::V4 && !self.shared.sysctls.is_on(Sysctl::PmtuDisc);
        !fragment_anyway && datagram.is_too_big(mtu)
    }

    fn tunnel_one<'a>(
        &mut self,
        batch: &Batch<'_>,
        hop: &Hop,
        tunnel: &Tunnel,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let tunnel = Tunnel {
            id: self.id(),
            ..*tunnel
        };
        let (mtu, pieces) = outer_fragments(datagram, &tunnel, hop.mtu);
        datagram.frame.make_room(tunnel.overhead());
        let headers = &datagram.headers;
        let put = datagram
            .frame
            .edit(|packet| encapsulate(packet, headers, &tunnel));
        if put.is_err() {
            // Too long for an outer header; there is room, a super-frame has been cut before, the families match.
            return Verdict::Drop(DropReason::TooBig);
        }
        // The outer packet decides from here on.
        let mut frame = datagram.frame.take();
        match frame.headers() {
            Ok(mut headers) => {
                let mut outer = Datagram {
                    frame,
                    headers: &mut headers,
                    pieces: if pieces.is_empty() {
                        Pieces::Whole
                    } else {
                        Pieces::These(&pieces)
                    },
                    ingress: datagram.ingress,
                };
                self.emit(batch, &Hop { mtu, ..*hop }, &mut outer, output)
            }
            Err(malformed) => Verdict::Drop(DropReason::Malformed(malformed)),
        }
    }

    /// The tunnel's fields for one packet.
    fn tunnel_for(
        &self,
        batch: &Batch<'_>,
        target: &Target,
        hop: &Hop,
        headers: &Headers,
    ) -> Option<Tunnel> {
        let source = batch.network.outer_source(hop, target.address)?;
        let TunnelConfig {
            kind,
            port,
            checksum,
        } = target.tunnel;
        Some(Tunnel {
            kind: kind_of(kind),
            source,
            destination: target.address,
            source_port: gue_source_port(headers),
            destination_port: port,
            checksum: checksum_of(checksum),
            id: 0,
            copy_df: self.shared.sysctls.is_on(Sysctl::PmtuDisc),
        })
    }
}

impl Network {
    /// The source address of a tunnel by `hop` to real server `server`.
    pub(crate) fn outer_source(&self, hop: &Hop, server: IpAddr) -> Option<IpAddr> {
        hop.source
            .or_else(|| self.interface_source(hop.interface, hop.address))
            .filter(|source| source.is_ipv4() == server.is_ipv4())
            .or_else(|| self.interface_source(hop.interface, server))
    }
}

/// What a path must leave inside the tunnel, octets; the kernel sends nothing into a narrower one, and says nothing.
pub(crate) fn least_mtu(tunnel: &Tunnel) -> usize {
    match tunnel.destination {
        IpAddr::V4(_) => LEAST_MTU_V4,
        IpAddr::V6(_) => LEAST_MTU_V6,
    }
}

/// How the outer packet of a datagram that came in fragments is fragmented: into pieces of at most so many octets, or
/// into these pieces. Whole datagrams have neither. (Recordings `packets.frags_*`, `packets.frags6_*`,
/// `found.frags_unequal_*`: IPv4 in IPv4 is cut to the largest fragment's size, IPv4 in IPv6 where the path asks for it.
/// An IPv6 datagram keeps its pieces, the first one longer by what the tunnel put in front, where that leaves
/// multiples of eight.)
fn outer_fragments(datagram: &Datagram<'_, '_>, tunnel: &Tunnel, mtu: usize) -> (usize, Vec<u16>) {
    let headers = &datagram.headers;
    let (came, outer) = match (datagram.pieces, tunnel.destination) {
        (Pieces::Whole, _) | (Pieces::AtMost(_), IpAddr::V6(_)) => return (mtu, Vec::new()),
        (Pieces::AtMost(largest), IpAddr::V4(_)) => return (mtu.min(largest), Vec::new()),
        (Pieces::These(pieces), IpAddr::V4(_)) => (pieces, packet::ipv4::LEN),
        (Pieces::These(pieces), IpAddr::V6(_)) => (pieces, packet::ipv6::LEN),
    };
    let front = headers.transport_offset - headers.network_offset;
    let added = front + tunnel.overhead() - outer;
    let mut pieces = came.to_vec();
    match (pieces.first_mut(), u16::try_from(added)) {
        (Some(first), Ok(added)) if added.is_multiple_of(8) => *first = first.saturating_add(added),
        _ => pieces.clear(),
    }
    (mtu, pieces)
}

/// A port for the flow, the same for all its packets, so that the network keeps them in order.
fn gue_source_port(headers: &Headers) -> u16 {
    let (source, destination) = headers.ports();
    let ports = u32::from(source) << 16 | u32::from(destination);
    let hash = (fold(headers.source) ^ fold(headers.destination).rotate_left(16) ^ ports)
        .wrapping_mul(0x9e37_79b1);
    // The upper bits of the product depend on all bits of the flow.
    let port = (u64::from(hash) * u64::from(GUE_PORTS)) >> 32;
    GUE_PORT_FIRST + u16::try_from(port).unwrap_or(0)
}

fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments().map(u32::from);
            (a << 16 | b) ^ (c << 16 | d) ^ (e << 16 | f) ^ (g << 16 | h)
        }
    }
}

fn kind_of(kind: TunnelKind) -> packet::TunnelKind {
    match kind {
        TunnelKind::Ipip => packet::TunnelKind::Ipip,
        TunnelKind::Gue => packet::TunnelKind::Gue,
        TunnelKind::Gre => packet::TunnelKind::Gre,
    }
}

fn checksum_of(checksum: TunnelChecksum) -> packet::TunnelChecksum {
    match checksum {
        TunnelChecksum::None => packet::TunnelChecksum::None,
        TunnelChecksum::Full => packet::TunnelChecksum::Full,
        TunnelChecksum::Remote => packet::TunnelChecksum::Remote,
    }
}

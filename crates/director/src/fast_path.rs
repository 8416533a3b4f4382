//! The fast path: a plain packet of an established connection, from the frame that came in to the frame that goes out.
//!
//! Promises: what it takes becomes the same frame, connection, counts and times as on the way through
//! `Worker::receive`, and what it does not take it has not touched. It takes a packet when everything on that way which
//! looks for an exception has none to find: Ethernet on both sides, no tag, no super-frame, no option, no fragment, a hop
//! to spare; a connection that the packet leaves in its state, with a real server that is there; no synchronisation to
//! tell; direct routing, NAT or IPIP; a next hop whose link address is known and for which no packet
//! waits, and room on the way to it.
//!
//! It is fast because it has no exceptions: the headers are read once, into registers, by code that knows their family,
//! and nothing is put down to be picked up by the next step.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::plain::{Plain, Rewrite, Upper};
use packet::{Mac, Packet, Tunnel, ethernet, set_link, wrap};

use crate::connection::{Address, Connection, Guess};
use crate::destination::{Destination, Method, TunnelConfig, TunnelKind};
use crate::director::{Director, Host, Worker, next_id};
use crate::egress::Hop;
use crate::forward::least_mtu;
use crate::net::{Interface, Network};
use crate::protocol::Direction;
use crate::sysctl::Sysctl;
use crate::time::Instant;
use crate::ways::{Way, Ways};

/// Where a transport header may begin at most for a tunnel's headers to have room in front of it, octets.
const FURTHEST: u16 = u16::MAX / 2;
/// The longest datagram, octets.
const LONGEST: usize = u16::MAX as usize;

/// A packet's surroundings.
struct Around<'b> {
    now: Instant,
    network: &'b Network,
    ingress: &'b Interface,
    guess: Option<&'b Guess>,
}

impl Director {
    /// Forwards the packet if it is one for the fast path: then it is as it must leave by the interface of the index
    /// returned. Else nothing has changed.
    #[inline(always)]
    pub(crate) fn fast_path(
        &mut self,
        now: Instant,
        interface: u32,
        packet: &mut Packet<'_>,
    ) -> Option<u32> {
        if packet.link_len != ethernet::LEN
            || packet.vlan.is_some()
            || packet.offload.gso.is_some()
            || self.worker.shared.sync.is_any()
        {
            return None;
        }
        let guess = self.guesses.take(packet);
        let around = Around {
            guess,
            now,
            network: &self.network,
            ingress: self.network.interface(interface)?,
        };
        let (link, network) = packet.bytes().split_first_chunk::<{ ethernet::LEN }>()?;
        if link[..6] != around.ingress.mac.0 {
            return None;
        }
        match u16::from_be_bytes([link[12], link[13]]) {
            ethernet::IPV4 if self.services.serves(packet::Family::V4) => {
                let plain = Plain::<Ipv4Addr>::read(network)?;
                self.worker.pass_on(&around, &plain, packet)
            }
            ethernet::IPV6 if self.services.serves(packet::Family::V6) => {
                let plain = Plain::<Ipv6Addr>::read(network)?;
                self.worker.pass_on(&around, &plain, packet)
            }
            _ => None,
        }
    }
}

impl Worker {
    /// Forwards what was read as `plain`; the index of the interface that it must leave by.
    #[inline(always)]
    fn pass_on<A: Address>(
        &mut self,
        around: &Around<'_>,
        plain: &Plain<A>,
        packet: &mut Packet<'_>,
    ) -> Option<u32> {
        let steady = self
            .connections
            .steady(plain, around.guess, self.timeouts, around.now)?;
        let connection = &*steady.connection;
        let destination = connection.destination()?;
        if !destination.is_available() {
            return None;
        }
        let network = around.network;
        let (address, hop, rewrite, mut tunnel) = match steady.direction {
            Direction::ToServer => {
                let copy_df = self.shared.sysctls.is_on(Sysctl::PmtuDisc);
                towards_server::<A>(&mut self.ways, network, connection, destination, copy_df)?
            }
            Direction::ToClient => {
                let hop = self.ways.back(network, plain.destination.into())?;
                if is_tagged_or_told(connection, around, hop) {
                    return None;
                }
                let (vip, port) = connection.virtual_server_of::<A>()?;
                (plain.destination, hop, Rewrite::Source(vip, port), None)
            }
        };
        let further = hop.interface != around.ingress.index;
        if let Some(assist) = &self.assist
            && assist.may_offer(connection, steady.direction, further)
        {
            return None;
        }
        let (mac, own) = link_addresses(&self.host, self.index, hop, around.now)?;
        let learned = self.host.path_mtus.lookup(address.into(), around.now);
        let is_partial = packet.offload.partial_checksum.is_some();
        let is_unsummed = !is_partial && matches!(plain.upper, Upper::Udp { is_unsummed: true });
        if plain.len > room(hop, learned, tunnel.as_ref())?
            || is_unsummed && rewrite != Rewrite::None
            || tunnel.is_some_and(|tunnel| !is_wrapped_plainly(packet, &tunnel))
        {
            return None;
        }
        let egress = hop.interface;
        let end = ethernet::LEN + plain.len;
        packet.truncate(end);
        let (_, network) = packet
            .bytes_mut()
            .split_first_chunk_mut::<{ ethernet::LEN }>()?;
        plain.forward(network, rewrite, is_partial)?;
        if let Some(tunnel) = &mut tunnel {
            tunnel.id = next_id(&mut self.next_id);
            wrap(packet, A::FAMILY, end, tunnel).ok()?;
        }
        set_link(packet, mac, own);
        self.shared
            .count(self.index, destination, steady.direction, plain.len);
        steady.stay();
        Some(egress)
    }
}

/// The next hop's link address, if no packet waits for it, and the one that the interface sends from.
#[inline(always)]
fn link_addresses(host: &Host, worker: usize, hop: &Hop, now: Instant) -> Option<(Mac, Mac)> {
    let own = hop.own?;
    let mac = match hop.mac {
        Some(mac) => mac,
        None => host.known_neighbour(hop, now)?,
    };
    let waits = host.waiting.holds(worker, hop.interface, hop.address);
    (!waits).then_some((mac, own))
}

/// Whether the tunnel's headers have room in front of the packet, and it has no checksum for the tunnel to complete,
/// which could fail.
#[inline(always)]
fn is_wrapped_plainly(packet: &Packet<'_>, tunnel: &Tunnel) -> bool {
    let offload = &packet.offload;
    packet.headroom() >= tunnel.overhead()
        && offload.checksum_start <= FURTHEST
        && offload.partial_checksum.is_none()
}

/// Where a client's packet goes, by which hop, and what becomes of it.
#[inline(always)]
fn towards_server<'w, A: Address>(
    ways: &'w mut Ways,
    network: &Network,
    connection: &Connection,
    destination: &Destination,
    copy_df: bool,
) -> Option<(A, &'w Hop, Rewrite<A>, Option<Tunnel>)> {
    let (server, port) = connection.server_of::<A>()?;
    let names_it = destination.known_route(network.route_generation)?;
    let Way::Hop(hop, outer) = ways.to(network, server.into()) else {
        return None;
    };
    let (rewrite, tunnel) = match connection.method() {
        Method::Masq => (Rewrite::Destination(server, port), None),
        Method::DirectRoute if names_it => (Rewrite::None, None),
        Method::Tunnel => {
            let ends = ((*outer)?, server.into());
            let tunnel = plain_tunnel(destination.tunnel(), ends, copy_df)?;
            (Rewrite::None, Some(tunnel))
        }
        _ => return None,
    };
    Some((server, hop, rewrite, tunnel))
}

/// The tunnel between these ends, if it needs nothing of the packet inside.
#[inline(never)]
fn plain_tunnel(
    config: TunnelConfig,
    (source, destination): (IpAddr, IpAddr),
    copy_df: bool,
) -> Option<Tunnel> {
    (config.kind == TunnelKind::Ipip).then_some(Tunnel {
        kind: packet::TunnelKind::Ipip,
        source,
        destination,
        source_port: 0,
        destination_port: 0,
        checksum: packet::TunnelChecksum::None,
        id: 0,
        copy_df,
    })
}

/// Octets that a datagram may have; `None` where the path is too narrow for a tunnel.
#[inline(always)]
fn room(hop: &Hop, learned: Option<u32>, tunnel: Option<&Tunnel>) -> Option<usize> {
    let mtu = learned.map_or(hop.mtu, |mtu| {
        hop.mtu.min(usize::try_from(mtu).unwrap_or(usize::MAX))
    });
    let Some(tunnel) = tunnel else {
        return Some(mtu);
    };
    let room = mtu.min(LONGEST).saturating_sub(tunnel.overhead());
    (room >= least_mtu(tunnel)).then_some(room)
}

/// Whether an answer that leaves by `hop` gets a tag, or its sender a redirect.
#[inline(always)]
fn is_tagged_or_told(connection: &Connection, around: &Around<'_>, hop: &Hop) -> bool {
    let is_tagged = connection.client_vlan() != 0 && hop.interface == connection.client_interface();
    let returns = hop.interface == around.ingress.index;
    is_tagged || returns && around.network.redirects.contains(&hop.interface)
}

#[cfg(test)]
mod tests;

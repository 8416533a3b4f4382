//! The forwarding methods: what becomes of a client's packet on its way to the real server.
//!
//! Every method takes one from the TTL and refuses what does not fit. DR changes nothing else, NAT translates the
//! destination, TUN puts the packet into another (`tunnel.rs`). Byte-exact after BEHAVIOURS 11 to 18.

use core::net::IpAddr;

use packet::{Family, Translation, Transport, decrement_ttl, translate};

use crate::connection::{Connection, ConnectionId};
use crate::cut::Pieces;
use crate::destination::{Method, TunnelConfig};
use crate::director::{Batch, Datagram, Worker};
use crate::egress::Hop;
use crate::frame::Output;
use crate::net::Network;
use crate::refuse::Refusal;
use crate::verdict::{DropReason, Verdict};
use crate::ways::Way;

mod bypass;
mod direct;
mod local;
mod masq;
mod tunnel;

pub(crate) use tunnel::least_mtu;

/// A forwarding method.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which.
    pub method: Method,
    /// ipvsadm's option; `None` where the operator cannot ask for it.
    pub option: Option<&'static str>,
    /// Name in `ipvsadm -Ln`.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    send: for<'a, 'b, 'd, 'o> fn(&mut Worker, Passage<'a, 'b, 'd, 'o>) -> Verdict,
}

/// Every method, by number ([`Method`]).
pub(super) const METHODS: [&Entry; 5] = [
    &masq::METHOD,
    &local::METHOD,
    &tunnel::METHOD,
    &direct::METHOD,
    &bypass::METHOD,
];

/// IPv6 header and fragment header, octets.
const IPV6_FRAGMENT_OVERHEAD: usize = 48;

/// Where a connection's packets go and how, copied out of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) method: Method,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) tunnel: TunnelConfig,
    /// The route does not name the real server: on its link, the packet's own destination is resolved.
    goes_by_packet: bool,
}

impl Target {
    pub(crate) fn of(connection: &Connection, network: &Network) -> Self {
        let (address, port) = connection.server();
        let method = connection.method();
        let destination = connection.destination();
        let named = destination.map(|d| d.route_names_it(method, network.route_generation));
        Self {
            method,
            address,
            port,
            tunnel: destination.map_or_else(TunnelConfig::default, |d| d.tunnel()),
            goes_by_packet: method == Method::DirectRoute && named == Some(false),
        }
    }
}

impl Target {
    /// The hop of a packet to `destination`, where the way to the real server is by `hop` and has the path MTU `learned`.
    pub(crate) fn hop(
        &self,
        batch: &Batch<'_>,
        mut hop: Hop,
        learned: Option<u32>,
        destination: IpAddr,
    ) -> Hop {
        if let Some(learned) = learned {
            hop.limit(learned);
        }
        if self.goes_by_packet && hop.on_link {
            hop = hop.towards(batch.network, destination);
        }
        hop
    }
}

/// A client's packet on its way to a real server, its TTL already taken.
#[derive(Debug)]
struct Passage<'a, 'b, 'd, 'o> {
    batch: &'b Batch<'b>,
    target: &'b Target,
    hop: &'b Hop,
    datagram: &'o mut Datagram<'a, 'd>,
    output: &'o mut Output<'a>,
}

impl Worker {
    /// Sends a client's packet to its real server; `id` is its connection, unless none is kept.
    pub(crate) fn forward<'a>(
        &mut self,
        batch: &Batch<'_>,
        target: &Target,
        id: Option<ConnectionId>,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let mut hop = match self.way(batch, &target.address) {
            Way::Hop(hop, _) => *hop,
            Way::None(DropReason::NoRoute) => {
                return self.refuse(batch, datagram, Refusal::NoRoute, output);
            }
            &Way::None(reason) => return Verdict::Drop(reason),
            Way::Local => match target.method {
                Method::DirectRoute | Method::Tunnel => {
                    return self.deliver(batch, id, datagram, output);
                }
                // The translated packet would have to be handed to the host, which no link does.
                _ => return Verdict::Drop(DropReason::NoRoute),
            },
        };
        let learned = self.host.path_mtus.lookup(target.address, batch.now);
        hop = target.hop(batch, hop, learned, datagram.headers.destination);
        if datagram.headers.ttl <= 1 {
            return self.refuse(batch, datagram, Refusal::TimeExceeded, output);
        }
        datagram.decrement_ttl();
        let send = METHODS[target.method as usize].send;
        send(
            self,
            Passage {
                batch,
                target,
                hop: &hop,
                datagram,
                output,
            },
        )
    }

    /// The packet itself goes on, as it is or with addresses translated.
    fn route_on(&mut self, passage: Passage<'_, '_, '_, '_>, translation: Translation) -> Verdict {
        let Passage {
            batch,
            hop,
            datagram,
            output,
            ..
        } = passage;
        if datagram.is_too_big(hop.mtu) {
            return self.refuse(batch, datagram, Refusal::TooBig { mtu: hop.mtu }, output);
        }
        let is_super_frame = datagram.frame.offload().gso.is_some();
        if is_super_frame && datagram.headers.dont_fragment && datagram.segment_len() > hop.mtu {
            // A super-frame: its segments are made to fit, but the client had better send smaller ones itself.
            let refusal = Refusal::TooBig { mtu: hop.mtu };
            let _ = self.refuse(batch, datagram, refusal, output);
        }
        datagram.seal_options();
        match datagram.translate(translation) {
            Ok(()) => self.emit(batch, hop, datagram, output),
            Err(reason) => Verdict::Drop(reason),
        }
    }
}

impl Datagram<'_, '_> {
    /// Whether a router must refuse it: larger than `mtu` and not to be fragmented.
    ///
    /// Super-frames pass, they are cut to size on the way out. What came in fragments is judged by its largest
    /// fragment in IPv6, where only the sender may fragment.
    pub(crate) fn is_too_big(&self, mtu: usize) -> bool {
        if self.frame.offload().gso.is_some() || !self.headers.dont_fragment {
            return false;
        }
        match self.pieces {
            Pieces::These(pieces) if self.headers.family == Family::V6 => {
                let largest = pieces.iter().max().copied().map_or(0, usize::from);
                IPV6_FRAGMENT_OVERHEAD + largest > mtu
            }
            _ => self.len() > mtu,
        }
    }

    /// Takes one from the TTL or hop limit, in the frame and in the headers read from it.
    pub(crate) fn decrement_ttl(&mut self) {
        let headers = &self.headers;
        if let Some(ttl) = self.frame.edit(|packet| decrement_ttl(packet, headers)) {
            self.headers.ttl = ttl;
        }
    }

    /// Translates addresses and ports.
    pub(crate) fn translate(&mut self, translation: Translation) -> Result<(), DropReason> {
        let headers = &self.headers;
        self.frame
            .edit(|packet| translate(packet, headers, translation))
            .map_err(DropReason::Malformed)?;
        // Segments are cut by what the headers say: their checksums are made of these addresses.
        let headers = &mut self.headers;
        if let Some((address, port)) = translation.source {
            headers.source = address;
            if let Some((source, _)) = ports_mut(&mut headers.transport) {
                *source = port;
            }
        }
        if let Some((address, port)) = translation.destination {
            headers.destination = address;
            if let Some((_, destination)) = ports_mut(&mut headers.transport) {
                *destination = port;
            }
        }
        Ok(())
    }
}

/// Source and destination port, where there are any.
fn ports_mut(transport: &mut Transport) -> Option<(&mut u16, &mut u16)> {
    match transport {
        Transport::Tcp {
            source,
            destination,
            ..
        }
        | Transport::Udp {
            source,
            destination,
            ..
        }
        | Transport::Sctp {
            source,
            destination,
            ..
        } => Some((source, destination)),
        Transport::Icmp { .. }
        | Transport::Truncated { .. }
        | Transport::Fragment
        | Transport::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_stand_at_their_numbers() {
        for (number, entry) in METHODS.into_iter().enumerate() {
            assert_eq!(entry.method as usize, number, "{}", entry.name);
            assert_eq!(
                Method::from_number(number.try_into().unwrap()),
                Some(entry.method)
            );
        }
    }
}

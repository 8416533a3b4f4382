//! Which flows are offered, and when they are handed over.

use core::net::IpAddr;

use packet::{Mac, Translation};

use super::{Assist, Flow, Held, Kernel, Taken, Turn, is_settled, waiting};
use crate::connection::{Connection, ConnectionId, FlowKey};
use crate::destination::Method;
use crate::director::{Batch, Datagram, Worker};
use crate::egress::Hop;
use crate::forward::Target;
use crate::net::Interface;
use crate::net::neighbour::Lookup;
use crate::protocol::Direction;
use crate::sysctl::Sysctl;
use crate::time::Instant;
use crate::ways::Way;

/// Every so many packets of the client a flow is offered, if it is not the kernel's by then. Most connections are over
/// before.
const EVERY: u32 = 8;
/// Offers that wait at once; more come again with later packets.
const OFFERS_MAX: usize = 1024;
/// Octets of an Ethernet header.
const ETHERNET: usize = 14;

impl Assist {
    /// Whether the connection's next packet is one that may be offered with, which the fast path does not do: `further`
    /// is whether it goes on by another interface than it came by.
    #[inline(always)]
    pub(crate) fn may_offer(
        &self,
        connection: &Connection,
        direction: Direction,
        further: bool,
    ) -> bool {
        match direction {
            Direction::ToServer => {
                connection.packets().wrapping_add(1).is_multiple_of(EVERY) && self.takes(connection)
            }
            Direction::ToClient => further && connection.is_assisted(),
        }
    }

    /// See [`Director::discard_offers`](crate::director::Director::discard_offers).
    pub(super) fn discard_offers(&mut self) {
        self.offers.clear();
        self.sift(|_, flow| {
            flow.turn = Turn::Directors;
            false
        });
    }

    /// See [`Director::prepare_hand_over`](crate::director::Director::prepare_hand_over).
    pub(super) fn prepare_hand_over(&mut self) -> bool {
        self.sift(|kernel, flow| {
            let arrived = kernel.arrived(flow.number);
            flow.turn = arrived.map_or(Turn::Directors, Turn::Arrived);
            arrived.is_some()
        });
        !self.ready.is_empty()
    }

    /// See [`Director::hand_over`](crate::director::Director::hand_over).
    pub(super) fn hand_over(&mut self) {
        self.sift(|kernel, flow| {
            let Turn::Arrived(arrived) = flow.turn else {
                // Its packet came later.
                return flow.turn == Turn::Ready;
            };
            let taken = kernel.take_over(flow.number, arrived);
            flow.turn = if taken {
                Turn::Kernels
            } else {
                Turn::Directors
            };
            false
        });
    }

    /// Looks at each flow that may be taken over, and keeps those of which `stays` says so.
    fn sift(&mut self, mut stays: impl FnMut(&mut dyn Kernel, &mut Held) -> bool) {
        let Self {
            kernel,
            held,
            ready,
            ..
        } = self;
        ready.retain(|&(id, direction)| {
            waiting(held, id, direction).is_some_and(|flow| stays(kernel.as_mut(), flow))
        });
    }
}

/// A flow that is to be installed.
#[derive(Debug)]
pub(super) struct Offer {
    id: ConnectionId,
    direction: Direction,
    flow: Flow,
    generation: u64,
    learned: Option<(u32, IpAddr)>,
}

impl Worker {
    /// Looks at a connection after a packet of it was counted: takes it back from the kernel when it is not settled any
    /// more, offers it when it is worth it.
    #[inline]
    pub(crate) fn attend(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &Datagram<'_, '_>,
        direction: Direction,
    ) {
        let Some(assist) = &mut self.assist else {
            return;
        };
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let assisted = connection.is_assisted();
        if !is_settled(connection) {
            if assisted {
                self.retract(id);
            }
            return;
        }
        let worth = match direction {
            Direction::ToServer => connection.packets() % EVERY == 0 && assist.takes(connection),
            // The client's direction has shown that it is.
            Direction::ToClient => assisted,
        };
        if !worth {
            return;
        }
        if assisted && assist.has(id, direction) {
            assist.came(id, direction);
            return;
        }
        if assist.offers.len() >= OFFERS_MAX {
            return;
        }
        if let Some(offer) = self.offer(batch, id, datagram, direction)
            && let Some(assist) = &mut self.assist
        {
            assist.offers.push(offer);
        }
    }

    fn offer(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &Datagram<'_, '_>,
        direction: Direction,
    ) -> Option<Offer> {
        let ingress = datagram.ingress.interface;
        let tagged = datagram.ingress.vlan.is_some();
        let connection = self.connections.get(id).filter(|it| self.is_plain(it))?;
        if tagged || ingress.link_len != ETHERNET {
            return None;
        }
        let (method, target) = (connection.method(), Target::of(connection, batch.network));
        let (key, translation) = match direction {
            Direction::ToServer => (
                connection.client_key(),
                Translation {
                    source: None,
                    destination: (method == Method::Masq).then(|| connection.server()),
                },
            ),
            Direction::ToClient => (
                connection.reply_key()?,
                Translation {
                    source: Some(connection.virtual_server()),
                    destination: None,
                },
            ),
        };
        let hop = match direction {
            Direction::ToServer => self.hop_to_server(batch, &target, &key)?,
            Direction::ToClient => self.hop(batch, key.destination.0).ok()?,
        };
        // A neighbour that sends a packet to be sent back may be told of a shorter way.
        if direction == Direction::ToClient && hop.interface == ingress.index {
            return None;
        }
        let egress = batch.network.interface(hop.interface)?;
        let (next_hop, learned) = self.link_address(batch, &hop, egress)?;
        Some(Offer {
            id,
            direction,
            flow: Flow {
                key,
                ingress: ingress.index,
                egress: egress.index,
                next_hop,
                sender: egress.mac,
                mtu: u32::try_from(hop.mtu).unwrap_or(u32::MAX),
                translation,
            },
            generation: self.assist.as_ref()?.generation,
            learned,
        })
    }

    /// Whether a connection has nothing about it that needs every packet.
    fn is_plain(&self, connection: &Connection) -> bool {
        let sysctls = &self.shared.sysctls;
        let defended = [Sysctl::DropEntry, Sysctl::DropPacket, Sysctl::SecureTcp]
            .into_iter()
            .any(|defence| sysctls.is_on(defence));
        let available = connection.destination().is_some_and(|it| it.is_available());
        matches!(connection.method(), Method::DirectRoute | Method::Masq)
            && available
            && connection.client_vlan() == 0
            && !connection.is_tracked()
            && !connection.awaits_client_port()
            && !defended
            && !self.shared.sync.is_any()
    }

    /// The hop to a real server, as a packet goes it.
    fn hop_to_server(&mut self, batch: &Batch<'_>, target: &Target, key: &FlowKey) -> Option<Hop> {
        let Way::Hop(hop, _) = *self.way(batch, &target.address) else {
            return None;
        };
        let learned = self.host.path_mtus.lookup(target.address, batch.now);
        Some(target.hop(batch, hop, learned, key.destination.0))
    }

    /// The link address of the next hop, and where it stands if ulvs learned it itself. None when there is none, or it
    /// is to be asked for.
    fn link_address(
        &self,
        batch: &Batch<'_>,
        hop: &Hop,
        egress: &Interface,
    ) -> Option<(Mac, Option<(u32, IpAddr)>)> {
        if egress.link_len != ETHERNET {
            return None;
        }
        if let Some(mac) = hop.mac {
            return Some((mac, None));
        }
        let neighbours = &self.host.neighbours;
        match neighbours.lookup(egress.index, hop.address, batch.now) {
            Lookup::Known(mac) => Some((mac, Some((egress.index, hop.address)))),
            Lookup::Stale(_) | Lookup::Unknown => None,
        }
    }

    pub(super) fn install_offers(&mut self, now: Instant) {
        let Some(assist) = &mut self.assist else {
            return;
        };
        for offer in core::mem::take(&mut assist.offers) {
            self.install(offer, now);
        }
    }

    fn install(&mut self, offer: Offer, now: Instant) {
        let Offer {
            id,
            direction,
            flow,
            generation,
            learned,
        } = offer;
        let settled = self.connections.get(id).is_some_and(is_settled);
        let Some(assist) = self.assist.as_ref().filter(|_| settled) else {
            return;
        };
        if assist.holds(id, direction) {
            if assist.has(id, direction) {
                return;
            }
            // Void: both directions come anew.
            self.retract(id);
        }
        let Some(assist) = &mut self.assist else {
            return;
        };
        let Some(number) = assist.kernel.install(&flow, generation) else {
            return;
        };
        let held = Held {
            number,
            generation,
            installed: now,
            turn: Turn::Directors,
            counted: Taken::default(),
            learned,
        };
        assist.held.entry(id).or_default()[direction as usize] = Some(held);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.set_assisted(true);
        }
    }
}

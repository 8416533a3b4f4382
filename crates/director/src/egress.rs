//! The last steps of every packet: next hop, link address, link header, egress interface.

use core::net::IpAddr;

use packet::{Mac, ethernet, insert_link, strip_link};

use crate::director::{Batch, Host, Worker};
use crate::frame::{Frame, Outgoing, Output, OwnedFrame};
use crate::net::neighbour::Lookup;
use crate::net::waiting::Ready;
use crate::net::{Interface, NeighbourTable, Network, Route, RouteKind};
use crate::solicit;
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};

/// Where a packet goes: the interface, the next hop on it, and how much fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    /// Egress interface index.
    pub(crate) interface: u32,
    /// Next hop: the gateway, or the destination itself.
    pub(crate) address: IpAddr,
    /// Whether the next hop is the destination itself.
    pub(crate) on_link: bool,
    /// The interface's own link address, where it is an Ethernet.
    pub(crate) own: Option<Mac>,
    /// The next hop's link address, where the host's kernel knows it.
    pub(crate) mac: Option<Mac>,
    /// Largest IP datagram on the way, octets.
    pub(crate) mtu: usize,
    /// The route's preferred source.
    pub(crate) source: Option<IpAddr>,
}

impl Hop {
    /// Lowers the MTU to a learned one, octets.
    pub(crate) fn limit(&mut self, learned: u32) {
        self.mtu = self.mtu.min(usize::try_from(learned).unwrap_or(usize::MAX));
    }

    /// The same interface, but `address` as the next hop.
    pub(crate) fn towards(&self, network: &Network, address: IpAddr) -> Self {
        Self {
            address,
            mac: network.neighbours.get(&(self.interface, address)).copied(),
            ..*self
        }
    }
}

impl Network {
    /// The hop towards `destination`, with the path MTU of the route alone.
    ///
    /// # Errors
    /// [`DropReason::NoRoute`] without a usable route, [`DropReason::NoInterface`] when its interface is unknown.
    pub(crate) fn hop(&self, destination: IpAddr) -> Result<Hop, DropReason> {
        let route = self.routes.lookup(destination).ok_or(DropReason::NoRoute)?;
        self.hop_by(route, destination)
    }

    /// The hop towards `destination` by its route; by one with a gateway, the same for every destination.
    ///
    /// # Errors
    /// As [`Network::hop`].
    pub(crate) fn hop_by(&self, route: &Route, destination: IpAddr) -> Result<Hop, DropReason> {
        if route.kind != RouteKind::Unicast {
            return Err(DropReason::NoRoute);
        }
        let interface = self
            .interface(route.interface)
            .ok_or(DropReason::NoInterface)?;
        let address = route.gateway.unwrap_or(destination);
        let mtu = route
            .mtu
            .map_or(interface.mtu, |mtu| mtu.min(interface.mtu));
        Ok(Hop {
            interface: route.interface,
            address,
            on_link: route.gateway.is_none(),
            own: (interface.link_len == ethernet::LEN).then_some(interface.mac),
            mac: self.neighbours.get(&(route.interface, address)).copied(),
            mtu: usize::try_from(mtu).unwrap_or(usize::MAX),
            source: route.source,
        })
    }
}

impl Host {
    /// The link address of the next hop, which ulvs has learned itself and need not confirm.
    #[inline(never)]
    pub(crate) fn known_neighbour(&self, hop: &Hop, now: Instant) -> Option<Mac> {
        match self.neighbours.lookup(hop.interface, hop.address, now) {
            Lookup::Known(mac) => Some(mac),
            Lookup::Stale(_) | Lookup::Unknown => None,
        }
    }
}

impl Worker {
    /// The hop towards `destination`.
    ///
    /// # Errors
    /// As [`Network::hop`].
    pub(crate) fn hop(&self, batch: &Batch<'_>, destination: IpAddr) -> Result<Hop, DropReason> {
        let mut hop = batch.network.hop(destination)?;
        if let Some(learned) = self.host.path_mtus.lookup(destination, batch.now) {
            hop.limit(learned);
        }
        Ok(hop)
    }

    /// Sends a datagram that the director made itself.
    pub(crate) fn send(
        &mut self,
        batch: &Batch<'_>,
        destination: IpAddr,
        frame: OwnedFrame,
        output: &mut Output<'_>,
    ) -> Verdict {
        match self.hop(batch, destination) {
            Ok(hop) => self.emit_own(batch, &hop, frame, output),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Sends `frame`, an IP datagram behind whatever link header it came with, to `hop`.
    pub(crate) fn transmit<'a>(
        &mut self,
        batch: &Batch<'_>,
        hop: &Hop,
        mut frame: Frame<'a>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let Some(interface) = batch.network.interface(hop.interface) else {
            return Verdict::Drop(DropReason::NoInterface);
        };
        if interface.link_len == 0 {
            frame.edit(strip_link);
            output.frames.push(Outgoing {
                interface: interface.index,
                frame,
            });
            return Verdict::Forwarded;
        }
        let known = hop
            .mac
            .or_else(|| self.resolve(batch, interface, hop.address, output));
        let Some(mac) = known else {
            return self.hold(batch, interface, hop.address, &mut frame, output);
        };
        if self
            .host
            .waiting
            .holds(self.index, interface.index, hop.address)
        {
            // What has waited goes first.
            self.poll_neighbours(batch, output);
        }
        if !put_link(&mut frame, mac, interface.mac) {
            return Verdict::Drop(DropReason::TooBig);
        }
        output.frames.push(Outgoing {
            interface: interface.index,
            frame,
        });
        Verdict::Forwarded
    }

    /// The link address of `address` that ulvs learned itself; a stale one is confirmed by the way.
    fn resolve(
        &mut self,
        batch: &Batch<'_>,
        interface: &Interface,
        address: IpAddr,
        output: &mut Output<'_>,
    ) -> Option<Mac> {
        match self
            .host
            .neighbours
            .lookup(interface.index, address, batch.now)
        {
            Lookup::Known(mac) => Some(mac),
            Lookup::Stale(mac) => {
                if self
                    .host
                    .waiting
                    .confirm(interface.index, address, batch.now)
                {
                    output
                        .frames
                        .extend(solicit::request(batch.network, interface, address));
                }
                Some(mac)
            }
            Lookup::Unknown => None,
        }
    }

    fn hold<'a>(
        &mut self,
        batch: &Batch<'_>,
        interface: &Interface,
        address: IpAddr,
        frame: &mut Frame<'a>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let kept = frame.edit(|packet| OwnedFrame::copy_of(packet));
        match self
            .host
            .waiting
            .hold(self.index, interface.index, address, kept, batch.now)
        {
            Ok(first) => {
                self.counters.neighbours.taken += 1;
                if first {
                    output
                        .frames
                        .extend(solicit::request(batch.network, interface, address));
                }
                Verdict::Held
            }
            Err(_) => Verdict::Drop(DropReason::NeighbourQueueFull),
        }
    }

    /// Sends what has been waiting for link addresses, repeats requests, refuses what waited in vain.
    pub(crate) fn poll_neighbours(&mut self, batch: &Batch<'_>, output: &mut Output<'_>) {
        if self.host.waiting.is_idle() {
            return;
        }
        let (network, table, now) = (batch.network, &self.host.neighbours, batch.now);
        let known = |interface, address| known_now(network, table, interface, address, now);
        let due = self.host.waiting.poll(self.index, now, known, table);
        for (interface, address) in due.requests {
            let interface = network.interface(interface);
            output
                .frames
                .extend(interface.and_then(|i| solicit::request(network, i, address)));
        }
        for ready in due.ready {
            match release(network, ready, output) {
                Ok(()) => self.counters.neighbours.released += 1,
                Err(reason) => self.drop_waiting(reason),
            }
        }
        for frame in due.failed {
            self.drop_waiting(DropReason::NeighbourUnreachable);
            self.refuse_unreachable(batch, frame, output);
        }
    }

    /// Counts a packet that waited in vain.
    fn drop_waiting(&mut self, reason: DropReason) {
        self.counters.neighbours.dropped += 1;
        self.counters.dropped[reason.index()] += 1;
    }
}

/// Puts a link header in front of a frame, or the addresses into its own. False: its upper-layer header begins further
/// behind than an offload can say, which is possible in a super-frame alone.
fn put_link(frame: &mut Frame<'_>, to: Mac, from: Mac) -> bool {
    let put = |frame: &mut Frame<'_>| frame.edit(|packet| insert_link(packet, to, from));
    put(frame) || {
        frame.make_room(ethernet::LEN);
        put(frame)
    }
}

/// Sends a packet that has waited.
///
/// # Errors
/// Its interface has gone meanwhile, or the link header cannot be put in front, see [`put_link`].
fn release(network: &Network, ready: Ready, output: &mut Output<'_>) -> Result<(), DropReason> {
    let Ready {
        interface,
        mac,
        frame,
    } = ready;
    let mut frame = Frame::Owned(frame);
    let interface = network
        .interface(interface)
        .ok_or(DropReason::NoInterface)?;
    if !put_link(&mut frame, mac, interface.mac) {
        return Err(DropReason::TooBig);
    }
    output.frames.push(Outgoing {
        interface: interface.index,
        frame,
    });
    Ok(())
}

/// The address, when it was learned or confirmed recently enough to end a resolution.
fn known_now(
    network: &Network,
    table: &NeighbourTable,
    interface: u32,
    address: IpAddr,
    now: Instant,
) -> Option<Mac> {
    if let Some(&mac) = network.neighbours.get(&(interface, address)) {
        return Some(mac);
    }
    match table.lookup(interface, address, now) {
        Lookup::Known(mac) => Some(mac),
        Lookup::Stale(_) | Lookup::Unknown => None,
    }
}

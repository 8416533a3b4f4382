//! Established flows that the kernel sends on by itself: which, and what came of it.
//!
//! The director decides everything, and what is plain from then on it offers to a [`Kernel`]: one direction of a
//! connection, and what becomes of its packets. Promises that nothing but speed can be told from outside: a flow is
//! offered only while no packet that the kernel takes could change more than counters and lifetime; those are asked
//! for before anybody sees them ([`Director::fold`]) and before a connection's time has come. A change of what the
//! decision was made from makes all flows void at once ([`Kernel::invalidate`]); they are offered anew by their next packets.
//!
//! Knows nothing of how the kernel does it.

mod offer;

use core::fmt;
use core::ops::Bound;
use core::time::Duration;
use std::collections::BTreeMap;

use packet::{Mac, Translation};

use crate::connection::{Connection, ConnectionId, FlowKey, State, tcp};
use crate::director::{Director, Worker};
use crate::net::NeighbourTable;
use crate::net::neighbour::Lookup;
use crate::protocol::Direction;
use crate::shared::Shared;
use crate::time::Instant;
use crate::verdict::Counters;
use offer::Offer;

/// A flow without a packet for so long is taken back, so that there is room for busier ones.
const IDLE: Duration = Duration::from_secs(10);
/// Connections that one call of [`Director::fold`] looks at.
const PIECE: usize = 1024;
/// In the order of their numbers.
const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// Whose flows are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// TCP connections.
    Tcp,
    /// TCP connections and UDP flows. A flood of datagrams then costs the machine less, but it all falls to the processor
    /// that sends: less of it arrives.
    All,
}

/// One direction of a connection, and what becomes of its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Addresses and ports of its packets.
    pub key: FlowKey,
    /// Index of the Ethernet interface that they arrive on.
    pub ingress: u32,
    /// Index of the Ethernet interface that they leave by.
    pub egress: u32,
    /// Link address of the next hop.
    pub next_hop: Mac,
    /// Link address of the interface that they leave by.
    pub sender: Mac,
    /// Largest IP datagram that fits there, octets.
    pub mtu: u32,
    /// What replaces source or destination.
    pub translation: Translation,
}

/// What the kernel did with a flow since it was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Packets, a super-frame counting as one.
    pub packets: u64,
    /// Octets of their IP datagrams.
    pub octets: u64,
    /// When the last of them came; [`Instant::START`] before the first.
    pub last: Instant,
}

/// A kernel that sends on packets by itself. Each worker has one; all of them share the flows.
pub trait Kernel: fmt::Debug + Send {
    /// The state of things that flows are installed for now.
    fn generation(&self) -> u64;

    /// Things have changed: all flows of all workers are void.
    fn invalidate(&self);

    /// Prepares the kernel to send on a flow's packets while `generation` is the present one; they come to the director
    /// until [`Kernel::take_over`]. Returns the flow's number; `None` when the kernel cannot, or has no room.
    fn install(&mut self, flow: &Flow, generation: u64) -> Option<u32>;

    /// Packets of a flow that came to the director since it was installed. `None` before the first, and while one is on
    /// its way into a ring.
    fn arrived(&self, flow: u32) -> Option<u64>;

    /// Has the kernel send on a flow's packets from now on, unless more than `arrived` came to the director.
    fn take_over(&mut self, flow: u32, arrived: u64) -> bool;

    /// What was done with a flow so far.
    fn taken(&mut self, flow: u32) -> Taken;

    /// Leaves a flow's packets to the director again; what was done with it until then.
    fn remove(&mut self, flow: u32) -> Taken;
}

/// A flow that is installed.
#[derive(Clone, Copy, Debug)]
struct Held {
    number: u32,
    generation: u64,
    installed: Instant,
    turn: Turn,
    /// What is counted already.
    counted: Taken,
    /// Interface and next hop, where ulvs learned the link address itself.
    learned: Option<(u32, core::net::IpAddr)>,
}

/// Who sends on a flow's packets. It is taken over when no packet is before the director that a newer one would
/// overtake, which is looked for whenever a packet of it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The director, until another packet comes.
    Directors,
    /// The director; one came.
    Ready,
    /// The director; so many came, and those must be sent on before the next comes.
    Arrived(u64),
    /// The kernel.
    Kernels,
}

/// The flows of one worker.
#[derive(Debug)]
pub(crate) struct Assist {
    kernel: Box<dyn Kernel>,
    scope: Scope,
    /// What the batch began with.
    generation: u64,
    /// Those of each connection, by direction.
    held: BTreeMap<ConnectionId, [Option<Held>; 2]>,
    offers: Vec<Offer>,
    /// Those that may be taken over.
    ready: Vec<(ConnectionId, Direction)>,
}

impl Assist {
    /// Takes up the present generation. To be called before the host and the services are looked at.
    pub(crate) fn refresh(&mut self) {
        self.generation = self.kernel.generation();
    }

    /// Makes all flows void.
    pub(crate) fn invalidate(&self) {
        self.kernel.invalidate();
    }

    /// Whether the connection is one that may be offered.
    fn takes(&self, connection: &Connection) -> bool {
        self.scope == Scope::All || connection.state() != State::Udp
    }

    /// Whether the direction is installed for the present state of things.
    fn has(&self, id: ConnectionId, direction: Direction) -> bool {
        let held = self.held.get(&id).and_then(|held| held[direction as usize]);
        held.is_some_and(|held| held.generation == self.generation)
    }

    /// A packet of an installed flow came to the director.
    fn came(&mut self, id: ConnectionId, direction: Direction) {
        if let Some(flow) = waiting(&mut self.held, id, direction)
            && flow.turn == Turn::Directors
        {
            flow.turn = Turn::Ready;
            self.ready.push((id, direction));
        }
    }

    /// Whether a direction was ever given to the kernel and not taken back.
    fn holds(&self, id: ConnectionId, direction: Direction) -> bool {
        self.held
            .get(&id)
            .is_some_and(|held| held[direction as usize].is_some())
    }
}

/// A flow that is installed and not the kernel's yet.
fn waiting(
    held: &mut BTreeMap<ConnectionId, [Option<Held>; 2]>,
    id: ConnectionId,
    direction: Direction,
) -> Option<&mut Held> {
    let flow = held.get_mut(&id)?[direction as usize].as_mut();
    flow.filter(|flow| flow.turn != Turn::Kernels)
}

/// Where what the kernel did is counted.
struct Books<'a> {
    worker: usize,
    shared: &'a Shared,
    counters: &'a mut Counters,
}

impl Books<'_> {
    /// Counts what is new of a flow, for the connection too if it is still there.
    fn enter(
        &mut self,
        connection: Option<&mut Connection>,
        direction: Direction,
        held: &mut Held,
        taken: Taken,
    ) {
        let packets = taken.packets.wrapping_sub(held.counted.packets);
        let octets = taken.octets.wrapping_sub(held.counted.octets);
        held.counted = taken;
        if packets == 0 {
            return;
        }
        self.counters.count_assisted(packets);
        let Some(connection) = connection else {
            return;
        };
        if direction == Direction::ToServer {
            connection.count_packets(packets);
        }
        connection.used_at(taken.last);
        // A server that was deleted counts nothing.
        if let Some(server) = connection.destination().filter(|it| it.is_available()) {
            for stats in [&server.stats, &server.service_stats, &self.shared.stats] {
                stats.count_many(self.worker, direction, packets, octets);
            }
        }
    }
}

/// Whether nothing that a plain packet brings can change the connection's state.
fn is_settled(connection: &Connection) -> bool {
    matches!(
        connection.state(),
        State::Udp | State::Tcp(tcp::State::Established)
    )
}

impl Director {
    /// Lets a kernel send on what needs no judgement any more.
    pub fn set_assist(&mut self, kernel: Box<dyn Kernel>, scope: Scope) {
        self.parts().1.assist = Some(Assist {
            generation: kernel.generation(),
            kernel,
            scope,
            held: BTreeMap::new(),
            offers: Vec::new(),
            ready: Vec::new(),
        });
    }

    /// Counts what the kernel did, and takes back the flows that are void, idle, or whose next hop is to be asked for
    /// again. To be done before anything is shown or estimated, and once a second: from the beginning (`None`), in
    /// pieces that hold a worker up for a fraction of a millisecond. Where to go on, or `None` at the end.
    pub fn fold(&mut self, now: Instant, from: Option<ConnectionId>) -> Option<ConnectionId> {
        self.parts().1.fold(now, from)
    }

    /// Installs the flows that were offered. To be done after each batch of packets.
    pub fn install_offers(&mut self, now: Instant) {
        self.parts().1.install_offers(now);
    }

    /// Forgets what was offered since the last batch: another worker received those packets, and newer ones may wait in
    /// its ring.
    pub fn discard_offers(&mut self) {
        if let Some(assist) = &mut self.parts().1.assist {
            assist.discard_offers();
        }
    }

    /// Takes a note of what came of flows that the kernel may take over. If there are any, [`Director::hand_over`] is to
    /// follow when all frames that stand in rings by now have been received, and sent on.
    #[must_use]
    pub fn prepare_hand_over(&mut self) -> bool {
        let assist = self.parts().1.assist.as_mut();
        assist.is_some_and(Assist::prepare_hand_over)
    }

    /// Has the kernel take over the flows of which nothing came since [`Director::prepare_hand_over`].
    pub fn hand_over(&mut self) {
        if let Some(assist) = &mut self.parts().1.assist {
            assist.hand_over();
        }
    }
}

impl Worker {
    fn fold(&mut self, now: Instant, from: Option<ConnectionId>) -> Option<ConnectionId> {
        let held = &self.assist.as_ref()?.held;
        let behind = (
            from.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let piece: Vec<ConnectionId> = held.range(behind).map(|(&id, _)| id).take(PIECE).collect();
        for &id in &piece {
            self.fold_one(id, now);
        }
        piece.last().copied().filter(|_| piece.len() == PIECE)
    }

    /// Counts what the kernel did with a connection, and takes back what is not to stay.
    fn fold_one(&mut self, id: ConnectionId, now: Instant) {
        let Self {
            assist: Some(assist),
            connections,
            shared,
            counters,
            host,
            index,
            ..
        } = self
        else {
            return;
        };
        let mut books = Books {
            worker: *index,
            shared,
            counters,
        };
        let generation = assist.kernel.generation();
        let Some(flows) = assist.held.get_mut(&id) else {
            return;
        };
        let mut connection = connections.get_mut(id);
        for (direction, place) in DIRECTIONS.into_iter().zip(flows.iter_mut()) {
            let Some(flow) = place else {
                continue;
            };
            let mut taken = assist.kernel.taken(flow.number);
            let last = taken.last.max(flow.installed);
            let stays = connection.is_some()
                && flow.generation == generation
                && now.since(last) < IDLE
                && flow.is_reachable(&host.neighbours, now);
            if !stays {
                taken = assist.kernel.remove(flow.number);
            }
            books.enter(connection.as_deref_mut(), direction, flow, taken);
            if !stays {
                *place = None;
            }
        }
        let stays = flows.iter().any(Option::is_some);
        if let Some(connection) = connection {
            connection.set_assisted(stays);
        }
        if !stays {
            assist.held.remove(&id);
        }
    }

    /// Takes back both directions of a connection, and counts what was done with them.
    pub(crate) fn retract(&mut self, id: ConnectionId) {
        let Some(assist) = &mut self.assist else {
            return;
        };
        let Some(flows) = assist.held.remove(&id) else {
            return;
        };
        let mut books = Books {
            worker: self.index,
            shared: &self.shared,
            counters: &mut self.counters,
        };
        let mut connection = self.connections.get_mut(id);
        for (direction, flow) in DIRECTIONS.into_iter().zip(flows) {
            let Some(mut flow) = flow else {
                continue;
            };
            let taken = assist.kernel.remove(flow.number);
            books.enter(connection.as_deref_mut(), direction, &mut flow, taken);
        }
        if let Some(connection) = connection {
            connection.set_assisted(false);
        }
    }

    /// A neighbour's link address is `mac` now: if it was another one `before`, flows may go to that.
    pub(crate) fn link_address_told(&self, before: Lookup, mac: Mac) {
        let (Lookup::Known(old) | Lookup::Stale(old)) = before else {
            return;
        };
        if let Some(assist) = self.assist.as_ref().filter(|_| old != mac) {
            assist.invalidate();
        }
    }

    /// A new connection is about to get packets that an older one had: the kernel must not have them.
    pub(crate) fn retract_same(&mut self, connection: &Connection) {
        if self.assist.as_ref().is_none_or(|it| it.held.is_empty()) {
            return;
        }
        let keys = [Some(connection.client_key()), connection.reply_key()];
        for key in keys.into_iter().flatten() {
            if let Some((id, _)) = self.connections.find(&key) {
                self.retract(id);
            }
        }
    }

    /// Ends the connections whose time has come, within a budget.
    pub(crate) fn expire_assisted(
        &mut self,
        now: Instant,
        budget: u32,
        expired: impl Fn(&Shared, Connection),
    ) {
        let Self {
            assist,
            connections,
            shared,
            ..
        } = self;
        let lives = |id| {
            let assist = assist.as_mut()?;
            let flows = assist.held.get(&id)?;
            let flows = flows.iter().flatten();
            flows
                .map(|flow| assist.kernel.taken(flow.number).last)
                .max()
        };
        connections.expire_unless(now, budget, lives, |connection| {
            expired(shared, connection);
        });
    }
}

impl Held {
    /// Whether its next hop's link address is as fresh as packets by here would have it.
    fn is_reachable(&self, neighbours: &NeighbourTable, now: Instant) -> bool {
        self.learned.is_none_or(|(interface, address)| {
            matches!(neighbours.lookup(interface, address, now), Lookup::Known(_))
        })
    }
}

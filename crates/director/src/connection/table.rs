//! The connections of one worker, found by either direction's packets, ended by time.

use core::time::Duration;

use packet::Transport;

use super::index::{Index, low_bits};
use super::key::{FlowHash, FlowKey, HashKind};
use super::record::{Connection, StateRules};
use super::slab::Slab;
use super::tracking::Tracked;
use super::wheel::Wheel;
use crate::destination::Method;
use crate::observer::Observer;
use crate::protocol::Direction;
use crate::time::Instant;

mod fork;

pub(crate) use fork::Bound;

/// Entries of the index carry a slot number and a bit for the direction.
const LIMIT: usize = (1 << 31) - 1;

/// Places that [`Table::sweep`] passes over in the time that it takes to end a connection: the one is
/// read after its neighbour, the other's index entries and counts lie all over the memory.
pub const END_COST: u32 = 15;

/// Properties of a table that are fixed when it is made.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// How many connections it takes at most; at most 2^31 - 1.
    pub max_connections: usize,
    /// How flows are hashed.
    pub hash: HashKind,
    /// The hash's secret: random bits that nobody outside can know. The same seed gives the same
    /// behaviour.
    pub seed: [u64; 2],
}

/// Names a connection of a [`super::Table`]. Becomes invalid, and stays so, when the connection
/// ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    pub(super) index: u32,
    generation: u32,
}

impl ConnectionId {
    /// A number that is spread evenly whatever the names: one in n connections has one that n divides.
    #[must_use]
    pub const fn scattered(self) -> u64 {
        // Fibonacci hashing: the upper half is the good one.
        let number = (self.generation as u64) << 32 | self.index as u64;
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }
}

/// Where a walk over all connections goes on; the default is the beginning.
///
/// A connection that lives during the whole walk is met exactly once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u32);

/// The table holds as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection table is full")]
pub struct Full;

/// The connection table of one worker.
///
/// Every operation takes bounded time at every size: lookups read one cache line before the
/// connection's own; insertions carry a constant share of the growth; what concerns many
/// connections (expiry, listing, sweeping) takes a budget.
#[derive(Debug)]
pub struct Table {
    hash: FlowHash,
    pub(super) index: Index,
    pub(super) slab: Slab,
    wheel: Wheel,
    pub(super) tracked: Tracked,
    max_connections: usize,
    /// Connections taken in so far.
    made: u64,
    /// Connections that have ended so far.
    ended: u64,
    /// Who hears of connections.
    pub(crate) observer: Option<Box<dyn Observer>>,
}

/// Life that is left to a connection that is given up. The kernel ends it with its next tick, within 10 ms at the
/// recorded 100 Hz.
const LAST_TICK: Duration = Duration::from_millis(3);

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(config: &TableConfig) -> Self {
        Self {
            hash: FlowHash::new(config.hash, config.seed),
            index: Index::new(),
            slab: Slab::new(),
            wheel: Wheel::new(),
            tracked: Tracked::default(),
            max_connections: config.max_connections.min(LIMIT),
            made: 0,
            ended: 0,
            observer: None,
        }
    }

    /// Connections taken in so far.
    #[must_use]
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// Connections that have ended so far, in whatever way: the others are in the table.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.ended
    }

    /// Connections in the table, expiring ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no connection.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it holds as many connections as it may.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len() >= self.max_connections
    }

    /// Hash of a key, for [`Table::find_hashed`].
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.hash.hash(key)
    }

    /// The connection that a packet belongs to, and the packet's direction on it; of several the
    /// newest. Without one, a connection whose client's port is not known yet.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &FlowKey) -> Option<(ConnectionId, Direction)> {
        self.find_hashed(key, self.hash(key))
            .or_else(|| self.find_awaiting(key))
    }

    /// [`Table::find`] with the key's [`Table::hash`].
    ///
    /// Inlined, as is what it calls: what is found is written to memory in small pieces otherwise, and read in larger
    /// ones at once, for which the processor has to wait.
    #[inline(always)]
    #[must_use]
    pub fn find_hashed(&self, key: &FlowKey, hash: u64) -> Option<(ConnectionId, Direction)> {
        self.index.find(hash, |entry| {
            let (index, direction) = (slot_of(entry), direction_of(entry));
            let slot = self.slab.slot(index)?;
            let generation = slot.generation;
            slot.connection
                .as_ref()?
                .matches(key, direction)
                .then_some((ConnectionId { index, generation }, direction))
        })
    }

    /// The connection of this name, unless it has ended.
    #[inline]
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<&Connection> {
        let slot = self.slab.slot(id.index)?;
        (slot.generation == id.generation)
            .then_some(slot.connection.as_ref())
            .flatten()
    }

    /// The connection of this name, to be changed.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let slot = self.slab.slot_mut(id.index)?;
        (slot.generation == id.generation)
            .then_some(slot.connection.as_mut())
            .flatten()
    }

    /// Takes in a connection, to expire after its timeout.
    ///
    /// Where there is a connection already that the same packets belong to, the new one gets them;
    /// the old one gets them back if it outlives the new one (BEHAVIOURS 19).
    ///
    /// # Errors
    /// [`Full`]; the connection is dropped then, and the table unchanged.
    pub fn insert(
        &mut self,
        mut connection: Connection,
        now: Instant,
    ) -> Result<ConnectionId, Full> {
        if self.is_full() {
            return Err(Full);
        }
        connection.prolong(now);
        let index = self.slab.insert(connection);
        self.made += 1;
        self.enlist(index);
        self.wheel.arm(&mut self.slab, index);
        let id = self.id(index).ok_or(Full)?;
        self.track_awaiting(id);
        Ok(id)
    }

    /// Puts a connection into the index.
    pub(super) fn enlist(&mut self, index: u32) {
        let Some(connection) = self.slab.get(index) else {
            return;
        };
        for (key, direction) in keys(connection).into_iter().flatten() {
            let hash = self.hash.hash(&key);
            if let Some(slot) = self.slab.slot_mut(index) {
                slot.hashes[direction as usize] = low_bits(hash);
            }
            let slab = &self.slab;
            let is_same = |other| is_meant(slab, other, &key);
            self.index.insert(hash, entry(index, direction), is_same);
            self.index.grow(|entry| low_of(slab, entry));
        }
    }

    /// Ends a connection now and gives it back.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.get(id)?;
        self.wheel.disarm(&mut self.slab, id.index);
        self.take(id.index)
    }

    /// Advances the connection's state by a packet, and its life to a whole timeout from `now`.
    /// When it has proved itself (established; for UDP, answered), its template becomes ASSURED
    /// (BEHAVIOURS 30).
    pub fn observe(
        &mut self,
        id: ConnectionId,
        transport: &Transport,
        direction: Direction,
        rules: StateRules,
        now: Instant,
    ) {
        if let Some(connection) = self.get_mut(id) {
            let was_active = connection.is_active();
            connection.observe(transport, direction, rules);
            connection.prolong(now);
            let is_active = connection.is_active();
            if is_active != was_active
                && let Some(observer) = &mut self.observer
            {
                observer.turned(id, is_active);
            }
            self.wheel.rearm(&mut self.slab, id.index);
        }
    }

    /// Gives the connection a whole timeout from `now`.
    #[inline]
    pub fn refresh(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.get_mut(id) {
            connection.prolong(now);
            self.wheel.rearm(&mut self.slab, id.index);
        }
    }

    /// Lets a connection expire within a few milliseconds (kernel: `ip_vs_conn_expire_now`;
    /// BEHAVIOURS 28, 45). Until then it is listed, with no time left; a packet that finds no newer
    /// one still finds it, and if it is observed, the connection lives on.
    pub fn expire_now(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.get_mut(id) {
            connection.set_deadline(now.after(LAST_TICK));
            self.wheel.rearm(&mut self.slab, id.index);
        }
    }

    /// Ends the connections whose time has come, and gives them back.
    ///
    /// `budget` counts steps, each the work of one connection or less. Whether the budget sufficed;
    /// if not, call again soon.
    pub fn expire(&mut self, now: Instant, budget: u32, expired: impl FnMut(Connection)) -> bool {
        self.expire_unless(now, budget, |_| None, expired)
    }

    /// [`Table::expire`], but those whose packets the kernel sends on live until the later moment that `lives` says, if
    /// it says one.
    pub(crate) fn expire_unless(
        &mut self,
        now: Instant,
        mut budget: u32,
        mut lives: impl FnMut(ConnectionId) -> Option<Instant>,
        mut expired: impl FnMut(Connection),
    ) -> bool {
        while let Some(index) = self.wheel.advance(&mut self.slab, now, &mut budget) {
            if self.is_kept(index, now) || self.is_used(index, now, &mut lives) {
                self.wheel.arm(&mut self.slab, index);
            } else if let Some(connection) = self.take(index) {
                expired(connection);
            }
        }
        budget > 0
    }

    /// [`Table::expire`] has nothing to do before this moment; none when there is no connection.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.wheel.next_event()
    }

    /// Shows connections from `cursor` on, looking at no more than `max` places; where to go on, or
    /// none at the end.
    pub fn list<'a>(
        &'a self,
        cursor: Cursor,
        max: u32,
        mut show: impl FnMut(ConnectionId, &'a Connection),
    ) -> Option<Cursor> {
        let end = cursor.0.saturating_add(max).min(self.slab.slots());
        for index in cursor.0..end {
            if let (Some(id), Some(connection)) = (self.id(index), self.slab.get(index)) {
                show(id, connection);
            }
        }
        (end < self.slab.slots()).then_some(Cursor(end))
    }

    /// Ends the connections that `ends` says yes to, from `cursor` on, and gives them to `ended`;
    /// where to go on, or none at the end.
    ///
    /// `budget` is the work done: a place that is looked at takes 1 from it, a connection that ends
    /// [`END_COST`] more.
    pub fn sweep(
        &mut self,
        cursor: Cursor,
        mut budget: u32,
        mut ends: impl FnMut(&Connection) -> bool,
        mut ended: impl FnMut(Connection),
    ) -> Option<Cursor> {
        let slots = self.slab.slots();
        let mut index = cursor.0;
        while index < slots && budget > 0 {
            budget -= 1;
            if self.slab.get(index).is_some_and(&mut ends) {
                budget = budget.saturating_sub(END_COST);
                self.wheel.disarm(&mut self.slab, index);
                if let Some(connection) = self.take(index) {
                    ended(connection);
                }
            }
            index += 1;
        }
        (index < slots).then_some(Cursor(index))
    }

    /// Places for connections, taken or free.
    #[must_use]
    pub fn places(&self) -> u32 {
        self.slab.slots()
    }

    /// The connection at the place that random bits choose, if there is one.
    #[must_use]
    pub fn at_random(&self, random: u32) -> Option<ConnectionId> {
        let index = random.checked_rem(self.places())?;
        self.slab.get(index)?;
        self.id(index)
    }

    /// Steps that insertions and removals have taken so far: buckets read, and entries moved by
    /// growth.
    #[must_use]
    pub const fn work(&self) -> u64 {
        self.index.work()
    }

    /// Takes an unarmed connection out of index and slab.
    fn take(&mut self, index: u32) -> Option<Connection> {
        if let Some(id) = self.id(index)
            && let Some(observer) = &mut self.observer
        {
            observer.ended(id);
        }
        self.untrack(index);
        self.forget(index);
        let connection = self.slab.remove(index);
        self.ended += u64::from(connection.is_some());
        debug_assert!(!self.is_empty() || self.tracked.is_empty());
        connection
    }

    /// Takes a connection out of the index, if it is in it.
    pub(super) fn forget(&mut self, index: u32) {
        let Some(connection) = self.slab.get(index) else {
            return;
        };
        let has_reply = connection.method() == Method::Masq;
        for direction in [Direction::ToServer, Direction::ToClient] {
            if direction == Direction::ToServer || has_reply {
                let entry = entry(index, direction);
                self.index.remove(low_of(&self.slab, entry), entry);
            }
        }
    }

    /// The connection in this slot, to be changed.
    #[inline(always)]
    pub(super) fn connection_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.slab.slot_mut(index)?.connection.as_mut()
    }

    pub(super) fn id(&self, index: u32) -> Option<ConnectionId> {
        let generation = self.slab.slot(index)?.generation;
        Some(ConnectionId { index, generation })
    }
}

/// The keys that a connection is indexed by.
fn keys(connection: &Connection) -> [Option<(FlowKey, Direction)>; 2] {
    [
        Some((connection.client_key(), Direction::ToServer)),
        connection.reply_key().map(|key| (key, Direction::ToClient)),
    ]
}

/// Whether packets with this key belong to the connection that the entry names.
#[inline]
fn is_meant(slab: &Slab, entry: u32, key: &FlowKey) -> bool {
    slab.get(slot_of(entry))
        .is_some_and(|connection| connection.matches(key, direction_of(entry)))
}

/// Low bits of the hash under which an entry stands in the index.
fn low_of(slab: &Slab, entry: u32) -> u32 {
    let direction = direction_of(entry) as usize;
    slab.slot(slot_of(entry))
        .map_or(0, |slot| slot.hashes[direction])
}

/// An index entry: the connection's slot and one of its directions.
const fn entry(slot: u32, direction: Direction) -> u32 {
    slot << 1 | direction as u32
}

#[inline(always)]
pub(super) const fn slot_of(entry: u32) -> u32 {
    entry >> 1
}

#[inline(always)]
pub(super) const fn direction_of(entry: u32) -> Direction {
    if entry & 1 == Direction::ToServer as u32 {
        Direction::ToServer
    } else {
        Direction::ToClient
    }
}

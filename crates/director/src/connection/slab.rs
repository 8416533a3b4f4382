//! Where the connections lie: numbered slots that keep their place, with room for the timer's
//! links.

use core::mem;

use super::chunks::Chunks;
use super::record::Connection;

/// No slot.
pub(super) const NIL: u32 = u32::MAX;

/// A connection's place. 96 octets, on at most two cache lines.
#[derive(Debug)]
#[repr(C, align(32))]
pub(super) struct Slot {
    /// None while the slot is free.
    pub(super) connection: Option<Connection>,
    /// How often the slot was given away, so that an old [`super::ConnectionId`] does not find a
    /// new connection.
    pub(super) generation: u32,
    /// Next slot in the timer's list, or in the list of free slots.
    pub(super) next: u32,
    /// Previous slot in the timer's list; [`NIL`] at its head.
    pub(super) previous: u32,
    /// The low bits of the hashes that the connection is indexed under, by direction, so that
    /// neither growth nor removal has to hash again.
    pub(super) hashes: [u32; 2],
    /// The timer's list that the slot is in.
    pub(super) position: u16,
}

const _: () = assert!(size_of::<Slot>() == 96, "a slot outgrew its 96 octets");

impl Slot {
    /// Reads from every cache line that a lookup will read.
    #[inline(always)]
    pub(super) fn touch(&self) -> u32 {
        self.connection.as_ref().map_or(0, Connection::touch)
    }
}

/// Slots by number.
#[derive(Debug)]
pub(super) struct Slab {
    slots: Chunks<Slot>,
    free: u32,
    len: usize,
}

impl Slab {
    /// Without slots.
    pub(super) const fn new() -> Self {
        Self {
            slots: Chunks::new(),
            free: NIL,
            len: 0,
        }
    }

    /// Connections held.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Slots, occupied or free: numbers below this are valid.
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NIL)
    }

    /// Puts a connection into a free slot and gives the slot's number; the caller keeps the number
    /// of connections below 2^31.
    pub(super) fn insert(&mut self, connection: Connection) -> u32 {
        self.len += 1;
        let free = self.free;
        if let Some(slot) = self.slot_mut(free) {
            let next = mem::replace(&mut slot.next, NIL);
            slot.connection = Some(connection);
            self.free = next;
            return free;
        }
        let index = self.slots();
        self.slots.push(Slot {
            connection: Some(connection),
            generation: 0,
            next: NIL,
            previous: NIL,
            hashes: [0; 2],
            position: 0,
        });
        index
    }

    /// Takes the connection out of a slot and frees the slot.
    pub(super) fn remove(&mut self, index: u32) -> Option<Connection> {
        let free = self.free;
        let slot = self.slot_mut(index)?;
        let connection = slot.connection.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next = free;
        self.free = index;
        self.len -= 1;
        Some(connection)
    }

    /// The slot of this number.
    #[inline(always)]
    pub(super) fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(at(index))
    }

    /// The slot of this number, to be changed.
    #[inline(always)]
    pub(super) fn slot_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at(index))
    }

    /// The connection in this slot.
    #[inline(always)]
    pub(super) fn get(&self, index: u32) -> Option<&Connection> {
        self.slot(index)?.connection.as_ref()
    }
}

/// A slot number as an index.
#[inline(always)]
const fn at(index: u32) -> usize {
    index as usize
}

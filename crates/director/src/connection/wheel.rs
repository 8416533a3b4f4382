//! Timers of connections: a hierarchical wheel whose lists run through the slots.
//!
//! Promises: arming, disarming and re-arming take constant time; a connection never ends before its
//! deadline, and at most one tick (1.05 ms) after it when [`Wheel::advance`] is called often enough;
//! every step of `advance` touches one connection or jumps over a stretch without any. A deadline
//! that moves away costs nothing: the connection is put where it belongs when its old place comes
//! up.
//!
//! Eight levels of 64 lists cover the whole clock. The level is where a deadline's tick first
//! differs from the cursor's, in digits of six bits, so a connection's place depends on nothing
//! else and stays valid until the cursor enters it.

use super::slab::{NIL, Slab};
use crate::time::Instant;

/// Nanoseconds in a tick, as a power of two: 1.05 ms.
const TICK_SHIFT: u32 = 20;
/// Bits of a tick number that one level stands for.
const DIGIT: u32 = 6;
const LISTS: usize = 1 << DIGIT;
/// Enough that the levels reach over every tick number of a 64-bit nanosecond clock.
const LEVELS: usize = (u64::BITS - TICK_SHIFT).div_ceil(DIGIT) as usize;

/// The timer wheel of one table.
#[derive(Debug)]
pub(super) struct Wheel {
    /// Everything before this tick has been dealt with.
    cursor: u64,
    /// The level whose list the cursor has entered; of the others, only level 0 has anything where
    /// the cursor is, because what comes out of a coarse list goes to finer ones.
    entered: usize,
    heads: [[u32; LISTS]; LEVELS],
    /// A bit for every list that is not empty.
    occupied: [u64; LEVELS],
}

impl Wheel {
    /// Without timers; ticks begin with the clock.
    pub(super) const fn new() -> Self {
        Self {
            cursor: 0,
            entered: 0,
            heads: [[NIL; LISTS]; LEVELS],
            occupied: [0; LEVELS],
        }
    }

    /// Arms the timer of a slot that is in no list, for its connection's deadline.
    pub(super) fn arm(&mut self, slab: &mut Slab, index: u32) {
        let Some(slot) = slab.slot_mut(index) else {
            return;
        };
        let Some(connection) = &slot.connection else {
            return;
        };
        let place = self.place(deadline_tick(connection.deadline()));
        let (level, list) = place.split();
        let head = self.heads[level][list];
        slot.position = place.0;
        slot.previous = NIL;
        slot.next = head;
        self.heads[level][list] = index;
        self.occupied[level] |= 1 << list;
        if let Some(next) = slab.slot_mut(head) {
            next.previous = index;
        }
    }

    /// Takes an armed slot out of its list.
    pub(super) fn disarm(&mut self, slab: &mut Slab, index: u32) {
        let Some(slot) = slab.slot(index) else {
            return;
        };
        let (next, previous, place) = (slot.next, slot.previous, Place(slot.position));
        if let Some(before) = slab.slot_mut(previous) {
            before.next = next;
        } else {
            let (level, list) = place.split();
            self.heads[level][list] = next;
            if next == NIL {
                self.occupied[level] &= !(1 << list);
            }
        }
        if let Some(after) = slab.slot_mut(next) {
            after.previous = previous;
        }
    }

    /// After the deadline of an armed slot has moved: moves the slot if it would come up too late.
    #[inline]
    pub(super) fn rearm(&mut self, slab: &mut Slab, index: u32) {
        let Some(slot) = slab.slot(index) else {
            return;
        };
        let Some(connection) = &slot.connection else {
            return;
        };
        if self.place(deadline_tick(connection.deadline())) < Place(slot.position) {
            self.disarm(slab, index);
            self.arm(slab, index);
        }
    }

    /// Takes out the next connection whose deadline has come. None when there is none at `now`, or
    /// when `budget` ran out; each step takes 1 from the budget.
    pub(super) fn advance(
        &mut self,
        slab: &mut Slab,
        now: Instant,
        budget: &mut u32,
    ) -> Option<u32> {
        let end = now.as_nanos() >> TICK_SHIFT;
        while *budget > 0 && self.cursor <= end {
            let Some(index) = self.current() else {
                let next = self.next().filter(|&(tick, _)| tick <= end);
                (self.cursor, self.entered) = next.unwrap_or((end, 0));
                next?;
                *budget -= 1;
                continue;
            };
            *budget -= 1;
            self.disarm(slab, index);
            let deadline = slab.get(index).map_or(Instant::START, |it| it.deadline());
            if deadline_tick(deadline) <= self.cursor {
                return Some(index);
            }
            self.arm(slab, index);
        }
        None
    }

    /// No timer needs looking after before this moment; none when no timer is armed.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let tick = if self.current().is_some() {
            self.cursor
        } else {
            self.next()?.0
        };
        Some(Instant::from_nanos(tick << TICK_SHIFT))
    }

    /// A slot in one of the lists that the cursor stands in: due, or to be put into a finer level.
    fn current(&self) -> Option<u32> {
        [self.entered, 0].into_iter().find_map(|level| {
            let list = digit(self.cursor, level);
            (self.occupied[level] >> list & 1 == 1).then(|| self.heads[level][list])
        })
    }

    /// First tick of the next list behind the cursor that is not empty, and the list's level.
    fn next(&self) -> Option<(u64, usize)> {
        (0..LEVELS).find_map(|level| {
            let behind = (u64::MAX << digit(self.cursor, level)) << 1;
            let lists = self.occupied[level] & behind;
            let shift = DIGIT * level_bits(level);
            (lists != 0).then(|| {
                let above = (self.cursor >> shift) & !(LISTS as u64 - 1);
                ((above | u64::from(lists.trailing_zeros())) << shift, level)
            })
        })
    }

    /// Where a timer for this tick belongs; ticks that are past belong to the cursor's own list.
    #[inline]
    fn place(&self, tick: u64) -> Place {
        let tick = tick.max(self.cursor);
        let differing = tick ^ self.cursor;
        let level = (u64::BITS - 1 - (differing | 1).leading_zeros()) / DIGIT;
        let list = tick >> (DIGIT * level) & (LISTS as u64 - 1);
        Place(u16::try_from(u64::from(level) << DIGIT | list).unwrap_or(u16::MAX))
    }
}

/// A list: level and number, ordered as the lists come up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u16);

impl Place {
    fn split(self) -> (usize, usize) {
        let place = usize::from(self.0);
        ((place >> DIGIT).min(LEVELS - 1), place % LISTS)
    }
}

/// The first tick that begins at or after the deadline.
#[inline]
const fn deadline_tick(deadline: Instant) -> u64 {
    deadline.as_nanos().div_ceil(1 << TICK_SHIFT)
}

/// The cursor's list on a level.
#[inline]
fn digit(tick: u64, level: usize) -> usize {
    let list = tick >> (DIGIT * level_bits(level)) & (LISTS as u64 - 1);
    usize::try_from(list).unwrap_or(0)
}

/// A level as a factor of shifts.
#[inline]
fn level_bits(level: usize) -> u32 {
    u32::try_from(level).unwrap_or(0)
}

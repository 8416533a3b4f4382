//! A service's real servers as its scheduler sees them: loads, weights and overload flags side by side, in the order of
//! the list, instead of all over the memory.
//!
//! Promises: before each pick what has changed is read again ([`Board::refresh`]), and nothing else; so a pick sees what
//! a look at every real server would. Whatever a scheduler finds out about a block of 64 seats it may keep until one of
//! them changes ([`Blocks`]).

use std::sync::Arc;

use crate::changed_servers::{ChangedServers, NOTES};
use crate::destination::Destination;

/// Seats of a block, as many as a word has bits.
const BLOCK: usize = u64::BITS as usize;

/// A real server as it was when it last changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// Connections in an active state.
    pub(super) active: i32,
    /// Connections in an inactive state.
    pub(super) inactive: i32,
    /// Weight; 0 = quiesced.
    pub(super) weight: i32,
    /// Whether its thresholds keep new connections away.
    overloaded: bool,
}

impl Seat {
    pub(super) fn of(destination: &Destination) -> Self {
        Self {
            active: destination.active(),
            inactive: destination.inactive(),
            weight: destination.weight(),
            overloaded: destination.is_overloaded(),
        }
    }

    /// Whether a new connection may go there: not quiesced and within its thresholds.
    pub(super) const fn is_usable(&self) -> bool {
        self.weight > 0 && !self.overloaded
    }
}

/// The seats of a service's real servers.
#[derive(Debug)]
pub(crate) struct Board {
    seats: Vec<Seat>,
    /// By block: a bit for each usable seat, the first one lowest.
    usable: Vec<u64>,
    /// By block: a number that is another one after each change.
    stamps: Vec<u64>,
    /// The latest stamp; no block ever has 0.
    clock: u64,
    /// The stamp before those of the list now.
    list: u64,
    changed: Arc<ChangedServers>,
}

impl Board {
    /// Without real servers; those to come leave their notes in `changed`.
    pub(crate) fn new(changed: Arc<ChangedServers>) -> Self {
        Self {
            seats: Vec::new(),
            usable: Vec::new(),
            stamps: Vec::new(),
            clock: 0,
            list: 0,
            changed,
        }
    }

    /// Takes up another list of real servers.
    pub(crate) fn rebuild(&mut self, destinations: &[Arc<Destination>]) {
        // First of all: a change from now on is either read below, or noted at its new place.
        for (place, destination) in destinations.iter().enumerate() {
            destination.seat_at(place);
        }
        self.clock += 1;
        self.list = self.clock;
        let seats = destinations.iter().map(|destination| Seat::of(destination));
        self.seats.clear();
        self.seats.extend(seats);
        let blocks = self.seats.len().div_ceil(BLOCK);
        self.usable.resize(blocks, 0);
        self.stamps.resize(blocks, 0);
        for block in 0..blocks {
            self.note_change(block);
            let seats = self.seats[block * BLOCK..].iter().take(BLOCK);
            let bit = |(place, seat): (usize, &Seat)| u64::from(seat.is_usable()) << place;
            self.usable[block] = seats.enumerate().map(bit).sum();
        }
    }

    /// Reads again what has changed in this list, the one of [`Board::rebuild`].
    pub(crate) fn refresh(&mut self, destinations: &[Arc<Destination>]) {
        let words = self.stamps.len().min(NOTES / BLOCK);
        for word in 0..words {
            let mut notes = self.changed.take(word);
            while notes != 0 {
                let first = word * BLOCK + notes.trailing_zeros() as usize;
                notes &= notes - 1;
                // Where there are more places than notes, a note stands for several.
                for place in (first..self.seats.len()).step_by(NOTES) {
                    self.read(place, destinations);
                }
            }
        }
    }

    fn read(&mut self, place: usize, destinations: &[Arc<Destination>]) {
        let (Some(seat), Some(destination)) = (self.seats.get_mut(place), destinations.get(place))
        else {
            return;
        };
        *seat = Seat::of(destination);
        let (block, bit) = (place / BLOCK, 1 << (place % BLOCK));
        if seat.is_usable() {
            self.usable[block] |= bit;
        } else {
            self.usable[block] &= !bit;
        }
        self.note_change(block);
    }

    fn note_change(&mut self, block: usize) {
        self.clock += 1;
        self.stamps[block] = self.clock;
    }

    /// A number that is another one for each list.
    pub(super) const fn list(&self) -> u64 {
        self.list
    }

    /// The block that this place is in.
    pub(super) const fn block(place: usize) -> usize {
        place / BLOCK
    }

    /// A number that is another one after each change in this block; never 0 for one that there is.
    pub(super) fn stamp(&self, block: usize) -> u64 {
        self.stamps.get(block).copied().unwrap_or_default()
    }

    /// The real server at this place in the list.
    pub(super) fn seat(&self, place: usize) -> Option<&Seat> {
        self.seats.get(place)
    }

    /// The block of this place: its number, and its seats from the place on.
    pub(super) fn rest_of_block(&self, place: usize) -> (usize, &[Seat]) {
        let block = place / BLOCK;
        let end = self.seats.len().min((block + 1) * BLOCK);
        (block, self.seats.get(place..end).unwrap_or_default())
    }

    /// Whether any real server may be used.
    pub(super) fn has_usable(&self) -> bool {
        self.usable.iter().any(|&word| word != 0)
    }

    /// The first usable real server at this place or behind it.
    pub(super) fn next_usable(&self, from: usize) -> Option<usize> {
        let block = from / BLOCK;
        let rest = self.usable.get(block)? & (u64::MAX << (from % BLOCK));
        let behind = self.usable.iter().enumerate().skip(block + 1);
        let mut words = core::iter::once((block, rest)).chain(behind.map(|(at, &word)| (at, word)));
        let (block, word) = words.find(|&(_, word)| word != 0)?;
        Some(block * BLOCK + word.trailing_zeros() as usize)
    }
}

/// What a scheduler has found out about each block of a [`Board`], always the same one.
#[derive(Debug)]
pub(super) struct Blocks<T>(Vec<(u64, T)>);

/// Stamps are those of one board: a copy, which is for another one, knows nothing yet.
impl<T> Clone for Blocks<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Blocks<T> {
    /// What `look` makes of each block in turn: of the place of its first seat, and of its seats. Only those that have
    /// changed are looked at; `look` must make the same of the same seats.
    pub(super) fn look(
        &mut self,
        board: &Board,
        look: impl Fn(usize, &[Seat]) -> T,
    ) -> impl Iterator<Item = &T> {
        self.0.resize_with(board.stamps.len(), Default::default);
        for (block, (known, &stamp)) in self.0.iter_mut().zip(&board.stamps).enumerate() {
            if known.0 != stamp {
                let (_, seats) = board.rest_of_block(block * BLOCK);
                *known = (stamp, look(block * BLOCK, seats));
            }
        }
        self.0.iter().map(|(_, found)| found)
    }

    /// What it holds on the heap.
    pub(super) fn heap_octets(&self) -> usize {
        vec_octets(&self.0)
    }
}

/// What a vector holds on the heap, but for what its items hold there.
pub(super) const fn vec_octets<T>(vec: &Vec<T>) -> usize {
    vec.capacity() * size_of::<T>()
}

//! Loads of real servers and the comparison that all least-connection schedulers share.

use super::board::{Blocks, Board, Seat};

/// An active connection weighs as much as 256 inactive ones.
pub(super) fn overhead(seat: &Seat) -> i64 {
    i64::from(seat.active) * 256 + i64::from(seat.inactive)
}

/// The load that a further connection would make, by active connections alone.
pub(super) fn expected(seat: &Seat) -> i64 {
    i64::from(seat.active) + 1
}

/// A real server's place in the list, its load, and the weight that the load is in proportion to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    place: usize,
    load: i64,
    weight: i64,
}

impl Candidate {
    /// A usable real server and its load by all its connections.
    pub(super) fn by_overhead(place: usize, seat: &Seat) -> Option<Self> {
        seat.is_usable().then(|| Self {
            place,
            load: overhead(seat),
            weight: seat.weight.into(),
        })
    }

    /// Its place in the list.
    pub(super) const fn place(&self) -> usize {
        self.place
    }

    /// Whether `other`, which comes later in the list, is less loaded.
    pub(super) fn is_beaten_by(&self, other: &Self) -> bool {
        self.load.saturating_mul(other.weight) > other.load.saturating_mul(self.weight)
    }
}

/// The first of these that no later one beats.
fn unbeaten(candidates: impl Iterator<Item = Candidate>) -> Option<Candidate> {
    candidates.reduce(|least, next| {
        if least.is_beaten_by(&next) {
            next
        } else {
            least
        }
    })
}

/// The least loaded of each block of seats, as long as no seat of it changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Least(Blocks<Option<Candidate>>);

impl Least {
    /// What it holds on the heap.
    pub(super) fn heap_octets(&self) -> usize {
        self.0.heap_octets()
    }

    /// Place of the real server with the least load in proportion to its weight (above 0); the first of equals.
    /// `load` gives both of a seat, none for one that is out of the question; it must be the same function each time.
    pub(super) fn of(
        &mut self,
        board: &Board,
        load: impl Fn(&Seat) -> Option<(i64, i64)>,
    ) -> Option<usize> {
        let blocks = self.0.look(board, |first, seats| {
            let candidates = (first..).zip(seats).filter_map(|(place, seat)| {
                let (load, weight) = load(seat)?;
                Some(Candidate {
                    place,
                    load,
                    weight,
                })
            });
            unbeaten(candidates)
        });
        unbeaten(blocks.copied().flatten()).map(|least| least.place)
    }

    /// [`Least::of`] for the usable real servers and their weights.
    pub(super) fn by_weight(
        &mut self,
        board: &Board,
        load: impl Fn(&Seat) -> i64,
    ) -> Option<usize> {
        self.of(board, |seat| {
            seat.is_usable()
                .then(|| (load(seat), i64::from(seat.weight)))
        })
    }

    /// Place of the first real server that `fits`.
    pub(super) fn first(&mut self, board: &Board, fits: impl Fn(&Seat) -> bool) -> Option<usize> {
        self.of(board, |seat| fits(seat).then_some((0, 1)))
    }
}

//! Which real servers of a service have other loads, weights or overload flags than its scheduler last saw.
//!
//! Whoever changes one leaves a note, and the scheduler looks at those of whom there is one: so a pick among thousands of
//! real servers reads the few that have changed, not all of them.
//!
//! Promises: a change that is finished before a pick begins is seen by it. To that end a change is made before its note
//! is left, and the note is taken before the change is read, all sequentially consistent.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Words of notes.
const WORDS: usize = 64;
/// Places that have a note of their own; those behind share them.
pub(crate) const NOTES: usize = WORDS * u64::BITS as usize;

/// A note for each place in the service's list of real servers.
#[derive(Debug)]
pub(crate) struct ChangedServers {
    words: [AtomicU64; WORDS],
}

impl Default for ChangedServers {
    fn default() -> Self {
        Self {
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }
}

impl ChangedServers {
    /// Notes that the real server at this place in the list has changed.
    pub(crate) fn note(&self, place: usize) {
        let place = place % NOTES;
        let note = 1 << (place % u64::BITS as usize);
        let word = &self.words[place / u64::BITS as usize];
        // Read first: of many changes between two picks, one makes the line travel between workers.
        if word.load(SeqCst) & note == 0 {
            word.fetch_or(note, SeqCst);
        }
    }

    /// Takes the notes of the places `64 * word` to `64 * word + 63`: a bit for each, the first one lowest.
    pub(crate) fn take(&self, word: usize) -> u64 {
        match self.words.get(word) {
            Some(word) if word.load(SeqCst) != 0 => word.swap(0, SeqCst),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_taken_once() {
        let changed = ChangedServers::default();
        for place in [0, 63, 64, NOTES + 64, NOTES - 1] {
            changed.note(place);
        }
        let taken = [0, 1, 2, WORDS - 1, WORDS].map(|word| changed.take(word));
        assert_eq!(taken, [1 | 1 << 63, 1, 0, 1 << 63, 0]);
        assert_eq!(changed.take(0), 0);
    }
}

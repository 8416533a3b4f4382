//! A vector that grows without moving what it holds.
//!
//! Promises: a push costs at most one allocation of a fixed size plus, once in thousands of pushes, a copy of
//! the small list of chunks; elements keep their place for good. Never shrinks.

use core::ops::{Index, IndexMut};

/// Elements in a chunk: big enough that the list of chunks of ten million records fits a first-level cache,
/// small enough that one allocation is no stall.
const CHUNK: usize = 1 << SHIFT;
const SHIFT: usize = 12;

/// A growable array in chunks of [`CHUNK`] elements.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Chunks<T> {
    /// Without elements or allocations.
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }

    /// Elements held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts `value` behind the last element.
    pub(super) fn push(&mut self, value: T) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(value),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(value);
                self.chunks.push(chunk);
            }
        }
        self.len += 1;
    }

    /// The element at `index`, if there is one.
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index >> SHIFT)?.get(index % CHUNK)
    }

    /// The element at `index`, if there is one, to be changed.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.chunks.get_mut(index >> SHIFT)?.get_mut(index % CHUNK)
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.chunks[index >> SHIFT][index % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.chunks[index >> SHIFT][index % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_place_over_chunk_borders() {
        let mut chunks = Chunks::new();
        for number in 0..3 * CHUNK + 1 {
            chunks.push(number);
        }
        let first: *const usize = &chunks[0];
        assert_eq!(chunks.len(), 3 * CHUNK + 1);
        assert!((0..chunks.len()).all(|at| chunks[at] == at));
        assert_eq!(chunks.get(chunks.len()), None);
        assert!(core::ptr::eq(first, &chunks[0]));
    }
}

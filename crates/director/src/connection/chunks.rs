//! A vector that grows without moving what it holds.
//!
//! Promises: a push never copies; elements keep their place for good. Each chunk is twice as big as
//! the one before, so that there are few of them and the big ones lie on huge pages; memory that
//! was not written to yet costs nothing. Never shrinks.

use core::ops::{Index, IndexMut};

/// Elements of the first chunk, as a power of two.
const FIRST_SHIFT: u32 = 10;
const FIRST: usize = 1 << FIRST_SHIFT;
/// Enough for 2^32 elements.
const CHUNKS: usize = (u32::BITS - FIRST_SHIFT) as usize;

/// A growable array in chunks.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: [Vec<T>; CHUNKS],
    len: usize,
}

impl<T> Chunks<T> {
    /// Without elements or allocations.
    pub(super) const fn new() -> Self {
        Self {
            chunks: [const { Vec::new() }; CHUNKS],
            len: 0,
        }
    }

    /// Elements held.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Puts `value` behind the last element; the caller keeps their number below 2^32 - 1024.
    pub(super) fn push(&mut self, value: T) {
        let (chunk, offset) = split(self.len);
        let chunk = &mut self.chunks[chunk];
        if offset == 0 {
            chunk.reserve_exact(FIRST + self.len);
        }
        chunk.push(value);
        self.len += 1;
    }

    /// The element at `index`, if there is one.
    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (chunk, offset) = split(index);
        self.chunks.get(chunk)?.get(offset)
    }

    /// The element at `index`, if there is one, to be changed.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let (chunk, offset) = split(index);
        self.chunks.get_mut(chunk)?.get_mut(offset)
    }
}

/// Chunk n holds `FIRST << n` elements, so with `FIRST` added to an index, the top bit tells the
/// chunk and the others the place in it.
#[inline(always)]
const fn split(index: usize) -> (usize, usize) {
    let index = index + FIRST;
    let top = index.ilog2();
    ((top - FIRST_SHIFT) as usize, index ^ 1 << top)
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, index: usize) -> &T {
        let (chunk, offset) = split(index);
        &self.chunks[chunk][offset]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: usize) -> &mut T {
        let (chunk, offset) = split(index);
        &mut self.chunks[chunk][offset]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_place_over_chunk_borders() {
        let mut chunks = Chunks::new();
        let mut places = Vec::new();
        for number in 0..9 * FIRST {
            chunks.push(number);
            let place: *const usize = &chunks[number];
            places.push(place);
        }
        assert_eq!(chunks.len(), 9 * FIRST);
        for (at, place) in places.into_iter().enumerate() {
            assert_eq!(chunks.get(at), Some(&at));
            assert!(core::ptr::eq(place, &chunks[at]));
        }
        assert_eq!(chunks.get(9 * FIRST), None);
        assert_eq!(chunks.get(u32::MAX as usize), None);
        let borders = [0, FIRST - 1, FIRST, 3 * FIRST - 1, 3 * FIRST].map(split);
        let last = (1, 2 * FIRST - 1);
        assert_eq!(borders, [(0, 0), (0, FIRST - 1), (1, 0), last, (2, 0)]);
    }
}

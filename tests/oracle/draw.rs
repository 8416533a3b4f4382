//! The stream of choices that a seed gives: always the same for the same seed, on every machine.

/// SplitMix64: one word of state, every seed as good as any other.
#[derive(Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The stream of case `index` of `seed`.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        let mut draw = Self(seed);
        let start = draw.word() ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(start)
    }

    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        let count = u64::from(high - low) + 1;
        low + u32::try_from(self.word() % count).unwrap_or(0)
    }

    /// A place in a list of `count` things; 0 for an empty one.
    pub(crate) fn place(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(1).max(1);
        usize::try_from(self.word() % count).unwrap_or(0)
    }

    /// One of the things; there must be one.
    pub(crate) fn of<T: Clone>(&mut self, things: &[T]) -> T {
        things[self.place(things.len())].clone()
    }

    /// Yes in `percent` of a hundred.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.between(0, 99) < percent
    }

    /// One of the things, each as often as its weight says; there must be a weight above 0.
    pub(crate) fn weighted<T: Copy>(&mut self, things: &[(T, u32)]) -> T {
        let total = things.iter().map(|(_, weight)| weight).sum::<u32>();
        let mut left = self.between(0, total.saturating_sub(1));
        for &(thing, weight) in things {
            if left < weight {
                return thing;
            }
            left -= weight;
        }
        things[0].0
    }
}

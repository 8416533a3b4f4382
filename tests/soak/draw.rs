//! Random numbers that come again with the same seed.

/// A source of numbers (xorshift64*, which is good enough to choose by).
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// A source that gives the same numbers for the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        // Any seed will do but 0.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, 0 where that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        // The upper bits are the better ones.
        let number = (self.bits() >> 16).checked_rem(end).unwrap_or(0);
        usize::try_from(number).unwrap_or(0)
    }

    /// True in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// An octet.
    pub(crate) fn octet(&mut self) -> u8 {
        self.bits().to_be_bytes()[0]
    }
}

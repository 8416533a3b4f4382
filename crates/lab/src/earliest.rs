//! Which of many has the earliest moment, when each one's moment changes often: a tournament of pairs.

/// Nothing is to happen.
pub(crate) const NEVER: u64 = u64::MAX;

/// A moment for each of many; changing one takes as many steps as doublings make that many.
#[derive(Clone, Debug)]
pub(crate) struct Earliest {
    /// The moments of the leaves, then nothing.
    moments: Vec<u64>,
    /// Who wins each pairing: 1 is the final, `n` has the pairings (or leaves) `2n` and `2n + 1` below it.
    winners: Vec<u32>,
}

impl Earliest {
    /// So many, at [`NEVER`].
    pub(crate) fn new(count: usize) -> Self {
        let leaves = count.max(1).next_power_of_two();
        let mut earliest = Self {
            moments: vec![NEVER; leaves],
            winners: vec![0; leaves],
        };
        for pairing in (1..leaves).rev() {
            earliest.winners[pairing] = earliest.winner_of(2 * pairing);
        }
        earliest
    }

    /// Who wins in this pairing or is this leaf.
    fn winner_of(&self, node: usize) -> u32 {
        let leaves = self.moments.len();
        if node >= leaves {
            u32::try_from(node - leaves).unwrap_or(u32::MAX)
        } else {
            self.winners[node]
        }
    }

    /// Sets the moment of one.
    pub(crate) fn set(&mut self, index: usize, moment: u64) {
        self.moments[index] = moment;
        let mut node = (self.moments.len() + index) / 2;
        while node >= 1 {
            let (one, other) = (self.winner_of(2 * node), self.winner_of(2 * node + 1));
            let is_other = self.moments[other as usize] < self.moments[one as usize];
            self.winners[node] = if is_other { other } else { one };
            node /= 2;
        }
    }

    /// The earliest moment and whose it is; of equals the first.
    pub(crate) fn first(&self) -> (u64, usize) {
        let winner = if self.moments.len() == 1 {
            0
        } else {
            self.winners[1] as usize
        };
        (self.moments[winner], winner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_wins_whatever_changes() {
        for count in [1, 2, 3, 16, 37] {
            let mut earliest = Earliest::new(count);
            let mut plain = vec![NEVER; count];
            let mut random = 1_u64;
            assert_eq!(earliest.first(), (NEVER, 0));
            for _ in 0..2_000 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let index = (random >> 33) as usize % count;
                let moment = if random >> 20 & 7 == 0 {
                    NEVER
                } else {
                    random >> 58
                };
                earliest.set(index, moment);
                plain[index] = moment;
                let first = *plain.iter().min().unwrap();
                let whose = plain.iter().position(|&moment| moment == first).unwrap();
                assert_eq!(earliest.first(), (first, whose));
            }
        }
    }
}

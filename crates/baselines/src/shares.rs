//! Lots over real servers, each as likely as its weight says.

use std::sync::Arc;

use director::destination::Destination;
use director::scheduler::lots::Lots;

/// Draws before every real server is looked at: enough where few are overloaded.
const DRAWS: u32 = 8;

/// The weights of a list of real servers, added up from the first one on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares {
    /// Where each one's share of the lots ends.
    ends: Vec<u64>,
}

impl Shares {
    /// What it holds on the heap.
    pub(crate) const fn heap_octets(&self) -> usize {
        self.ends.capacity() * size_of::<u64>()
    }

    /// The shares of these real servers; one of weight 0 has none.
    pub(crate) fn of(destinations: &[Arc<Destination>]) -> Self {
        let mut total = 0;
        let ends = destinations.iter().map(|destination| {
            total += weight(destination);
            total
        });
        Self {
            ends: ends.collect(),
        }
    }

    /// Index of a usable real server but `except`, by lot: each one's chance is its share of the weights of those.
    pub(crate) fn draw(
        &self,
        lots: &mut Lots,
        destinations: &[Arc<Destination>],
        except: Option<usize>,
    ) -> Option<usize> {
        let fits = |index: usize| {
            let destination = destinations.get(index);
            Some(index) != except && destination.is_some_and(|it| it.is_usable())
        };
        let total = self.ends.last().copied().unwrap_or(0);
        for _ in 0..DRAWS {
            let lot = lots.below(total);
            let index = self.ends.partition_point(|&end| end <= lot);
            if fits(index) {
                return Some(index);
            }
        }
        let weights = || {
            let all = destinations.iter().enumerate();
            all.filter(|&(index, _)| fits(index))
                .map(|(index, destination)| (index, weight(destination)))
        };
        let mut lot = lots.below(weights().map(|(_, weight)| weight).sum());
        let hit = |&(_, weight): &(usize, u64)| {
            let hit = lot < weight;
            lot = lot.saturating_sub(weight);
            hit
        };
        weights().find(hit).map(|(index, _)| index)
    }
}

/// A weight as lots.
fn weight(destination: &Destination) -> u64 {
    u64::try_from(destination.weight()).unwrap_or(0)
}

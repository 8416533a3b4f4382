//! Growth: how long its steps take, and what a connection costs.

use packet::Family;

use crate::gauge::{Gauge, memory};
use crate::world::World;
use crate::{Wanted, note};

/// Connections that the table grows to.
const SIZES: [u32; 2] = [1_000_000, 10_000_000];

pub(crate) fn measure(wanted: &Wanted) {
    for (version, family) in [("v4", Family::V4), ("v6", Family::V6)] {
        for size in SIZES {
            let name = format!("growth {version} to {size}");
            wanted.measure(&name, || {
                let mut world = World::new(family, false, 16);
                // The batch's memory and what the first connections take once and for all.
                world.open(64, &mut Gauge::default());
                let (before, _) = memory();
                let mut gauge = Gauge::with_capacity(size as usize / 64);
                world.open(size, &mut gauge);
                let (after, most) = memory();
                let each = |octets: u64| octets.saturating_sub(before) as f64 / f64::from(size);
                let (rest, most) = (each(after), each(most));
                note(
                    &name,
                    format!("octets a connection: {rest:.1}, at most {most:.1}"),
                );
                vec![("packets", gauge)]
            });
        }
    }
}

//! The schedulers that compare connections and weights: `lc`, `wlc`, `sed`, `nq`, `fo`, `ovf`.

use crate::service::{Arrival, Formula, Id, Scene, Server};

/// The fewest connections.
pub(crate) struct LeastConnection;

impl Formula for LeastConnection {
    fn pick(&mut self, scene: Scene<'_>, _: Arrival) -> Option<Id> {
        scene.first_unbeaten(scene.list, |one, best| one.overhead() < best.overhead())
    }
}

/// Whether `one` has fewer connections than `best` in proportion to their weights.
pub(crate) fn is_lighter(one: &Server, best: &Server) -> bool {
    one.overhead() * best.weight < best.overhead() * one.weight
}

/// The fewest connections in proportion to the weight.
pub(crate) struct WeightedLeastConnection;

impl Formula for WeightedLeastConnection {
    fn pick(&mut self, scene: Scene<'_>, _: Arrival) -> Option<Id> {
        scene.first_unbeaten(scene.list, is_lighter)
    }
}

/// Whether a further connection would wait less at `one`.
fn is_sooner(one: &Server, best: &Server) -> bool {
    (one.active + 1) * best.weight < (best.active + 1) * one.weight
}

/// The shortest expected delay.
pub(crate) struct ShortestExpectedDelay;

impl Formula for ShortestExpectedDelay {
    fn pick(&mut self, scene: Scene<'_>, _: Arrival) -> Option<Id> {
        scene.first_unbeaten(scene.list, is_sooner)
    }
}

/// The first idle one, else the shortest expected delay.
pub(crate) struct NeverQueue;

impl Formula for NeverQueue {
    fn pick(&mut self, scene: Scene<'_>, _: Arrival) -> Option<Id> {
        for &id in scene.list {
            if scene.server(id).usable() && scene.server(id).active == 0 {
                return Some(id);
            }
        }
        scene.first_unbeaten(scene.list, is_sooner)
    }
}

/// The heaviest one.
pub(crate) struct Failover;

impl Formula for Failover {
    fn pick(&mut self, scene: Scene<'_>, _: Arrival) -> Option<Id> {
        scene.first_unbeaten(scene.list, |one, best| one.weight > best.weight)
    }
}

/// The heaviest one whose active connections are not above its weight.
pub(crate) struct Overflow;

impl Formula for Overflow {
    fn pick(&mut self, scene: Scene<'_>, _: Arrival) -> Option<Id> {
        let within: Vec<Id> = scene
            .list
            .iter()
            .copied()
            .filter(|&id| scene.server(id).active <= scene.server(id).weight)
            .collect();
        scene.first_unbeaten(&within, |one, best| one.weight > best.weight)
    }
}

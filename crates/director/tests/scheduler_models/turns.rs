//! `rr` and `wrr`.

use crate::service::{Arrival, Formula, Id, Scene};

/// The real servers in list order, beginning behind the last one.
#[derive(Default)]
pub(crate) struct RoundRobin {
    /// `None`: the list's head.
    last: Option<Id>,
}

impl Formula for RoundRobin {
    fn deleted(&mut self, gone: Id, before: Option<Id>) {
        if self.last == Some(gone) {
            self.last = before;
        }
    }

    fn pick(&mut self, scene: Scene<'_>, _: Arrival) -> Option<Id> {
        let at = |id| scene.list.iter().position(|&other| other == id).unwrap() + 1;
        let start = self.last.map_or(0, at);
        for step in 0..scene.list.len() {
            let id = scene.list[(start + step) % scene.list.len()];
            if scene.server(id).usable() {
                self.last = Some(id);
                return Some(id);
            }
        }
        None
    }
}

/// Passes over the list; each asks for a weight that is lower by the greatest common divisor.
#[derive(Default)]
pub(crate) struct WeightedRoundRobin {
    /// Places count from 1; 0 is the list's head.
    at: usize,
    current: i128,
    most: i128,
    divisor: i128,
}

impl Formula for WeightedRoundRobin {
    fn changed(&mut self, scene: Scene<'_>) {
        let weights: Vec<i128> = scene
            .list
            .iter()
            .map(|&id| scene.server(id).weight)
            .filter(|&weight| weight > 0)
            .collect();
        let heaviest = weights.iter().copied().max().unwrap_or(0);
        self.divisor = (1..=heaviest)
            .rev()
            .find(|divisor| weights.iter().all(|weight| weight % divisor == 0))
            .unwrap_or(1);
        self.at = 0;
        self.most = heaviest - (self.divisor - 1);
        if self.current > self.most || self.current == 0 {
            self.current = self.most;
        } else if self.divisor > 1 {
            self.current = self.current / self.divisor * self.divisor + 1;
        }
    }

    fn pick(&mut self, scene: Scene<'_>, _: Arrival) -> Option<Id> {
        if self.most == 0 {
            return None;
        }
        let began = self.at;
        let mut until = None;
        let (mut is_last_pass, mut wrapped) = (false, false);
        loop {
            while self.at < scene.list.len() {
                self.at += 1;
                let id = scene.list[self.at - 1];
                let server = scene.server(id);
                if !server.overloaded && server.weight >= self.current {
                    return Some(id);
                }
                if until == Some(self.at) {
                    return None;
                }
            }
            self.at = 0;
            self.current -= self.divisor;
            if self.current <= 0 {
                self.current = self.most;
                if is_last_pass || began == 0 {
                    return None;
                }
                wrapped = true;
            }
            is_last_pass = self.current <= self.divisor;
            if is_last_pass && wrapped && began > 0 {
                until = Some(began);
            }
        }
    }
}

//! A kernel that only keeps what it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use director::assist::{Flow, Kernel, Taken};
use director::time::Instant;

/// A kernel that only keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) generation: u64,
    pub(crate) next: u32,
    pub(crate) room: usize,
    pub(crate) flows: BTreeMap<u32, (Flow, u64, Taken)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Notes(pub(crate) Arc<Mutex<Told>>);

impl Notes {
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// What is installed and not void, as (ingress, egress).
    pub(crate) fn ways(&self) -> Vec<(u32, u32)> {
        let told = self.told();
        let mut ways: Vec<_> = told
            .flows
            .values()
            .filter(|(_, generation, _)| *generation == told.generation)
            .map(|(flow, ..)| (flow.ingress, flow.egress))
            .collect();
        ways.sort_unstable();
        ways
    }

    pub(crate) fn flow(&self, ingress: u32) -> Flow {
        let told = self.told();
        let mut flows = told.flows.values().map(|(flow, ..)| flow);
        flows.find(|flow| flow.ingress == ingress).unwrap().clone()
    }

    /// The kernel sends on packets.
    pub(crate) fn take(&self, ingress: u32, packets: u64, octets: u64, at: Instant) {
        let mut told = self.told();
        let mut flows = told.flows.values_mut();
        let (.., taken) = flows.find(|(flow, ..)| flow.ingress == ingress).unwrap();
        taken.packets += packets;
        taken.octets += octets;
        taken.last = at;
    }
}

impl Kernel for Notes {
    fn generation(&self) -> u64 {
        self.told().generation
    }

    fn invalidate(&self) {
        self.told().generation += 1;
    }

    fn install(&mut self, flow: &Flow, generation: u64) -> Option<u32> {
        let mut told = self.told();
        if told.flows.len() >= told.room {
            return None;
        }
        told.next += 1;
        let number = told.next;
        let entry = (flow.clone(), generation, Taken::default());
        told.flows.insert(number, entry);
        Some(number)
    }

    fn taken(&mut self, flow: u32) -> Taken {
        self.told().flows[&flow].2
    }

    fn remove(&mut self, flow: u32) -> Taken {
        self.told().flows.remove(&flow).unwrap().2
    }
}

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
    pub(crate) flows: BTreeMap<u32, Entry>,
}

/// A flow that was installed.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) flow: Flow,
    generation: u64,
    taken: Taken,
    /// Packets that came to the director; `None` while one is on its way.
    pub(crate) arrived: Option<u64>,
    taken_over: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Notes(pub(crate) Arc<Mutex<Told>>);

impl Notes {
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// What is installed and not void, as (ingress, egress).
    pub(crate) fn ways(&self) -> Vec<(u32, u32)> {
        self.ways_of(|_| true)
    }

    /// What of it was taken over.
    pub(crate) fn taken_over(&self) -> Vec<(u32, u32)> {
        self.ways_of(|entry| entry.taken_over)
    }

    fn ways_of(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<(u32, u32)> {
        let told = self.told();
        let flows = told.flows.values();
        let mut ways: Vec<_> = flows
            .filter(|entry| entry.generation == told.generation && wanted(entry))
            .map(|entry| (entry.flow.ingress, entry.flow.egress))
            .collect();
        ways.sort_unstable();
        ways
    }

    fn entry<T>(&self, ingress: u32, ask: impl FnOnce(&mut Entry) -> T) -> T {
        let mut told = self.told();
        let mut entries = told.flows.values_mut();
        ask(entries.find(|entry| entry.flow.ingress == ingress).unwrap())
    }

    pub(crate) fn flow(&self, ingress: u32) -> Flow {
        self.entry(ingress, |entry| entry.flow.clone())
    }

    /// Packets come to the director, or one is on its way.
    pub(crate) fn arrive(&self, ingress: u32, arrived: Option<u64>) {
        self.entry(ingress, |entry| entry.arrived = arrived);
    }

    /// The kernel sends on packets.
    pub(crate) fn take(&self, ingress: u32, packets: u64, octets: u64, at: Instant) {
        self.entry(ingress, |entry| {
            entry.taken.packets += packets;
            entry.taken.octets += octets;
            entry.taken.last = at;
        });
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
        let entry = Entry {
            flow: flow.clone(),
            generation,
            taken: Taken::default(),
            arrived: None,
            taken_over: false,
        };
        told.flows.insert(number, entry);
        Some(number)
    }

    fn arrived(&self, flow: u32) -> Option<u64> {
        self.told().flows[&flow].arrived
    }

    fn take_over(&mut self, flow: u32, arrived: u64) -> bool {
        let mut told = self.told();
        let entry = told.flows.get_mut(&flow).unwrap();
        assert!(!entry.taken_over, "twice");
        entry.taken_over = entry.arrived == Some(arrived);
        entry.taken_over
    }

    fn taken(&mut self, flow: u32) -> Taken {
        self.told().flows[&flow].taken
    }

    fn remove(&mut self, flow: u32) -> Taken {
        self.told().flows.remove(&flow).unwrap().taken
    }
}

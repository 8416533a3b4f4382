//! The kernel that sends on established flows by itself, as a worker's director asks for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use director::assist::{Flow, Kernel, Taken};
use director::time::Instant;
use link::assist::{FlowId, Flows};
use link::sys::clock::monotonic;

use crate::clock::Clock;

/// One worker's part of the flows.
#[derive(Debug)]
pub struct Assisted {
    flows: Arc<Flows>,
    installed: HashMap<u32, FlowId>,
    /// The director's start of time on the kernel's clock.
    start: Duration,
}

impl Assisted {
    /// None of the flows is this worker's yet.
    #[must_use]
    pub fn new(flows: Arc<Flows>, clock: Clock) -> Self {
        let now = Duration::from_nanos(clock.now().as_nanos());
        Self {
            flows,
            installed: HashMap::new(),
            start: monotonic().saturating_sub(now),
        }
    }

    fn told(&self, taken: link::assist::Taken) -> Taken {
        Taken {
            packets: taken.packets,
            octets: taken.octets,
            last: Instant::START.after(taken.last.saturating_sub(self.start)),
        }
    }
}

impl Kernel for Assisted {
    fn generation(&self) -> u64 {
        self.flows.generation()
    }

    fn invalidate(&self) {
        self.flows.invalidate();
    }

    fn install(&mut self, flow: &Flow, generation: u64) -> Option<u32> {
        let flow = link::assist::Flow {
            protocol: flow.key.protocol,
            source: flow.key.source,
            destination: flow.key.destination,
            ingress: flow.ingress,
            egress: flow.egress,
            next_hop: flow.next_hop,
            sender: flow.sender,
            mtu: flow.mtu,
            translation: flow.translation,
        };
        let id = self.flows.install(&flow, generation)?;
        let number = id.number();
        self.installed.insert(number, id);
        Some(number)
    }

    fn arrived(&self, flow: u32) -> Option<u64> {
        self.flows.arrived(self.installed.get(&flow)?)
    }

    fn take_over(&mut self, flow: u32, arrived: u64) -> bool {
        let id = self.installed.get(&flow);
        id.is_some_and(|id| self.flows.take_over(id, arrived))
    }

    fn taken(&mut self, flow: u32) -> Taken {
        let taken = self.installed.get(&flow).map(|id| self.flows.taken(id));
        self.told(taken.unwrap_or_default())
    }

    fn remove(&mut self, flow: u32) -> Taken {
        let taken = self
            .installed
            .remove(&flow)
            .map(|id| self.flows.remove(&id));
        self.told(taken.unwrap_or_default())
    }
}

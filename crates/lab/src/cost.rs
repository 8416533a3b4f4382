//! What a decision costs, measured on the real code: its time, the memory of the scheduler's state, and how long a
//! changed list of real servers takes.
//!
//! The only part of the lab that reads a clock: what it gives differs from run to run and from machine to machine.
//! Times are medians of many short samples, which whatever else runs on the machine lengthens little; memory is counted
//! from the state itself (lengths of tables and caches), exact but for what the allocator adds.

use core::net::IpAddr;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant as Clock;

use director::assign::Scheduled;
use director::destination::{Destination, DestinationConfig, Method, TunnelConfig};
use director::protocol::Protocol;
use director::scheduler::Flow;
use director::service::{Service, ServiceConfig, ServiceKey};
use director::shared::CommandError;
use director::shared::{Options, Shared};
use director::time::Instant;
use serde::{Deserialize, Serialize};

use crate::number;
use crate::results::Cost;
use crate::schedulers::Choice;
use crate::statistics::{count, float};

/// Everything that one `ulvs lab cost` measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Of this form: 1.
    pub version: u32,
    /// Where it was measured: the processor's name, as far as the system tells.
    pub machine: String,
    /// By scheduler, then in the order of [`Plan`].
    pub costs: Vec<Cost>,
}

/// Real servers and live connections that are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Pairs of real servers (at most 65,536) and live connections.
    pub sizes: Vec<(u32, u32)>,
    /// Samples of each.
    pub samples: usize,
}

impl Plan {
    /// 2 to 4,096 real servers, and up to 1,000,000 live connections.
    #[must_use]
    pub fn full() -> Self {
        let servers = [2, 8, 32, 128, 1024, 4096].map(|servers| (servers, 10_000));
        let connections = [1000, 100_000, 1_000_000].map(|connections| (1024, connections));
        Self {
            sizes: servers.into_iter().chain(connections).collect(),
            samples: 200,
        }
    }

    /// A few, for a first look.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            sizes: vec![(2, 1000), (16, 1000), (128, 1000), (128, 10_000)],
            samples: 40,
        }
    }
}

/// Decisions of a sample: long against what reading the clock takes.
const TOGETHER: usize = 64;
/// Changes of the list that are timed.
const CHANGES: i32 = 15;
/// Virtual addresses that clients connect to; what lblc and lblcr keep is for each.
const VIPS: u32 = 1000;
/// A sampling ends after this time, seconds, with the samples that it has.
const LONGEST: f64 = 0.5;

const KEY: ServiceKey = ServiceKey::Address {
    protocol: Protocol::Tcp,
    address: IpAddr::V4(core::net::Ipv4Addr::new(10, 8, 0, 1)),
    port: 80,
};

/// Measures these schedulers, and tells `progress` of each size that is done: the scheduler, how many are done, of how
/// many.
///
/// # Errors
/// The director refuses a scheduler: it is none of [`director::scheduler::ENTRIES`] and [`baselines::ENTRIES`].
pub fn measure(
    choices: &[Choice],
    plan: &Plan,
    progress: &dyn Fn(&str, usize, usize),
) -> Result<Costs, CommandError> {
    let mut costs = Vec::new();
    let total = choices.len() * plan.sizes.len();
    for choice in choices {
        for &(servers, connections) in &plan.sizes {
            let mut subject = Subject::new(choice, servers)?;
            subject.open(connections)?;
            costs.push(Cost {
                scheduler: choice.label.clone(),
                servers,
                connections,
                decision_ns: subject.decision(plan.samples)?,
                state_octets: subject.octets()?,
                build_us: subject.build()?,
            });
            progress(&choice.label, costs.len(), total);
        }
    }
    Ok(Costs {
        version: crate::json::VERSION,
        machine: machine(),
        costs,
    })
}

/// The processor's name.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split(':').nth(1));
    name.unwrap_or("unknown processor").trim().to_owned()
}

/// A director with one service, and connections that are live.
struct Subject {
    shared: Shared,
    live: VecDeque<Arc<Destination>>,
    now: Instant,
    /// Where the next client's address comes from.
    lot: u32,
}

fn real_server(number: u32, weight: i32) -> DestinationConfig {
    let [_, _, high, low] = number.to_be_bytes();
    DestinationConfig {
        address: [10, 2, high, low].into(),
        port: 80,
        method: Method::Masq,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: TunnelConfig::default(),
    }
}

/// Weights from 1 to 8.
fn weight(number: u32) -> i32 {
    i32::try_from(number % 8).unwrap_or(0) + 1
}

impl Subject {
    fn new(choice: &Choice, servers: u32) -> Result<Self, CommandError> {
        let shared = Shared::new(Options {
            schedulers: baselines::ENTRIES,
            ..Options::default()
        });
        let service = |scheduler: &str, flags| ServiceConfig {
            key: KEY,
            scheduler: scheduler.to_owned(),
            flags,
            timeout: 0,
            netmask: u32::MAX,
            persistence_engine: None,
        };
        // The list grows under a scheduler that keeps nothing: tables are then made once.
        shared.add_service(service("rr", 0))?;
        for number in 0..servers {
            shared.add_destination(&KEY, &real_server(number, weight(number)))?;
        }
        shared.edit_service(service(choice.name, choice.flags))?;
        Ok(Self {
            shared,
            live: VecDeque::new(),
            now: Instant::START,
            lot: 1,
        })
    }

    fn service(&self) -> Result<Arc<Service>, CommandError> {
        let services = self.shared.snapshot();
        services.get(&KEY).cloned().ok_or(CommandError::NoService)
    }

    fn flow(&mut self) -> Flow {
        self.lot = self.lot.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Flow {
            protocol: Protocol::Tcp,
            source: self.lot.to_be_bytes().into(),
            source_port: 1025,
            destination: (0x0a08_0001 + self.lot / 7 % VIPS).to_be_bytes().into(),
            destination_port: 80,
        }
    }

    /// Begins so many connections, and counts them as active.
    fn open(&mut self, connections: u32) -> Result<(), CommandError> {
        let service = self.service()?;
        for _ in 0..connections {
            let flow = self.flow();
            let scheduled = self.shared.schedule(&service, &flow, None, self.now);
            self.keep(scheduled);
        }
        Ok(())
    }

    fn keep(&mut self, scheduled: Scheduled) {
        if let Scheduled::Assigned(assigned) = scheduled {
            assigned.destination.set_active(true);
            self.live.push_back(assigned.destination);
        }
    }

    /// Nanoseconds of a decision: the median of samples of [`TOGETHER`] each.
    fn decision(&mut self, samples: usize) -> Result<f64, CommandError> {
        let service = self.service()?;
        let mut taken = Vec::new();
        let begin = Clock::now();
        while taken.len() < samples && (taken.len() < 5 || begin.elapsed().as_secs_f64() < LONGEST)
        {
            self.now = self.now.after(core::time::Duration::from_micros(10));
            let flows: Vec<Flow> = (0..TOGETHER).map(|_| self.flow()).collect();
            let mut made = Vec::with_capacity(TOGETHER);
            let start = Clock::now();
            for flow in &flows {
                made.push(self.shared.schedule(&service, flow, None, self.now));
            }
            taken.push(start.elapsed().as_secs_f64() * 1e9 / count(TOGETHER));
            for scheduled in made {
                self.keep(scheduled);
                if let Some(ended) = self.live.pop_front() {
                    ended.unbind(true);
                }
            }
        }
        Ok(median(taken))
    }

    fn octets(&self) -> Result<u64, CommandError> {
        let octets = self.service()?.scheduler_octets();
        Ok(u64::try_from(octets).unwrap_or(u64::MAX))
    }

    /// Microseconds from the command that edits a weight to the end of the next decision: the median. Some schedulers
    /// make their tables with the command, some before the next decision.
    fn build(&mut self) -> Result<f64, CommandError> {
        let mut taken = Vec::new();
        for change in 0..CHANGES {
            let server = real_server(0, weight(0) + 1 + change % 2);
            let flow = self.flow();
            let start = Clock::now();
            self.shared.edit_destination(&KEY, &server)?;
            let service = self.service()?;
            let scheduled = self.shared.schedule(&service, &flow, None, self.now);
            taken.push(start.elapsed().as_secs_f64() * 1e6);
            self.keep(scheduled);
        }
        Ok(median(taken))
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}

/// The costs as tables: a row for each scheduler, a column for each size.
#[must_use]
pub fn text(costs: &Costs) -> String {
    let mut sizes: Vec<(u32, u32)> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for cost in &costs.costs {
        if !sizes.contains(&(cost.servers, cost.connections)) {
            sizes.push((cost.servers, cost.connections));
        }
        if !names.contains(&cost.scheduler.as_str()) {
            names.push(&cost.scheduler);
        }
    }
    let wide = names.iter().map(|name| name.chars().count()).max();
    let wide = wide.unwrap_or(0).max("connections".len());
    let mut text = format!("On {}.\n", costs.machine);
    type Of = fn(&Cost) -> f64;
    let tables: [(&str, Of); 3] = [
        ("A decision, ns", |cost| cost.decision_ns),
        ("State, octets", |cost| float(cost.state_octets)),
        ("Taking up a change, µs", |cost| cost.build_us),
    ];
    for (title, of) in tables {
        let _ = writeln!(text, "\n{title}");
        for (head, size) in [("servers", 0), ("connections", 1)] {
            let _ = write!(text, "{head:<wide$}");
            for (servers, connections) in &sizes {
                let _ = write!(text, "  {:>8}", [servers, connections][size]);
            }
            text.push('\n');
        }
        for name in &names {
            let _ = write!(text, "{name:<wide$}");
            for size in &sizes {
                let mut all = costs.costs.iter();
                let found = all.find(|cost| {
                    cost.scheduler == *name && (cost.servers, cost.connections) == *size
                });
                let told = found.map_or_else(|| "-".to_owned(), |cost| number::brief(of(cost)));
                let _ = write!(text, "  {told:>8}");
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedulers::choose;

    fn measured(names: &[&str], sizes: &[(u32, u32)]) -> Vec<Cost> {
        let choices: Vec<Choice> = names
            .iter()
            .map(|name| choose(name).expect("it is known"))
            .collect();
        let plan = Plan {
            sizes: sizes.to_vec(),
            samples: 3,
        };
        let costs = measure(&choices, &plan, &|_, _, _| {}).expect("they are known");
        costs.costs
    }

    #[test]
    fn every_scheduler_is_measured() {
        let names: Vec<&str> = director::scheduler::ENTRIES
            .iter()
            .chain(baselines::ENTRIES)
            .map(|entry| entry.name)
            .collect();
        let costs = measured(&names, &[(2, 10), (70, 300)]);
        assert_eq!(costs.len(), 2 * names.len());
        for cost in costs {
            assert!(cost.decision_ns > 0.0 && cost.build_us > 0.0, "{cost:?}");
        }
    }

    #[test]
    fn one_long_sample_is_not_the_median() {
        assert_eq!(median(vec![900.0, 1.0, 2.0, 4.0, 3.0]), 3.0);
    }

    #[test]
    fn memory_is_that_of_the_tables() {
        let octets = |name, size| measured(&[name], &[size])[0].state_octets;
        // The position alone.
        assert_eq!(octets("rr", (2, 10)), octets("rr", (500, 1000)));
        assert!(octets("rr", (2, 10)) < 64);
        // 4,093 places of 8 octets (BEHAVIOURS 6), and 256 buckets of 8 octets, whatever the servers.
        assert!((4093 * 8..4093 * 8 + 100).contains(&octets("mh", (2, 10))));
        assert!((256 * 8..256 * 8 + 100).contains(&octets("sh", (70, 10))));
        // A choice for each virtual address that was asked for.
        assert!(octets("lblc", (70, 2000)) > octets("lblc", (70, 20)) + 10_000);
        assert!(octets("lblcr", (70, 2000)) > octets("lblcr", (70, 20)) + 10_000);
    }
}

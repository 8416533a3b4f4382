//! What happens to real servers and directors, and when: the scenario's events taken apart into single steps.

use std::collections::BTreeMap;

use crate::results::Mark;
use crate::scenario::{Event, Scenario};
use crate::time::nanoseconds;

/// One step; real servers and directors are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// The scenario's event of this number begins.
    Begin(usize),
    /// A real server is deleted, and works on.
    Delete(usize),
    /// A real server that was deleted comes back.
    Return(usize),
    /// A real server crashes and is deleted; with churn, for the time that it was last added.
    Crash { server: usize, addition: u32 },
    /// It is repaired and comes back.
    Repair(usize),
    /// A brown-out ends that left so large a share of a real server's speed.
    Recover { server: usize, factor: f64 },
    /// The weight of a real server is raised, for its latest slow start.
    Raise {
        server: usize,
        step: u32,
        slow_start: u32,
    },
    /// A rolling update comes to the real server of this place in its list.
    Update { place: usize, event: usize },
    /// A real server that was drained is deleted and stopped, for the update.
    Stop(usize),
    /// One more step of scaling.
    Scale { to: u32, every: u64 },
    /// Look at the load.
    Look,
    /// Directors keep house.
    KeepHouse,
    /// Nobody connects any more: directors on their own are compared.
    Compare,
}

/// Steps by time; those of the same moment in the order in which they were put in.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    steps: BTreeMap<(u64, u64), Action>,
    number: u64,
}

impl Agenda {
    /// With the beginning of each of the scenario's events.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let mut agenda = Self::default();
        for (number, event) in scenario.events.iter().enumerate() {
            agenda.put(nanoseconds(event.at()), Action::Begin(number));
        }
        agenda
    }

    pub(crate) fn put(&mut self, at: u64, action: Action) {
        self.steps.insert((at, self.number), action);
        self.number += 1;
    }

    /// When the next step is.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.steps.first_key_value().map(|(&(at, _), _)| at)
    }

    pub(crate) fn take(&mut self) -> Option<Action> {
        self.steps.pop_first().map(|(_, action)| action)
    }
}

/// The scenario's events as marks of a plot over time, in order.
pub(crate) fn marks(scenario: &Scenario) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut mark = |at: f64, label: String| marks.push(Mark { at, label });
    for event in &scenario.events {
        match *event {
            Event::Add { at, count } => mark(at, format!("{count} added")),
            Event::Remove { at, count } => mark(at, format!("{count} removed")),
            Event::Weight { at, server, weight } => mark(at, format!("rs{server} weight {weight}")),
            Event::Flap { at, server, down } => {
                mark(at, format!("rs{server} removed"));
                mark(at + down, format!("rs{server} back"));
            }
            Event::Slow {
                at,
                server,
                lasting,
                ..
            } => {
                mark(at, format!("rs{server} slow"));
                mark(at + lasting, format!("rs{server} recovered"));
            }
            Event::RollingUpdate { at, .. } => mark(at, "rolling update".to_owned()),
            Event::Scale { at, to, .. } => mark(at, format!("scaling to {to}")),
            Event::DirectorDies { at, director } => mark(at, format!("director {director} dies")),
            Event::Restart { at } => mark(at, "directors restart".to_owned()),
        }
    }
    marks.sort_by(|one, other| one.at.total_cmp(&other.at));
    marks
}

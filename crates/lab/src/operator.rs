//! What the operator and fate do to real servers and directors: each step of the agenda, carried out.
//!
//! A deletion is `ipvsadm -d` alone: the real server works on what it has, and the director drops what its clients
//! send. A crash (churn) and a restart for an update lose what the server was doing.

use director::shared::CommandError;

use crate::director_model::Listed;
use crate::events::Action;
use crate::random::{self, Stream};
use crate::real_server::RealServer;
use crate::remap;
use crate::scenario::{Churn, Event, Scenario, ServersSection};
use crate::time::nanoseconds;
use crate::world::World;

/// Steps in which the weight of a slowly starting server is raised.
const STEPS: u32 = 10;

/// What the operator knows of a real server.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Weight that it is to have.
    nominal: u32,
    /// As it stands in the list, or did.
    listed: Listed,
    is_listed: bool,
    slow_start: f64,
    churn: Option<Churn>,
    /// How often it was added: a failure that was planned for an addition before is void.
    addition: u32,
    /// How often it was added, or its weight was edited: raises that were planned before are void.
    slow_starts: u32,
}

/// Who gives the commands.
#[derive(Debug)]
pub(crate) struct Operator {
    events: Vec<Event>,
    groups: Vec<ServersSection>,
    servers: Vec<Known>,
    random: Stream,
}

impl Operator {
    /// Of a scenario; nothing is done yet.
    pub(crate) fn new(scenario: &Scenario, seed: u64, repeat: u32) -> Self {
        Self {
            events: scenario.events.clone(),
            groups: scenario.servers.clone(),
            servers: Vec::new(),
            random: random::stream(seed, repeat, "churn"),
        }
    }

    /// An exponential time of this mean, nanoseconds.
    fn wait(&mut self, mean: f64) -> u64 {
        nanoseconds(random::exponential(&mut self.random) * mean)
    }

    /// Real servers in the list that are to get connections, in the order of their numbers.
    fn serving(&self) -> impl DoubleEndedIterator<Item = usize> {
        let known = self.servers.iter().enumerate();
        known
            .filter(|(_, it)| it.is_listed && it.listed.weight > 0)
            .map(|(number, _)| number)
    }
}

impl World<'_> {
    /// The real servers that there are from the beginning.
    pub(crate) fn set_up(&mut self) -> Result<(), CommandError> {
        for group in self.operator.groups.clone() {
            for _ in 0..group.count {
                self.create(&group, false)?;
            }
        }
        Ok(())
    }

    /// Does one step of the agenda.
    pub(crate) fn operate(&mut self, action: Action) -> Result<(), CommandError> {
        match action {
            Action::Begin(event) => self.begin(event)?,
            Action::Delete(server) => self.delete(server)?,
            Action::Return(server) => self.changing(|world| world.list(server, true))?,
            Action::Crash { server, addition } => self.crash(server, addition)?,
            Action::Repair(server) => self.list(server, true)?,
            Action::Recover { server, factor } => {
                self.disturb(server, |station, now| station.recover(now, factor));
            }
            Action::Raise {
                server,
                step,
                slow_start,
            } => self.raise(server, step, slow_start)?,
            Action::Update { place, event } => self.update(place, event)?,
            Action::Stop(server) => {
                self.stop(server);
                self.delete(server)?;
            }
            Action::Scale { to, every } => self.scale(to, every)?,
            Action::Look | Action::KeepHouse | Action::Compare => {}
        }
        Ok(())
    }

    fn begin(&mut self, number: usize) -> Result<(), CommandError> {
        let Some(event) = self.operator.events.get(number).cloned() else {
            return Ok(());
        };
        let after = |seconds: f64, now: u64| now.saturating_add(nanoseconds(seconds));
        match event {
            Event::Add { count, .. } => self.changing(|world| world.add(count)),
            Event::Remove { count, .. } => self.changing(|world| world.remove(count)),
            Event::Weight { server, weight, .. } => {
                let server = index(server);
                if let Some(known) = self.operator.servers.get_mut(server) {
                    known.nominal = weight;
                    known.slow_starts += 1;
                }
                self.changing(|world| world.weigh(server, weight))
            }
            Event::Flap { server, down, .. } => {
                let server = index(server);
                self.agenda
                    .put(after(down, self.now), Action::Return(server));
                self.changing(|world| world.delete(server))
            }
            Event::Slow {
                server,
                factor,
                lasting,
                ..
            } => {
                let server = index(server);
                self.disturb(server, |station, now| station.slow(now, factor));
                let recovers = after(lasting, self.now);
                self.agenda
                    .put(recovers, Action::Recover { server, factor });
                Ok(())
            }
            Event::RollingUpdate { .. } => self.update(0, number),
            Event::Scale { to, every, .. } => self.scale(to, nanoseconds(every)),
            Event::DirectorDies { director, .. } => {
                self.model.kill(index(director));
                Ok(())
            }
            Event::Restart { .. } => self.model.boot(),
        }
    }

    /// A change of the list, and what it does to the latest clients' flows.
    fn changing(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let before = self.model.roster().to_vec();
        change(self)?;
        let flows = self.probes();
        // Who is still unanswered at the end must not decide whether a late change is looked at.
        if flows.is_empty() || !self.tally.is_counted(self.now) || self.now > self.end {
            return Ok(());
        }
        let moved = remap::moved(self.model.setup(), &before, self.model.roster(), &flows)?;
        let (sum, least) = self.tally.remapped.get_or_insert((0, 0.0));
        *sum += moved.moved;
        *least += moved.least;
        Ok(())
    }

    /// A new real server of this kind, in the list.
    fn create(&mut self, group: &ServersSection, slowly: bool) -> Result<(), CommandError> {
        let number = self.stations.len();
        let station = RealServer::new(group.discipline, group.processors, group.speed);
        self.stations.push(station);
        let listed = Listed {
            server: u32::try_from(number).unwrap_or(u32::MAX),
            weight: group.weight,
            upper: group.upper_threshold,
            lower: group.lower_threshold,
        };
        self.operator.servers.push(Known {
            nominal: group.weight,
            listed,
            is_listed: false,
            slow_start: group.slow_start,
            churn: group.churn,
            addition: 0,
            slow_starts: 0,
        });
        self.list(number, slowly)
    }

    /// Puts a real server into the list (again), `slowly` if it is of those that start so.
    fn list(&mut self, number: usize, slowly: bool) -> Result<(), CommandError> {
        let Some(known) = self.operator.servers.get_mut(number) else {
            return Ok(());
        };
        if known.is_listed {
            return Ok(());
        }
        known.is_listed = true;
        known.addition += 1;
        known.slow_starts += 1;
        let starts_slowly = slowly && known.slow_start > 0.0 && known.nominal > 1;
        known.listed.weight = if starts_slowly { 1 } else { known.nominal };
        let (listed, slow_starts, slow_start) = (known.listed, known.slow_starts, known.slow_start);
        if starts_slowly {
            for step in 1..=STEPS {
                let at = slow_start * f64::from(step) / f64::from(STEPS);
                let raise = Action::Raise {
                    server: number,
                    step,
                    slow_start: slow_starts,
                };
                self.agenda.put(self.now + nanoseconds(at), raise);
            }
        }
        self.plan_failure(number);
        self.tally.weigh(self.now, number, listed.weight);
        self.model.add(listed)
    }

    fn raise(&mut self, server: usize, step: u32, slow_start: u32) -> Result<(), CommandError> {
        let known = self.operator.servers[server];
        if known.slow_starts != slow_start || !known.is_listed {
            return Ok(());
        }
        let raised = u64::from(known.nominal) * u64::from(step) / u64::from(STEPS);
        self.weigh(server, u32::try_from(raised).unwrap_or(u32::MAX).max(1))
    }

    fn add(&mut self, count: u32) -> Result<(), CommandError> {
        let Some(group) = self.operator.groups.first().cloned() else {
            return Ok(());
        };
        for _ in 0..count {
            self.create(&group, true)?;
        }
        Ok(())
    }

    fn remove(&mut self, count: u32) -> Result<(), CommandError> {
        for _ in 0..count {
            let last = self
                .operator
                .servers
                .iter()
                .rposition(|known| known.is_listed);
            if let Some(last) = last {
                self.delete(last)?;
            }
        }
        Ok(())
    }

    fn delete(&mut self, server: usize) -> Result<(), CommandError> {
        match self.operator.servers.get_mut(server) {
            Some(known) if known.is_listed => {
                known.is_listed = false;
                let number = known.listed.server;
                self.tally.weigh(self.now, server, 0);
                self.model.delete(number)
            }
            _ => Ok(()),
        }
    }

    fn weigh(&mut self, server: usize, weight: u32) -> Result<(), CommandError> {
        match self.operator.servers.get_mut(server) {
            Some(known) if known.is_listed => {
                known.listed.weight = weight;
                let listed = known.listed;
                self.tally.weigh(self.now, server, weight);
                self.model.edit(listed)
            }
            _ => Ok(()),
        }
    }

    /// A brown-out of a real server begins or ends.
    fn disturb(&mut self, server: usize, change: impl FnOnce(&mut RealServer, u64)) {
        if let Some(station) = self.stations.get_mut(server) {
            change(station, self.now);
            self.ends.set(server, station.next_end());
        }
    }

    /// What a real server was doing is lost.
    fn stop(&mut self, server: usize) {
        let lost = self.stations[server].crash(self.now);
        self.lose(server, &lost);
        self.break_idle(server);
    }

    fn crash(&mut self, server: usize, addition: u32) -> Result<(), CommandError> {
        let known = self.operator.servers[server];
        // One that was deleted is not brought back by its repair.
        if known.addition != addition || !known.is_listed {
            return Ok(());
        }
        self.stop(server);
        self.delete(server)?;
        if let Some(churn) = known.churn {
            let repaired = self.now.saturating_add(self.operator.wait(churn.mttr));
            self.agenda.put(repaired, Action::Repair(server));
        }
        Ok(())
    }

    /// With churn: when the real server fails next.
    fn plan_failure(&mut self, server: usize) {
        let known = self.operator.servers[server];
        if let Some(churn) = known.churn {
            let fails = self.now.saturating_add(self.operator.wait(churn.mtbf));
            let addition = known.addition;
            self.agenda.put(fails, Action::Crash { server, addition });
        }
    }

    /// The rolling update comes to this real server: drained, stopped, added again; then the next one's turn.
    fn update(&mut self, place: usize, event: usize) -> Result<(), CommandError> {
        let Some(Event::RollingUpdate { drain, down, .. }) = self.operator.events.get(event) else {
            return Ok(());
        };
        if place >= self.operator.servers.len() {
            return Ok(());
        }
        let stops = self.now.saturating_add(nanoseconds(*drain));
        let returns = stops.saturating_add(nanoseconds(*down));
        let next = Action::Update {
            place: place + 1,
            event,
        };
        if !self.operator.servers[place].is_listed {
            return self.update(place + 1, event);
        }
        self.agenda.put(stops, Action::Stop(place));
        self.agenda.put(returns, Action::Repair(place));
        self.agenda.put(returns, next);
        self.weigh(place, 0)
    }

    /// One real server more, or one less: drained now, deleted after `every`.
    fn scale(&mut self, to: u32, every: u64) -> Result<(), CommandError> {
        let serving = self.operator.serving().count();
        let wanted = index(to.saturating_add(1));
        let next = self.now.saturating_add(every.max(1));
        if serving < wanted {
            let spare = self
                .operator
                .servers
                .iter()
                .position(|known| !known.is_listed);
            match spare {
                Some(spare) => self.list(spare, true)?,
                None => self.add(1)?,
            }
        } else if serving > wanted {
            let last = self.operator.serving().next_back();
            if let Some(last) = last {
                self.weigh(last, 0)?;
                self.agenda.put(next, Action::Delete(last));
            }
        } else {
            return Ok(());
        }
        self.agenda.put(next, Action::Scale { to, every });
        Ok(())
    }
}

/// The index of what is numbered from 1; of 0 nothing's.
fn index(number: u32) -> usize {
    number
        .checked_sub(1)
        .map_or(usize::MAX, |number| number as usize)
}

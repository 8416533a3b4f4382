//! What may happen when.

use super::check::{Fault, SERVERS_MAX, ensure, positive, within};
use super::{Event, Scenario};

/// Most events.
const EVENTS_MAX: usize = 1000;

impl Event {
    /// When it happens, or begins, seconds.
    #[must_use]
    pub fn at(&self) -> f64 {
        match *self {
            Self::Add { at, .. }
            | Self::Remove { at, .. }
            | Self::Weight { at, .. }
            | Self::Flap { at, .. }
            | Self::Slow { at, .. }
            | Self::RollingUpdate { at, .. }
            | Self::Scale { at, .. }
            | Self::DirectorDies { at, .. }
            | Self::Restart { at } => at,
        }
    }
}

/// What there is while events happen one after the other.
struct World<'a> {
    scenario: &'a Scenario,
    /// Real servers now.
    servers: u32,
    /// Real servers that there have been.
    known: u32,
    /// Directors that live.
    dead: Vec<u32>,
}

/// The first thing that is wrong with a scenario's events.
pub(super) fn check(scenario: &Scenario) -> Result<(), Fault> {
    let count = scenario.events.len();
    ensure(
        count <= EVENTS_MAX,
        "events",
        format!("{count} events are too many: at most {EVENTS_MAX}"),
    )?;
    let servers = scenario.servers.iter().map(|group| group.count).sum();
    let mut world = World {
        scenario,
        servers,
        known: servers,
        dead: Vec::new(),
    };
    let mut events: Vec<(usize, &Event)> = scenario.events.iter().enumerate().collect();
    for (index, event) in &events {
        ensure(
            event.at() >= 0.0 && event.at() < scenario.duration,
            format!("events.{index}.at"),
            format!(
                "nothing happens then: a run goes from 0 to `duration`, {}",
                scenario.duration
            ),
        )?;
    }
    events.sort_by(|(_, a), (_, b)| a.at().total_cmp(&b.at()));
    for (index, event) in events {
        world.pass(event, &|key: &str| format!("events.{index}.{key}"))?;
    }
    Ok(())
}

impl World<'_> {
    /// An event happens.
    fn pass(&mut self, event: &Event, path: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        let long = self.scenario.duration;
        match *event {
            Event::Add { count, .. } => {
                self.grow(self.servers.saturating_add(count), path("count"))?;
                within(count, 1.0, f64::from(SERVERS_MAX), path("count"))
            }
            Event::Remove { count, .. } => {
                ensure(
                    (1..self.servers).contains(&count),
                    path("count"),
                    format!(
                        "there are {} real servers then, and one at least remains: 1 to {}",
                        self.servers,
                        self.servers - 1
                    ),
                )?;
                self.servers -= count;
                Ok(())
            }
            Event::Weight { server, weight, .. } => {
                within(weight, 0.0, 65_535.0, path("weight"))?;
                self.server(server, path("server"))
            }
            Event::Flap { server, down, .. } => {
                positive(down, long, path("down"))?;
                self.server(server, path("server"))
            }
            Event::Slow {
                server,
                factor,
                lasting,
                ..
            } => {
                positive(factor, 1000.0, path("factor"))?;
                positive(lasting, long, path("lasting"))?;
                self.server(server, path("server"))
            }
            Event::RollingUpdate { at, drain, down } => {
                within(drain, 0.0, long, path("drain"))?;
                positive(down, long, path("down"))?;
                let end = at + f64::from(self.servers) * (drain + down);
                self.in_time(end, self.servers, "drain` and `down", path("at"))
            }
            Event::Scale { at, to, every } => {
                within(to, 1.0, f64::from(SERVERS_MAX), path("to"))?;
                positive(every, long, path("every"))?;
                let steps = to.abs_diff(self.servers);
                self.in_time(at + f64::from(steps) * every, steps, "every", path("every"))?;
                self.grow(to, path("to"))
            }
            Event::DirectorDies { director, .. } => self.die(director, path("director")),
            Event::Restart { .. } => Ok(()),
        }
    }

    /// There are so many real servers now.
    fn grow(&mut self, to: u32, path: String) -> Result<(), Fault> {
        within(to, 1.0, f64::from(SERVERS_MAX), path)?;
        self.known = self.known.saturating_add(to.saturating_sub(self.servers));
        self.servers = to;
        Ok(())
    }

    /// There is, or was, this real server.
    fn server(&self, server: u32, path: String) -> Result<(), Fault> {
        ensure(
            (1..=self.known).contains(&server),
            path,
            format!(
                "there is no real server {server}: they are numbered from 1 to {}",
                self.known
            ),
        )
    }

    /// It is over before the run is.
    fn in_time(&self, end: f64, steps: u32, keys: &str, path: String) -> Result<(), Fault> {
        ensure(
            end <= self.scenario.duration,
            path,
            format!(
                "{steps} real servers one after the other take until {end}, and the run ends at {}: make `{keys}` shorter, \
                 or `duration` longer",
                self.scenario.duration
            ),
        )
    }

    fn die(&mut self, director: u32, path: String) -> Result<(), Fault> {
        let count = self.scenario.directors.count;
        ensure(
            (1..=count).contains(&director),
            &path,
            format!("there is no director {director}: they are numbered from 1 to {count}"),
        )?;
        ensure(
            !self.dead.contains(&director),
            &path,
            format!("director {director} is dead already: name another one"),
        )?;
        self.dead.push(director);
        let dead = u32::try_from(self.dead.len()).unwrap_or(u32::MAX);
        ensure(
            dead < count,
            path,
            "the last director would die: one at least remains, so raise `count` of [directors]",
        )
    }
}

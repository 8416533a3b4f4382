//! One run: clients, directors and real servers in virtual time.
//!
//! Whatever happens next is done next: a request is answered, a client sends on, a step of the agenda, a client
//! connects; of the same moment in this order. A run ends when nobody connects any more and every request is answered
//! or lost.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use director::shared::CommandError;

use crate::director_model::{DirectorModel, Setup};
use crate::earliest::{Earliest, NEVER};
use crate::events::{Action, Agenda};
use crate::frames::{Flow, Kind, ipv4};
use crate::metrics::{LOOKS_PER_POINT, RunResults, Tally};
use crate::operator::Operator;
use crate::real_server::RealServer;
use crate::remap;
use crate::scenario::{Protocol, Scenario};
use crate::time::{nanoseconds, of_duration};
use crate::workload::{Arrival, Workload};

/// Points of the imbalance over time.
const POINTS: u32 = 200;
/// Between two times that directors keep house.
const HOUSE_KEEPING: u64 = 1_000_000_000;

/// Flows at most that directors on their own are compared by.
const COMPARED: usize = 1_000;
/// The number of no timer.
const NO_TIMER: u32 = 0;
/// How many times the scenario's duration is waited at most for what is not answered.
const LONGEST: u64 = 20;

/// What one run is told beside its scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOptions {
    /// Of all randomness.
    pub(crate) seed: u64,
    /// Which of the repeats this is.
    pub(crate) repeat: u32,
    /// Flows that are looked at when the list of real servers changes.
    pub(crate) probes: usize,
}

/// A connection that lives.
#[derive(Debug)]
struct Live {
    arrival: Arrival,
    flow: Flow,
    began: u64,
    server: u32,
    director: usize,
    /// Packets of the client that it has sent beside handshake and end.
    sent: u32,
    /// Requests of it that are not answered: more than one with one-packet scheduling.
    jobs: u32,
    /// The number of its timer: others are void. None of it is waited for once it is over.
    timer: u32,
    is_counted: bool,
    /// A packet of it reached another real server or none, or its request was lost.
    is_broken: bool,
    /// When it closes, once everything is answered.
    closes: u64,
}

/// Everything there is during a run.
pub(crate) struct World<'w> {
    pub(crate) now: u64,
    pub(crate) end: u64,
    is_tcp: bool,
    is_one_packet: bool,
    pub(crate) model: DirectorModel,
    pub(crate) stations: Vec<RealServer>,
    pub(crate) ends: Earliest,
    pub(crate) operator: Operator,
    pub(crate) agenda: Agenda,
    pub(crate) tally: Tally,
    workload: &'w mut dyn Workload,
    connections: Vec<Live>,
    free: Vec<u32>,
    /// Moment, connection, number of the timer.
    timers: BinaryHeap<Reverse<(u64, u32, u32)>>,
    timers_made: u32,
    /// Requests that are not answered.
    unanswered: u64,
    /// Flows of the latest clients, the latest last.
    latest: VecDeque<Flow>,
    probes: usize,
}

impl<'w> World<'w> {
    /// The world of `scenario` as it begins.
    pub(crate) fn new(
        scenario: &Scenario,
        setup: Setup,
        workload: &'w mut dyn Workload,
        options: &RunOptions,
    ) -> Result<Self, CommandError> {
        let end = nanoseconds(scenario.duration);
        let most = setup.servers as usize;
        let initial: u32 = scenario.servers.iter().map(|group| group.count).sum();
        let mut world = Self {
            now: 0,
            end,
            is_tcp: setup.service.protocol == Protocol::Tcp,
            is_one_packet: setup.service.one_packet && setup.service.protocol == Protocol::Udp,
            tally: Tally::new(nanoseconds(scenario.warmup), end, setup.vips(), initial),
            model: DirectorModel::new(setup)?,
            stations: Vec::with_capacity(most),
            ends: Earliest::new(most),
            operator: Operator::new(scenario, options.seed, options.repeat),
            agenda: Agenda::of(scenario),
            workload,
            connections: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            timers_made: 0,
            unanswered: 0,
            latest: VecDeque::new(),
            probes: options.probes,
        };
        world.set_up()?;
        world.agenda.put(world.look_interval(), Action::Look);
        world.agenda.put(HOUSE_KEEPING, Action::KeepHouse);
        world.agenda.put(end, Action::Compare);
        Ok(world)
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<RunResults, CommandError> {
        loop {
            let arrival = self.next_arrival();
            let (end, server) = self.ends.first();
            let timer = self.timers.peek().map_or(NEVER, |&Reverse((at, ..))| at);
            let step = self.agenda.next_at().unwrap_or(NEVER);
            let next = arrival.min(end).min(timer).min(step);
            let last = if self.unanswered == 0 {
                self.end
            } else {
                self.end.saturating_mul(LONGEST)
            };
            if next == NEVER || next > last {
                self.now = last;
                break;
            }
            self.now = next;
            if end == next {
                self.answer(server);
            } else if timer == next {
                self.send_next();
            } else if step == next {
                self.step()?;
            } else {
                self.arrive();
            }
        }
        self.give_up();
        Ok(self.tally.finish())
    }

    /// Nobody waits any longer: what is not answered has taken at least until now. Without those, the worst scheduler would
    /// have the shortest times.
    fn give_up(&mut self) {
        let waiting = self.connections.iter().filter(|live| live.jobs > 0);
        for live in waiting.filter(|live| live.is_counted && !live.is_broken) {
            let speed = self.stations[live.server as usize].speed();
            let alone = live.arrival.work / speed;
            self.tally.done(self.now - live.began, alone);
        }
    }

    /// When the next client connects, if that is before the end.
    fn next_arrival(&self) -> u64 {
        let at = self.workload.peek().map_or(NEVER, of_duration);
        if at <= self.end { at } else { NEVER }
    }

    fn look_interval(&self) -> u64 {
        (self.end / u64::from(POINTS * LOOKS_PER_POINT)).max(1)
    }

    fn step(&mut self) -> Result<(), CommandError> {
        match self.agenda.take() {
            Some(Action::Look) => {
                self.tally.look(self.now);
                let next = self.now + self.look_interval();
                if next <= self.end {
                    self.agenda.put(next, Action::Look);
                }
            }
            Some(Action::KeepHouse) => {
                self.model.keep_house(self.now);
                self.agenda.put(self.now + HOUSE_KEEPING, Action::KeepHouse);
            }
            Some(Action::Compare) => self.tally.disagreement = self.disagreement(),
            Some(action) => self.operate(action)?,
            None => {}
        }
        Ok(())
    }

    /// A client connects.
    fn arrive(&mut self) {
        let Some(arrival) = self.workload.next() else {
            return;
        };
        let client = ipv4(arrival.client.0);
        let setup = self.model.setup();
        let flow = setup.flow(client, arrival.client.1, arrival.service);
        let director = self.model.route(&flow);
        let first = if self.is_tcp {
            Kind::Syn
        } else {
            Kind::Datagram
        };
        if arrival.is_flood {
            self.model.handle(self.now, director, &flow, first);
            return;
        }
        self.remember(flow);
        let Some(server) = self.model.handle(self.now, director, &flow, first) else {
            self.tally.refuse(self.now);
            self.workload
                .done(&arrival, core::time::Duration::from_nanos(self.now));
            return;
        };
        let number = self.keep(Live {
            arrival,
            flow,
            began: self.now,
            server,
            director,
            sent: u32::from(!self.is_tcp),
            jobs: 0,
            timer: NO_TIMER,
            is_counted: self.tally.is_counted(self.now),
            is_broken: false,
            closes: NEVER,
        });
        if self.is_one_packet {
            self.ask_by_each_packet(number, server);
            return;
        }
        self.count_packet(number, server);
        self.ask(number, server, arrival.work);
        if self.is_tcp {
            self.send(number, Kind::Data);
            if arrival.packets > 0 {
                self.connections[number as usize].sent = 1;
                self.send(number, Kind::Data);
            }
        }
        self.plan_next_packet(number);
    }

    /// With one-packet scheduling each datagram is a request of its own: an even part of the work. The first one has
    /// reached `server`.
    fn ask_by_each_packet(&mut self, number: u32, server: u32) {
        let live = &mut self.connections[number as usize];
        let packets = live.arrival.packets.max(1);
        live.sent = packets;
        let (part, flow, director) = (
            live.arrival.work / f64::from(packets),
            live.flow,
            live.director,
        );
        self.count_packet(number, server);
        self.ask(number, server, part);
        for _ in 1..packets {
            match self.model.handle(self.now, director, &flow, Kind::Datagram) {
                Some(server) => {
                    self.count_packet(number, server);
                    self.ask(number, server, part);
                }
                None => self.tally.refuse(self.now),
            }
        }
    }

    /// A connection's request for so much work, which the director has given to a real server.
    fn ask(&mut self, number: u32, server: u32, work: f64) {
        let live = &mut self.connections[number as usize];
        live.jobs += 1;
        let service = live.arrival.service;
        self.unanswered += 1;
        let server = server as usize;
        self.tally.decide(self.now, server, service, work);
        self.tally.live(self.now, server, true);
        let station = &mut self.stations[server];
        station.take(self.now, number, work);
        self.ends.set(server, station.next_end());
    }

    /// A real server has answered a request.
    fn answer(&mut self, server: usize) {
        let station = &mut self.stations[server];
        let job = station.end(self.now);
        let speed = station.speed();
        self.ends.set(server, station.next_end());
        let Some(number) = job else {
            return;
        };
        self.unanswered -= 1;
        let live = &mut self.connections[number as usize];
        live.jobs -= 1;
        if self.is_one_packet {
            self.tally.live(self.now, server, false);
        }
        if live.jobs > 0 {
            return;
        }
        if live.is_counted && !live.is_broken {
            let alone = live.arrival.work / speed;
            self.tally.done(self.now - live.began, alone);
        }
        if self.is_one_packet {
            self.free(number);
            return;
        }
        let linger = nanoseconds(live.arrival.linger);
        if linger == 0 {
            self.close(number);
        } else {
            live.closes = self.now.saturating_add(linger);
            self.plan_next_packet(number);
        }
    }

    /// Requests were lost with a real server: their connections break.
    pub(crate) fn lose(&mut self, server: usize, lost: &[u32]) {
        self.ends.set(server, self.stations[server].next_end());
        for &number in lost {
            self.unanswered -= 1;
            self.break_one(number);
            let live = &mut self.connections[number as usize];
            live.jobs -= 1;
            let is_last = live.jobs == 0;
            self.tally.live(self.now, server, false);
            if is_last {
                self.free(number);
            }
        }
    }

    /// Connections that are open and idle are lost with their real server too; their clients do not know yet.
    pub(crate) fn break_idle(&mut self, server: usize) {
        for number in (0..).take(self.connections.len()) {
            let live = &self.connections[number as usize];
            let is_open = live.timer != NO_TIMER && live.jobs == 0;
            if is_open && live.server as usize == server {
                self.break_one(number);
            }
        }
    }

    /// When the connection's client sends again: packets in even steps over the time that the request would take alone
    /// and the time that it stays open after, then the end of a connection that lingers.
    fn plan_next_packet(&mut self, number: u32) {
        let live = &mut self.connections[number as usize];
        let (packets, linger) = (live.arrival.packets, nanoseconds(live.arrival.linger));
        let speed = self.stations[live.server as usize].speed();
        let alone = nanoseconds(live.arrival.work / speed);
        let at = if live.sent < packets {
            let step = (alone + linger) / u64::from(packets);
            (live.began + step * u64::from(live.sent)).max(self.now)
        } else if live.closes != NEVER {
            live.closes
        } else {
            return;
        };
        self.timers_made = self.timers_made.wrapping_add(1).max(NO_TIMER + 1);
        live.timer = self.timers_made;
        self.timers.push(Reverse((at, number, live.timer)));
    }

    /// A client's timer: its next packet, or the end.
    fn send_next(&mut self) {
        let Some(Reverse((_, number, timer))) = self.timers.pop() else {
            return;
        };
        let live = &mut self.connections[number as usize];
        if live.timer != timer {
            return;
        }
        if live.sent < live.arrival.packets {
            live.sent += 1;
            self.send(number, self.further());
            self.plan_next_packet(number);
        } else {
            self.close(number);
        }
    }

    /// What a client sends on the way.
    const fn further(&self) -> Kind {
        if self.is_tcp {
            Kind::Data
        } else {
            Kind::Datagram
        }
    }

    /// The client sends what it has not sent yet, and is done.
    fn close(&mut self, number: u32) {
        let live = &self.connections[number as usize];
        let (server, left) = (live.server, live.arrival.packets.saturating_sub(live.sent));
        for _ in 0..left {
            self.send(number, self.further());
        }
        if self.is_tcp {
            self.send(number, Kind::Fin);
        }
        self.tally.live(self.now, server as usize, false);
        self.free(number);
    }

    /// A further packet of a connection, by the director that gets it now.
    fn send(&mut self, number: u32, kind: Kind) {
        let live = &mut self.connections[number as usize];
        live.director = self.model.route_on(&live.flow, live.director);
        let reached = self.model.handle(self.now, live.director, &live.flow, kind);
        if reached != Some(live.server) {
            self.break_one(number);
        }
        if let Some(server) = reached {
            self.count_packet(number, server);
        }
    }

    fn count_packet(&mut self, number: u32, server: u32) {
        if self.connections[number as usize].is_counted {
            self.tally.packet(server as usize);
        }
    }

    fn break_one(&mut self, number: u32) {
        let live = &mut self.connections[number as usize];
        if !live.is_broken {
            live.is_broken = true;
            if live.is_counted {
                self.tally.break_one();
            }
        }
    }

    fn keep(&mut self, live: Live) -> u32 {
        if let Some(number) = self.free.pop() {
            self.connections[number as usize] = live;
            return number;
        }
        self.connections.push(live);
        u32::try_from(self.connections.len() - 1).unwrap_or(u32::MAX)
    }

    /// The connection is over.
    fn free(&mut self, number: u32) {
        let live = &mut self.connections[number as usize];
        live.timer = NO_TIMER;
        let at = core::time::Duration::from_nanos(self.now);
        self.workload.done(&live.arrival, at);
        self.free.push(number);
    }

    fn remember(&mut self, flow: Flow) {
        if self.probes == 0 {
            return;
        }
        if self.latest.len() >= self.probes {
            self.latest.pop_front();
        }
        self.latest.push_back(flow);
    }

    /// The latest clients' flows, each once.
    pub(crate) fn probes(&mut self) -> Vec<Flow> {
        let mut seen = std::collections::HashSet::new();
        let latest = self.latest.iter().copied();
        latest
            .filter(|flow| seen.insert((flow.client, flow.port, flow.vip)))
            .collect()
    }

    /// With directors on their own: how often two of them disagree on the latest clients, who come by other ports.
    fn disagreement(&mut self) -> Option<f64> {
        if self.model.setup().is_shared || self.model.setup().count < 2 {
            return None;
        }
        let mut flows = self.probes();
        flows.truncate(COMPARED);
        for flow in &mut flows {
            flow.port ^= 0x8000;
        }
        remap::disagreement(&mut self.model, self.now, &flows)
    }
}

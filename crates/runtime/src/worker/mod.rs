//! A worker: one thread that owns its receive rings and its director, and nothing else.
//!
//! Promises: sleeps in one `ppoll` when there is nothing to do; takes the clock and the host's snapshot once per
//! batch; never waits for another thread. A link that goes down is waited for; a link that is gone is told to
//! the control thread, which sends a new one when the interface is back.

mod announcements;
mod fragments;
mod marks;
mod order;
mod ports;
mod spin;
mod team;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender};
use director::director::Director;
use director::time::Instant;
use director::verdict::Counters;
use link::Transmitted;
use link::sys::poll::Waker;

use crate::clock::Clock;
use crate::error::{Result, RuntimeError};
pub use marks::Marks;
pub use order::{Event, Job, Order, Report, Reporter};
use ports::Ports;
use spin::Spin;
pub(crate) use team::worker_of;
pub use team::{Handed, Team};

/// Batches of the ready ports before the orders and the other ports are looked at again.
const ROUNDS: usize = 16;
/// How much longer than its time an idle worker keeps a connection, at most: it wakes 20 times a second for those that
/// end one by one. Nobody sees the difference: before a packet or an order, everything due is done.
const SLACK: Duration = Duration::from_millis(50);

/// The control thread's grip on a worker.
#[derive(Debug)]
pub struct Handle {
    orders: Sender<Order>,
    waker: Arc<Waker>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Gives the worker an order; it is carried out within a batch's time.
    pub fn order(&self, order: Order) {
        // A worker that is gone has told so by an event; there is nobody to obey.
        if self.orders.send(order).is_ok() {
            self.waker.wake();
        }
    }

    /// Waits until the worker has stopped, after [`Order::Stop`].
    pub fn join(self) {
        // A panic in the worker was told as Event::Died.
        let _ = self.thread.join();
    }
}

/// Starts one worker for each director. `busy_poll`: how long each goes on looking for frames before it sleeps, while
/// they keep coming; zero = not at all.
///
/// # Errors
/// The system refuses a thread or an event counter.
pub fn start(
    directors: Vec<Director>,
    clock: Clock,
    busy_poll: Duration,
    reporter: &Reporter,
) -> Result<Vec<Handle>> {
    let failed = |source| RuntimeError::system("cannot start a worker thread", source);
    let teams = Team::all(directors.len()).map_err(failed)?;
    let mut handles = Vec::new();
    for (index, (director, team)) in directors.into_iter().zip(teams).enumerate() {
        let (orders, received) = channel::unbounded();
        let waker = team.waker().map(Arc::clone);
        let waker = waker.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let worker = Worker {
            index,
            director,
            clock,
            ports: Ports::new(team),
            spin: Spin::new(busy_poll),
            orders: received,
            reporter: reporter.clone(),
            tally: Tally::default(),
        };
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || worker.run())
            .map_err(failed)?;
        handles.push(Handle {
            orders,
            waker,
            thread,
        });
    }
    Ok(handles)
}

/// What a worker counts beside its director.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Frames that came from the links.
    pub received: u64,
    /// Frames that other workers handed over to this one.
    pub taken_over: u64,
    /// What became of the frames that were sent.
    pub transmitted: Transmitted,
    /// Frames for an interface that this daemon does not send by.
    pub no_sender: u64,
    /// Frames given to the worker that owns their flow.
    pub handed_over: u64,
    /// Frames lost because their owner's inbox was full.
    pub inbox_full: u64,
}

struct Worker {
    index: usize,
    director: Director,
    clock: Clock,
    ports: Ports,
    spin: Spin,
    orders: Receiver<Order>,
    reporter: Reporter,
    tally: Tally,
}

/// Tells the control thread when a worker ends by a panic.
struct Watch(Reporter, usize);

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.report(Event::Died { worker: self.1 });
        }
    }
}

impl Worker {
    fn run(mut self) {
        let _watch = Watch(self.reporter.clone(), self.index);
        self.give_up_privileges();
        let mut rest = Some(Duration::ZERO);
        loop {
            self.ports.wait(rest);
            // First of all: neither a packet nor an order finds a connection whose time has come.
            let now = self.clock.now();
            let deadline = self.director.next_deadline();
            let due = deadline.is_some_and(|deadline| deadline <= now);
            // When that is more than one tick may do, a batch of packets follows each tick, so that neither waits long.
            let behind = due && self.tick(now);
            if !self.obey() {
                return;
            }
            let more = self.work(if behind { 1 } else { ROUNDS });
            rest = if due || more {
                Some(Duration::ZERO)
            } else {
                self.rest()
            };
        }
    }

    /// How long to sleep when there is nothing to do; `None` = until somebody wakes this worker.
    fn rest(&self) -> Option<Duration> {
        let now = self.clock.now();
        if self.spin.lasts(now) {
            return Some(Duration::ZERO);
        }
        let deadline = self.director.next_deadline_with(SLACK);
        deadline.map(|deadline| Clock::until(now, deadline))
    }

    /// Capabilities belong to threads: a worker reads what strangers send and needs none, its sockets are open.
    fn give_up_privileges(&self) {
        if let Err(error) = crate::privilege::drop_all_of_this_thread() {
            self.reporter.report(Event::Unprivileged {
                worker: self.index,
                error: error.to_string(),
            });
        }
    }

    /// Carries out what the control thread asked for; false = stop.
    fn obey(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Stop => return false,
                Order::AddLink { interface, link } => self.ports.add(interface, link),
                Order::RemoveLink { interface } => self.ports.remove(interface),
                Order::Mark(marks) => self.ports.mark(marks),
                Order::Steer(steering) => self.ports.steer(steering),
                Order::Release => self.ports.release(&mut self.tally),
                Order::Report(reply) => reply.send(self.report()).unwrap_or_default(),
                Order::Run(job) => job(&mut self.director, self.clock.now()),
            }
        }
        true
    }

    fn report(&mut self) -> Report {
        Report {
            counters: Counters::clone(self.director.counters()),
            tally: self.tally.clone(),
            links: self.ports.statistics(),
            waiting_fragments: self.director.waiting_fragments(),
            unassigned_fragments: self.ports.team().waiting_fragments(),
            unclaimed_fragments: self.ports.team().unclaimed_fragments(),
            connections_made: self.director.connections().made(),
            connections_ended: self.director.connections().ended(),
            connections_live: self.director.connections().len(),
        }
    }

    /// Takes what other workers handed over and what the ready rings hold, at most so many batches; returns whether
    /// there may be more.
    fn work(&mut self, rounds: usize) -> bool {
        let Self {
            director,
            ports,
            clock,
            tally,
            reporter,
            spin,
            ..
        } = self;
        let index = self.index;
        let handed = ports.take_handed(director, *clock, tally);
        if handed {
            director.discard_offers();
            director.batch_done();
            spin.arrived(*clock);
        }
        for _ in 0..rounds {
            let (count, lost) = ports.receive(director, *clock, tally);
            director.batch_done();
            if ports.holds_new() {
                reporter.report(Event::Announced { worker: index });
            }
            for (interface, error) in lost {
                ports.remove(interface);
                reporter.report(Event::LinkLost { interface, error });
            }
            if count > 0 {
                director.install_offers(clock.now());
            }
            if !ports.has_note() && director.prepare_hand_over() {
                ports.note_arrivals();
            }
            if ports.has_caught_up() {
                director.hand_over();
            }
            if count == 0 {
                return handed;
            }
            spin.arrived(*clock);
        }
        true
    }

    /// What is due; returns whether there is more of it.
    fn tick(&mut self, now: Instant) -> bool {
        let Self {
            director,
            ports,
            tally,
            ..
        } = self;
        director.refresh();
        ports.send_from(tally, |output| director.tick(now, output));
        director.batch_done();
        director
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
    }
}

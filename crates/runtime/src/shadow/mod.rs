//! Shadow scheduling: other schedulers on the live stream of new connections, which touch no packet.
//!
//! Workers tell what happens to connections ([`director::observer`]); one thread of the lowest priority lets each
//! configured scheduler decide too, with services, real servers and counts of its own, and compares. Promises: a worker
//! never waits for it; what it cannot take is counted as lost, and the shadows begin anew. Without `[shadow]` there is no
//! thread, and no worker tells anything. With one worker a shadow sees everything in the order in which the live scheduler
//! did; with several, what two of them do within the same microseconds may come in either order.

mod clients;
mod engine;
mod events;
mod follower;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use baselines::Spec;
use control::shadow::Report;
use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use director::observer::Observer;
use director::shared::Shared;
use link::sys::process;

use crate::clock::Clock;
use crate::error::{Result, RuntimeError};
use engine::{Configured, Engine};
use events::{Event, Read, Teller};

/// Lists that may wait for the thread: of one batch each, and fuller ones when it is behind, at most 20 MB.
const QUEUE: usize = 2048;
/// Lists of news that are kept to be filled again.
const RECYCLED: usize = 64;
/// How long the thread lets news gather before it looks again: who finds it asleep has to wake it, which costs a worker
/// microseconds.
const GATHER: Duration = Duration::from_millis(5);
/// Time between two looks at loads.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait until a report is asked for, and again until it comes.
const PATIENCE: Duration = Duration::from_millis(500);

/// What `[shadow]` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The schedulers; at least one.
    pub schedulers: Vec<Spec>,
    /// One in so many connections is looked at.
    pub sample: u32,
}

/// What the thread is told.
#[derive(Debug)]
enum News {
    /// What happened to connections of a worker.
    Events { worker: usize, events: Vec<Event> },
    /// Services or real servers were changed.
    Configured,
    /// Somebody wants to see the report.
    Report(Sender<Report>),
}

/// The daemon's grip on its shadows. Let go of, the thread ends when the last of its observers is gone too.
#[derive(Debug)]
pub struct Shadows {
    news: Sender<News>,
    read: Arc<Read>,
    lost: Arc<AtomicU64>,
    sample: u32,
    thread: JoinHandle<()>,
}

impl Shadows {
    /// Starts the thread, for the services of `live`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(wish: &Wish, live: &Arc<Shared>, clock: Clock) -> Result<Self> {
        let (news, received) = channel::bounded(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let read = Arc::new(Read::new(RECYCLED));
        let follow = {
            // Now, as packets may come and commands change it before the thread has its turn.
            let configured = Configured::of(live);
            let (wish, live) = (wish.clone(), Arc::clone(live));
            let (read, lost) = (Arc::clone(&read), Arc::clone(&lost));
            move || {
                step_back();
                let mut follow = Follow {
                    // Takes a while with many services, so not in the caller's thread.
                    engine: Engine::new(&wish.schedulers, live, configured),
                    clock,
                    sample: wish.sample,
                    read,
                    lost,
                    known_lost: 0,
                    next_look: Instant::now() + LOOK,
                };
                follow.run(&received);
            }
        };
        let thread = thread::Builder::new()
            .name("shadow".to_owned())
            .spawn(follow)
            .map_err(|source| RuntimeError::system("cannot start the shadow thread", source))?;
        Ok(Self {
            news,
            read,
            lost,
            sample: wish.sample,
            thread,
        })
    }

    /// What tells the shadows of the connections of this worker.
    #[must_use]
    pub fn observer(&self, worker: usize) -> Box<dyn Observer> {
        let (read, lost) = (Arc::clone(&self.read), Arc::clone(&self.lost));
        let news = self.news.clone();
        Box::new(Teller::new(worker, self.sample, news, read, lost))
    }

    /// Tells that services or real servers were changed. Where the queue is full, the thread finds out by itself within a
    /// second.
    pub fn configured(&self) {
        let _ = self.news.try_send(News::Configured);
    }

    /// The report, with everything that was told before.
    ///
    /// # Errors
    /// The thread is too far behind to answer at once.
    pub fn report(&self) -> std::result::Result<Report, &'static str> {
        let (sender, receiver) = channel::bounded(1);
        let asked = self.news.send_timeout(News::Report(sender), PATIENCE);
        asked
            .ok()
            .and_then(|()| receiver.recv_timeout(PATIENCE).ok())
            .ok_or("the shadows are too far behind to answer; ask again")
    }

    /// Waits until the thread has ended; to be called when the workers, and so their observers, are gone.
    pub fn stop(self) {
        let Self { news, thread, .. } = self;
        drop(news);
        // A panic in it has left its message; nothing depends on it.
        let _ = thread.join();
    }
}

/// The lowest priority, and no capabilities. Not worth a word if refused: the thread costs more then, or may more than it
/// needs.
fn step_back() {
    let _ = process::step_back();
    let _ = crate::privilege::drop_all_of_this_thread();
}

/// What the thread goes by.
struct Follow {
    engine: Engine,
    clock: Clock,
    sample: u32,
    read: Arc<Read>,
    lost: Arc<AtomicU64>,
    /// What was lost when the engine last began anew.
    known_lost: u64,
    next_look: Instant,
}

impl Follow {
    fn run(&mut self, received: &Receiver<News>) {
        loop {
            let mut some = false;
            loop {
                match received.try_recv() {
                    Ok(news) => {
                        some = true;
                        self.take(news);
                        self.look_in_time(received);
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            if some {
                thread::sleep(GATHER);
                continue;
            }
            let rest = self.next_look.saturating_duration_since(Instant::now());
            match received.recv_timeout(rest) {
                Ok(news) => self.take(news),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_in_time(received);
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Events { worker, mut events } => {
                self.engine.take(worker, events.drain(..));
                // What does not go back there is let go of.
                let _ = self.read.push(events);
            }
            News::Configured => self.engine.configure(),
            News::Report(reply) => {
                let report = Report {
                    sample: self.sample,
                    lost: self.lost.load(Relaxed),
                    ..self.engine.report()
                };
                // If nobody waits any more, the answer came too late.
                let _ = reply.send(report);
            }
        }
    }

    /// Once a second: loads, templates, and whether something was lost.
    fn look_in_time(&mut self, received: &Receiver<News>) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        let lost = self.lost.load(Relaxed);
        let begins_anew = lost != self.known_lost;
        if begins_anew {
            self.known_lost = lost;
            self.engine.restart();
        }
        // What still waits here happened before the change that would be taken over.
        if begins_anew || received.is_empty() {
            self.engine.configure();
        }
        self.engine.tick(self.clock.now());
    }
}

#[cfg(test)]
mod tests;

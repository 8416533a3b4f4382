//! `ulvs run`: the director as a daemon.
//!
//! Promises: everything is opened and checked before anything is changed; a refusal is one sentence and leaves
//! nothing behind. After the start, the control thread sleeps in one poll, and capabilities that are not needed any
//! more are gone. Nothing stays behind in the kernel, however the process ends.

mod ask;
mod assist;
mod control;
mod counters;
mod explain;
mod gro;
mod guard;
mod pace;
mod settings;
mod shadow;
mod sharing;
mod start;
mod status;
mod summary;

use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use link::sys::signal::Signals;
use mio::{Events, Poll, Token};
use sd_notify::NotifyState;

use crate::control_socket::ControlSocket;
use crate::error::{Result, RuntimeError};
use crate::worker::Event;
pub use ::control::config::BUSY_POLL_MAX;
use control::Control;
pub use settings::Options;
pub(crate) use settings::Settings;

const SIGNALS: Token = Token(0);
const NETWORK: Token = Token(1);
const WORKERS: Token = Token(2);
/// Tokens above it are the control socket's clients.
const LISTENER: Token = Token(3);

/// Time between two looks at the estimators, templates and deleted real servers; the estimators sample every 2 s.
const TICK: Duration = Duration::from_secs(1);

/// Runs the director until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting, or ended it: one sentence.
pub fn run(options: &Options) -> Result<()> {
    let mut daemon = start::start(options)?;
    notify(&[NotifyState::Ready]);
    tracing::info!("ready");
    let result = daemon.serve();
    notify(&[NotifyState::Stopping]);
    daemon.stop();
    result
}

/// Everything of the control thread.
struct Daemon {
    poll: Poll,
    signals: Signals,
    socket: ControlSocket,
    events: Receiver<Event>,
    control: Control,
    next_tick: Instant,
}

impl Daemon {
    fn serve(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(256);
        // Whose turn ended with more to do: clients, or the kernel's news.
        let mut waiting: Vec<Token> = Vec::new();
        loop {
            let timeout = if waiting.is_empty() {
                self.timeout()
            } else {
                Duration::ZERO
            };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(RuntimeError::system("cannot wait for events", error));
                }
                _ => {}
            }
            let mut turns = std::mem::take(&mut waiting);
            turns.extend(events.iter().map(mio::event::Event::token));
            // The kernel's news go before commands: an address that was just added counts for the next command.
            turns.sort_unstable();
            turns.dedup();
            for token in turns {
                let more = match token {
                    SIGNALS if self.signal()? => return Ok(()),
                    SIGNALS => false,
                    NETWORK => self.control.network_changed(),
                    WORKERS => self.worker_events().map(|()| false)?,
                    LISTENER => {
                        self.socket.accept(self.poll.registry());
                        false
                    }
                    client => {
                        let control = &mut self.control;
                        let answer = |datagram: &[u8]| control.answer(datagram);
                        self.socket.serve(client, self.poll.registry(), answer)
                    }
                };
                if more {
                    waiting.push(token);
                }
            }
            self.on_time();
        }
    }

    /// Time until something is to be done without an event.
    fn timeout(&self) -> Duration {
        let now = Instant::now();
        let tick = self.next_tick.saturating_duration_since(now);
        self.control.due(now).map_or(tick, |due| due.min(tick))
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.control.tick();
        }
        self.control.on_time(now);
    }

    /// Reads signals; true = stop.
    fn signal(&mut self) -> Result<bool> {
        while let Some(number) = self.signals.next() {
            match number {
                libc::SIGHUP => {
                    // systemd wants to know the moment with it.
                    if let Ok(moment) = NotifyState::monotonic_usec_now() {
                        notify(&[NotifyState::Reloading, moment]);
                    }
                    self.control.reload();
                    notify(&[NotifyState::Ready]);
                }
                libc::SIGUSR1 => self.control.log_counters(),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    fn worker_events(&mut self) -> Result<()> {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::LinkLost { interface, error } => {
                    tracing::warn!("{error}");
                    self.control.link_lost(interface);
                }
                Event::Announced { worker } => self.control.announced(worker),
                Event::Unprivileged { worker, error } => {
                    tracing::warn!("worker {worker}: {error}");
                }
                Event::Died { worker } => {
                    return Err(RuntimeError::Refused(format!(
                        "worker {worker} ended by a broken invariant (its message stands above)"
                    )));
                }
            }
        }
        Ok(())
    }

    fn stop(mut self) {
        self.control.save_now();
        self.control.proc_files.remove();
        self.control.log_counters();
        self.control.stop_workers();
        self.control.aggregation.restore();
        tracing::info!("stopped");
    }
}

/// Tells systemd, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot tell systemd the state: {error}");
    }
}

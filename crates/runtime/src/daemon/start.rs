//! The start of the daemon: everything opened and checked, in an order in which a refusal leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use control::server::Server;
use control::state::DesiredState;
use crossbeam::channel;
use director::connection::{HashKind, TableConfig};
use director::director::{Director, Host};
use director::shared::Shared;
use link::sys::process;
use link::sys::signal::Signals;
use mio::unix::SourceFd;
use mio::{Interest, Poll, Registry, Token, Waker};

use super::control::Control;
use super::guard::Shield;
use super::{Daemon, LISTENER, NETWORK, SIGNALS, TICK, WORKERS};
use crate::client;
use crate::clock::Clock;
use crate::control_socket::ControlSocket;
use crate::error::{Result, RuntimeError};
use crate::links::{Links, Wanted};
use crate::network::Watcher;
use crate::presence::Presence;
use crate::privilege;
use crate::state::StateFile;
use crate::vips::{Choice, Forwarding};
use crate::worker::{self, Reporter};

/// Where the state is kept by default.
const STATE_PATH: &str = "/var/lib/ulvs/state.rules";
/// The line of the state file that says which configured rules the state began with.
const DIGEST_LINE: &str = "# configured rules: ";

/// What the command line says; it goes before the configuration file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// Path of the control socket.
    pub control: Option<PathBuf>,
    /// Path of the state file.
    pub state: Option<PathBuf>,
}

/// What the daemon goes by, from command line, configuration file and defaults.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) interfaces: Wanted,
    pub(super) workers: usize,
    pub(super) vips: BTreeMap<IpAddr, Choice>,
    pub(super) control: PathBuf,
    pub(super) state: PathBuf,
    pub(super) max_connections: usize,
    /// Services of the configuration.
    pub(super) rules: DesiredState,
    /// Tells whether the configured rules are those that the saved state began with.
    pub(super) rules_digest: u64,
}

impl Settings {
    /// Reads the configuration.
    ///
    /// # Errors
    /// What is wrong with it, with file, line and key.
    pub(super) fn read(options: &Options) -> Result<Self> {
        Ok(Self {
            interfaces: Wanted::All,
            workers: 1,
            vips: BTreeMap::new(),
            control: options.control.clone().unwrap_or_else(client::path),
            state: options.state.clone().unwrap_or_else(|| STATE_PATH.into()),
            max_connections: 1 << 20,
            rules: DesiredState::default(),
            rules_digest: 0,
        })
    }
}

impl Settings {
    /// Whether something differs that only a restart can change.
    pub(super) fn needs_restart(&self, running: &Self) -> bool {
        self.workers != running.workers
            || self.max_connections != running.max_connections
            || self.control != running.control
            || self.state != running.state
    }
}

/// Starts everything.
///
/// # Errors
/// The first thing that is impossible: one sentence. Nothing stays behind.
pub(super) fn start(options: &Options) -> Result<Daemon> {
    let failed = |source| RuntimeError::system("cannot start the control thread", source);
    // Before any thread is started: they inherit the mask.
    let signals = Signals::take(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1])
        .map_err(failed)?;
    let settings = Settings::read(options)?;
    let poll = Poll::new().map_err(failed)?;
    let registry = poll.registry();
    // First of all: a second daemon must not touch anything.
    let socket = ControlSocket::open(&settings.control, registry, LISTENER)?;
    let watcher = Watcher::open()?;
    watch(registry, signals.fd().as_raw_fd(), SIGNALS)?;
    watch(registry, watcher.as_raw_fd(), NETWORK)?;
    let waker = Waker::new(registry, WORKERS).map_err(failed)?;
    let (sender, events) = channel::unbounded();
    let reporter = Reporter::new(sender, Arc::new(waker));

    let links = Links::new(settings.interfaces.clone(), watcher.tables())?;
    let shared = Arc::new(Shared::new(director::shared::Options {
        workers: settings.workers,
        seed: (random()?, random()?),
        max_templates: settings.max_connections,
    }));
    let state = StateFile::new(settings.state.clone())?;
    restore(&shared, &settings, &state)?;

    let shield = Shield::raise(links.wanted(watcher.tables()));
    let clock = Clock::start();
    let host = Arc::new(Host::default());
    let mut control = Control {
        clock,
        server: Server::new(Arc::clone(&shared)),
        generation: shared.generation(),
        shared,
        host,
        watcher,
        links,
        presence: Presence::default(),
        shield,
        forwarding: Forwarding::read(),
        state: Some(state),
        workers: Vec::new(),
        steering_seed: u32::from_ne_bytes(random_octets()?),
        steered: BTreeSet::new(),
        options: options.clone(),
        settings,
    };
    control.check_vips()?;
    // Threads inherit it.
    privilege::confine()?;
    control.workers = worker::start(directors(&control)?, clock, &reporter)?;
    let opened = control.open_links();
    if let Err(error) = opened.and_then(|()| privilege::keep(control.shield.capabilities())) {
        control.stop_workers();
        return Err(error);
    }
    Ok(Daemon {
        poll,
        signals,
        socket,
        events,
        control,
        next_tick: Instant::now() + TICK,
    })
}

fn watch(registry: &Registry, fd: i32, token: Token) -> Result<()> {
    registry
        .register(&mut SourceFd(&fd), token, Interest::READABLE)
        .map_err(|source| RuntimeError::system("cannot watch for events", source))
}

/// A director for each worker.
fn directors(control: &Control) -> Result<Vec<Director>> {
    let workers = control.settings.workers;
    let seed = [random()?, random()?];
    let table = TableConfig {
        max_connections: control.settings.max_connections.div_ceil(workers),
        hash: HashKind::default(),
        seed,
    };
    let director = |index| {
        Director::new(
            Arc::clone(&control.shared),
            Arc::clone(&control.host),
            index,
            &table,
        )
    };
    Ok((0..workers).map(director).collect())
}

fn random_octets<const LEN: usize>() -> Result<[u8; LEN]> {
    process::random().map_err(|source| RuntimeError::system("cannot get random numbers", source))
}

fn random() -> Result<u64> {
    random_octets().map(u64::from_ne_bytes)
}

/// The saved state, unless the configured rules are others than it began with: then the configured ones.
fn restore(shared: &Shared, settings: &Settings, state: &StateFile) -> Result<()> {
    let saved = state.load()?;
    let began_with = saved.as_deref().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix(DIGEST_LINE));
        line.and_then(|digits| u64::from_str_radix(digits, 16).ok())
    });
    let path = state.path().display();
    let wanted = match saved {
        Some(text) if began_with == Some(settings.rules_digest) => {
            DesiredState::parse(&text).map_err(|error| {
                RuntimeError::Refused(format!(
                    "the saved state {path} cannot be read: {error}; correct that line, or remove the file to start without services"
                ))
            })?
        }
        _ => settings.rules.clone(),
    };
    wanted.apply(shared).map_err(|error| {
        RuntimeError::Refused(format!(
            "cannot bring about the services of the configuration or of {path}: {error}"
        ))
    })?;
    let count = wanted.services.len();
    if count > 0 {
        tracing::info!("{count} virtual services restored");
    }
    Ok(())
}

/// The text of the state file.
pub(super) fn state_text(state: &DesiredState, rules_digest: u64) -> String {
    format!("# Written by ulvs; read at its next start.\n{DIGEST_LINE}{rules_digest:x}\n{state}")
}

//! The start of the daemon: everything opened and checked, in an order in which a refusal leaves nothing behind.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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

use super::assist;
use super::control::Control;
use super::gro::Aggregation;
use super::guard::Shield;
use super::pace::Pace;
use super::settings::{Options, Settings};
use super::sharing::Sharing;
use super::{Daemon, LISTENER, NETWORK, SIGNALS, TICK, WORKERS};
use crate::assist::Assisted;
use crate::clock::Clock;
use crate::control_socket::ControlSocket;
use crate::error::{Result, RuntimeError};
use crate::links::Links;
use crate::log;
use crate::network::Watcher;
use crate::presence::Presence;
use crate::privilege;
use crate::proc_files::ProcFiles;
use crate::shadow::Shadows;
use crate::state::StateFile;
use crate::vips::Forwarding;
use crate::worker::{self, Reporter};

/// The line of the state file that says which configured rules the state began with.
const DIGEST_LINE: &str = "# configured rules: ";

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
    log::start(settings.log);
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

    let mut links = Links::new(settings.interfaces.clone(), watcher.tables())?;
    links.assist_by(assist::raise(settings.assist, &settings.interfaces));
    let shared = Arc::new(Shared::new(director_options(&settings)?));
    let state = open_state(&shared, &settings)?;
    let lots = shared.options().lots;
    tracing::info!("schedulers' lots begin at {lots}: a replay draws the same with --lots {lots}");

    let shield = Shield::of(&settings.interfaces, &links, watcher.tables());
    links.follow(shield.flows());
    let clock = Clock::start();
    let host = Arc::new(Host::default());
    host.midnight_ms.store(clock.midnight_ms(), Relaxed);
    let mut control = Control {
        clock,
        server: Server::new(Arc::clone(&shared)),
        generation: shared.generation(),
        pace: Pace::default(),
        shared,
        host,
        watcher,
        links,
        presence: Presence::default(),
        shield,
        aggregation: Aggregation::default(),
        forwarding: Forwarding::read(),
        stale: false,
        state,
        proc_files: ProcFiles::beside(&settings.control.socket),
        workers: Vec::new(),
        shadows: None,
        steering_seed: u32::from_ne_bytes(random_octets()?),
        sharing: Sharing::default(),
        options: options.clone(),
        settings,
    };
    control.check_vips(&control.settings, &control.shield)?;
    control.check_services()?;
    // Threads inherit it.
    privilege::confine()?;
    let busy_poll = control.settings.busy_poll;
    let shadow = control.settings.shadow.as_ref();
    let shadows = shadow.map(|wish| Shadows::start(wish, &control.shared, clock));
    control.shadows = shadows.transpose()?;
    control.workers = worker::start(directors(&control)?, clock, busy_poll, &reporter)?;
    let opened = control.open_links();
    if let Err(error) = opened.and_then(|()| privilege::keep(&control.capabilities())) {
        control.stop_workers();
        control.aggregation.restore();
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

/// What the director is started with: the kernel's schedulers alone, so that whoever asks for another one is told what
/// the kernel would say.
fn director_options(settings: &Settings) -> Result<director::shared::Options> {
    Ok(director::shared::Options {
        workers: settings.workers,
        seed: (random()?, random()?),
        max_templates: settings.max_connections,
        lots: random()?,
        ..director::shared::Options::default()
    })
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
    let assist = control.links.assist().zip(control.settings.assist);
    let director = |index| {
        let mut director = Director::new(
            Arc::clone(&control.shared),
            Arc::clone(&control.host),
            index,
            &table,
        );
        if let Some((assist, scope)) = assist {
            let flows = Arc::clone(assist.flows());
            director.set_assist(Box::new(Assisted::new(flows, control.clock)), scope);
        }
        if let Some(shadows) = &control.shadows {
            director.set_observer(Some(shadows.observer(index)));
        }
        director
    };
    Ok((0..workers).map(director).collect())
}

fn random_octets<const LEN: usize>() -> Result<[u8; LEN]> {
    process::random().map_err(|source| RuntimeError::system("cannot get random numbers", source))
}

fn random() -> Result<u64> {
    random_octets().map(u64::from_ne_bytes)
}

/// Opens the state file, restores what it holds, and writes it: what cannot be written is found now. At its default
/// place it may be impossible (a container's user may write nowhere): then nothing is kept.
fn open_state(shared: &Shared, settings: &Settings) -> Result<Option<StateFile>> {
    let Some(path) = settings.state.clone() else {
        restore(shared, settings, None)?;
        return Ok(None);
    };
    let opened = StateFile::new(path).and_then(|mut state| {
        restore(shared, settings, Some(&state))?;
        let text = state_text(shared, settings.digest);
        match state.save(&text, Instant::now()) {
            Err(error) if settings.state_by_default => {
                tracing::warn!("{error}: services are not kept over a restart");
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(Some(state)),
        }
    });
    match opened {
        Err(error @ RuntimeError::System { .. }) if settings.state_by_default => {
            restore(shared, settings, None)?;
            tracing::warn!("{error}: services are not kept over a restart");
            Ok(None)
        }
        Err(RuntimeError::System { operation, source }) => Err(RuntimeError::system(
            format!("{operation} (another place: --state PATH, none: state = \"\")"),
            source,
        )),
        other => other,
    }
}

/// The saved state, unless what is configured is something else than it began with: then what is configured.
fn restore(shared: &Shared, settings: &Settings, state: Option<&StateFile>) -> Result<()> {
    let saved = match state {
        Some(state) => state.load()?.map(|text| (text, state.path().display())),
        None => None,
    };
    let wanted = match saved {
        Some((text, path)) if began_with(&text).is_none_or(|digest| digest == settings.digest) => DesiredState::parse(
            &text,
        )
        .map_err(|error| {
            RuntimeError::Refused(format!(
                "the saved state {path} cannot be read: {error}; correct that line, or remove the \
                     file to start without it"
            ))
        })?,
        _ => settings.desired.clone(),
    };
    wanted.apply(shared).map_err(|error| {
        RuntimeError::Refused(format!("cannot bring the services about: {error}"))
    })?;
    match wanted.services.len() {
        0 => {}
        1 => tracing::info!("1 virtual service restored"),
        count => tracing::info!("{count} virtual services restored"),
    }
    Ok(())
}

/// The digest of the configured rules that a saved state began with. A file without that line was written by hand and counts.
fn began_with(text: &str) -> Option<u64> {
    let digits = text
        .lines()
        .find_map(|line| line.strip_prefix(DIGEST_LINE))?;
    u64::from_str_radix(digits, 16).ok()
}

/// The text of the state file.
pub(super) fn state_text(shared: &Shared, digest: u64) -> String {
    let lots = control::lots::line(shared.options().lots);
    let state = DesiredState::of(shared);
    format!("# Written by ulvs; read at its next start.\n{DIGEST_LINE}{digest:x}\n{lots}\n{state}")
}

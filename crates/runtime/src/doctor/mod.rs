//! `ulvs doctor`: what this host offers a director, what is used of it, and what it costs to lack the rest.
//!
//! Promises: works for every user, and says what is missing; changes nothing. Whatever is opened to find something out
//! is closed again; a guard is tried on loopback, with nothing to drop.

mod host;
mod interfaces;
mod system;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use caps::Capability;
use control::config::LinkKind;
use control::netlink::{Reply, ReplyFrame, Request, replies};
use link::assist::Assist;

use crate::client::{self, Client};
use crate::daemon::Settings;
use crate::error::{Result, RuntimeError};
use crate::network::Watcher;
use crate::network::tables::{Link, Tables};
use crate::privilege;
use crate::status::{self, Status};
use table::{Row, Section, Table};

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Configuration file of the director that is to run here.
    pub config: Option<PathBuf>,
    /// Control socket of a director that may run; `None` = where ipvsadm looks for it.
    pub control: Option<PathBuf>,
    /// Interfaces to look at; none = those that the director works on, or would.
    pub interfaces: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Findings {
    heading: String,
    table: Table,
    obstacles: Vec<String>,
}

impl Findings {
    /// Whether a director can run here.
    #[must_use]
    pub const fn can_run(&self) -> bool {
        self.obstacles.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n", self.heading, self.table)?;
        match self.obstacles.as_slice() {
            [] => writeln!(f, "ulvs can run here."),
            obstacles => obstacles
                .iter()
                .try_for_each(|sentence| writeln!(f, "ulvs cannot run here: {sentence}.")),
        }
    }
}

/// Everything that the sections go by.
struct Look {
    settings: Settings,
    /// Of a director that runs.
    status: Option<Status>,
    /// The host's tables, where they can be read.
    tables: Option<Tables>,
    /// Why a director cannot run, in sentences without their full stop.
    obstacles: Vec<String>,
}

impl Look {
    fn obstacle(&mut self, sentence: impl Into<String>) {
        self.obstacles.push(sentence.into());
    }

    /// Names of the kinds of links that the director uses, or would.
    fn links(&self) -> BTreeSet<&str> {
        match &self.status {
            Some(status) => status
                .interfaces
                .iter()
                .map(|(_, link)| link.as_str())
                .collect(),
            None => {
                let kinds = self.settings.interfaces.kinds().into_iter();
                kinds.map(LinkKind::name).collect()
            }
        }
    }

    /// Whether that kind of link is among them.
    fn uses(&self, kind: LinkKind) -> bool {
        self.links().contains(kind.name())
    }

    /// Whether packet sockets are among what its links are made of.
    fn uses_packet_sockets(&self) -> bool {
        self.uses(LinkKind::AfPacket) || self.uses(LinkKind::AfXdp)
    }

    /// Whether the host hears the packets of services too.
    fn shares_with_host(&self) -> bool {
        self.links()
            .iter()
            .any(|link| *link != LinkKind::Tun.name())
    }

    /// The name of the kind of link that the director uses on an interface, or would; `None` = it does not work on it.
    fn link(&self, link: &Link) -> Option<&str> {
        match &self.status {
            Some(status) => status.link(&link.name),
            None => {
                let wanted = &self.settings.interfaces;
                let kind = wanted.kind(&link.name);
                wanted.wants(link).then(|| kind.name())
            }
        }
    }
}

/// Looks at the host.
///
/// # Errors
/// The command line names an interface that is not there: one sentence.
pub fn run(options: &Options) -> Result<Findings> {
    let mut obstacles = Vec::new();
    let daemon = crate::daemon::Options {
        config: options.config.clone(),
        ..Default::default()
    };
    let settings = Settings::read(&daemon).or_else(|error| {
        obstacles.push(error.to_string());
        Settings::read(&crate::daemon::Options::default())
    })?;
    let tables = match Watcher::open() {
        Ok(watcher) => Some(watcher.tables().clone()),
        Err(error) => {
            obstacles.push(error.to_string());
            None
        }
    };
    let asked = options.control.clone().unwrap_or_else(|| {
        let by_environment = std::env::var_os(client::PATH_VARIABLE).is_some();
        match by_environment {
            true => client::path(),
            false => settings.control.socket.clone(),
        }
    });
    let (status, heading) = match ask(asked.clone()) {
        Ok(status) => (
            Some(status),
            format!(
                "A director runs on {}: \"used\" is what it uses.",
                asked.display()
            ),
        ),
        Err(error) => (
            None,
            format!("No director: {error}. \"used\" is what `ulvs run` would use."),
        ),
    };
    let mut look = Look {
        settings,
        status,
        tables,
        obstacles,
    };
    let names = interfaces::names(&look, &options.interfaces)?;
    let guard = system::Guards::try_all();
    let sections = vec![
        director(&look),
        system::section(&mut look, &guard),
        interfaces::section(&mut look, &names),
        host::section(&mut look, &guard, &names),
    ];
    Ok(Findings {
        heading,
        table: Table(sections),
        obstacles: look.obstacles,
    })
}

/// What a running director says of itself.
fn ask(path: PathBuf) -> std::io::Result<Status> {
    let request = Request::DumpText(status::NAME.to_owned());
    let datagrams = Client::new(path).exchange(&request.encode(1, 0))?;
    let mut text = Vec::new();
    for reply in datagrams.iter().flat_map(|datagram| replies(datagram)) {
        if let Ok((_, ReplyFrame::Data(Reply::Text(piece)))) = reply {
            text.extend(piece);
        }
    }
    Ok(Status::parse(&String::from_utf8_lossy(&text)))
}

/// What was chosen rather than found.
fn director(look: &Look) -> Section {
    let settings = &look.settings;
    let (workers, busy_poll) = match &look.status {
        Some(status) => (status.workers, status.busy_poll),
        None => {
            let window = settings.busy_poll.as_micros();
            let window = u64::try_from(window).unwrap_or(u64::MAX);
            (settings.workers, window)
        }
    };
    let rows = vec![
        Row::fact(
            format!("link {}", Vec::from_iter(look.links()).join(", ")),
            "the configuration's `link` and [[interface]]; docs/LINKS.md says when to use which",
        ),
        Row::fact(
            format!("{workers} worker{}", if workers == 1 { "" } else { "s" }),
            "the configuration's `workers`: more help where one core is full",
        ),
        assist(look),
        Row::new(
            "busy polling",
            true,
            busy_poll > 0,
            if busy_poll > 0 {
                format!(
                    "{busy_poll} us after the last frames: costs processor time while frames come"
                )
            } else {
                "`ulvs run --busy-poll` saves wake-ups on hosts with idle processors; no gain on two".into()
            },
        ),
    ];
    Section {
        title: "director",
        rows,
    }
}

/// Whether the kernel sends on established flows by itself, or why it cannot.
fn assist(look: &Look) -> Row {
    const USE: &str = "packets of established flows by DR and NAT wake no worker";
    let (available, refusal) = match Assist::load() {
        Ok(_) => (true, None),
        Err(error) => (false, Some(error.to_string())),
    };
    let used = match &look.status {
        Some(status) => !status.assist.is_empty(),
        None => available && look.settings.assist.is_some(),
    };
    let note = match (refusal, used) {
        (Some(refusal), false) => format!("every packet wakes a worker: {refusal}"),
        (_, true) => USE.to_owned(),
        (None, false) => format!("`assist = \"tcp\"`: {USE}"),
    };
    Row::new("kernel assist", available, used, note)
}

/// Whether this process has a capability.
fn has(capability: Capability) -> bool {
    privilege::has(capability)
}

/// The refusal of a wrong command line.
fn wrong(sentence: String) -> RuntimeError {
    RuntimeError::Refused(sentence)
}

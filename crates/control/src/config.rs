//! The configuration file: TOML, every key with a default, one sentence for every fault.
//!
//! Promises: a file with an unknown key or an impossible value is refused whole, by a sentence that names
//! file, line, key and value and says what is possible. `configs/ulvs.toml` explains every key. Never reads
//! a file: the caller hands over texts, and whether interfaces exist is for those who open them.

mod error;
mod file;
mod mark;
mod rules;
mod value;

use core::net::IpAddr;
use core::time::Duration;
use std::path::PathBuf;

use director::assist::Scope;
use value::Get;

pub use error::{ConfigError, Source, toml_reason};
use file::File;
pub use file::{BUSY_POLL_MAX, Gro, LinkKind, LogFormat, LogLevel, VipAnswer};
pub use mark::{MarkRule, Packet, Prefix};
pub use rules::Rule;

use crate::state::DesiredState;

/// What the operator wants of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Interfaces that carry packets of services; `None` = every one that is up, but for loopback.
    pub interfaces: Option<Vec<String>>,
    /// How frames are read and written, where `links` does not say.
    pub link: LinkKind,
    /// Interfaces with a kind of link of their own.
    pub links: Vec<InterfaceLink>,
    /// Receive aggregation of veth interfaces.
    pub gro: Gro,
    /// Which established flows the kernel sends on by itself where it can; `None` = none.
    pub assist: Option<Scope>,
    /// Schedulers that only watch.
    pub shadow: Shadow,
    /// Threads that forward packets.
    pub workers: usize,
    /// How long a worker goes on looking for frames before it sleeps; zero = it sleeps at once.
    pub busy_poll: Duration,
    /// Most connections at a time, all workers together.
    pub max_connections: usize,
    /// File that keeps services over a restart; `None` = they are not kept.
    pub state: Option<PathBuf>,
    /// Whether the texts of `/proc/net/ip_vs*` are written as files beside the control socket.
    pub proc_files: bool,
    /// File with further rules, as it stands in the configuration (relative to the configuration's folder).
    pub rules_file: Option<PathBuf>,
    /// The control socket.
    pub control: Control,
    /// Connection timeouts, seconds.
    pub timeouts: director::shared::Timeouts,
    /// `net.ipv4.vs.*` settings: name without the prefix, value.
    pub sysctls: Vec<(String, String)>,
    /// The log.
    pub log: Log,
    /// VIPs that are not to be answered for by default.
    pub vips: Vec<Vip>,
    /// How packets get firewall marks; the first that matches counts.
    pub marks: Vec<MarkRule>,
    rules: Vec<Rule>,
}

/// Who may connect to the control socket, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Path of the socket.
    pub socket: PathBuf,
    /// Name or number of the group that the socket belongs to; `None` = the daemon's own.
    pub group: Option<String>,
    /// Permission bits of the socket.
    pub mode: u32,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important lines that are written.
    pub level: LogLevel,
    /// Form of the lines.
    pub format: LogFormat,
}

/// Schedulers that decide about the live connections too, without any effect on packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Each as written (`mh -b mh-port`), and where that stands: file, line, key and value, for what is said of it later.
    pub schedulers: Vec<(String, String)>,
    /// One in so many connections is looked at.
    pub sample: u32,
}

/// An interface with a kind of link of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceLink {
    /// Name.
    pub name: String,
    /// How its frames are read and written.
    pub link: LinkKind,
    /// Where that stands: file, line, key and value, for what is said of it later.
    pub place: String,
}

/// A virtual address with a wish of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// Who answers for it.
    pub answer: VipAnswer,
    /// Interface on which it is announced; `None` = where its network is.
    pub interface: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self::from_file(File::default())
    }
}

impl Config {
    /// Reads a configuration. `name` is what messages call the file.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source { name, text };
        let file = File::read(&source)?;
        file.check(&source)?;
        let rules = match &file.rules {
            Some(rules) => rules::read_inline(&source, rules)?,
            None => Vec::new(),
        };
        let links = file.interface.iter().map(|section| InterfaceLink {
            name: section.name.get_ref().clone().into(),
            link: *section.link.get_ref(),
            place: source.place(section.link.span().start),
        });
        let shadow = Shadow {
            schedulers: (file.shadow.schedulers.iter())
                .map(|text| (text.get_ref().clone(), source.place(text.span().start)))
                .collect(),
            sample: file.shadow.sample.get(),
        };
        Ok(Self {
            rules,
            shadow,
            links: links.collect(),
            ..Self::from_file(file)
        })
    }

    fn from_file(file: File) -> Self {
        let sysctls = file.sysctl.into_iter();
        Self {
            interfaces: file
                .interfaces
                .map(|names| names.into_iter().map(String::from).collect()),
            link: file.link.into_inner(),
            links: Vec::new(),
            gro: file.gro,
            assist: file.assist.scope(),
            shadow: Shadow {
                schedulers: Vec::new(),
                sample: file.shadow.sample.get(),
            },
            workers: file.workers.get(),
            busy_poll: Duration::from_micros(u64::from(Get::<u32>::get(file.busy_poll))),
            max_connections: file.max_connections.get(),
            state: Some(file.state).filter(|path| !path.as_os_str().is_empty()),
            proc_files: file.proc_files,
            rules_file: file.rules_file,
            control: Control {
                socket: file.control.socket.into(),
                group: file.control.group,
                mode: file.control.mode.into(),
            },
            timeouts: director::shared::Timeouts {
                tcp: file.timeouts.tcp.get(),
                tcp_fin: file.timeouts.tcp_fin.get(),
                udp: file.timeouts.udp.get(),
            },
            sysctls: sysctls
                .map(|(key, value)| (key.into_inner(), value.to_string()))
                .collect(),
            log: Log {
                level: file.log.level,
                format: file.log.format,
            },
            vips: file
                .vip
                .into_iter()
                .map(|vip| Vip {
                    address: vip.address.into_inner(),
                    answer: vip.answer,
                    interface: vip.interface.map(|name| name.into_inner().into()),
                })
                .collect(),
            marks: file.mark.into_iter().map(MarkRule::from).collect(),
            rules: Vec::new(),
        }
    }

    /// Adds rules from a file of their own (see [`Config::rules_file`]), behind those there are. `name` is
    /// what messages call it.
    ///
    /// # Errors
    /// The first line that is no rule; nothing is added then.
    pub fn add_rules(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        self.rules.extend(rules::read(name, 1, text)?);
        Ok(())
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Services, timeouts and sysctls, tried on a director of their own: rules that contradict each other
    /// are found before anything changes.
    ///
    /// # Errors
    /// The first rule that a director refuses.
    pub fn desired_state(&self) -> Result<DesiredState, ConfigError> {
        rules::desired_state(self)
    }
}

#[cfg(test)]
mod tests;

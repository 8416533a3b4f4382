//! The file as it is written: sections, keys, defaults.

use core::fmt;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use director::sysctl::{SYSCTLS, Sysctls};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Source};
use super::mark::MarkSection;
use super::value::{Bounded, InterfaceName, Mode, SocketPath};

/// Longest timeout, seconds: 31 days, as for `ipvsadm --set`.
const MAX_TIMEOUT: u32 = 86_400 * 31;
/// Longest time that a worker looks for frames before it sleeps, microseconds.
pub const BUSY_POLL_MAX: u32 = 1000;

/// How frames are read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// Packet sockets on existing interfaces.
    #[default]
    AfPacket,
    /// TUN devices that ulvs makes, named by `interfaces`; the host routes packets into them.
    Tun,
}

/// Whether receive aggregation of veth interfaces is turned on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gro {
    /// While the daemon works on them, where it may.
    #[default]
    Auto,
    /// They stay as they are.
    Leave,
}

/// Who answers for a VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VipAnswer {
    /// The kernel where the host has the address, ulvs otherwise.
    #[default]
    Auto,
    /// ulvs.
    Owned,
    /// The kernel.
    Local,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// What keeps the daemon from doing its work.
    Error,
    /// What an operator should look at.
    Warn,
    /// What was done.
    #[default]
    Info,
    /// How it was done.
    Debug,
    /// Everything.
    Trace,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) interfaces: Option<Vec<InterfaceName>>,
    pub(super) link: LinkKind,
    pub(super) gro: Gro,
    pub(super) workers: Bounded<1, 64>,
    pub(super) busy_poll: Bounded<0, BUSY_POLL_MAX>,
    pub(super) max_connections: Bounded<1, 0x7fff_ffff>,
    pub(super) state: PathBuf,
    pub(super) proc_files: bool,
    pub(super) rules: Option<Spanned<String>>,
    pub(super) rules_file: Option<PathBuf>,
    pub(super) control: ControlSection,
    pub(super) timeouts: TimeoutsSection,
    pub(super) sysctl: BTreeMap<Spanned<String>, SysctlValue>,
    pub(super) log: LogSection,
    pub(super) vip: Vec<VipSection>,
    pub(super) mark: Vec<MarkSection>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            interfaces: None,
            link: LinkKind::default(),
            gro: Gro::default(),
            workers: Bounded::new::<1>(),
            busy_poll: Bounded::new::<0>(),
            max_connections: Bounded::new::<1_048_576>(),
            state: "/var/lib/ulvs/state.rules".into(),
            proc_files: false,
            rules: None,
            rules_file: None,
            control: ControlSection::default(),
            timeouts: TimeoutsSection::default(),
            sysctl: BTreeMap::new(),
            log: LogSection::default(),
            vip: Vec::new(),
            mark: Vec::new(),
        }
    }
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ControlSection {
    pub(super) socket: SocketPath,
    pub(super) group: Option<String>,
    pub(super) mode: Mode,
}

impl Default for ControlSection {
    fn default() -> Self {
        Self {
            socket: SocketPath::new("/run/ulvs/control.sock"),
            group: None,
            mode: Mode::DEFAULT,
        }
    }
}

/// `[timeouts]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TimeoutsSection {
    pub(super) tcp: Bounded<1, MAX_TIMEOUT>,
    pub(super) tcp_fin: Bounded<1, MAX_TIMEOUT>,
    pub(super) udp: Bounded<1, MAX_TIMEOUT>,
}

impl Default for TimeoutsSection {
    fn default() -> Self {
        Self {
            tcp: Bounded::new::<900>(),
            tcp_fin: Bounded::new::<120>(),
            udp: Bounded::new::<300>(),
        }
    }
}

/// A value of `[sysctl]`: a number, or a string where there are two.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a sysctl is a whole number, or a string such as \"3 50\""
)]
pub(super) enum SysctlValue {
    Number(i32),
    Text(String),
}

impl fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// `[log]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogSection {
    pub(super) level: LogLevel,
    pub(super) format: LogFormat,
}

/// `[[vip]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VipSection {
    pub(super) address: Spanned<IpAddr>,
    #[serde(default)]
    pub(super) answer: VipAnswer,
    pub(super) interface: Option<InterfaceName>,
}

impl File {
    /// Reads the TOML text.
    pub(super) fn read(source: &Source<'_>) -> Result<Self, ConfigError> {
        toml::from_str(source.text).map_err(|error| source.toml_fault(&error))
    }

    /// What no single value shows.
    pub(super) fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for VipSection { address, .. } in &self.vip {
            if !seen.insert(*address.get_ref()) {
                let reason = "this VIP has a section already: leave one of the two out";
                return Err(source.fault(address.span().start, reason));
            }
        }
        let trial = Sysctls::default();
        for (key, value) in &self.sysctl {
            if let Err(error) = trial.write(key.get_ref(), &value.to_string()) {
                let reason = match error {
                    director::sysctl::SysctlError::Unknown { .. } => {
                        let names: Vec<&str> = SYSCTLS.iter().map(|entry| entry.name).collect();
                        format!(
                            "there is no such sysctl, the names are {}",
                            names.join(", ")
                        )
                    }
                    other => other.to_string(),
                };
                return Err(source.fault(key.span().start, &reason));
            }
        }
        Ok(())
    }
}

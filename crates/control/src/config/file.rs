//! The file as it is written: sections, keys, defaults.

use core::fmt;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use director::assist::Scope;
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
    /// AF_XDP sockets for what services get, packet sockets for the rest, on existing interfaces.
    AfXdp,
    /// TUN devices that ulvs makes, named by `interfaces`; the host routes packets into them.
    Tun,
}

impl LinkKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::AfPacket, Self::AfXdp, Self::Tun];

    /// Name among the kinds of links that there are.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfPacket => "af_packet",
            Self::AfXdp => "af_xdp",
            Self::Tun => "tun",
        }
    }
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

/// Which established flows the kernel sends on by itself, where it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Assist {
    /// None.
    Off,
    /// TCP connections.
    #[default]
    Tcp,
    /// TCP connections and UDP flows.
    All,
}

impl Assist {
    /// As the director is told.
    pub(super) const fn scope(self) -> Option<Scope> {
        match self {
            Self::Off => None,
            Self::Tcp => Some(Scope::Tcp),
            Self::All => Some(Scope::All),
        }
    }
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
    pub(super) link: Spanned<LinkKind>,
    pub(super) gro: Gro,
    pub(super) assist: Assist,
    pub(super) shadow: ShadowSection,
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
    pub(super) interface: Vec<InterfaceSection>,
    pub(super) vip: Vec<VipSection>,
    pub(super) mark: Vec<MarkSection>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            interfaces: None,
            link: Spanned::new(0..0, LinkKind::default()),
            gro: Gro::default(),
            assist: Assist::default(),
            shadow: ShadowSection::default(),
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
            interface: Vec::new(),
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

/// `[shadow]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ShadowSection {
    pub(super) schedulers: Vec<Spanned<String>>,
    pub(super) sample: Bounded<1, 65_536>,
}

impl Default for ShadowSection {
    fn default() -> Self {
        Self {
            schedulers: Vec::new(),
            sample: Bounded::new::<4>(),
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
    pub(super) interface: Option<Spanned<InterfaceName>>,
}

/// `[[interface]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InterfaceSection {
    pub(super) name: Spanned<InterfaceName>,
    pub(super) link: Spanned<LinkKind>,
}

impl File {
    /// Reads the TOML text.
    pub(super) fn read(source: &Source<'_>) -> Result<Self, ConfigError> {
        toml::from_str(source.text).map_err(|error| source.toml_fault(&error))
    }

    /// What no single value shows.
    pub(super) fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        self.check_interfaces(source)?;
        self.check_vips(source)?;
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
    /// The kind of link of an interface.
    fn kind(&self, name: &InterfaceName) -> LinkKind {
        let mut sections = self.interface.iter();
        let section = sections.find(|section| section.name.get_ref() == name);
        *section
            .map_or(&self.link, |section| &section.link)
            .get_ref()
    }

    fn check_interfaces(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let named = self.interfaces.as_deref();
        if *self.link.get_ref() == LinkKind::Tun && named.unwrap_or_default().is_empty() {
            let reason = "TUN devices are made by their names: interfaces = [\"ulvs0\"]";
            return Err(source.fault(self.link.span().start, reason));
        }
        let mut seen = BTreeSet::new();
        for InterfaceSection { name, .. } in &self.interface {
            let name_is_new = seen.insert(name.get_ref());
            let reason = if !name_is_new {
                "this interface has a section already: leave one of the two out"
            } else if named.is_some_and(|named| !named.contains(name.get_ref())) {
                "`interfaces` does not name it: add it there, or leave this section out"
            } else {
                continue;
            };
            return Err(source.fault(name.span().start, reason));
        }
        Ok(())
    }

    fn check_vips(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for VipSection {
            address, interface, ..
        } in &self.vip
        {
            if !seen.insert(*address.get_ref()) {
                let reason = "this VIP has a section already: leave one of the two out";
                return Err(source.fault(address.span().start, reason));
            }
            if let Some(name) = interface
                && self.kind(name.get_ref()) == LinkKind::Tun
            {
                let reason = "nobody hears announcements on a TUN device: leave this key out, or name an interface \
                              with another link";
                return Err(source.fault(name.span().start, reason));
            }
        }
        Ok(())
    }
}

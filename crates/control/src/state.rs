//! The desired state as text: what the operator configured, to be saved and restored.
//!
//! One line a command, in the form of `ipvsadm -Sn`, with what that form loses: thresholds (`-x`, `-y`),
//! timeouts (`--set`) and changed sysctls (`sysctl -w`). Reads what it writes, to the same state; writing
//! files is the caller's business.

use core::fmt::{self, Display, Formatter};
use core::net::{IpAddr, Ipv4Addr};
use core::str::FromStr;
use std::collections::HashSet;

use director::destination::{DestinationConfig, Method, TunnelChecksum, TunnelConfig, TunnelKind};
use director::protocol::Protocol;
use director::scheduler;
use director::service::{
    FLAG_ONE_PACKET, FLAG_PERSISTENT, FLAG_SCHED_1, FLAG_SCHED_2, FLAG_SCHED_3, Family,
    ServiceConfig, ServiceKey,
};
use director::shared::{CommandError, Shared, Timeouts};
use director::sysctl::{PREFIX, SYSCTLS, SysctlError, Sysctls};

/// Names of the scheduler flags whatever the scheduler.
const COMMON_FLAGS: [(&str, u32); 3] = [
    ("flag-1", FLAG_SCHED_1),
    ("flag-2", FLAG_SCHED_2),
    ("flag-3", FLAG_SCHED_3),
];

/// Everything that the operator configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// Timeouts of `--set`.
    pub timeouts: Timeouts,
    /// Names (without [`PREFIX`]) and values of sysctls that differ from their defaults.
    pub sysctls: Vec<(String, String)>,
    /// Services with their real servers, both in the order in which they were added.
    pub services: Vec<(ServiceConfig, Vec<DestinationConfig>)>,
}

/// Why a saved state cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct StateError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Why a state cannot be brought about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A service or one of its real servers was refused.
    #[error("{rule}: {error}")]
    Command {
        /// The line of the command.
        rule: String,
        /// Why.
        error: CommandError,
    },
    /// A sysctl was refused.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// A timeout was refused.
    #[error("--set: {0}")]
    Timeouts(CommandError),
}

impl DesiredState {
    /// What is configured now.
    #[must_use]
    pub fn of(shared: &Shared) -> Self {
        let services = shared.snapshot().in_order();
        let services = services.iter().map(|service| {
            let destinations = service.destinations.iter().rev();
            let configs = destinations.map(|destination| destination.config());
            (normal(service.config.clone()), configs.collect())
        });
        Self {
            timeouts: shared.timeouts(),
            sysctls: changed(&shared.sysctls),
            services: services.collect(),
        }
    }

    /// Reads what [`DesiredState`]'s `Display` writes. Empty lines and lines that begin with `#` are
    /// passed over.
    ///
    /// # Errors
    /// [`StateError`] names the first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, StateError> {
        let (mut state, mut added) = (Self::default(), HashSet::new());
        for (index, line) in text.lines().enumerate() {
            let mut words = Words(line.split_ascii_whitespace().collect());
            if line.starts_with('#') || words.0.is_empty() {
                continue;
            }
            state
                .read(&mut words, &mut added)
                .map_err(|reason| StateError {
                    line: index + 1,
                    reason,
                })?;
        }
        Ok(state)
    }

    /// Reads one line; `added` are the services of those before it.
    fn read(
        &mut self,
        words: &mut Words<'_>,
        added: &mut HashSet<ServiceKey>,
    ) -> Result<(), String> {
        match words.0.remove(0) {
            "--set" => {
                let [tcp, tcp_fin, udp] = words.0[..] else {
                    return Err("--set takes three timeouts".to_owned());
                };
                self.timeouts = Timeouts {
                    tcp: number(tcp)?,
                    tcp_fin: number(tcp_fin)?,
                    udp: number(udp)?,
                };
                return Ok(());
            }
            "sysctl" => {
                let assignment = words.0.get(1..).unwrap_or_default().join("\t");
                let (name, value) = assignment.split_once('=').ok_or("no = after the name")?;
                let name = name.strip_prefix(PREFIX).unwrap_or(name);
                self.sysctls.push((name.to_owned(), value.to_owned()));
                return Ok(());
            }
            "-A" => {
                let config = words.service()?;
                if !added.insert(config.key) {
                    return Err("the service was added already".to_owned());
                }
                self.services.push((config, Vec::new()));
            }
            "-a" => {
                let key = words.key()?;
                let config = words.destination()?;
                // Nearly always the last one: a service's real servers follow it.
                let mut services = self.services.iter_mut().rev();
                let (_, destinations) = services
                    .find(|(service, _)| service.key == key)
                    .ok_or("the service was not added before")?;
                destinations.push(config);
            }
            other => return Err(format!("{other:?} is not a command")),
        }
        match words.0.first() {
            None => Ok(()),
            Some(rest) => Err(format!("{rest:?} is not an option")),
        }
    }

    /// Brings this state about on a director without services.
    ///
    /// # Errors
    /// [`ApplyError`] names the first command that was refused; those before it were carried out.
    pub fn apply(&self, shared: &Shared) -> Result<(), ApplyError> {
        shared
            .set_timeouts(self.timeouts)
            .map_err(ApplyError::Timeouts)?;
        for (name, value) in &self.sysctls {
            shared.set_sysctl(name, value)?;
        }
        for (service, destinations) in &self.services {
            let refused = |rule: String| move |error| ApplyError::Command { rule, error };
            let added = shared.add_service(service.clone());
            added.map_err(refused(service_rule(service)))?;
            for destination in destinations {
                let added = shared.add_destination(&service.key, destination);
                added.map_err(refused(destination_rule(&service.key, destination)))?;
            }
        }
        Ok(())
    }
}

impl Display for DesiredState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Timeouts { tcp, tcp_fin, udp } = self.timeouts;
        writeln!(f, "--set {tcp} {tcp_fin} {udp}")?;
        for (name, value) in &self.sysctls {
            writeln!(f, "sysctl -w {PREFIX}{name}={value}")?;
        }
        for (service, destinations) in &self.services {
            writeln!(f, "{}", service_rule(service))?;
            for destination in destinations {
                writeln!(f, "{}", destination_rule(&service.key, destination))?;
            }
        }
        Ok(())
    }
}

/// The settings without what has no effect and no form in text.
fn normal(mut config: ServiceConfig) -> ServiceConfig {
    let flags = FLAG_SCHED_1 | FLAG_SCHED_2 | FLAG_SCHED_3;
    config.flags &= FLAG_PERSISTENT | FLAG_ONE_PACKET | flags;
    if !config.is_persistent() {
        config.timeout = 0;
    }
    config
}

fn changed(sysctls: &Sysctls) -> Vec<(String, String)> {
    let defaults = Sysctls::default();
    let entries = SYSCTLS.iter().filter_map(|entry| {
        let value = sysctls.read(entry.name).ok()?;
        let differs = defaults.read(entry.name).ok()? != value;
        differs.then(|| (entry.name.to_owned(), value))
    });
    entries.collect()
}

/// The command that adds this service, as `ipvsadm -Sn` prints it.
#[must_use]
pub fn service_rule(config: &ServiceConfig) -> String {
    let mut rule = format!("-A {} -s {}", key_text(&config.key), config.scheduler);
    if config.is_persistent() {
        rule += &format!(" -p {}", config.timeout);
    }
    let netmask = match config.key.family() {
        Family::V4 => {
            (config.netmask != u32::MAX).then(|| Ipv4Addr::from_bits(config.netmask).to_string())
        }
        Family::V6 => (config.netmask != 128).then(|| config.netmask.to_string()),
    };
    if let Some(netmask) = netmask {
        rule += &format!(" -M {netmask}");
    }
    if let Some(engine) = &config.persistence_engine {
        rule += &format!(" --pe {engine}");
    }
    if config.flags & FLAG_ONE_PACKET != 0 {
        rule += " -o";
    }
    let flags = flag_names(config);
    if !flags.is_empty() {
        rule += &format!(" -b {}", flags.join(","));
    }
    rule
}

/// Names of the scheduler flags that are set, in the scheduler's own words where it has some.
fn flag_names(config: &ServiceConfig) -> Vec<&'static str> {
    let own = scheduler::find(&config.scheduler).map_or(&[][..], |entry| entry.flags);
    let name = |(common, flag): (&'static str, u32)| {
        let own = own.iter().find(|own| own.flag == flag);
        (config.flags & flag != 0).then(|| own.map_or(common, |own| own.name))
    };
    COMMON_FLAGS.into_iter().filter_map(name).collect()
}

/// The command that adds this real server, as `ipvsadm -Sn` prints it, with the thresholds.
#[must_use]
pub fn destination_rule(key: &ServiceKey, config: &DestinationConfig) -> String {
    let endpoint = endpoint_text(config.address, config.port);
    let method = match config.method {
        Method::Masq => "-m",
        Method::Tunnel => "-i",
        Method::DirectRoute => "-g",
        // No form in text: they are the director's own choice, not the operator's.
        Method::Local | Method::Bypass => "-g",
    };
    let weight = config.weight;
    let mut rule = format!("-a {} -r {endpoint} {method} -w {weight}", key_text(key));
    if config.upper_threshold != 0 {
        rule += &format!(" -x {}", config.upper_threshold);
    }
    if config.lower_threshold != 0 {
        rule += &format!(" -y {}", config.lower_threshold);
    }
    if config.method == Method::Tunnel {
        rule += &tunnel_text(config.tunnel);
    }
    rule
}

fn tunnel_text(tunnel: TunnelConfig) -> String {
    let kind = match tunnel.kind {
        TunnelKind::Ipip => return " --tun-type ipip".to_owned(),
        TunnelKind::Gue => format!("gue --tun-port {}", tunnel.port),
        TunnelKind::Gre => "gre".to_owned(),
    };
    let checksum = match tunnel.checksum {
        TunnelChecksum::None => "--tun-nocsum",
        TunnelChecksum::Full => "--tun-csum",
        TunnelChecksum::Remote => "--tun-remcsum",
    };
    format!(" --tun-type {kind} {checksum}")
}

fn key_text(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {}", endpoint_text(address, port))
        }
        ServiceKey::Mark { family, mark } => match family {
            Family::V4 => format!("-f {mark}"),
            Family::V6 => format!("-f {mark} -6"),
        },
    }
}

fn endpoint_text(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

/// The words of a line that were not yet understood.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    /// Takes a switch; whether it was there.
    fn switch(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|word| *word == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// Takes an option's value.
    fn value(&mut self, name: &str) -> Result<Option<&'a str>, String> {
        let Some(at) = self.0.iter().position(|word| *word == name) else {
            return Ok(None);
        };
        self.0.remove(at);
        if at < self.0.len() {
            Ok(Some(self.0.remove(at)))
        } else {
            Err(format!("{name} lacks its value"))
        }
    }

    fn parsed<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.value(name)?.map(number).transpose()
    }

    fn key(&mut self) -> Result<ServiceKey, String> {
        if let Some(mark) = self.parsed("-f")? {
            let family = if self.switch("-6") {
                Family::V6
            } else {
                Family::V4
            };
            return Ok(ServiceKey::Mark { family, mark });
        }
        for (option, protocol) in [
            ("-t", Protocol::Tcp),
            ("-u", Protocol::Udp),
            ("--sctp-service", Protocol::Sctp),
        ] {
            if let Some(text) = self.value(option)? {
                let (address, port) = endpoint(text)?;
                return Ok(ServiceKey::Address {
                    protocol,
                    address,
                    port,
                });
            }
        }
        Err("no service is named".to_owned())
    }

    fn service(&mut self) -> Result<ServiceConfig, String> {
        let key = self.key()?;
        let scheduler = self.value("-s")?.ok_or("no scheduler is named")?.to_owned();
        let timeout = self.parsed("-p")?;
        let netmask = match key.family() {
            Family::V4 => self
                .parsed::<Ipv4Addr>("-M")?
                .map_or(u32::MAX, Ipv4Addr::to_bits),
            Family::V6 => self.parsed("-M")?.unwrap_or(128),
        };
        let persistence_engine = self.value("--pe")?.map(str::to_owned);
        let mut flags = 0;
        if timeout.is_some() {
            flags |= FLAG_PERSISTENT;
        }
        if self.switch("-o") {
            flags |= FLAG_ONE_PACKET;
        }
        for name in self
            .value("-b")?
            .into_iter()
            .flat_map(|names| names.split(','))
        {
            flags |= flag(&scheduler, name)?;
        }
        Ok(ServiceConfig {
            key,
            scheduler,
            flags,
            timeout: timeout.unwrap_or(0),
            netmask,
            persistence_engine,
        })
    }

    fn destination(&mut self) -> Result<DestinationConfig, String> {
        let server = self.value("-r")?.ok_or("no real server is named")?;
        let (address, port) = endpoint(server)?;
        let method = [
            ("-m", Method::Masq),
            ("-i", Method::Tunnel),
            ("-g", Method::DirectRoute),
        ]
        .into_iter()
        .find(|(option, _)| self.switch(option))
        .map(|(_, method)| method)
        .ok_or("no forwarding method is given")?;
        let kind = match self.value("--tun-type")? {
            None | Some("ipip") => TunnelKind::Ipip,
            Some("gue") => TunnelKind::Gue,
            Some("gre") => TunnelKind::Gre,
            Some(other) => return Err(format!("{other:?} is not a tunnel type")),
        };
        let port_of_tunnel = self.parsed("--tun-port")?.unwrap_or(0);
        let checksum = if self.switch("--tun-csum") {
            TunnelChecksum::Full
        } else if self.switch("--tun-remcsum") {
            TunnelChecksum::Remote
        } else {
            self.switch("--tun-nocsum");
            TunnelChecksum::None
        };
        Ok(DestinationConfig {
            address,
            port,
            method,
            tunnel: TunnelConfig {
                kind,
                port: port_of_tunnel,
                checksum,
            },
            weight: self.parsed("-w")?.ok_or("no weight is given")?,
            upper_threshold: self.parsed("-x")?.unwrap_or(0),
            lower_threshold: self.parsed("-y")?.unwrap_or(0),
        })
    }
}

fn flag(scheduler: &str, name: &str) -> Result<u32, String> {
    let common = COMMON_FLAGS.iter().find(|(common, _)| *common == name);
    let own = || {
        scheduler::find(scheduler)?
            .flags
            .iter()
            .find(|own| own.name == name)
    };
    common
        .map(|(_, flag)| *flag)
        .or_else(|| own().map(|own| own.flag))
        .ok_or_else(|| format!("{name:?} is not a flag of {scheduler}"))
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not what belongs here"))
}

fn endpoint(text: &str) -> Result<(IpAddr, u16), String> {
    let unreadable = || format!("{text:?} is not an address and port");
    let (address, port) = text.rsplit_once(':').ok_or_else(unreadable)?;
    let inner = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = inner.unwrap_or(address).parse().map_err(|_| unreadable())?;
    Ok((address, port.parse().map_err(|_| unreadable())?))
}

#[cfg(test)]
mod tests;

//! What the daemon goes by: command line before configuration file before defaults.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use baselines::Spec;
use control::config::{Config, Gro, InterfaceLink, Log, MarkRule, VipAnswer};
use control::state::DesiredState;
use director::assist::Scope;
use director::net::Answer;
use director::service::{Family, ServiceKey};
use link::guard::Endpoint;

use crate::error::{Result, RuntimeError};
use crate::links::{self, Wanted};
use crate::network::tables::Tables;
use crate::shadow;
use crate::vips::{Choice, Wish};

/// TCP, UDP and SCTP.
const BALANCED: [u8; 3] = [6, 17, 132];
/// Ports of a mark that a guard names one by one, at most.
const PORTS_MAX: usize = 256;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// Path of the control socket.
    pub control: Option<PathBuf>,
    /// Path of the state file.
    pub state: Option<PathBuf>,
    /// How long a worker goes on looking for frames before it sleeps.
    pub busy_poll: Option<Duration>,
}

/// What the daemon goes by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) interfaces: Wanted,
    pub(crate) gro: Gro,
    pub(crate) workers: usize,
    /// How long a worker goes on looking for frames before it sleeps.
    pub(crate) busy_poll: Duration,
    /// Whether the kernel is to send on established flows by itself.
    pub(crate) assist: Option<Scope>,
    /// The schedulers that only watch.
    pub(crate) shadow: Option<shadow::Wish>,
    pub(super) max_connections: usize,
    pub(crate) vips: BTreeMap<IpAddr, Wish>,
    pub(super) marks: Arc<Vec<MarkRule>>,
    pub(crate) control: control::config::Control,
    /// `None` = nothing is kept over a restart.
    pub(super) state: Option<PathBuf>,
    /// Nobody asked for that place in particular.
    pub(super) state_by_default: bool,
    pub(super) proc_files: bool,
    pub(super) log: Log,
    /// Services, timeouts and sysctls of the configuration.
    pub(crate) desired: DesiredState,
    /// Tells whether `desired` is what the saved state began with.
    pub(super) digest: u64,
}

impl Settings {
    /// Reads the configuration.
    ///
    /// # Errors
    /// What is wrong with it, with file, line and key.
    pub(crate) fn read(options: &Options) -> Result<Self> {
        let mut config = match &options.config {
            Some(path) => parse(path)?,
            None => Config::default(),
        };
        if let Some(path) = options.control.clone() {
            config.control.socket = path;
        }
        if let Some(path) = options.state.clone() {
            config.state = Some(path);
        }
        if let Some(time) = options.busy_poll {
            config.busy_poll = time;
        }
        let desired = config.desired_state().map_err(refused)?;
        let wish = |vip: &control::config::Vip| Wish {
            choice: match vip.answer {
                VipAnswer::Auto => Choice::Auto,
                VipAnswer::Owned => Choice::Fixed(Answer::Owned),
                VipAnswer::Local => Choice::Fixed(Answer::Local),
            },
            interface: vip.interface.clone(),
        };
        Ok(Self {
            interfaces: wanted(&config),
            gro: config.gro,
            workers: config.workers,
            busy_poll: config.busy_poll,
            assist: config.assist,
            shadow: shadows(&config.shadow)?,
            max_connections: config.max_connections,
            vips: config
                .vips
                .iter()
                .map(|vip| (vip.address, wish(vip)))
                .collect(),
            digest: digest(&desired),
            desired,
            control: config.control,
            state_by_default: config.state == Config::default().state,
            state: config.state,
            proc_files: config.proc_files,
            log: config.log,
            marks: Arc::new(config.marks),
        })
    }

    /// What the operator says about a VIP, on this host.
    pub(crate) fn wish(&self, vip: IpAddr, tables: &Tables) -> Wish {
        let mut wish = self.vips.get(&vip).cloned().unwrap_or_default();
        // The host routes packets into a TUN device whatever networks it is connected to.
        if self.interfaces.has_tun() && wish.choice == Choice::Auto && !tables.is_local(vip) {
            wish.choice = Choice::Fixed(Answer::Owned);
        }
        wish
    }

    /// The VIPs that a service answers to. A firewall mark's are the single addresses that its rules name.
    pub(crate) fn vips_of(&self, key: &ServiceKey) -> Vec<IpAddr> {
        match *key {
            ServiceKey::Address { address, .. } => vec![address],
            ServiceKey::Mark { mark, family } => {
                let rules = self.marks.iter().filter(|rule| rule.mark == mark);
                let single = rules.filter_map(|rule| rule.destination?.single());
                single
                    .filter(|vip| vip.is_ipv4() == (family == Family::V4))
                    .collect()
            }
        }
    }

    /// The protocols and ports on `vips_of` that a service answers to; port 0 = any. Wide ranges count as any port.
    pub(super) fn endpoints_of(&self, key: &ServiceKey) -> Vec<Endpoint> {
        let (mark, family) = match *key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                return vec![Endpoint {
                    protocol: protocol.number(),
                    address,
                    port,
                }];
            }
            ServiceKey::Mark { mark, family } => (mark, family),
        };
        let mut endpoints = Vec::new();
        for rule in self.marks.iter().filter(|rule| rule.mark == mark) {
            let single = rule.destination.and_then(|prefix| prefix.single());
            let Some(address) = single.filter(|vip| vip.is_ipv4() == (family == Family::V4)) else {
                continue;
            };
            for protocol in rule
                .protocol
                .map_or_else(|| BALANCED.to_vec(), |one| vec![one])
            {
                for port in ports(&rule.ports) {
                    endpoints.push(Endpoint {
                        protocol,
                        address,
                        port,
                    });
                }
            }
        }
        endpoints
    }

    /// Whether something differs that only a restart can change.
    pub(super) fn needs_restart(&self, running: &Self) -> bool {
        self.workers != running.workers
            || self.busy_poll != running.busy_poll
            || self.assist != running.assist
            || self.max_connections != running.max_connections
            || self.control != running.control
            || self.state != running.state
            || self.log != running.log
    }
}

/// Single ports of these ranges; 0, which is any, where they are none or too many for a guard.
fn ports(ranges: &[(u16, u16)]) -> Vec<u16> {
    let width = |&(first, last): &(u16, u16)| usize::from(last.saturating_sub(first)) + 1;
    match ranges.iter().map(width).sum() {
        1..=PORTS_MAX => ranges
            .iter()
            .flat_map(|&(first, last)| first..=last)
            .collect(),
        _ => vec![0],
    }
}

/// The file and the rules file that it names.
fn parse(path: &Path) -> Result<Config> {
    let mut config = Config::parse(&path.display().to_string(), &text(path)?).map_err(refused)?;
    if let Some(rules) = config.rules_file.clone() {
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let rules = folder.join(rules);
        config
            .add_rules(&rules.display().to_string(), &text(&rules)?)
            .map_err(refused)?;
    }
    Ok(config)
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|source| RuntimeError::system(format!("cannot read {}", path.display()), source))
}

fn refused(error: impl ToString) -> RuntimeError {
    RuntimeError::Refused(error.to_string())
}

fn wanted(config: &Config) -> Wanted {
    let choice = |one: &InterfaceLink| links::Choice {
        link: one.link,
        place: one.place.clone(),
    };
    let names = config.interfaces.as_ref();
    Wanted {
        names: names.map(|names| names.iter().cloned().collect()),
        link: config.link,
        links: config
            .links
            .iter()
            .map(|one| (one.name.clone(), choice(one)))
            .collect(),
    }
}

/// The shadow schedulers that `[shadow]` names.
fn shadows(section: &control::config::Shadow) -> Result<Option<shadow::Wish>> {
    let mut schedulers: Vec<Spec> = Vec::new();
    for (text, place) in &section.schedulers {
        let refused = |sentence| RuntimeError::Refused(format!("{place}: {sentence}"));
        let spec = Spec::from_str(text).map_err(refused)?;
        if schedulers.contains(&spec) {
            return Err(refused("it stands there twice".to_owned()));
        }
        schedulers.push(spec);
    }
    Ok((!schedulers.is_empty()).then_some(shadow::Wish {
        schedulers,
        sample: section.sample,
    }))
}

/// FNV-1a: stable over versions, which a hash of the standard library is not.
fn digest(desired: &DesiredState) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let step = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(PRIME);
    desired.to_string().bytes().fold(OFFSET, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of a configuration file with this text.
    fn settings(text: &str) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ulvs.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("more.rules"), "-A -t 10.0.0.2:80\n").unwrap();
        Settings::read(&Options {
            config: Some(path),
            ..Options::default()
        })
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let options = Options {
            config: None,
            control: Some("/a/control.sock".into()),
            state: Some("/a/state".into()),
            busy_poll: Some(Duration::from_micros(7)),
        };
        let read = Settings::read(&options).unwrap();
        assert_eq!(read.control.socket, PathBuf::from("/a/control.sock"));
        assert_eq!(
            (read.state, read.state_by_default),
            (Some("/a/state".into()), false)
        );
        assert_eq!(read.interfaces, Wanted::default());
        assert_eq!(read.busy_poll, Duration::from_micros(7));
        assert!(settings("").unwrap().state_by_default);
        assert_eq!(settings("state = \"\"").unwrap().state, None);
    }

    #[test]
    fn rules_of_both_places_and_their_digest() {
        let rules = "rules = \"-A -t 10.0.0.1:80\"\n";
        let both = settings(&format!("{rules}rules_file = \"more.rules\"")).unwrap();
        assert_eq!(both.desired.services.len(), 2);
        let one = settings(rules).unwrap();
        assert_ne!(one.digest, both.digest);
        assert_eq!(
            one.digest,
            settings(&format!("workers = 3\n{rules}")).unwrap().digest
        );
        let text = settings("rules_file = \"nosuch\"").unwrap_err().to_string();
        assert!(text.contains("nosuch"), "{text}");
    }

    #[test]
    fn marks_name_vips_and_endpoints() {
        let text = "[[mark]]\nmark = 7\ndestination = \"10.0.0.1\"\nprotocol = \"tcp\"\n\
            ports = [80, \"90-91\"]\n[[mark]]\nmark = 7\ndestination = \"10.0.0.0/24\"\n";
        let settings = settings(text).unwrap();
        let key = |family| ServiceKey::Mark { family, mark: 7 };
        let vip: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(settings.vips_of(&key(Family::V4)), [vip]);
        assert!(settings.vips_of(&key(Family::V6)).is_empty());
        let endpoints = settings.endpoints_of(&key(Family::V4));
        let ports: Vec<u16> = endpoints.iter().map(|endpoint| endpoint.port).collect();
        assert_eq!(ports, [80, 90, 91]);
    }

    #[test]
    fn interfaces_with_their_links() {
        let text = settings("link = \"tun\"").unwrap_err().to_string();
        assert!(text.contains("interfaces"), "{text}");
        let tun = "[[interface]]\nname = \"ulvs0\"\nlink = \"tun\"\n";
        for (text, has_tun, has_others) in [
            ("", false, true),
            ("link = \"tun\"\ninterfaces = [\"a\", \"b\"]", true, false),
            (tun, true, true),
            (&format!("interfaces = [\"ulvs0\"]\n{tun}"), true, false),
            (
                &format!("interfaces = [\"eth0\", \"ulvs0\"]\n{tun}"),
                true,
                true,
            ),
        ] {
            let wanted = settings(text).unwrap().interfaces;
            assert_eq!(wanted.has_tun(), has_tun, "{text}");
            assert_eq!(wanted.has_others(), has_others, "{text}");
        }
    }
}

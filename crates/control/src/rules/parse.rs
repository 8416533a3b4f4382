//! Words to a [`Command`], finding faults in the order in which the real ipvsadm finds them.

use super::arguments::{Arguments, Fault};
use super::check::Given;
use super::command::{Command, Kind, Listing};
use super::draft::{Draft, SCTP, TCP, UDP, threshold, timeout};
use super::names::Names;
use super::options::{Check, Meaning};
use crate::netlink::{
    AddressFamily, DestKey, FORWARD_DIRECT, FORWARD_MASQUERADE, FORWARD_TUNNEL, SERVICE_ONE_PACKET,
    SERVICE_PERSISTENT, ServiceKey, SyncState, TUNNEL_CSUM, TUNNEL_NOCSUM, TUNNEL_REMCSUM,
    Timeouts,
};

/// Scheduler of a service that names none.
const DEFAULT_SCHEDULER: &str = "wlc";
/// Interface of a synchronisation daemon that names none.
const DEFAULT_INTERFACE: &str = "eth0";

/// A command line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the real ipvsadm prints, without the final line feed.
    pub text: String,
    /// Exit code: 2, or 255 where the option parser found the fault.
    pub code: i32,
    /// Whether it ends a `-R` on the spot; where not, the next line is still read.
    pub fatal: bool,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

impl core::error::Error for Refusal {}

impl Refusal {
    /// A fault that ipvsadm itself finds.
    pub(super) const fn usage(text: String) -> Self {
        Self {
            text,
            code: 2,
            fatal: true,
        }
    }

    /// No command at all.
    #[must_use]
    pub fn try_help(program: &str) -> Self {
        let text = format!("Try `{program} -h' or '{program} --help' for more information.");
        Self {
            text,
            code: 255,
            fatal: true,
        }
    }

    /// A fault that the option parser finds behind the command.
    fn option(word: &str, fault: Fault) -> Self {
        Self {
            text: format!("{word}: {}", fault.text()),
            code: 255,
            fatal: false,
        }
    }
}

/// Splits a line of `-R` text into words: white space separates, a word `ipvsadm` is dropped wherever
/// it stands; there is no quoting and no comment.
#[must_use]
pub fn words(line: &str) -> Vec<String> {
    line.split([' ', '\t', '\r', '\n'])
        .filter(|word| !word.is_empty() && *word != "ipvsadm")
        .map(str::to_owned)
        .collect()
}

/// Understands a command line. `program` is what messages call the program, `words` the rest.
///
/// # Errors
/// [`Refusal`] with the message and exit code of the real ipvsadm.
pub fn parse(program: &str, words: &[String], names: &dyn Names) -> Result<Command, Refusal> {
    let mut arguments = Arguments::new(words);
    let first = arguments.option().ok().flatten();
    let mut draft = Draft::default();
    let kind = match first.map(|(row, value)| (row.meaning, value)) {
        Some((Meaning::Command(kind), value)) => {
            set_state(kind, value.unwrap_or_default(), &mut draft)?;
            kind
        }
        Some((Meaning::Help, _)) => return Ok(Command::Help),
        Some((Meaning::Version, _)) => return Ok(Command::Version),
        _ => return Err(Refusal::try_help(program)),
    };
    let mut given = Given::default();
    loop {
        match arguments.option() {
            Ok(Some((row, value))) => {
                if let Some(check) = row.check {
                    given.add(check)?;
                }
                let value = Value {
                    text: value,
                    word: arguments.last_word(),
                    names,
                };
                apply(row.meaning, &value, &mut draft)?;
            }
            Ok(None) => break,
            Err(fault) => return Err(Refusal::option(arguments.last_word(), fault)),
        }
    }
    let timeouts = leftovers(kind, arguments.leftovers())?;
    draft.resolve_scheduler_flags()?;
    given.check_command(kind)?;
    build(kind, draft, &given, timeouts)
}

/// `--start-daemon master|backup` and its opposite.
fn set_state(kind: Kind, value: &str, draft: &mut Draft) -> Result<(), Refusal> {
    let words = match kind {
        Kind::StartDaemon => "illegal start-daemon parameter specified",
        Kind::StopDaemon => "illegal start_daemon specified",
        _ => return Ok(()),
    };
    let state = match value {
        "master" => SyncState::Master,
        "backup" => SyncState::Backup,
        _ => return Err(Refusal::usage(words.to_owned())),
    };
    draft.daemon.state = Some(state.number());
    Ok(())
}

/// An option's value and what goes with it.
struct Value<'a> {
    text: Option<&'a str>,
    /// The word it stands in, for messages.
    word: &'a str,
    names: &'a dyn Names,
}

fn apply(meaning: Meaning, value: &Value<'_>, draft: &mut Draft) -> Result<(), Refusal> {
    let text = value.text.unwrap_or_default();
    let names = value.names;
    match meaning {
        Meaning::Command(_) | Meaning::Help | Meaning::Version => {
            return Err(Refusal::usage(format!("invalid option `{}'", value.word)));
        }
        Meaning::Tcp => draft.service(text, TCP, names)?,
        Meaning::Udp => draft.service(text, UDP, names)?,
        Meaning::Sctp => draft.service(text, SCTP, names)?,
        Meaning::Mark => draft.mark(text)?,
        Meaning::Ipv6 => draft.ipv6()?,
        Meaning::Scheduler => draft.scheduler(text),
        Meaning::Persistent => {
            draft.flags |= SERVICE_PERSISTENT;
            draft.persistent(value.text)?;
        }
        Meaning::Netmask => draft.netmask(text, names)?,
        Meaning::Engine => draft.engine(text),
        Meaning::SchedulerFlags => text.clone_into(&mut draft.scheduler_flags),
        Meaning::OnePacket => draft.flags |= SERVICE_ONE_PACKET,
        Meaning::RealServer => draft.server(text, names)?,
        Meaning::Gatewaying => draft.settings.forward = FORWARD_DIRECT,
        Meaning::Ipip => draft.settings.forward = FORWARD_TUNNEL,
        Meaning::Masquerading => draft.settings.forward = FORWARD_MASQUERADE,
        Meaning::Weight => draft.weight(text)?,
        Meaning::UpperThreshold => {
            draft.settings.upper_threshold = threshold(text, "u_threshold")?;
        }
        Meaning::LowerThreshold => {
            draft.settings.lower_threshold = threshold(text, "l_threshold")?;
        }
        Meaning::TunnelType => draft.tunnel_type(text)?,
        Meaning::TunnelPort => draft.tunnel_port(text)?,
        Meaning::TunnelNoChecksum => draft.settings.tunnel_flags |= TUNNEL_NOCSUM,
        Meaning::TunnelChecksum => draft.settings.tunnel_flags |= TUNNEL_CSUM,
        Meaning::TunnelRemoteChecksum => draft.settings.tunnel_flags |= TUNNEL_REMCSUM,
        Meaning::Numeric => draft.format.numeric = true,
        Meaning::Stats => draft.format.stats = true,
        Meaning::Rate => draft.format.rate = true,
        Meaning::Exact => draft.format.exact = true,
        Meaning::Thresholds => draft.format.thresholds = true,
        Meaning::PersistentConnections => draft.format.persistent_connections = true,
        Meaning::TunnelInfo => draft.format.tunnel_info = true,
        Meaning::NoSort => draft.format.no_sort = true,
        // What is listed follows from the checks; --sort is the default.
        Meaning::Connection | Meaning::Timeout | Meaning::Daemon | Meaning::Sort => {}
        Meaning::SyncId => draft.sync_id(text)?,
        Meaning::McastInterface => draft.interface(text),
        Meaning::McastGroup => draft.group(text)?,
        Meaning::McastPort => draft.mcast_port(text)?,
        Meaning::McastTtl => draft.mcast_ttl(text)?,
        Meaning::SyncMaxLength => draft.sync_length(text)?,
    }
    Ok(())
}

/// The words that are no options: three timeouts for `--set`, none for anything else.
fn leftovers(kind: Kind, words: &[&str]) -> Result<Timeouts, Refusal> {
    let (timeouts, rest) = match (kind, words) {
        (Kind::Set, [tcp, tcp_fin, udp, rest @ ..]) => {
            let timeouts = Timeouts {
                tcp: Some(timeout(tcp, 0)?),
                tcp_fin: Some(timeout(tcp_fin, 0)?),
                udp: Some(timeout(udp, 0)?),
            };
            (timeouts, rest)
        }
        (Kind::Set, _) => {
            let text = "--set option requires 3 timeout values".to_owned();
            return Err(Refusal::usage(text));
        }
        (_, rest) => (Timeouts::default(), rest),
    };
    match rest.first() {
        Some(word) => Err(Refusal::usage(format!("unexpected argument {word}"))),
        None => Ok(timeouts),
    }
}

fn build(
    kind: Kind,
    mut draft: Draft,
    given: &Given,
    timeouts: Timeouts,
) -> Result<Command, Refusal> {
    // The checks made sure of what each command needs; were the table wrong, this says so.
    let missing = |what: &str| Refusal::usage(format!("no {what} specified"));
    let service = draft.key().ok_or_else(|| missing("service-address"));
    let server = draft.server.ok_or_else(|| missing("real-server"));
    Ok(match kind {
        Kind::AddService | Kind::EditService => {
            complete_service(&mut draft)?;
            if kind == Kind::AddService {
                Command::AddService(service?, draft.service_settings())
            } else {
                Command::EditService(service?, draft.service_settings())
            }
        }
        Kind::DeleteService => Command::DeleteService(service?),
        Kind::Flush => Command::Flush,
        Kind::AddServer | Kind::EditServer => {
            let service = service?;
            let server = complete_server(service, server?, &draft, given)?;
            if kind == Kind::AddServer {
                Command::AddServer(service, server, draft.settings)
            } else {
                Command::EditServer(service, server, draft.settings)
            }
        }
        Kind::DeleteServer => Command::DeleteServer(service?, server?),
        Kind::List => Command::List(listing(service.ok(), given)?, draft.format),
        Kind::Restore => Command::Restore,
        Kind::Save => Command::Save(draft.format),
        Kind::Zero => Command::Zero(service.ok()),
        Kind::Set => Command::SetTimeouts(timeouts),
        Kind::StartDaemon => {
            if draft.daemon.interface.as_ref().is_none_or(String::is_empty) {
                draft.interface(DEFAULT_INTERFACE);
            }
            Command::StartDaemon(draft.daemon)
        }
        Kind::StopDaemon => Command::StopDaemon(draft.daemon),
    })
}

fn complete_service(draft: &mut Draft) -> Result<(), Refusal> {
    if draft.mark == 0 && draft.port == 0 && draft.flags & SERVICE_PERSISTENT == 0 {
        let text = "Zero port specified for non-persistent service".to_owned();
        return Err(Refusal::usage(text));
    }
    if draft.flags & SERVICE_ONE_PACKET != 0 && draft.mark == 0 && draft.protocol != UDP {
        let text = "One-Packet Scheduling is only for UDP virtual services".to_owned();
        return Err(Refusal::usage(text));
    }
    if draft.scheduler.is_empty() {
        draft.scheduler(DEFAULT_SCHEDULER);
    }
    Ok(())
}

/// Checks a real server against its service; gives it the service's port where its own cannot be used.
fn complete_server(
    service: ServiceKey,
    mut server: DestKey,
    draft: &Draft,
    given: &Given,
) -> Result<DestKey, Refusal> {
    let forward = draft.settings.forward;
    // Direct routing and tunnelling leave the port alone.
    if let ServiceKey::Address { port, .. } = service
        && forward != FORWARD_MASQUERADE
    {
        server.port = port;
    }
    if service.family() != AddressFamily::of(server.address) && forward != FORWARD_TUNNEL {
        let text = "Different address family is allowed only for tunneling servers".to_owned();
        return Err(Refusal::usage(text));
    }
    let tunnel = [
        Check::TunnelType,
        Check::TunnelPort,
        Check::TunnelNoChecksum,
        Check::TunnelChecksum,
        Check::TunnelRemoteChecksum,
    ];
    if forward == FORWARD_TUNNEL {
        given.check_tunnel(draft.settings.tunnel_type)?;
    } else if tunnel.into_iter().any(|check| given.has(check)) {
        let text = "Tunnel options conflict with forward method".to_owned();
        return Err(Refusal::usage(text));
    }
    Ok(server)
}

fn listing(service: Option<ServiceKey>, given: &Given) -> Result<Listing, Refusal> {
    let connections = given.has(Check::Connection);
    let other = given.has(Check::Timeout) || given.has(Check::Daemon);
    let counters = [Check::Stats, Check::Rate, Check::Thresholds];
    let counters = counters.into_iter().any(|check| given.has(check));
    let persistent = given.has(Check::PersistentConnections);
    if connections && counters || other && (counters || persistent) {
        return Err(Refusal::usage(
            "options conflicts in the list command".to_owned(),
        ));
    }
    Ok(match service {
        _ if connections => Listing::Connections,
        Some(service) => Listing::Service(service),
        None if given.has(Check::Timeout) => Listing::Timeouts,
        None if given.has(Check::Daemon) => Listing::Daemons,
        None => Listing::All,
    })
}

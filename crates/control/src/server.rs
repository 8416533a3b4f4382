//! Answers IPVS netlink requests from [`Shared`]: what a kernel would do with each command.
//!
//! Never opens a socket and never checks who asks: the caller hands over datagrams of those who may.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use director::destination::{
    Destination, DestinationConfig, Method, TunnelChecksum, TunnelConfig, TunnelKind,
};
use director::protocol::Protocol;
use director::service::{FLAG_HASHED, Family, Service, ServiceConfig, ServiceKey};
use director::shared::{CommandError, Shared};
use director::stats::Stats;
use director::sysctl::{self, SYSCTLS, SysctlError};
use director::time::Instant;

use crate::netlink::{
    AddressFamily, Answer, CONNECTION_TABLE_SIZE, ConnectionEntry, DaemonAttrs, DestAttrs, DestKey,
    DestReply, DestSettings, Errno, IPVS_VERSION, Info, Netmask, Reply, Request, ServiceAttrs,
    ServiceFlags, ServiceKey as WireKey, ServiceReply, ServiceSettings, Setting, Statistics,
    Timeouts, requests, respond,
};
use crate::sync::{Daemon, Daemons, Role};
use crate::{listing, proc};

/// What only the driver has: the connections, of which every worker has its own, and the sockets.
pub trait ConnectionSource {
    /// All connections, without templates, in no particular order.
    fn connections(&self, now: Instant) -> Vec<ConnectionEntry>;

    /// MTU, octets, of the interface that a synchronisation daemon is to use.
    ///
    /// # Errors
    /// `ENODEV`: there is no such interface. `EOPNOTSUPP`: this driver has no socket for a daemon.
    fn sync_mtu(&self, _interface: &str) -> Result<u32, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

impl<F: Fn(Instant) -> Vec<ConnectionEntry>> ConnectionSource for F {
    fn connections(&self, now: Instant) -> Vec<ConnectionEntry> {
        self(now)
    }
}

/// Carries out what IPVS netlink messages ask for.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
    daemons: Arc<Mutex<Daemons>>,
}

impl Server {
    /// A server of this director.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            daemons: Arc::default(),
        }
    }

    /// The synchronisation daemons that should run now: the driver opens and closes their sockets.
    #[must_use]
    pub fn daemons(&self) -> Daemons {
        self.lock_daemons().clone()
    }

    /// Carries out the requests of a datagram, in order; returns the datagrams to send back, in order.
    /// `port` is the client's netlink port id.
    #[must_use]
    pub fn handle(
        &self,
        datagram: &[u8],
        port: u32,
        now: Instant,
        connections: &dyn ConnectionSource,
    ) -> Vec<Vec<u8>> {
        requests(datagram)
            .flat_map(|frame| {
                let request = frame.request.as_ref().map_err(|&errno| errno);
                let answer = request.and_then(|request| self.answer(request, now, connections));
                respond(&frame, port, &answer)
            })
            .collect()
    }

    /// Answers the requests of a datagram with this error and does none of them (`EPERM` for those who may
    /// not command).
    #[must_use]
    pub fn refuse(datagram: &[u8], port: u32, errno: Errno) -> Vec<Vec<u8>> {
        requests(datagram)
            .flat_map(|frame| respond(&frame, port, &Err(errno)))
            .collect()
    }

    /// Carries out one request.
    ///
    /// # Errors
    /// The kernel's error number for it; nothing changed then.
    pub fn answer(
        &self,
        request: &Request,
        now: Instant,
        connections: &dyn ConnectionSource,
    ) -> Result<Answer, Errno> {
        let shared = &self.shared;
        match request {
            Request::NewService(attrs) => {
                let config = service_config(attrs, 0)?;
                shared.add_service(config)?;
            }
            Request::SetService(attrs) => {
                let service = self.service(attrs)?;
                shared.edit_service(service_config(attrs, service.config.flags)?)?;
            }
            Request::DelService(attrs) => shared.delete_service(&key(attrs)?)?,
            Request::GetService(attrs) => {
                let reply = service_reply(&*self.service(attrs)?);
                return Ok(Answer::One(Reply::Service(reply)));
            }
            Request::NewDest(service, dest) => {
                let key = self.service(service)?.config.key;
                shared.add_destination(&key, &destination_config(&key, dest)?)?;
            }
            Request::SetDest(service, dest) => {
                let key = self.service(service)?.config.key;
                shared.edit_destination(&key, &destination_config(&key, dest)?)?;
            }
            Request::DelDest(service, dest) => {
                let key = self.service(service)?.config.key;
                let DestKey { address, port } = dest.key(family(key.family()))?;
                shared.delete_destination(&key, address, port)?;
            }
            Request::NewDaemon(daemon) => {
                self.start_daemon(daemon, |name| connections.sync_mtu(name))?;
            }
            Request::DelDaemon(daemon) => {
                let role = daemon.state.and_then(Role::from_number);
                self.lock_daemons().stop(role.ok_or(Errno::EINVAL)?)?;
                self.publish_roles();
            }
            Request::SetConfig(timeouts) => shared.set_timeouts(seconds(timeouts))?,
            Request::GetConfig => return Ok(Answer::One(Reply::Config(self.timeouts()))),
            Request::GetInfo => {
                return Ok(Answer::One(Reply::Info(Info {
                    version: IPVS_VERSION,
                    table_size: CONNECTION_TABLE_SIZE,
                })));
            }
            Request::Zero(None) => shared.zero(None)?,
            Request::Zero(Some(attrs)) => shared.zero(Some(&self.service(attrs)?.config.key))?,
            Request::Flush => shared.flush(),
            Request::SetSetting(setting) => {
                shared.set_sysctl(&setting.name, &setting.value)?;
                let now = self.setting(&setting.name).ok_or(Errno::ENOENT)?;
                return Ok(Answer::One(Reply::Setting(now)));
            }
            Request::DumpServices
            | Request::DumpDests(_)
            | Request::DumpDaemons
            | Request::DumpConnections
            | Request::DumpSettings
            | Request::DumpText(_) => {
                let replies = self.list(request, now, connections)?;
                return Ok(Answer::List(replies));
            }
        }
        Ok(Answer::Done)
    }

    /// Answers a request for a list.
    fn list(
        &self,
        request: &Request,
        now: Instant,
        connections: &dyn ConnectionSource,
    ) -> Result<Vec<Reply>, Errno> {
        Ok(match request {
            Request::DumpServices => {
                let services = self.shared.snapshot().in_order();
                let replies = services.iter().map(|service| service_reply(service));
                replies.map(Reply::Service).collect()
            }
            Request::DumpDests(attrs) => {
                let service = self.service(attrs).ok();
                let destinations = service
                    .iter()
                    .flat_map(|service| service.destinations.iter());
                let replies = destinations.map(|destination| destination_reply(destination));
                replies.map(Reply::Dest).collect()
            }
            Request::DumpDaemons => {
                let daemons = self.daemons();
                let replies = daemons.iter().map(|daemon| Reply::Daemon(daemon.attrs()));
                replies.collect()
            }
            Request::DumpConnections => {
                let entries = self.entries(now, connections);
                entries.into_iter().map(Reply::Connection).collect()
            }
            Request::DumpSettings => {
                let settings = SYSCTLS.iter().filter_map(|entry| self.setting(entry.name));
                settings.map(Reply::Setting).collect()
            }
            Request::DumpText(name) => {
                let text = self.text(name, now, connections).ok_or(Errno::ENOENT)?;
                let pieces = text.as_bytes().chunks(Reply::PIECE_MAX);
                pieces.map(|piece| Reply::Text(piece.to_vec())).collect()
            }
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }

    /// The text of this name below `/proc/net` ([`proc::TEXTS`]); `None` when there is none.
    #[must_use]
    pub fn text(
        &self,
        name: &str,
        now: Instant,
        connections: &dyn ConnectionSource,
    ) -> Option<String> {
        proc::text(name, &self.shared, || self.entries(now, connections))
    }

    /// Connections and templates.
    fn entries(&self, now: Instant, connections: &dyn ConnectionSource) -> Vec<ConnectionEntry> {
        let mut entries = connections.connections(now);
        let shared = &self.shared;
        shared.for_each_template(|template| entries.push(listing::template(template, now)));
        entries
    }

    /// A setting as it is, with a word where it does nothing.
    fn setting(&self, name: &str) -> Option<Setting> {
        let entry = sysctl::find(name).ok()?;
        Some(Setting {
            name: entry.name.to_owned(),
            value: self.shared.sysctls.read(name).ok()?,
            note: entry.without_effect().map(str::to_owned),
        })
    }

    /// The service that a request names.
    fn service(&self, attrs: &ServiceAttrs) -> Result<Arc<Service>, Errno> {
        let key = key(attrs)?;
        self.shared
            .snapshot()
            .get(&key)
            .cloned()
            .ok_or(Errno::ESRCH)
    }

    /// Starts a synchronisation daemon. Their protocol has no word for a real server of another family than its
    /// clients'.
    fn start_daemon(
        &self,
        attrs: &DaemonAttrs,
        mtu_of: impl FnOnce(&str) -> Result<u32, Errno>,
    ) -> Result<(), Errno> {
        let daemon = Daemon::new(attrs, |interface| {
            if self.has_mixed_families() {
                return Err(Errno::EINVAL);
            }
            mtu_of(interface)
        })?;
        self.lock_daemons().start(daemon)?;
        self.publish_roles();
        Ok(())
    }

    /// Tells the packet path which daemons run.
    fn publish_roles(&self) {
        let daemons = self.lock_daemons();
        self.shared.sync.set_master(daemons.master.is_some());
        self.shared.sync.set_backup(daemons.backup.is_some());
    }

    fn lock_daemons(&self) -> MutexGuard<'_, Daemons> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a service has a real server of the other address family.
    fn has_mixed_families(&self) -> bool {
        self.shared.snapshot().iter().any(|service| {
            let family = service.config.key.family();
            let mut destinations = service.destinations.iter();
            destinations.any(|destination| (family == Family::V6) != destination.address.is_ipv6())
        })
    }

    fn timeouts(&self) -> Timeouts {
        let director::shared::Timeouts { tcp, tcp_fin, udp } = self.shared.timeouts();
        Timeouts {
            tcp: Some(tcp),
            tcp_fin: Some(tcp_fin),
            udp: Some(udp),
        }
    }
}

impl From<CommandError> for Errno {
    fn from(error: CommandError) -> Self {
        Self::from_number(error.errno()).unwrap_or(Self::EINVAL)
    }
}

impl From<SysctlError> for Errno {
    fn from(error: SysctlError) -> Self {
        match error {
            SysctlError::Unknown { .. } => Self::ENOENT,
            SysctlError::Invalid { .. } => Self::EINVAL,
        }
    }
}

fn seconds(timeouts: &Timeouts) -> director::shared::Timeouts {
    director::shared::Timeouts {
        tcp: timeouts.tcp.unwrap_or(0),
        tcp_fin: timeouts.tcp_fin.unwrap_or(0),
        udp: timeouts.udp.unwrap_or(0),
    }
}

const fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// The service's key. Services of other protocols than TCP, UDP and SCTP do not exist.
fn key(attrs: &ServiceAttrs) -> Result<ServiceKey, Errno> {
    match attrs.key()? {
        WireKey::Mark { mark: 0, .. } => Err(Errno::EINVAL),
        WireKey::Mark { family, mark } => Ok(ServiceKey::Mark {
            family: match family {
                AddressFamily::Inet => Family::V4,
                AddressFamily::Inet6 => Family::V6,
            },
            mark,
        }),
        WireKey::Address {
            protocol,
            address,
            port,
        } => {
            let number = u8::try_from(protocol).ok();
            let protocol = number.and_then(Protocol::from_number);
            Ok(ServiceKey::Address {
                protocol: protocol.ok_or(Errno::EINVAL)?,
                address,
                port,
            })
        }
    }
}

/// A whole service; `flags` are those it has already.
fn service_config(attrs: &ServiceAttrs, flags: u32) -> Result<ServiceConfig, Errno> {
    let key = key(attrs)?;
    let settings = attrs.settings()?;
    Ok(ServiceConfig {
        key,
        scheduler: settings.scheduler,
        flags: settings.flags.apply(flags) & !FLAG_HASHED,
        timeout: settings.timeout,
        netmask: match settings.netmask {
            Netmask::V4(mask) => mask.to_bits(),
            Netmask::V6(prefix) => prefix,
        },
        persistence_engine: settings.engine.filter(|name| !name.is_empty()),
    })
}

fn service_reply(service: &Service) -> ServiceReply {
    let ServiceConfig {
        key,
        scheduler,
        flags,
        timeout,
        netmask,
        persistence_engine,
    } = &service.config;
    ServiceReply {
        key: match *key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => WireKey::Address {
                protocol: protocol.number().into(),
                address,
                port,
            },
            ServiceKey::Mark { family: of, mark } => WireKey::Mark {
                family: family(of),
                mark,
            },
        },
        settings: ServiceSettings {
            scheduler: scheduler.clone(),
            flags: ServiceFlags::exactly(flags | FLAG_HASHED),
            timeout: *timeout,
            netmask: match key.family() {
                Family::V4 => Netmask::V4((*netmask).into()),
                Family::V6 => Netmask::V6(*netmask),
            },
            engine: persistence_engine.clone(),
        },
        statistics: statistics(&service.stats),
    }
}

/// A whole real server of the service with this key.
fn destination_config(service: &ServiceKey, dest: &DestAttrs) -> Result<DestinationConfig, Errno> {
    let DestKey { address, port } = dest.key(family(service.family()))?;
    let settings = dest.settings()?;
    Ok(DestinationConfig {
        address,
        port,
        method: Method::from_number(settings.forward).ok_or(Errno::EINVAL)?,
        tunnel: TunnelConfig {
            kind: TunnelKind::from_number(settings.tunnel_type).ok_or(Errno::EINVAL)?,
            port: settings.tunnel_port,
            checksum: TunnelChecksum::from_number(settings.tunnel_flags).ok_or(Errno::EINVAL)?,
        },
        weight: settings.weight,
        upper_threshold: settings.upper_threshold,
        lower_threshold: settings.lower_threshold,
    })
}

fn destination_reply(destination: &Destination) -> DestReply {
    let config = destination.config();
    let count = |count: i32| u32::try_from(count).unwrap_or(0);
    DestReply {
        key: DestKey {
            address: config.address,
            port: config.port,
        },
        settings: DestSettings {
            forward: config.method as u32,
            weight: config.weight,
            upper_threshold: config.upper_threshold,
            lower_threshold: config.lower_threshold,
            tunnel_type: config.tunnel.kind as u8,
            tunnel_port: config.tunnel.port,
            tunnel_flags: config.tunnel.checksum as u16,
        },
        active_connections: count(destination.active()),
        inactive_connections: count(destination.inactive()),
        persistent_connections: count(destination.persistent()),
        statistics: statistics(&destination.stats),
    }
}

fn statistics(stats: &Stats) -> Statistics {
    let (counters, rates) = (stats.shown(), stats.rates());
    Statistics {
        connections: counters.connections,
        in_packets: counters.in_packets,
        out_packets: counters.out_packets,
        in_bytes: counters.in_bytes,
        out_bytes: counters.out_bytes,
        connection_rate: rates.connections,
        in_packet_rate: rates.in_packets,
        out_packet_rate: rates.out_packets,
        in_byte_rate: rates.in_bytes,
        out_byte_rate: rates.out_bytes,
    }
}

#[cfg(test)]
mod tests;

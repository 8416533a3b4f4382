//! A virtual service: its key, its settings, its real servers, its scheduler.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use packet::Family;

use crate::changed_servers::ChangedServers;
use crate::destination::Destination;
use crate::protocol::Protocol;
use crate::scheduler::board::Board;
use crate::scheduler::{Change, Entry, Flow, Request, Scheduler, lots};
use crate::stats::Stats;
use crate::time::Instant;

mod fork;

/// What a virtual service answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKey {
    /// Protocol, VIP and port (`-t`, `-u`, `--sctp-service`); port 0 = any port (needs persistence).
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// VIP.
        address: IpAddr,
        /// Port, host order.
        port: u16,
    },
    /// Firewall mark (`-f`, with `-6` for IPv6).
    Mark {
        /// Address family.
        family: Family,
        /// Mark, not 0.
        mark: u32,
    },
}

impl ServiceKey {
    /// Address family.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Address {
                address: IpAddr::V4(_),
                ..
            } => Family::V4,
            Self::Address {
                address: IpAddr::V6(_),
                ..
            } => Family::V6,
            Self::Mark { family, .. } => *family,
        }
    }

    /// Virtual port, host order; 0 for any port and for marks.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address { port, .. } => *port,
            Self::Mark { .. } => 0,
        }
    }
}

/// IP_VS_SVC_F_PERSISTENT.
pub const FLAG_PERSISTENT: u32 = 0x0001;
/// IP_VS_SVC_F_HASHED: set in every reply.
pub const FLAG_HASHED: u32 = 0x0002;
/// IP_VS_SVC_F_ONEPACKET.
pub const FLAG_ONE_PACKET: u32 = 0x0004;
/// IP_VS_SVC_F_SCHED1: sh-fallback, mh-fallback.
pub const FLAG_SCHED_1: u32 = 0x0008;
/// IP_VS_SVC_F_SCHED2: sh-port, mh-port.
pub const FLAG_SCHED_2: u32 = 0x0010;
/// IP_VS_SVC_F_SCHED3.
pub const FLAG_SCHED_3: u32 = 0x0020;

/// What the operator says about a virtual service (`ipvsadm -A` / `-E`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// What it answers to.
    pub key: ServiceKey,
    /// Scheduler name, as [`crate::shared::Shared::scheduler`] knows it, or [`NO_SCHEDULER`].
    pub scheduler: String,
    /// `FLAG_*` bits.
    pub flags: u32,
    /// Persistence timeout, seconds.
    pub timeout: u32,
    /// Persistence granularity: an IPv4 mask in host order (255.255.255.255 = one template a client), or an
    /// IPv6 prefix length.
    pub netmask: u32,
    /// Persistence engine name, as in [`crate::persistence::ENGINES`].
    pub persistence_engine: Option<String>,
}

/// Scheduler name of a service that picks nothing.
pub const NO_SCHEDULER: &str = "none";

impl ServiceConfig {
    /// Whether connections of a client stay together.
    #[must_use]
    pub const fn is_persistent(&self) -> bool {
        self.flags & FLAG_PERSISTENT != 0
    }

    /// The client's network, which persistence goes by: by mask for IPv4, by prefix length for IPv6.
    #[must_use]
    pub(crate) fn masked(&self, client: IpAddr) -> IpAddr {
        match client {
            IpAddr::V4(client) => Ipv4Addr::from_bits(client.to_bits() & self.netmask).into(),
            IpAddr::V6(client) => {
                let host_bits = 128_u32.saturating_sub(self.netmask);
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                Ipv6Addr::from_bits(client.to_bits() & mask).into()
            }
        }
    }

    /// Whether each datagram of this protocol is scheduled on its own.
    #[must_use]
    pub fn is_one_packet(&self, protocol: Protocol) -> bool {
        self.flags & FLAG_ONE_PACKET != 0 && protocol == Protocol::Udp
    }
}

/// Real servers of a service, newest first.
pub type Destinations = Arc<[Arc<Destination>]>;

/// One version of a virtual service. A command makes a new version; counters and scheduler state go on.
#[derive(Clone, Debug)]
pub struct Service {
    /// What the operator said.
    pub config: ServiceConfig,
    /// Its real servers, newest first.
    pub destinations: Destinations,
    /// Counters and rates.
    pub stats: Arc<Stats>,
    /// Where its real servers note their changes for the scheduler.
    pub(crate) changed: Arc<ChangedServers>,
    /// Number of the service in order of creation; the same key made again has another one.
    pub number: u64,
    /// [`crate::shared::Options::lots`].
    lots: u64,
    /// It has turned connection tracking on.
    pub(crate) tracks: Arc<AtomicBool>,
    scheduling: Arc<Mutex<Scheduling>>,
}

/// What picks are made from: always the newest version, whichever one the worker looked up.
#[derive(Debug)]
struct Scheduling {
    scheduler: Option<Box<dyn Scheduler>>,
    destinations: Destinations,
    board: Board,
    flags: u32,
}

impl Scheduling {
    /// The scheduler, if there is one, and what it is asked about a new connection: loads are as of now.
    #[inline(always)]
    fn request<'a>(
        &'a mut self,
        flow: &'a Flow,
        now: Instant,
        cache_lifetime: Duration,
    ) -> Option<(&'a mut dyn Scheduler, Request<'a>)> {
        self.board.refresh(&self.destinations);
        let request = Request {
            destinations: &self.destinations,
            board: &self.board,
            flow,
            flags: self.flags,
            now,
            cache_lifetime,
        };
        Some((self.scheduler.as_deref_mut()?, request))
    }
}

impl Service {
    /// A service without real servers.
    pub(crate) fn new(
        config: ServiceConfig,
        scheduler: Option<&Entry>,
        stats: Arc<Stats>,
        changed: Arc<ChangedServers>,
        number: u64,
        lots: u64,
    ) -> Self {
        let destinations: Destinations = Arc::new([]);
        let scheduling = Scheduling {
            scheduler: bound(&config.key, scheduler, &destinations, lots),
            destinations: Arc::clone(&destinations),
            board: Board::new(Arc::clone(&changed)),
            flags: config.flags,
        };
        Self {
            config,
            destinations,
            stats,
            changed,
            number,
            lots,
            tracks: Arc::default(),
            scheduling: Arc::new(Mutex::new(scheduling)),
        }
    }

    /// The real server with this address and port.
    #[must_use]
    pub fn destination(&self, address: IpAddr, port: u16) -> Option<&Arc<Destination>> {
        self.position(address, port)
            .and_then(|index| self.destinations.get(index))
    }

    pub(crate) fn position(&self, address: IpAddr, port: u16) -> Option<usize> {
        let matches = |other: &Arc<Destination>| other.address == address && other.port == port;
        self.destinations.iter().position(matches)
    }

    /// Picks a real server for a new connection and binds to it by `bind`, as one step for all workers.
    pub(crate) fn pick(
        &self,
        flow: &Flow,
        now: Instant,
        cache_lifetime: Duration,
        bind: impl FnOnce(&Destination),
    ) -> Option<Arc<Destination>> {
        let mut scheduling = self.lock();
        let (scheduler, request) = scheduling.request(flow, now, cache_lifetime)?;
        let picked = scheduler.pick(&request)?;
        let destination = request.destinations.get(picked)?;
        bind(destination);
        Some(Arc::clone(destination))
    }

    /// The version with another list of real servers.
    pub(crate) fn with_destinations(&self, destinations: Destinations, change: Change) -> Self {
        let mut scheduling = self.lock();
        scheduling.destinations = Arc::clone(&destinations);
        scheduling.board.rebuild(&destinations);
        if let Some(scheduler) = &mut scheduling.scheduler {
            scheduler.update(&destinations, change);
        }
        drop(scheduling);
        Self {
            destinations,
            ..self.clone()
        }
    }

    /// The version with other settings (`-E`); the scheduler's state goes on when its name stays.
    pub(crate) fn with_config(&self, config: ServiceConfig, entry: Option<&Entry>) -> Self {
        let mut scheduling = self.lock();
        scheduling.flags = config.flags;
        if config.scheduler != self.config.scheduler {
            scheduling.scheduler = bound(&config.key, entry, &scheduling.destinations, self.lots);
        }
        drop(scheduling);
        Self {
            config,
            ..self.clone()
        }
    }

    /// Octets of its scheduler's state, tables and caches included; what the allocator adds is not counted, nor is what
    /// the service keeps about its real servers for every scheduler.
    #[must_use]
    pub fn scheduler_octets(&self) -> usize {
        let scheduling = self.lock();
        let scheduler = scheduling.scheduler.as_deref();
        scheduler.map_or(0, |scheduler| {
            size_of_val(scheduler) + scheduler.heap_octets()
        })
    }

    /// Tells the scheduler about new settings of the real server at `index`.
    pub(crate) fn edited(&self, index: usize) {
        let mut scheduling = self.lock();
        let destinations = Arc::clone(&scheduling.destinations);
        if let Some(scheduler) = &mut scheduling.scheduler {
            scheduler.update(&destinations, Change::Edited(index));
        }
    }

    /// Ends all picks, also of workers that still hold an older version.
    pub(crate) fn close(&self) {
        let mut scheduling = self.lock();
        scheduling.scheduler = None;
        scheduling.destinations = Arc::new([]);
        scheduling.board.rebuild(&[]);
    }

    fn lock(&self) -> MutexGuard<'_, Scheduling> {
        self.scheduling
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new scheduler for these real servers.
fn bound(
    key: &ServiceKey,
    entry: Option<&Entry>,
    destinations: &Destinations,
    lots: u64,
) -> Option<Box<dyn Scheduler>> {
    let mut scheduler = (entry?.make)(lots::seed(lots, key));
    scheduler.update(destinations, Change::Bound(key.family()));
    Some(scheduler)
}

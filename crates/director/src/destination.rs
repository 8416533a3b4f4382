//! A real server of a virtual service: what was configured and what it carries now.
//!
//! One value is shared by the service's list, the scheduler and every connection bound to it; it lives
//! on while a connection holds it, also after its deletion (kernel: the destination trash), so that
//! re-adding the same address and port finds the old counters again ([BEHAVIOURS 29]).

use core::net::IpAddr;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::Arc;

use crate::changed_servers::ChangedServers;
use crate::stats::Stats;

/// How frames reach the real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// NAT: addresses and ports are translated both ways (`-m`, IP_VS_CONN_F_MASQ 0).
    Masq = 0,
    /// Delivered to the director's own stack (IP_VS_CONN_F_LOCALNODE 1).
    Local = 1,
    /// Encapsulated (`-i`, IP_VS_CONN_F_TUNNEL 2).
    Tunnel = 2,
    /// Direct routing: only the link-layer destination changes (`-g`, IP_VS_CONN_F_DROUTE 3).
    DirectRoute = 3,
    /// Sent on to its original destination (IP_VS_CONN_F_BYPASS 4).
    Bypass = 4,
}

impl Method {
    /// The method of this number (`IP_VS_CONN_F_FWD_MASK` bits).
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Masq),
            1 => Some(Self::Local),
            2 => Some(Self::Tunnel),
            3 => Some(Self::DirectRoute),
            4 => Some(Self::Bypass),
            _ => None,
        }
    }
}

impl TunnelKind {
    /// The encapsulation of this number (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Ipip),
            1 => Some(Self::Gue),
            2 => Some(Self::Gre),
            _ => None,
        }
    }
}

impl TunnelChecksum {
    /// The choice of this number (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Full),
            2 => Some(Self::Remote),
            _ => None,
        }
    }
}

/// Tunnel encapsulation (`--tun-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TunnelKind {
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213).
    #[default]
    Ipip = 0,
    /// Generic UDP encapsulation.
    Gue = 1,
    /// Generic routing encapsulation (RFC 2784).
    Gre = 2,
}

/// Tunnel checksum choice (`--tun-nocsum`, `--tun-csum`, `--tun-remcsum`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum TunnelChecksum {
    /// No checksum of the tunnel header's own.
    #[default]
    None = 0,
    /// Full checksum.
    Full = 1,
    /// Remote checksum offload (GUE).
    Remote = 2,
}

/// Everything about a tunnel that the operator configures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TunnelConfig {
    /// Encapsulation.
    pub kind: TunnelKind,
    /// UDP destination port of GUE, host order; 0 otherwise.
    pub port: u16,
    /// Checksum.
    pub checksum: TunnelChecksum,
}

/// What the operator says about a real server (`ipvsadm -a` / `-e`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationConfig {
    /// RIP; may be of another family than the service with [`Method::Tunnel`].
    pub address: IpAddr,
    /// Port, host order; 0 with an any-port service.
    pub port: u16,
    /// Forwarding method.
    pub method: Method,
    /// Tunnel settings, used with [`Method::Tunnel`].
    pub tunnel: TunnelConfig,
    /// Weight, >= 0; 0 = quiesced: no new connections.
    pub weight: i32,
    /// Upper connection threshold (`-x`); 0 = none.
    pub upper_threshold: u32,
    /// Lower connection threshold (`-y`); 0 = 3/4 of the upper one.
    pub lower_threshold: u32,
}

impl TunnelConfig {
    /// All of it in one word: port, checksum, kind from high to low bits.
    const fn pack(self) -> u32 {
        (self.port as u32) << 16 | (self.checksum as u32) << 8 | self.kind as u32
    }

    /// The reverse of [`TunnelConfig::pack`].
    fn unpack(word: u32) -> Self {
        let [kind, checksum, low, high] = word.to_le_bytes();
        Self {
            kind: TunnelKind::from_number(kind).unwrap_or_default(),
            port: u16::from_le_bytes([low, high]),
            checksum: TunnelChecksum::from_number(u16::from(checksum)).unwrap_or_default(),
        }
    }
}

/// A real server, shared by its service, the scheduler and its connections.
#[derive(Debug)]
pub struct Destination {
    /// RIP.
    pub address: IpAddr,
    /// Port, host order.
    pub port: u16,
    /// Counters and rates.
    pub stats: Stats,
    /// Counters and rates of the virtual service it belongs to.
    pub service_stats: Arc<Stats>,
    weight: AtomicI32,
    /// The latest weight that was not 0 (what `mh` builds its table from).
    last_weight: AtomicI32,
    method: AtomicU32,
    tunnel: AtomicU32,
    upper_threshold: AtomicU32,
    lower_threshold: AtomicU32,
    overloaded: AtomicBool,
    available: AtomicBool,
    active: AtomicI32,
    inactive: AtomicI32,
    persistent: AtomicI32,
    /// Where changes of loads, weight and overload are noted for the scheduler.
    changed: Arc<ChangedServers>,
    /// Place in the service's list, as the scheduler knows it.
    place: AtomicUsize,
    /// The route in use ([`Destination::route_names_it`]): the number of the routing tables it was looked up in, and
    /// whether it names the real server; 0 before the first packet.
    route: AtomicU64,
}

impl Destination {
    /// A real server without connections, available, for a director with `workers` workers.
    #[must_use]
    pub fn new(config: &DestinationConfig, service_stats: Arc<Stats>, workers: usize) -> Self {
        Self::noting(config, service_stats, Arc::default(), workers)
    }

    /// [`Destination::new`] of a service whose scheduler hears of changes by `changed`.
    pub(crate) fn noting(
        config: &DestinationConfig,
        service_stats: Arc<Stats>,
        changed: Arc<ChangedServers>,
        workers: usize,
    ) -> Self {
        Self {
            address: config.address,
            port: config.port,
            stats: Stats::new(workers),
            service_stats,
            weight: AtomicI32::new(config.weight),
            last_weight: AtomicI32::new(config.weight),
            method: AtomicU32::new(config.method as u32),
            tunnel: AtomicU32::new(config.tunnel.pack()),
            upper_threshold: AtomicU32::new(config.upper_threshold),
            lower_threshold: AtomicU32::new(config.lower_threshold),
            overloaded: AtomicBool::new(false),
            available: AtomicBool::new(true),
            active: AtomicI32::new(0),
            inactive: AtomicI32::new(0),
            persistent: AtomicI32::new(0),
            changed,
            place: AtomicUsize::new(0),
            route: AtomicU64::new(0),
        }
    }

    /// What the operator said last.
    #[must_use]
    pub fn config(&self) -> DestinationConfig {
        DestinationConfig {
            address: self.address,
            port: self.port,
            method: self.method(),
            tunnel: self.tunnel(),
            weight: self.weight(),
            upper_threshold: self.upper_threshold.load(Relaxed),
            lower_threshold: self.lower_threshold.load(Relaxed),
        }
    }

    /// Weight now, >= 0; 0 = quiesced.
    #[must_use]
    pub fn weight(&self) -> i32 {
        self.weight.load(SeqCst)
    }

    /// The latest weight that was not 0, or 0 when it never had one.
    #[must_use]
    pub fn last_weight(&self) -> i32 {
        self.last_weight.load(Relaxed)
    }

    /// Forwarding method now; connections keep the one they began with.
    #[must_use]
    pub fn method(&self) -> Method {
        Method::from_number(self.method.load(Relaxed)).unwrap_or(Method::Masq)
    }

    /// Tunnel settings now.
    #[must_use]
    pub fn tunnel(&self) -> TunnelConfig {
        TunnelConfig::unpack(self.tunnel.load(Relaxed))
    }

    /// Whether the scheduler must pass it over because of its thresholds (IP_VS_DEST_F_OVERLOAD).
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.overloaded.load(SeqCst)
    }

    /// Whether a new connection may go there: not quiesced and within its thresholds.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.weight() > 0 && !self.is_overloaded()
    }

    /// Whether it is in its service's list (IP_VS_DEST_F_AVAILABLE); false after its deletion.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.available.load(Relaxed)
    }

    /// Connections in an active state.
    #[must_use]
    pub fn active(&self) -> i32 {
        self.active.load(SeqCst)
    }

    /// Connections in an inactive state.
    #[must_use]
    pub fn inactive(&self) -> i32 {
        self.inactive.load(SeqCst)
    }

    /// Its load, as the kernel's least-connection schedulers reckon it: an active connection weighs as much as 256
    /// inactive ones (of which a TCP connection is one for two minutes after its end).
    #[must_use]
    pub fn load(&self) -> u64 {
        let count = |connections: i32| u64::try_from(connections).unwrap_or(0);
        count(self.active()) * 256 + count(self.inactive())
    }

    /// Persistence templates.
    #[must_use]
    pub fn persistent(&self) -> i32 {
        self.persistent.load(Relaxed)
    }

    /// Whether any connection or template is bound to it.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.has_connections() || self.persistent() != 0
    }

    /// Whether any connection of any worker is bound to it.
    #[must_use]
    pub fn has_connections(&self) -> bool {
        self.active() != 0 || self.inactive() != 0
    }

    /// Counts a new connection; it begins as an inactive one (kernel: IP_VS_CONN_F_INACTIVE). A persistence
    /// `template` counts apart.
    pub fn bind(&self, template: bool) {
        if template {
            self.persistent.fetch_add(1, Relaxed);
        } else {
            self.inactive.fetch_add(1, SeqCst);
        }
        let upper = self.upper_threshold.load(Relaxed);
        if upper != 0 && self.connections() >= u64::from(upper) {
            self.overloaded.store(true, SeqCst);
        }
        self.note_change();
    }

    /// Takes back [`Destination::bind`] of a connection that was `active` when it ended.
    pub fn unbind(&self, active: bool) {
        if active {
            self.active.fetch_sub(1, SeqCst);
        } else {
            self.inactive.fetch_sub(1, SeqCst);
        }
        self.relieve();
        self.note_change();
    }

    /// Takes back [`Destination::bind`] of a persistence template.
    pub fn unbind_template(&self) {
        self.persistent.fetch_sub(1, Relaxed);
        self.relieve();
        self.note_change();
    }

    /// Moves one connection from inactive to active, or back. To be called on a change only.
    pub fn set_active(&self, active: bool) {
        let (from, to) = if active {
            (&self.inactive, &self.active)
        } else {
            (&self.active, &self.inactive)
        };
        from.fetch_sub(1, SeqCst);
        to.fetch_add(1, SeqCst);
        self.note_change();
    }

    /// Counts a packet from a client; nothing when it was deleted from its service.
    pub fn count_in(&self, worker: usize, bytes: u64) {
        if self.is_available() {
            self.stats.count_in(worker, bytes);
            self.service_stats.count_in(worker, bytes);
        }
    }

    /// Counts a packet to a client; nothing when it was deleted from its service.
    pub fn count_out(&self, worker: usize, bytes: u64) {
        if self.is_available() {
            self.stats.count_out(worker, bytes);
            self.service_stats.count_out(worker, bytes);
        }
    }

    /// Counts a new connection.
    pub fn count_connection(&self, worker: usize) {
        self.stats.count_connection(worker);
        self.service_stats.count_connection(worker);
    }

    /// Takes new settings (`-e`, or `-a` of one that was deleted before); address and port stay.
    pub(crate) fn reconfigure(&self, config: &DestinationConfig, added: bool) {
        if added || config.weight != 0 {
            self.last_weight.store(config.weight, Relaxed);
        }
        self.weight.store(config.weight, SeqCst);
        self.method.store(config.method as u32, Relaxed);
        self.tunnel.store(config.tunnel.pack(), Relaxed);
        let upper = config.upper_threshold;
        if upper == 0 || upper > self.upper_threshold.load(Relaxed) {
            self.overloaded.store(false, SeqCst);
        }
        self.upper_threshold.store(upper, Relaxed);
        self.lower_threshold.store(config.lower_threshold, Relaxed);
        self.available.store(true, Relaxed);
        self.route.store(0, Relaxed);
        self.note_change();
    }

    /// Its place in the service's list from now on; changes are noted for this place.
    pub(crate) fn seat_at(&self, place: usize) {
        self.place.store(place, SeqCst);
    }

    /// Its place in the service's list, as long as it is in it.
    pub(crate) fn place(&self) -> usize {
        self.place.load(SeqCst)
    }

    /// To be called behind each change of what a scheduler looks at.
    fn note_change(&self) {
        self.changed.note(self.place());
    }

    /// Whether the route that `method` takes to the real server names it as the next hop.
    ///
    /// The kernel looks the route up for the first packet and keeps it until the routing tables (of number
    /// `generation`) or the real server's settings change. With direct routing the lookup names the next hop, because the
    /// packet's own destination, the VIP, does not lead there. After `-e -g` an old connection with NAT or a
    /// tunnel may look it up first, without; direct routing then asks the link for the VIP
    /// (`deletion.change_method`).
    pub(crate) fn route_names_it(&self, method: Method, generation: u32) -> bool {
        let looked_up =
            |names_it: bool| (u64::from(generation) << 2) | (u64::from(names_it) << 1) | 1;
        if let Some(names_it) = self.known_route(generation) {
            return names_it;
        }
        let names_it = method == Method::DirectRoute;
        self.route.store(looked_up(names_it), Relaxed);
        names_it
    }

    /// What [`Destination::route_names_it`] keeps and says, if there has been a first packet.
    #[inline]
    pub(crate) fn known_route(&self, generation: u32) -> Option<bool> {
        let kept = self.route.load(Relaxed);
        (kept | 2 == u64::from(generation) << 2 | 3).then_some(kept & 2 != 0)
    }

    /// The same real server as it is now, for a dry run: what happens to the one is not seen by the other.
    pub(crate) fn fork(&self, service_stats: Arc<Stats>, changed: Arc<ChangedServers>) -> Self {
        let workers = self.stats.by_worker().count();
        let fork = Self::noting(&self.config(), service_stats, changed, workers);
        fork.last_weight.store(self.last_weight(), Relaxed);
        fork.overloaded.store(self.is_overloaded(), SeqCst);
        fork.available.store(self.is_available(), Relaxed);
        fork.active.store(self.active(), SeqCst);
        fork.inactive.store(self.inactive(), SeqCst);
        fork.persistent.store(self.persistent(), Relaxed);
        fork.route.store(self.route.load(Relaxed), Relaxed);
        fork
    }

    /// Marks it as deleted from its service.
    pub(crate) fn retire(&self) {
        self.available.store(false, Relaxed);
    }

    /// What the thresholds are compared with: active and inactive connections, not templates.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let total = i64::from(self.active()) + i64::from(self.inactive());
        u64::try_from(total).unwrap_or(0)
    }

    /// Ends the overload once few enough connections are left: below `-y`, or below 3/4 of `-x`.
    fn relieve(&self) {
        if !self.is_overloaded() {
            return;
        }
        let connections = self.connections();
        let upper = u64::from(self.upper_threshold.load(Relaxed));
        let relieved = match u64::from(self.lower_threshold.load(Relaxed)) {
            0 => upper == 0 || connections * 4 < upper * 3,
            lower => connections < lower,
        };
        if relieved {
            self.overloaded.store(false, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests;

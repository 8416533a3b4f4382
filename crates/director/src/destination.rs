//! A real server of a virtual service: what was configured and what it carries now.
//!
//! One value is shared by the service's list, the scheduler and every connection bound to it; it lives
//! on while a connection holds it, also after its deletion (kernel: the destination trash), so that
//! re-adding the same address and port finds the old counters again ([BEHAVIOURS 29]).

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};

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

/// A real server, shared by its service, the scheduler and its connections.
#[derive(Debug)]
pub struct Destination {
    /// RIP.
    pub address: IpAddr,
    /// Port, host order.
    pub port: u16,
    /// Weight now.
    pub weight: AtomicI32,
    /// Forwarding method now ([`Method`] as number); connections keep the one they began with.
    pub method: AtomicU32,
    /// Tunnel kind, checksum and port, packed; see [`Destination::tunnel`].
    pub tunnel: AtomicU32,
    /// `-x`.
    pub upper_threshold: AtomicU32,
    /// `-y`.
    pub lower_threshold: AtomicU32,
    /// IP_VS_DEST_F_OVERLOAD: thresholds forbid new connections.
    pub overloaded: AtomicBool,
    /// IP_VS_DEST_F_AVAILABLE: in its service's list; false after deletion.
    pub available: AtomicBool,
    /// Connections in an active state.
    pub active: AtomicI32,
    /// Connections in an inactive state.
    pub inactive: AtomicI32,
    /// Persistence templates bound here.
    pub persistent: AtomicI32,
    /// Counters and rates.
    pub stats: Stats,
}

impl Destination {
    /// Weight now.
    #[must_use]
    pub fn weight(&self) -> i32 {
        self.weight.load(Relaxed)
    }

    /// Forwarding method now.
    #[must_use]
    pub fn method(&self) -> Method {
        Method::from_number(self.method.load(Relaxed)).unwrap_or(Method::Masq)
    }

    /// Whether the scheduler must pass it over because of its thresholds.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.overloaded.load(Relaxed)
    }

    /// Whether it is in its service's list.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.available.load(Relaxed)
    }
}

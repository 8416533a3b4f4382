//! A virtual service: its key, its settings, its real servers, its scheduler.

use core::net::IpAddr;

use packet::Family;

use crate::protocol::Protocol;

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
    /// Scheduler name, as in [`crate::scheduler::ENTRIES`].
    pub scheduler: String,
    /// `FLAG_*` bits.
    pub flags: u32,
    /// Persistence timeout, seconds.
    pub timeout: u32,
    /// Persistence granularity: an IPv4 mask in host order (255.255.255.255 = one template a client), or an
    /// IPv6 prefix length.
    pub netmask: u32,
    /// Persistence engine name.
    pub persistence_engine: Option<String>,
}

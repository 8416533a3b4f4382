//! The IPVS generic-netlink family as a pure codec: requests, answers, framing, error numbers.
//!
//! Promises: encodes and decodes in both directions, frames answers as Linux 6.1 `ip_vs_ctl.c` and
//! `af_netlink.c` do, never panics on any bytes. Never opens a socket and never decides whether a
//! command is possible: it only says whether the message can be read ([`ServiceAttrs::key`] and its
//! like hold the checks that depend on the message alone).
//!
//! A server reads a datagram with [`requests`], works out an [`Answer`] for each and frames it with
//! [`respond`]. A client builds a datagram with [`Request::encode`] and reads what comes back with
//! [`replies`]. Integers are in host byte order, as netlink has them, unless a field says otherwise.

mod attribute;
mod connection;
mod daemon;
mod destination;
mod errno;
mod frame;
mod reply;
mod request;
mod service;
mod statistics;
mod sysctl;

pub use connection::ConnectionEntry;
pub use daemon::{DaemonAttrs, SyncState};
pub use destination::{
    DestAttrs, DestKey, DestReply, DestSettings, FORWARD_BYPASS, FORWARD_DIRECT, FORWARD_LOCAL,
    FORWARD_MASQUERADE, FORWARD_TUNNEL, TUNNEL_CSUM, TUNNEL_GRE, TUNNEL_GUE, TUNNEL_IPIP,
    TUNNEL_NOCSUM, TUNNEL_REMCSUM,
};
pub use errno::Errno;
pub use frame::{Header, NLM_F_ACK, NLM_F_DUMP, NLM_F_MULTI, NLM_F_REQUEST, answered, expected};
pub use reply::{Answer, Info, Reply, ReplyFrame, refuse, replies, respond};
pub use request::{Request, RequestFrame, Timeouts, requests};
pub use service::{
    AddressFamily, Netmask, SERVICE_HASHED, SERVICE_ONE_PACKET, SERVICE_PERSISTENT,
    SERVICE_SCHED_1, SERVICE_SCHED_2, SERVICE_SCHED_3, ServiceAttrs, ServiceFlags, ServiceKey,
    ServiceReply, ServiceSettings,
};
pub use statistics::Statistics;
pub use sysctl::Setting;

/// Message type of the IPVS family on the control socket. Above the kernel's `GENL_MAX_ID` (1023), so
/// that no kernel family can ever have the number.
pub const FAMILY_ID: u16 = 0x0a75;

/// IPVS version as `GET_INFO` tells it: 1.2.1.
pub const IPVS_VERSION: u32 = 0x01_02_01;

/// Size of the connection table as kernel IPVS tells it by default.
pub const CONNECTION_TABLE_SIZE: u32 = 4096;

#[cfg(test)]
mod tests;

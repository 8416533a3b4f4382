//! UDP has one state.

/// Name as in `ipvsadm -Lcn` and `/proc/net/ip_vs_conn`.
pub const STATE_NAME: &str = "UDP";

/// Lifetime without a datagram, seconds (kernel: 5 minutes; changed by `--set`).
pub const TIMEOUT: u32 = 300;

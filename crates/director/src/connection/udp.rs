//! UDP has one state; its lifetime without a datagram is 300 s, or what `--set` says
//! ([`crate::shared::Timeouts`]).

/// Name as in `ipvsadm -Lcn` and `/proc/net/ip_vs_conn`.
pub const STATE_NAME: &str = "UDP";

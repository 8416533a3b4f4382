//! Tests against the real kernel, each in network namespaces of its own. They need root.

#[path = "kernel/af_packet.rs"]
mod af_packet;
#[path = "kernel/af_xdp.rs"]
mod af_xdp;
#[path = "kernel/af_xdp_lifetime.rs"]
mod af_xdp_lifetime;
#[path = "kernel/af_xdp_sending.rs"]
mod af_xdp_sending;
#[path = "kernel/assist.rs"]
mod assist;
#[path = "kernel/assist_hand_over.rs"]
mod assist_hand_over;
#[path = "kernel/bulk.rs"]
mod bulk;
#[path = "kernel/guard.rs"]
mod guard;
#[path = "kernel/guard_errors.rs"]
mod guard_errors;
#[path = "kernel/guard_lifetime.rs"]
mod guard_lifetime;
#[path = "kernel/namespace.rs"]
mod namespace;
#[path = "kernel/privileges.rs"]
mod privileges;
#[path = "kernel/raw_ip.rs"]
mod raw_ip;
#[path = "kernel/steering.rs"]
mod steering;
#[path = "kernel/tun.rs"]
mod tun;
#[path = "kernel/tun_bulk.rs"]
mod tun_bulk;

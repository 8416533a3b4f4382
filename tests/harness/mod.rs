//! What every end-to-end test is built from: machines (network namespaces), cables and switches
//! between them, processes on them, and the director under test.
//!
//! Promises that nothing outlives the value that stands for it, panics included: a [`Process`] is
//! killed and a [`Host`] deleted when dropped, and what an earlier test process left behind
//! when it was killed is removed by the next one. Never touches the machine's own interfaces, routes or
//! sysctls: everything is made inside namespaces whose names begin with `ulvs-PID-`.

mod capture;
mod combination;
mod container;
mod director;
mod lab;
mod process;
mod topology;
mod traffic;
mod web;

pub(crate) use capture::{Capture, Recording};
pub(crate) use container::{Container, Engine};
pub(crate) use director::{Director, DirectorBuilder, binary};
pub(crate) use lab::{Host, Lab, Switch, cable};
pub(crate) use process::{NET_RAW_ONLY, Process, eventually, stderr, stdout};
pub(crate) use topology::{FLAT_VIP, Flat, Routed, TwoArm, VIP, bracketed, decap, vip_on_loopback};
pub(crate) use traffic::{
    FLAT, ROUTED, TWO_ARM, TcpHolder, ask_by, assert_shared, checksum_errors, hold_connections,
    hold_connections_from, send_frames, serve_by, udp_ask, udp_flows, udp_heads, udp_pieces,
    udp_repeat, udp_services,
};
pub(crate) use web::{
    WebServer, blob, count, download, fetch, fetch_each, fetch_from, upload, upload_part,
};

//! Bytes to fields and back: what a director must know of Ethernet, ARP, IPv4, IPv6, TCP, UDP, SCTP,
//! ICMP, ICMPv6, IPIP, GRE and GUE.
//!
//! Promises: no allocation, no `unsafe`, no I/O, no clock, and no panic on any input bytes.
//! [`Headers::parse`] reads a frame once; every rewrite takes the [`Packet`] together with the
//! `Headers` that were parsed from it.
#![no_std]
#![forbid(unsafe_code)]

mod buffer;
mod headers;

pub use buffer::{GsoKind, Offload, Packet, Vlan};
pub use headers::{Family, Fragment, Headers, Malformed, Transport};

//! Bytes to fields and back: what a director must know of Ethernet, ARP, IPv4, IPv6, TCP, UDP, SCTP,
//! ICMP, ICMPv6, IPIP, GRE and GUE.
//!
//! Promises: no allocation, no `unsafe`, no I/O, no clock, and no panic on any input bytes.
//! [`Headers::parse`] reads a frame once; every rewrite takes the [`Packet`] together with the
//! `Headers` that were parsed from it.
//!
//! Three layers, from the wire up:
//! * one module per protocol, a *view* over its header whose fields lie at offsets the compiler has
//!   checked ([`ethernet`], [`vlan`], [`arp`], [`ndp`], [`ipv4`], [`ipv6`], [`tcp`], [`udp`], [`sctp`],
//!   [`icmp`], [`icmpv6`], [`gre`], [`gue`]);
//! * [`Headers`], everything the director decides on, read in one pass; [`checksum`]; [`quoted`], the
//!   packet inside an ICMP error;
//! * what is done to a frame in place: [`rewrite`] (hop limit, NAT, link header),
//!   [`numbering`] (TCP payloads that change), [`options`] and [`tunnel`]; and
//!   what is written into a buffer of the caller's: [`segment`], [`fragment`], [`mod@icmp_error`],
//!   [`reset`]; and [`coalesce`], the reverse of [`segment`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod arp;
mod buffer;
pub mod checksum;
pub mod coalesce;
mod datagram;
pub mod ethernet;
pub mod fragment;
pub mod gre;
pub mod gue;
mod headers;
pub mod icmp;
pub mod icmp_error;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod numbering;
mod option_echo;
pub mod options;
mod parse;
pub mod plain;
pub mod protocol;
pub mod quoted;
pub mod reset;
pub mod rewrite;
pub mod sctp;
pub mod segment;
pub mod tcp;
pub mod tunnel;
pub mod udp;
mod view;
pub mod vlan;

pub use buffer::{GsoKind, Offload, Packet, Vlan};
pub use checksum::finish_checksum;
pub use coalesce::{Train, Trains};
pub use ethernet::Mac;
pub use fragment::Fragments;
pub use headers::{Family, Fragment, Headers, Malformed, Transport};
pub use icmp_error::{IcmpError, echo_reply, icmp_error, upper_layer};
pub use numbering::{refit, renumber};
pub use options::{OptionFault, OptionHost, Options, process_options, record_route, seal_options};
pub use quoted::{ErrorTranslation, Quoted, translate_error};
pub use reset::{sctp_abort, tcp_reset};
pub use rewrite::{Translation, decrement_ttl, insert_link, set_link, strip_link, translate};
pub use segment::Segments;
pub use tunnel::{Tunnel, TunnelChecksum, TunnelError, TunnelKind, decapsulate, encapsulate, wrap};
pub use view::Field;

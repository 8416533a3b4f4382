//! What the director must do on real networks, a module a subject.

mod af_xdp;
mod bad_input;
mod bulk;
mod cables;
mod configuration;
mod containers;
mod datagrams;
mod decap;
mod doctor;
mod fragments;
mod ftp;
mod gro;
mod guard;
mod idle;
mod interference;
mod lifecycle;
mod links;
mod methods;
mod owned;
mod path_mtu;
mod privileges;
mod sctp;
mod servers;
mod soak;
mod unreachable;
mod vlan;

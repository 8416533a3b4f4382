//! Where names of hosts and services come from.

use core::net::{IpAddr, Ipv4Addr};

/// Looks up names both ways. `protocol` is the IP protocol number (6, 17, 132).
pub trait Names {
    /// IPv4 address of a host.
    fn host_address(&self, name: &str) -> Option<Ipv4Addr>;
    /// Port of a service, for example 80 of `http`.
    fn service_port(&self, name: &str, protocol: u16) -> Option<u16>;
    /// Name of the host with this address.
    fn host_name(&self, address: IpAddr) -> Option<String>;
    /// Name of the service at this port.
    fn service_name(&self, port: u16, protocol: u16) -> Option<String>;
}

/// Knows no names: addresses and ports are numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumericNames;

impl Names for NumericNames {
    fn host_address(&self, _name: &str) -> Option<Ipv4Addr> {
        None
    }

    fn service_port(&self, _name: &str, _protocol: u16) -> Option<u16> {
        None
    }

    fn host_name(&self, _address: IpAddr) -> Option<String> {
        None
    }

    fn service_name(&self, _port: u16, _protocol: u16) -> Option<String> {
        None
    }
}

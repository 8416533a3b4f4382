//! Names of hosts and services of this machine.

use core::net::{IpAddr, Ipv4Addr};
use std::net::ToSocketAddrs as _;
use std::sync::OnceLock;

use control::rules::Names;

/// `/etc/services` and `/etc/hosts`, read when first needed; names of hosts that are to become
/// addresses go through the system's resolver. Where a file is missing, numbers stay numbers.
#[derive(Debug, Default)]
pub struct SystemNames {
    services: OnceLock<String>,
    hosts: OnceLock<String>,
}

/// The words of each line, without comments.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| {
        line.split('#')
            .next()
            .unwrap_or_default()
            .split_ascii_whitespace()
            .collect()
    })
}

fn protocol_name(protocol: u16) -> Option<&'static str> {
    match protocol {
        6 => Some("tcp"),
        17 => Some("udp"),
        132 => Some("sctp"),
        _ => None,
    }
}

/// `name port/protocol alias...`: the line of a service, found by `matches(names, port)`.
fn find_service(
    text: &str,
    protocol: u16,
    matches: impl Fn(&[&str], u16) -> bool,
) -> Option<(&str, u16)> {
    let protocol = protocol_name(protocol)?;
    lines(text).find_map(|words| {
        let (name, rest) = words.split_first()?;
        let (port, aliases) = rest.split_first()?;
        let (port, kind) = port.split_once('/')?;
        let port = port.parse().ok()?;
        let names: Vec<&str> = core::iter::once(*name)
            .chain(aliases.iter().copied())
            .collect();
        (kind == protocol && matches(&names, port)).then_some((*name, port))
    })
}

impl SystemNames {
    fn services(&self) -> &str {
        self.services
            .get_or_init(|| std::fs::read_to_string("/etc/services").unwrap_or_default())
    }

    fn hosts(&self) -> &str {
        self.hosts
            .get_or_init(|| std::fs::read_to_string("/etc/hosts").unwrap_or_default())
    }
}

impl Names for SystemNames {
    fn host_address(&self, name: &str) -> Option<Ipv4Addr> {
        let addresses = (name, 0).to_socket_addrs().ok()?;
        addresses
            .into_iter()
            .find_map(|address| match address.ip() {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            })
    }

    fn service_port(&self, name: &str, protocol: u16) -> Option<u16> {
        let found = find_service(self.services(), protocol, |names, _| names.contains(&name));
        found.map(|(_, port)| port)
    }

    /// IPv4 only: the real program asks for IPv6 names in a way that never finds one.
    fn host_name(&self, address: IpAddr) -> Option<String> {
        if address.is_ipv6() {
            return None;
        }
        lines(self.hosts()).find_map(|words| match words.as_slice() {
            [known, name, ..] if known.parse() == Ok(address) => Some((*name).to_owned()),
            _ => None,
        })
    }

    fn service_name(&self, port: u16, protocol: u16) -> Option<String> {
        let found = find_service(self.services(), protocol, |_, known| known == port);
        found.map(|(name, _)| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> SystemNames {
        let names = SystemNames::default();
        let services = "# comment\nhttp\t\t80/tcp\t\twww\t# WWW\nhttp-alt 8080/tcp webcache\n\
                        domain 53/tcp\ndomain 53/udp\nbroken\nworse x/tcp\n";
        names
            .services
            .set(services.to_owned())
            .expect("not read yet");
        let hosts = "127.0.0.1 localhost vm\n::1 localhost\n10.2.0.11\n10.2.0.12 rs2 # two\n";
        names.hosts.set(hosts.to_owned()).expect("not read yet");
        names
    }

    #[test]
    fn services_by_name_alias_and_port() {
        let names = names();
        assert_eq!(names.service_port("http", 6), Some(80));
        assert_eq!(names.service_port("webcache", 6), Some(8080));
        assert_eq!(names.service_port("http", 17), None);
        assert_eq!(names.service_port("domain", 132), None);
        assert_eq!(names.service_name(53, 17).as_deref(), Some("domain"));
        assert_eq!(names.service_name(80, 17), None);
        assert_eq!(names.service_name(80, 50), None);
    }

    #[test]
    fn hosts_by_address() {
        let names = names();
        let name = |address: &str| names.host_name(address.parse().expect("address"));
        assert_eq!(name("127.0.0.1").as_deref(), Some("localhost"));
        assert_eq!(name("10.2.0.12").as_deref(), Some("rs2"));
        assert_eq!(name("10.2.0.11"), None);
        assert_eq!(name("::1"), None);
    }
}

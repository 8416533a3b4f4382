//! Firewall marks without a firewall: `[[mark]]` says which packets of the network carry which mark.
//!
//! ulvs reads frames before netfilter, so `iptables -j MARK` cannot mark them.

use core::net::IpAddr;
use core::str::FromStr;

use packet::{Headers, Transport};
use serde::Deserialize;

use super::value::{Bounded, Get as _, InterfaceName};

/// An address with the number of its bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The address, where the network is a single one.
    #[must_use]
    pub fn single(&self) -> Option<IpAddr> {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        (self.length == whole).then_some(self.address)
    }

    /// Whether the address lies within.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let length = u32::from(self.length);
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differing = u32::from(a) ^ u32::from(b);
                differing.leading_zeros() >= length
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differing = u128::from(a) ^ u128::from(b);
                differing.leading_zeros() >= length
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            "an address or a network is written 10.8.0.1, 10.8.0.0/24, fd00::1 or fd00::/64";
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(bits), str::parse).map_err(|_| wrong)?;
        if length > bits {
            Err(wrong)
        } else {
            Ok(Self { address, length })
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Protocols that a mark can depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// Destination ports: one, or first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawPorts")]
struct Ports(u16, u16);

/// `80` or `"5000-5100"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a port is written 80, a range of ports \"5000-5100\""
)]
enum RawPorts {
    One(u16),
    Range(String),
}

impl TryFrom<RawPorts> for Ports {
    type Error = &'static str;

    fn try_from(raw: RawPorts) -> Result<Self, Self::Error> {
        let wrong = "a port is written 80, a range of ports \"5000-5100\"";
        match raw {
            RawPorts::One(port) => Ok(Self(port, port)),
            RawPorts::Range(text) => {
                let (first, last) = text.split_once('-').ok_or(wrong)?;
                let number = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong);
                let (first, last) = (number(first)?, number(last)?);
                if first <= last {
                    Ok(Self(first, last))
                } else {
                    Err(wrong)
                }
            }
        }
    }
}

/// `[[mark]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkSection {
    mark: Bounded<1, { u32::MAX }>,
    interface: Option<InterfaceName>,
    #[serde(default, deserialize_with = "prefix")]
    source: Option<Prefix>,
    #[serde(default, deserialize_with = "prefix")]
    destination: Option<Prefix>,
    protocol: Option<Protocol>,
    ports: Option<Vec<Ports>>,
}

fn prefix<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Prefix>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// What a packet is matched by.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Name of the interface it arrived on.
    pub interface: &'a str,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper-layer protocol number.
    pub protocol: u8,
    /// Destination port; `None` where the protocol has none, and for later fragments.
    pub destination_port: Option<u16>,
}

impl<'a> Packet<'a> {
    /// What marks go by in a packet with these headers that arrived on the interface of this name.
    #[must_use]
    pub fn of(interface: &'a str, headers: &Headers) -> Self {
        let has_ports = matches!(
            headers.transport,
            Transport::Tcp { .. } | Transport::Udp { .. } | Transport::Sctp { .. }
        );
        Self {
            interface,
            source: headers.source,
            destination: headers.destination,
            protocol: headers.protocol,
            destination_port: has_ports.then(|| headers.ports().1),
        }
    }
}

/// Gives a mark to the packets that match everything that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// The mark.
    pub mark: u32,
    /// Interface the packet arrives on.
    pub interface: Option<String>,
    /// Where it comes from.
    pub source: Option<Prefix>,
    /// Where it goes to.
    pub destination: Option<Prefix>,
    /// Its protocol number.
    pub protocol: Option<u8>,
    /// First and last of its destination port, any of these; empty = any port, or none.
    pub ports: Vec<(u16, u16)>,
}

impl MarkRule {
    /// The mark of a packet by the first rule that matches it; 0 if none does.
    #[must_use]
    pub fn mark_of(rules: &[Self], packet: &Packet<'_>) -> u32 {
        rules
            .iter()
            .find(|rule| rule.matches(packet))
            .map_or(0, |rule| rule.mark)
    }

    fn matches(&self, packet: &Packet<'_>) -> bool {
        let in_ranges = |port: u16| self.ports.iter().any(|(a, b)| (*a..=*b).contains(&port));
        self.interface
            .as_ref()
            .is_none_or(|name| name == packet.interface)
            && self
                .source
                .is_none_or(|prefix| prefix.contains(packet.source))
            && self
                .destination
                .is_none_or(|prefix| prefix.contains(packet.destination))
            && self
                .protocol
                .is_none_or(|protocol| protocol == packet.protocol)
            && (self.ports.is_empty() || packet.destination_port.is_some_and(in_ranges))
    }
}

impl From<MarkSection> for MarkRule {
    fn from(section: MarkSection) -> Self {
        Self {
            mark: section.mark.get(),
            interface: section.interface.map(String::from),
            source: section.source,
            destination: section.destination,
            protocol: section.protocol.map(|protocol| match protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
                Protocol::Sctp => 132,
            }),
            ports: section
                .ports
                .unwrap_or_default()
                .into_iter()
                .map(|Ports(first, last)| (first, last))
                .collect(),
        }
    }
}

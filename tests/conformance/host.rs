//! The host that the director stands on, as far as a recording changes it: interfaces, addresses,
//! routes, neighbours, kernel settings and mangle rules. Reads the argv of `ip` and `iptables` that
//! scenarios use; anything else is an error, never ignored.

use std::collections::BTreeMap;
use std::net::IpAddr;

use director::net::{Answer, Interface, Network, Route, RouteKind};
use packet::Mac;

use crate::mark::MarkRules;
use crate::recording::{Port, Topology};

/// Interface index of loopback.
const LOOPBACK: u32 = 1;
/// Interface index of `cl0`.
const CLIENT: u32 = 2;
/// Interface index of `sv0`.
const SERVER: u32 = 3;

/// The host's configuration.
#[derive(Debug)]
pub(crate) struct Host {
    interfaces: Vec<Interface>,
    routes: Vec<(IpAddr, u8, Route)>,
    route_generation: u32,
    neighbours: Vec<(u32, IpAddr, Mac)>,
    /// Rules that give a packet its firewall mark.
    pub(crate) marks: MarkRules,
    /// Settings outside `net.ipv4.vs`.
    sysctls: BTreeMap<String, String>,
}

/// Interface index of a side.
pub(crate) fn index(port: Port) -> u32 {
    match port {
        Port::Client => CLIENT,
        Port::Server => SERVER,
    }
}

/// Name of an interface index that frames arrive on.
pub(crate) fn name(index: u32) -> &'static str {
    match index {
        CLIENT => "cl0",
        SERVER => "sv0",
        _ => "lo",
    }
}

/// Side of an interface index; `None` for loopback and others.
pub(crate) fn port(index: u32) -> Option<Port> {
    match index {
        CLIENT => Some(Port::Client),
        SERVER => Some(Port::Server),
        _ => None,
    }
}

impl Host {
    /// The host of a `topo` record.
    ///
    /// # Errors
    /// A sentence that names the field that cannot be read.
    pub(crate) fn new(topology: &Topology) -> Result<Self, String> {
        let mut host = Self {
            interfaces: Vec::new(),
            routes: Vec::new(),
            route_generation: 0,
            neighbours: Vec::new(),
            marks: MarkRules::default(),
            sysctls: BTreeMap::new(),
        };
        for (name, index, interface) in [
            ("lo", LOOPBACK, &topology.lo),
            ("cl0", CLIENT, &topology.cl0),
            ("sv0", SERVER, &topology.sv0),
        ] {
            let addresses = interface
                .addr
                .iter()
                .map(|text| prefix(text))
                .collect::<Result<Vec<_>, _>>()?;
            host.interfaces.push(Interface {
                index,
                name: name.to_owned(),
                mac: interface.mac.as_deref().map_or(Ok(Mac([0; 6])), mac)?,
                mtu: interface.mtu.unwrap_or(65_536),
                link_len: 14,
                addresses,
                up: true,
            });
        }
        for (key, link) in &topology.neigh.0 {
            let (device, address) = key
                .split_once(' ')
                .ok_or_else(|| format!("neighbour {key:?} has no device"))?;
            let index = host.index_of(device)?;
            host.neighbours.push((index, ip(address)?, mac(link)?));
        }
        for route in &topology.routes {
            let words: Vec<&str> = route.split_whitespace().collect();
            host.add_route(false, &words)?;
        }
        for (key, value) in &topology.sysctl.0 {
            host.sysctls.insert(key.clone(), value.to_string());
        }
        Ok(host)
    }

    /// Writes a setting outside `net.ipv4.vs`.
    pub(crate) fn set_sysctl(&mut self, key: &str, value: &str) {
        self.sysctls.insert(key.to_owned(), value.to_owned());
    }

    /// The host as the director sees it. The VIPs on loopback are answered by ulvs itself, so that what
    /// the kernel's own stack said for them can be compared.
    pub(crate) fn network(&self) -> Network {
        let mut network = Network {
            interfaces: self.interfaces.clone(),
            route_generation: self.route_generation,
            ..Network::default()
        };
        for interface in &self.interfaces {
            for &(address, length) in &interface.addresses {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                let local = route(RouteKind::Local, LOOPBACK, None);
                network.routes.insert(address, whole, local);
                if interface.index != LOOPBACK {
                    if !interface.up {
                        continue;
                    }
                    let on_link = route(RouteKind::Unicast, interface.index, None);
                    network.routes.insert(address, length, on_link);
                } else if !address.is_loopback() {
                    network.vips.insert(address, Answer::Owned);
                }
            }
        }
        let loopback = route(RouteKind::Local, LOOPBACK, None);
        network
            .routes
            .insert(IpAddr::from([127, 0, 0, 0]), 8, loopback);
        for &(destination, length, route) in &self.routes {
            network.routes.insert(destination, length, route);
        }
        for &(index, address, mac) in &self.neighbours {
            network.neighbours.insert((index, address), mac);
        }
        network.icmp_ratelimit_ms = self
            .sysctls
            .get("net.ipv4.icmp_ratelimit")
            .and_then(|text| text.parse().ok())
            .unwrap_or(1000);
        let sends = |name: &str| {
            let set = |name: &str| {
                let key = format!("net.ipv4.conf.{name}.send_redirects");
                self.sysctls.get(&key)
            };
            set(name)
                .or_else(|| set("*"))
                .is_none_or(|value| value != "0")
        };
        let sending = self
            .interfaces
            .iter()
            .filter(|interface| sends("all") || sends(&interface.name));
        network.redirects = sending.map(|interface| interface.index).collect();
        network
    }

    /// Does what an `ip` command says.
    ///
    /// # Errors
    /// A sentence for an argv that the model does not know.
    pub(crate) fn ip_command(&mut self, arguments: &[&str]) -> Result<(), String> {
        let (v6, arguments) = match arguments {
            ["-4", rest @ ..] => (false, rest),
            ["-6", rest @ ..] => (true, rest),
            all => (false, all),
        };
        if arguments.first() != Some(&"neigh") {
            self.route_generation += 1;
        }
        match arguments {
            ["route", "add", rest @ ..] => self.add_route(v6, rest),
            ["route", "replace" | "change", rest @ ..] => {
                // There may be none to replace.
                let _ = self.delete_route(v6, rest);
                self.add_route(v6, rest)
            }
            ["route", "del" | "delete", rest @ ..] => self.delete_route(v6, rest),
            ["link", "set", "dev", device, rest @ ..] | ["link", "set", device, rest @ ..] => {
                self.set_link(device, rest)
            }
            ["link", "add", name, "type", "ipip", ..] => {
                let index = self.interfaces.iter().map(|i| i.index).max().unwrap_or(0) + 1;
                self.interfaces.push(Interface {
                    index,
                    name: (*name).to_owned(),
                    mac: Mac([0; 6]),
                    mtu: 1480,
                    link_len: 0,
                    addresses: Vec::new(),
                    up: false,
                });
                Ok(())
            }
            ["addr" | "address", "add", address, "dev", device, ..] => {
                let prefix = prefix(address)?;
                self.interface(device)?.addresses.push(prefix);
                Ok(())
            }
            ["addr" | "address", "del", address, "dev", device, ..] => {
                let (address, _) = prefix(address)?;
                self.interface(device)?
                    .addresses
                    .retain(|(own, _)| *own != address);
                Ok(())
            }
            ["neigh", "add" | "replace", address, rest @ ..] => {
                let index = self.index_of(operand(rest, "dev").ok_or("neigh without dev")?)?;
                let link = mac(operand(rest, "lladdr").ok_or("neigh without lladdr")?)?;
                let address = ip(address)?;
                self.forget(index, address);
                self.neighbours.push((index, address, link));
                Ok(())
            }
            ["neigh", "del", address, "dev", device, ..] => {
                let index = self.index_of(device)?;
                self.forget(index, ip(address)?);
                Ok(())
            }
            _ => Err(format!(
                "the host model does not know: ip {}",
                arguments.join(" ")
            )),
        }
    }

    fn set_link(&mut self, device: &str, settings: &[&str]) -> Result<(), String> {
        let interface = self.interface(device)?;
        let index = interface.index;
        match settings {
            ["up"] => interface.up = true,
            ["down"] => {
                interface.up = false;
                // The kernel forgets routes over it; those of its addresses come back with the link.
                self.routes.retain(|(_, _, route)| route.interface != index);
            }
            ["mtu", octets] => {
                interface.mtu = octets
                    .parse()
                    .map_err(|_| format!("MTU {octets} is not a number"))?;
            }
            _ => {
                return Err(format!(
                    "the host model does not know: ip link set {device} {}",
                    settings.join(" ")
                ));
            }
        }
        Ok(())
    }

    fn add_route(&mut self, v6: bool, words: &[&str]) -> Result<(), String> {
        let (kind, words) = match words {
            ["local", rest @ ..] => (RouteKind::Local, rest),
            ["blackhole", rest @ ..] => (RouteKind::Blackhole, rest),
            ["unreachable" | "prohibit", rest @ ..] => (RouteKind::Unreachable, rest),
            ["unicast", rest @ ..] => (RouteKind::Unicast, rest),
            all => (RouteKind::Unicast, all),
        };
        let gateway = operand(words, "via").map(ip).transpose()?;
        let interface = match operand(words, "dev") {
            Some(device) => self.index_of(device)?,
            None => 0,
        };
        let v6 = v6 || gateway.is_some_and(|address| address.is_ipv6());
        let (destination, length) = route_prefix(v6, words)?;
        let mut entry = route(kind, interface, gateway);
        entry.source = operand(words, "src").map(ip).transpose()?;
        entry.mtu = operand(words, "mtu").and_then(|text| text.parse().ok());
        self.routes.push((destination, length, entry));
        Ok(())
    }

    fn delete_route(&mut self, v6: bool, words: &[&str]) -> Result<(), String> {
        let words = match words {
            [
                "local" | "blackhole" | "unreachable" | "prohibit",
                rest @ ..,
            ] => rest,
            all => all,
        };
        let v6 = v6 || operand(words, "via").is_some_and(|gateway| gateway.contains(':'));
        let (destination, length) = route_prefix(v6, words)?;
        let before = self.routes.len();
        self.routes
            .retain(|(have, have_len, _)| (*have, *have_len) != (destination, length));
        if self.routes.len() == before {
            return Err(format!("no route {} to delete", words.join(" ")));
        }
        Ok(())
    }

    fn forget(&mut self, index: u32, address: IpAddr) {
        self.neighbours
            .retain(|(have, own, _)| (*have, *own) != (index, address));
    }

    fn interface(&mut self, device: &str) -> Result<&mut Interface, String> {
        self.interfaces
            .iter_mut()
            .find(|interface| interface.name == device)
            .ok_or_else(|| format!("no interface {device}"))
    }

    fn index_of(&self, device: &str) -> Result<u32, String> {
        self.interfaces
            .iter()
            .find(|interface| interface.name == device)
            .map(|interface| interface.index)
            .ok_or_else(|| format!("no interface {device}"))
    }
}

/// A route with nothing special about it.
fn route(kind: RouteKind, interface: u32, gateway: Option<IpAddr>) -> Route {
    Route {
        kind,
        interface,
        gateway,
        source: None,
        mtu: None,
        metric: 0,
    }
}

/// Destination of a route command; `v6` is the family of `default`.
fn route_prefix(v6: bool, words: &[&str]) -> Result<(IpAddr, u8), String> {
    match words.first() {
        Some(&"default") if v6 => Ok((IpAddr::from([0_u16; 8]), 0)),
        Some(&"default") => Ok((IpAddr::from([0_u8; 4]), 0)),
        Some(text) => prefix(text),
        None => Err("route without destination".to_owned()),
    }
}

/// The word behind `name`.
pub(crate) fn operand<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let place = words.iter().position(|word| *word == name)?;
    words.get(place + 1).copied()
}

/// `ADDRESS/LENGTH`, or an address alone.
pub(crate) fn prefix(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (
            ip(address)?,
            length
                .parse()
                .map_err(|_| format!("{text:?} has no prefix length"))?,
        ),
        None => {
            let address = ip(text)?;
            (address, if address.is_ipv4() { 32 } else { 128 })
        }
    };
    Ok((address, length))
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address"))
}

fn mac(text: &str) -> Result<Mac, String> {
    let mut octets = [0; 6];
    let mut words = text.split(':');
    for octet in &mut octets {
        *octet = words
            .next()
            .and_then(|word| u8::from_str_radix(word, 16).ok())
            .ok_or_else(|| format!("{text:?} is not a MAC"))?;
    }
    Ok(Mac(octets))
}

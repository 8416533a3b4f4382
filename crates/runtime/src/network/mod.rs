//! What the host's kernel knows of the network, watched by rtnetlink (RFC 3549).
//!
//! Promises: after [`Watcher::open`] and after each [`Watcher::process`] the tables are what the kernel would
//! show; a message that was lost (ENOBUFS) leads to a full new dump. Needs no capability. Never changes
//! anything in the kernel.

pub mod tables;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, RawFd};

use director::net::{Answer, Interface, Network, RouteKind, Routes};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::{Result, RuntimeError};
use tables::{Change, TABLE_LOCAL, Tables};

/// RTNLGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE (linux/rtnetlink.h).
const GROUPS: [u32; 6] = [1, 3, 5, 7, 9, 11];
/// Receive buffer of the monitor, octets: a few thousand messages between two looks.
const MONITOR_BUFFER: usize = 1 << 20;
/// Datagrams read in one go, so that a flood of changes does not starve the control thread.
const BATCH: usize = 256;
/// ENOBUFS: the kernel dropped notifications.
const ENOBUFS: i32 = 105;

/// What [`Watcher::process`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// Something changed that the director looks at.
    pub changed: bool,
    /// There may be more to read at once.
    pub more: bool,
}

/// Follows the kernel's tables.
#[derive(Debug)]
pub struct Watcher {
    monitor: Socket,
    tables: Tables,
    interfaces_changed: bool,
    route_generation: u32,
}

impl Watcher {
    /// Subscribes to changes, then reads everything.
    ///
    /// # Errors
    /// The system refused the netlink socket or a dump.
    pub fn open() -> Result<Self> {
        let failed =
            |source| RuntimeError::system("cannot watch the kernel's network tables", source);
        let mut monitor = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        monitor.bind_auto().map_err(failed)?;
        monitor.set_rx_buf_sz(MONITOR_BUFFER).map_err(failed)?;
        for group in GROUPS {
            monitor.add_membership(group).map_err(failed)?;
        }
        monitor.set_non_blocking(true).map_err(failed)?;
        let mut watcher = Self {
            monitor,
            tables: Tables::default(),
            interfaces_changed: false,
            route_generation: 0,
        };
        watcher.resync()?;
        Ok(watcher)
    }

    /// What the kernel told so far.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Changes with every change of links, addresses and routes ([`Network::route_generation`]).
    #[must_use]
    pub const fn route_generation(&self) -> u32 {
        self.route_generation
    }

    /// Reads pending notifications.
    ///
    /// # Errors
    /// The system refused a read or a dump: [`Watcher::resync`] must be tried until it succeeds.
    pub fn process(&mut self) -> Result<News> {
        let mut news = News {
            changed: false,
            more: true,
        };
        for _ in 0..BATCH {
            match self.monitor.recv_from_full() {
                // Only the kernel is believed; its port is 0.
                Ok((datagram, sender)) if sender.port_number() == 0 => {
                    for change in read_datagram(&datagram, &mut self.tables) {
                        news.changed |= change != Change::Nothing;
                        self.interfaces_changed |= change == Change::Interface;
                        let routes = matches!(change, Change::Route | Change::Interface);
                        self.route_generation = self.route_generation.wrapping_add(routes.into());
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    news.more = false;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                    self.resync()?;
                    news.changed = true;
                }
                Err(error) => {
                    return Err(RuntimeError::system(
                        "cannot read network changes from the kernel",
                        error,
                    ));
                }
            }
        }
        if std::mem::take(&mut self.interfaces_changed) {
            // Along with an address or a link the kernel drops IPv4 routes without telling about each.
            self.tables.clear_routes();
            dump_routes(&mut self.tables)?;
        }
        Ok(news)
    }

    /// Throws everything away and reads it anew.
    ///
    /// # Errors
    /// The system refused a dump.
    pub fn resync(&mut self) -> Result<()> {
        let mut tables = Tables::default();
        dump(
            RouteNetlinkMessage::GetLink(LinkMessage::default()),
            &mut tables,
        )?;
        dump(
            RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            &mut tables,
        )?;
        dump_routes(&mut tables)?;
        dump(
            RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()),
            &mut tables,
        )?;
        self.tables = tables;
        self.route_generation = self.route_generation.wrapping_add(1);
        Ok(())
    }
}

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.monitor.as_raw_fd()
    }
}

/// How packets leave a director some of whose interfaces are TUN devices.
#[derive(Clone, Copy, Debug)]
pub struct ByTun<'a> {
    /// All interfaces that it works on.
    pub open: &'a BTreeSet<u32>,
    /// The TUN device by which go packets that none of these leads to: the host routes them on.
    pub tun: u32,
}

impl ByTun<'_> {
    /// The route as the director takes it. What the host sends out by an interface of its own, or refuses, goes to the
    /// host, in packets that fit what it does with them.
    fn lead(&self, tables: &Tables, route: &tables::Route) -> tables::Route {
        if route.kind == RouteKind::Local || self.open.contains(&route.interface) {
            return route.clone();
        }
        let link = tables.links().get(&route.interface);
        tables::Route {
            kind: RouteKind::Unicast,
            interface: self.tun,
            gateway: None,
            source: route.source.or_else(|| own_source(tables, route)),
            mtu: route.mtu.or_else(|| link.map(|link| link.mtu)),
            ..route.clone()
        }
    }

    /// What no route of the host leads to: that is the host's to say.
    fn everything_else(&self) -> director::net::Route {
        director::net::Route {
            kind: RouteKind::Unicast,
            interface: self.tun,
            gateway: None,
            source: None,
            mtu: None,
            metric: u32::MAX,
        }
    }
}

/// The address from which the host would send by a route: one on the network of the next hop, else any of the interface.
fn own_source(tables: &Tables, route: &tables::Route) -> Option<IpAddr> {
    let hop = route.gateway.unwrap_or(route.destination);
    let is_global = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    let own = tables.addresses(route.interface).iter();
    own.filter(|(address, _)| {
        address.is_ipv4() == route.destination.is_ipv4() && is_global(address)
    })
    .max_by_key(|(address, len)| tables::contains(*address, *len, hop))
    .map(|&(address, _)| address)
}

/// The tables as the director sees them, with who answers for which VIP; the number of the routes is the caller's.
/// `None` = it works on no TUN device.
#[must_use]
pub fn snapshot(
    tables: &Tables,
    vips: HashMap<IpAddr, Answer>,
    by_tun: Option<&ByTun<'_>>,
) -> Network {
    let interfaces = tables.links().iter().map(|(&index, link)| Interface {
        index,
        name: link.name.clone(),
        mac: link.mac,
        mtu: link.mtu,
        link_len: if link.ethernet { 14 } else { 0 },
        addresses: tables.addresses(index).to_vec(),
        up: link.up,
    });
    let interfaces: Vec<Interface> = interfaces.collect();
    let mut redirects = redirects(&interfaces);
    // The host routes what leaves by a TUN device, and tells of shorter ways itself.
    redirects.retain(|index| tables.links().get(index).is_some_and(|link| link.ethernet));
    Network {
        redirects,
        interfaces,
        routes: routes(tables, by_tun),
        route_generation: 0,
        neighbours: tables
            .neighbours()
            .iter()
            .map(|(&hop, &mac)| (hop, mac))
            .collect(),
        vips: vips.into_iter().collect(),
        vlan_interfaces: tables
            .links()
            .values()
            .filter_map(|link| link.vlan)
            .collect(),
        icmp_ratelimit_ms: icmp_ratelimit(),
    }
}

fn routes(tables: &Tables, by_tun: Option<&ByTun<'_>>) -> Routes {
    let mut ordered: Vec<&tables::Route> = tables
        .routes()
        .iter()
        .filter(|route| tables.is_usable(route))
        .collect();
    // Of equal prefixes the kernel takes table local before main before default; the core keeps the first.
    ordered.sort_by_key(|route| (Reverse(route.table), route.priority));
    let mut routes = Routes::default();
    for route in ordered {
        let route = by_tun.map_or_else(|| route.clone(), |by_tun| by_tun.lead(tables, route));
        routes.insert(
            route.destination,
            route.prefix_len,
            director::net::Route {
                kind: route.kind,
                interface: route.interface,
                gateway: route.gateway,
                source: route.source,
                mtu: route.mtu,
                // Order among equal prefixes is settled above; between tables the metric does not count.
                metric: TABLE_LOCAL - route.table.min(TABLE_LOCAL),
            },
        );
    }
    if let Some(by_tun) = by_tun {
        for any in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
            routes.insert(any, 0, by_tun.everything_else());
        }
    }
    routes
}

/// `net.ipv4.icmp_ratelimit`, milliseconds; the kernel's default where it cannot be read.
fn icmp_ratelimit() -> u32 {
    const DEFAULT_MS: u32 = 1000;
    read_sysctl("net/ipv4/icmp_ratelimit").unwrap_or(DEFAULT_MS)
}

/// The interfaces that send redirects: those that forward, and whose `send_redirects` or that of all is on. A host that
/// does not forward is no router, and has no ways to tell of.
fn redirects(interfaces: &[Interface]) -> HashSet<u32> {
    let is_on = |name: &str, setting: &str| {
        let value = read_sysctl(&format!("net/ipv4/conf/{name}/{setting}"));
        value.is_some_and(|value| value != 0)
    };
    let sends = |interface: &&Interface| {
        is_on(&interface.name, "forwarding")
            && ["all", &interface.name]
                .iter()
                .any(|name| is_on(name, "send_redirects"))
    };
    let sending = interfaces.iter().filter(sends);
    sending.map(|interface| interface.index).collect()
}

/// The number in `/proc/sys/NAME`, `None` where there is none.
#[must_use]
pub fn read_sysctl(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.trim().parse().ok()
}

fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = 1;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    socket.send_to(&octets, &SocketAddr::new(0, 0), 0)?;
    Ok(socket)
}

fn dump_routes(tables: &mut Tables) -> Result<()> {
    for family in [2, 10] {
        let mut request = RouteMessage::default();
        request.header.address_family = family.into();
        dump(RouteNetlinkMessage::GetRoute(request), tables)?;
    }
    Ok(())
}

/// One dump through a socket of its own, so that its answers and the monitor's do not mix.
fn dump(message: RouteNetlinkMessage, tables: &mut Tables) -> Result<()> {
    let failed = |source| RuntimeError::system("cannot read the kernel's network tables", source);
    let socket = request(message, NLM_F_REQUEST | NLM_F_DUMP).map_err(failed)?;
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(failed)?;
        let mut done = datagram.is_empty();
        for_each_message(&datagram, |message| match &message.payload {
            NetlinkPayload::Done(_) => done = true,
            NetlinkPayload::Error(error) if error.code.is_some() => done = true,
            NetlinkPayload::InnerMessage(inner) => {
                tables.apply(inner, false);
            }
            _ => {}
        });
        if done {
            return Ok(());
        }
    }
}

fn read_datagram(datagram: &[u8], tables: &mut Tables) -> Vec<Change> {
    let mut changes = Vec::new();
    for_each_message(datagram, |message| {
        if let NetlinkPayload::InnerMessage(inner) = &message.payload {
            let replace = message.header.flags & NLM_F_REPLACE != 0;
            changes.push(tables.apply(inner, replace));
        }
    });
    changes
}

/// A message that the codec does not know is passed over: the kernel adds attributes with every release.
fn for_each_message(
    mut datagram: &[u8],
    mut handle: impl FnMut(&NetlinkMessage<RouteNetlinkMessage>),
) {
    while let Some(length) = datagram.first_chunk::<4>() {
        let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap_or(usize::MAX);
        let Some(octets) = datagram.get(..length).filter(|_| length >= 16) else {
            return;
        };
        if let Ok(message) = NetlinkMessage::deserialize(octets) {
            handle(&message);
        }
        let aligned = length.saturating_add(3) & !3;
        datagram = datagram.get(aligned..).unwrap_or(&[]);
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{RouteAttribute, RouteType};

    use super::tables::tests::{ip, route, world};
    use super::*;

    #[test]
    fn the_loopback_of_this_host() {
        let watcher = Watcher::open().unwrap();
        let network = snapshot(watcher.tables(), HashMap::new(), None);
        let lo = network
            .interfaces
            .iter()
            .find(|interface| interface.name == "lo")
            .unwrap();
        assert_eq!(lo.link_len, 14);
        assert!(lo.mtu >= 1280, "{lo:?}");
    }

    #[test]
    fn what_no_open_interface_leads_to_goes_by_the_tun_device() {
        let mut tables = world();
        let by_eth1 = vec![RouteAttribute::Oif(3)];
        let behind_eth1 = route("10.2.0.0", 24, RouteType::Unicast, by_eth1);
        tables.apply(&RouteNetlinkMessage::NewRoute(behind_eth1), false);
        let hop = |by_tun: Option<&ByTun<'_>>, to: &str| {
            let network = snapshot(&tables, HashMap::new(), by_tun);
            let route = network.routes.lookup(ip(to)).copied();
            route.map(|route| (route.kind, route.interface, route.gateway, route.mtu))
        };
        let source = |by_tun: &ByTun<'_>, to: &str| {
            let network = snapshot(&tables, HashMap::new(), Some(by_tun));
            network.routes.lookup(ip(to)).and_then(|route| route.source)
        };
        let router = Some(ip("10.1.0.254"));
        let unicast = RouteKind::Unicast;
        assert_eq!(hop(None, "fd00::1"), None);
        let mixed = ByTun {
            open: &BTreeSet::from([2, 9]),
            tun: 9,
        };
        let alone = ByTun {
            open: &BTreeSet::from([9]),
            tun: 9,
        };
        let by_eth0 = (unicast, 2, router, None);
        let by_tun = |mtu| Some((unicast, 9, None, mtu));
        let local = (RouteKind::Local, 2, None, None);
        for (to, in_mixed, in_alone) in [
            ("8.8.8.8", Some(by_eth0), by_tun(Some(1500))),
            (
                "10.1.0.7",
                Some((unicast, 2, None, None)),
                by_tun(Some(1500)),
            ),
            ("10.2.0.7", by_tun(Some(1500)), by_tun(Some(1500))),
            // The host refuses it, and says so itself.
            ("10.9.0.7", by_tun(None), by_tun(None)),
            ("10.1.0.1", Some(local), Some(local)),
            ("fd00::1", by_tun(None), by_tun(None)),
        ] {
            assert_eq!(hop(Some(&mixed), to), in_mixed, "{to}");
            assert_eq!(hop(Some(&alone), to), in_alone, "{to}");
        }
        // What goes to the host leaves it by eth0, with the address there.
        assert_eq!(source(&alone, "8.8.8.8"), Some(ip("10.1.0.1")));
        assert_eq!(source(&alone, "10.2.0.7"), None);
    }

    #[test]
    fn cut_off_datagrams_are_passed_over() {
        let mut tables = Tables::default();
        for datagram in [&[][..], &[1, 0, 0], &[16, 0, 0, 0], &[255; 40], &[0; 64]] {
            assert!(read_datagram(datagram, &mut tables).is_empty());
        }
    }
}

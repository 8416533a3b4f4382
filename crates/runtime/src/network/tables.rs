//! The kernel's links, addresses, routes and neighbours, as rtnetlink tells them.
//!
//! Pure: [`Tables::apply`] takes one message at a time and says what kind of thing changed. Nothing is
//! read from a socket here, so a test can tell any story.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use director::net::RouteKind;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteType,
    RouteVia,
};
use packet::Mac;

/// RT_TABLE_DEFAULT and RT_TABLE_LOCAL; RT_TABLE_MAIN (254) lies between. The default policy rules ask these three,
/// the local one first.
const TABLE_DEFAULT: u32 = 253;
/// The table of the addresses that are this host's own, which is asked first.
pub const TABLE_LOCAL: u32 = 255;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Name, as `ip link` shows it.
    pub name: String,
    /// Hardware address; zeros where there is none (TUN).
    pub mac: Mac,
    /// Largest IP datagram, octets.
    pub mtu: u32,
    /// IFF_UP and IFF_RUNNING.
    pub up: bool,
    /// Whether frames begin with an Ethernet header (ARPHRD_ETHER and loopback).
    pub ethernet: bool,
    /// IFF_LOOPBACK.
    pub loopback: bool,
    /// A port of a bridge or a bond, whose frames appear on the master too.
    pub enslaved: bool,
    /// Of an 802.1Q interface: index of the interface below, and VLAN identifier.
    pub vlan: Option<(u32, u16)>,
}

/// One route of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Network address.
    pub destination: IpAddr,
    /// Prefix length, bits.
    pub prefix_len: u8,
    /// Routing table number.
    pub table: u32,
    /// Metric; the lowest of equal prefixes is used.
    pub priority: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Interface index; 0 for blackhole and unreachable routes.
    pub interface: u32,
    /// Next router; `None` = the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Preferred source address (`src`).
    pub source: Option<IpAddr>,
    /// Locked or learned path MTU (`mtu`), octets.
    pub mtu: Option<u32>,
}

/// What a message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that the director looks at.
    Nothing,
    /// A neighbour.
    Neighbour,
    /// A route.
    Route,
    /// A link or an address: the kernel drops routes along with it without telling about each.
    Interface,
}

/// Everything the kernel told so far.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<u32, Vec<(IpAddr, u8)>>,
    routes: Vec<Route>,
    neighbours: HashMap<(u32, IpAddr), Mac>,
}

impl Tables {
    /// Interfaces by index.
    #[must_use]
    pub const fn links(&self) -> &BTreeMap<u32, Link> {
        &self.links
    }

    /// The addresses of an interface with their prefix lengths.
    #[must_use]
    pub fn addresses(&self, interface: u32) -> &[(IpAddr, u8)] {
        self.addresses.get(&interface).map_or(&[], Vec::as_slice)
    }

    /// All routes of the tables local, main and default.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The hardware addresses of neighbours that the kernel holds for valid.
    #[must_use]
    pub const fn neighbours(&self) -> &HashMap<(u32, IpAddr), Mac> {
        &self.neighbours
    }

    /// Whether a packet to `address` would be delivered to this host.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.lookup(address)
            .is_some_and(|route| route.kind == RouteKind::Local)
    }

    /// The route that the kernel would take to `address`: table local before main before default, longest prefix,
    /// lowest metric. Routes over links that are down do not count.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<&Route> {
        self.routes
            .iter()
            .filter(|route| contains(route.destination, route.prefix_len, address))
            .filter(|route| self.is_usable(route))
            .max_by_key(|route| {
                (
                    route.table,
                    route.prefix_len,
                    std::cmp::Reverse(route.priority),
                )
            })
    }

    /// Whether the kernel would use the route now: its link is up, or it needs none.
    #[must_use]
    pub fn is_usable(&self, route: &Route) -> bool {
        route.interface == 0 || self.links.get(&route.interface).is_none_or(|link| link.up)
    }

    /// The interface on whose connected network `address` lies, by the addresses of the interfaces.
    #[must_use]
    pub fn connected(&self, address: IpAddr) -> Option<u32> {
        self.addresses
            .iter()
            .flat_map(|(&index, list)| list.iter().map(move |entry| (index, entry)))
            .filter(|(index, _)| self.links.get(index).is_some_and(|link| !link.loopback))
            .filter(|(_, (network, len))| contains(*network, *len, address))
            .max_by_key(|(_, (_, len))| *len)
            .map(|(index, _)| index)
    }

    /// Takes in one message of a dump or of the monitor; `replace` is NLM_F_REPLACE of its header.
    pub fn apply(&mut self, message: &RouteNetlinkMessage, replace: bool) -> Change {
        match message {
            RouteNetlinkMessage::NewLink(link) => self.new_link(link),
            RouteNetlinkMessage::DelLink(link) => self.delete_link(link.header.index),
            RouteNetlinkMessage::NewAddress(address) => self.new_address(address),
            RouteNetlinkMessage::DelAddress(address) => self.delete_address(address),
            RouteNetlinkMessage::NewRoute(route) => self.new_route(route, replace),
            RouteNetlinkMessage::DelRoute(route) => self.delete_route(route),
            RouteNetlinkMessage::NewNeighbour(neighbour) => self.new_neighbour(neighbour),
            RouteNetlinkMessage::DelNeighbour(neighbour) => self.delete_neighbour(neighbour),
            _ => Change::Nothing,
        }
    }

    /// Forgets all routes, before they are dumped anew.
    pub fn clear_routes(&mut self) {
        self.routes.clear();
    }

    fn new_link(&mut self, message: &LinkMessage) -> Change {
        // AF_BRIDGE notifications describe bridge ports, not links.
        if u8::from(message.header.interface_family) != 0 {
            return Change::Nothing;
        }
        let flags = message.header.flags;
        let mut link = Link {
            up: flags.contains(LinkFlags::Up | LinkFlags::Running),
            loopback: flags.contains(LinkFlags::Loopback),
            ethernet: matches!(
                message.header.link_layer_type,
                LinkLayerType::Ether | LinkLayerType::Loopback
            ),
            ..Link::default()
        };
        let (mut below, mut vlan_id) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Link(index) => below = Some(*index),
                LinkAttribute::LinkInfo(infos) => vlan_id = infos.iter().find_map(vlan_identifier),
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Controller(master) => link.enslaved = *master != 0,
                LinkAttribute::Address(octets) => {
                    link.mac = mac(octets).unwrap_or_default();
                }
                _ => {}
            }
        }
        link.vlan = below.zip(vlan_id);
        let old = self.links.insert(message.header.index, link.clone());
        if old.as_ref() == Some(&link) {
            Change::Nothing
        } else {
            Change::Interface
        }
    }

    fn delete_link(&mut self, index: u32) -> Change {
        self.links.remove(&index);
        self.addresses.remove(&index);
        self.routes.retain(|route| route.interface != index);
        self.neighbours
            .retain(|(interface, _), _| *interface != index);
        Change::Interface
    }

    fn new_address(&mut self, message: &AddressMessage) -> Change {
        let Some(address) = interface_address(message) else {
            return Change::Nothing;
        };
        let list = self.addresses.entry(message.header.index).or_default();
        let entry = (address, message.header.prefix_len);
        if list.contains(&entry) {
            return Change::Nothing;
        }
        list.push(entry);
        Change::Interface
    }

    fn delete_address(&mut self, message: &AddressMessage) -> Change {
        let Some(address) = interface_address(message) else {
            return Change::Nothing;
        };
        let entry = (address, message.header.prefix_len);
        if let Some(list) = self.addresses.get_mut(&message.header.index) {
            list.retain(|known| *known != entry);
        }
        Change::Interface
    }

    fn new_route(&mut self, message: &RouteMessage, replace: bool) -> Change {
        let Some(route) = read_route(message) else {
            return Change::Nothing;
        };
        if self.routes.contains(&route) {
            return Change::Nothing;
        }
        if replace {
            self.routes.retain(|known| !same_entry(known, &route));
        }
        self.routes.push(route);
        Change::Route
    }

    fn delete_route(&mut self, message: &RouteMessage) -> Change {
        let Some(route) = read_route(message) else {
            return Change::Nothing;
        };
        let before = self.routes.len();
        self.routes.retain(|known| {
            !(same_entry(known, &route)
                && known.interface == route.interface
                && known.gateway == route.gateway)
        });
        if self.routes.len() == before {
            Change::Nothing
        } else {
            Change::Route
        }
    }

    fn new_neighbour(&mut self, message: &NeighbourMessage) -> Change {
        let Some(address) = neighbour_address(message) else {
            return Change::Nothing;
        };
        let key = (message.header.ifindex, address);
        let mac = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(octets) => mac(octets),
                _ => None,
            });
        let old = match mac.filter(|_| is_valid(message.header.state)) {
            Some(mac) => match self.neighbours.insert(key, mac) {
                Some(old) if old == mac => return Change::Nothing,
                _ => return Change::Neighbour,
            },
            None => self.neighbours.remove(&key),
        };
        if old.is_some() {
            Change::Neighbour
        } else {
            Change::Nothing
        }
    }

    fn delete_neighbour(&mut self, message: &NeighbourMessage) -> Change {
        let key = neighbour_address(message).map(|address| (message.header.ifindex, address));
        match key.and_then(|key| self.neighbours.remove(&key)) {
            Some(_) => Change::Neighbour,
            None => Change::Nothing,
        }
    }
}

/// A hardware address of six octets; others are no Ethernet.
fn mac(octets: &[u8]) -> Option<Mac> {
    octets.try_into().ok().map(Mac)
}

/// Whether `address` lies in the network of `prefix_len` bits around `network`.
#[must_use]
pub fn contains(network: IpAddr, prefix_len: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32 - u32::from(prefix_len.min(32));
            let differ = u32::from(network) ^ u32::from(address);
            differ.checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128 - u32::from(prefix_len.min(128));
            let differ = u128::from(network) ^ u128::from(address);
            differ.checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The kernel sends frames to a neighbour in these states (NUD_VALID).
const fn is_valid(state: NeighbourState) -> bool {
    matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Noarp
            | NeighbourState::Permanent
    )
}

/// The VLAN identifier of an 802.1Q interface.
fn vlan_identifier(info: &LinkInfo) -> Option<u16> {
    match info {
        LinkInfo::Data(InfoData::Vlan(settings)) => {
            settings.iter().find_map(|setting| match setting {
                InfoVlan::Id(id) => Some(*id),
                _ => None,
            })
        }
        _ => None,
    }
}

/// IFA_LOCAL where there is one (on point-to-point links IFA_ADDRESS is the peer's), else IFA_ADDRESS.
fn interface_address(message: &AddressMessage) -> Option<IpAddr> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) => found = Some(*address),
            _ => {}
        }
    }
    found
}

fn neighbour_address(message: &NeighbourMessage) -> Option<IpAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                Some(IpAddr::V4(*address))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                Some(IpAddr::V6(*address))
            }
            _ => None,
        })
}

fn same_entry(left: &Route, right: &Route) -> bool {
    left.destination == right.destination
        && left.prefix_len == right.prefix_len
        && left.table == right.table
        && left.priority == right.priority
}

fn read_route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.flags.contains(RouteFlags::Cloned) || header.source_prefix_length != 0 {
        return None;
    }
    let kind = match header.kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable | RouteType::Prohibit => RouteKind::Unreachable,
        _ => return None,
    };
    let mut route = Route {
        destination: unspecified(u8::from(header.address_family))?,
        prefix_len: header.destination_prefix_length,
        table: u32::from(header.table),
        priority: 0,
        kind,
        interface: 0,
        gateway: None,
        source: None,
        mtu: None,
    };
    let mut hops: &[RouteNextHop] = &[];
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => route.destination = ip(address)?,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(priority) => route.priority = *priority,
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Metrics(metrics) => route.mtu = path_mtu(metrics),
            RouteAttribute::MultiPath(next_hops) => hops = next_hops,
            other => read_hop(&mut route, other),
        }
    }
    // Of several next hops the first is taken.
    if let Some(hop) = hops.first() {
        route.interface = hop.interface_index;
        for attribute in &hop.attributes {
            read_hop(&mut route, attribute);
        }
    }
    if kind != RouteKind::Unicast {
        route.gateway = None;
    }
    if matches!(kind, RouteKind::Blackhole | RouteKind::Unreachable) {
        // IPv6 names lo here.
        route.interface = 0;
    }
    (TABLE_DEFAULT..=TABLE_LOCAL)
        .contains(&route.table)
        .then_some(route)
}

fn read_hop(route: &mut Route, attribute: &RouteAttribute) {
    match attribute {
        RouteAttribute::Oif(index) => route.interface = *index,
        RouteAttribute::Gateway(address) => route.gateway = ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => route.gateway = Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => route.gateway = Some(IpAddr::V6(*address)),
        _ => {}
    }
}

fn path_mtu(metrics: &[RouteMetric]) -> Option<u32> {
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
        _ => None,
    })
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// The address of the default route: AF_INET is 2, AF_INET6 10.
const fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        2 => Some(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
        10 => Some(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! The host that a replayed director stands on, made up from the capture and the rules.
//!
//! A capture says nothing of interfaces, routes or neighbours. What is made up of it:
//!
//! * **Interfaces**: one for each link address that frames for a VIP (or with a firewall mark, or from a NAT real server)
//!   are addressed to, unless whoever sends them is such an address itself: those are the director's own frames to real
//!   servers. A capture of IP packets (RAW) has one without link address. Their MTU is 1500, or as much as the longest
//!   frame needs.
//! * **Neighbours**: each address that a frame came from is where that frame came from; so are the senders of ARP, and
//!   the real servers that the recorded director sent frames to. A real server that was never seen gets
//!   the link address 02:00 and its four octets (IPv6: the last four), and so has no frame to wait for.
//! * **Routes**: everything is on the link, by the interface where it was seen, else by the first one.
//! * **Addresses**: those that the recorded director used in ARP, NDP and tunnels; else [`MADE_UP_V4`] and
//!   [`MADE_UP_V6`].
//! * **VIPs** are answered for by the director itself, unless [`HostOptions::vips`] says otherwise.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};

use control::config::{self, MarkRule};
use director::destination::Method;
use director::net::{Answer, Interface, Network, Route, RouteKind};
use director::service::ServiceKey;
use link::pcap::{LinkType, Record};
use packet::arp::Arp;
use packet::{Headers, Mac, Transport, protocol};

use crate::rules::Rules;

/// The director's own IPv4 address where the capture shows none (RFC 2544: for tests).
pub const MADE_UP_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The director's own IPv6 address where the capture shows none (RFC 5180: for tests).
pub const MADE_UP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
/// The director's link address where no frame is for a VIP.
pub const MADE_UP_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// Index of the first interface; 1 is the loopback's.
const FIRST_INDEX: u32 = 2;
/// MTU of Ethernet (RFC 894), octets.
const ETHERNET_MTU: usize = 1500;
/// NDP's solicitation and advertisement of neighbours (RFC 4861, 4.3 and 4.4).
const NEIGHBOUR_MESSAGES: [u8; 2] = [135, 136];
/// Protocols that carry tunnels: IPIP, IPv6 in IP, GRE.
const TUNNELS: [u8; 3] = [4, 41, 47];

/// What the operator knows of the host and the capture does not say.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Link addresses of the director's interfaces; empty = found in the capture.
    pub macs: Vec<Mac>,
    /// Name of the first interface, for rules that go by it; the others follow as `NAME.1`, `NAME.2`.
    pub interface: String,
    /// MTU, octets; `None` = made up.
    pub mtu: Option<u32>,
    /// Who answers ARP, ping and refusals for the VIPs.
    pub vips: Answer,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            macs: Vec::new(),
            interface: "eth0".to_owned(),
            mtu: None,
            vips: Answer::Owned,
        }
    }
}

/// A link address that frames were sent from, and one that they were sent to.
type Pair = (Mac, Mac);

/// What the frames of a capture say of the host, gathered one by one.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    link_type: LinkType,
    vips: BTreeSet<IpAddr>,
    servers: BTreeSet<IpAddr>,
    /// Real servers whose answers come back to the director.
    translated: BTreeSet<(IpAddr, u16)>,
    marks: Vec<MarkRule>,
    interface: String,
    /// Pairs of frames for the director, and after how many others each was seen first.
    for_director: BTreeMap<Pair, usize>,
    /// Where each address sends from, by which link address, and where to.
    senders: BTreeMap<(IpAddr, Mac), Mac>,
    /// Where frames for real servers go, by who sends them.
    to_servers: BTreeMap<(IpAddr, Mac), Mac>,
    /// Addresses in ARP, NDP and outside tunnels, with the sender's link address.
    speakers: BTreeSet<(Mac, IpAddr)>,
    longest: usize,
}

impl Survey {
    /// Nothing seen yet.
    pub(crate) fn new(rules: &Rules, options: &HostOptions, link_type: LinkType) -> Self {
        let services = &rules.state.services;
        let vips = services
            .iter()
            .filter_map(|(service, _)| match service.key {
                ServiceKey::Address { address, .. } => Some(address),
                ServiceKey::Mark { .. } => None,
            });
        let servers = || services.iter().flat_map(|(_, servers)| servers);
        let translated = servers().filter(|server| server.method == Method::Masq);
        Self {
            link_type,
            vips: vips.collect(),
            servers: servers().map(|server| server.address).collect(),
            translated: translated
                .map(|server| (server.address, server.port))
                .collect(),
            marks: rules.marks.clone(),
            interface: options.interface.clone(),
            for_director: BTreeMap::new(),
            senders: BTreeMap::new(),
            to_servers: BTreeMap::new(),
            speakers: BTreeSet::new(),
            longest: 0,
        }
    }

    /// Takes in one frame.
    pub(crate) fn note(&mut self, record: &mut Record) {
        let packet = record.frame.packet();
        let Some((destination, source)) = link_addresses(packet.bytes(), packet.link_len) else {
            return;
        };
        self.longest = self.longest.max(packet.network().len());
        if let Some(arp) = Arp::of(&packet) {
            if !arp.sender.is_unspecified() {
                self.senders
                    .insert((arp.sender.into(), source), destination);
                self.speakers.insert((source, arp.sender.into()));
            }
            return;
        }
        let Ok(headers) = Headers::parse(&packet) else {
            return;
        };
        self.senders.insert((headers.source, source), destination);
        if self.is_speaker(&headers) {
            self.speakers.insert((source, headers.source));
        }
        if destination.is_multicast() {
            return;
        }
        if self.is_for_director(&headers) {
            let seen = self.for_director.len();
            self.for_director
                .entry((source, destination))
                .or_insert(seen);
        }
        if self.servers.contains(&headers.destination) {
            let key = (headers.destination, source);
            self.to_servers.insert(key, destination);
        }
    }

    /// Whether the recorded director is who this frame was for. What has a firewall mark is for a VIP.
    fn is_for_director(&mut self, headers: &Headers) -> bool {
        let packet = config::Packet::of(&self.interface, headers);
        let is_server = self.servers.contains(&headers.destination);
        if !is_server && MarkRule::mark_of(&self.marks, &packet) != 0 {
            self.vips.insert(headers.destination);
        }
        let answers = (headers.source, headers.ports().0);
        self.vips.contains(&headers.destination) || self.translated.contains(&answers)
    }

    fn is_speaker(&self, headers: &Headers) -> bool {
        let is_neighbour = headers.protocol == protocol::ICMPV6
            && matches!(headers.transport, Transport::Icmp { kind, .. } if NEIGHBOUR_MESSAGES.contains(&kind));
        (is_neighbour || TUNNELS.contains(&headers.protocol)) && !headers.source.is_unspecified()
    }

    /// The director's link addresses, in the order in which they were seen.
    fn own_macs(&self) -> Vec<Mac> {
        let receivers: BTreeSet<Mac> = self.for_director.keys().map(|(_, to)| *to).collect();
        let from_others = |(pair, order): (&Pair, &usize)| {
            let is_forwarded = receivers.contains(&pair.0) && pair.0 != pair.1;
            (!is_forwarded).then_some((*order, pair.1))
        };
        let mut own: Vec<(usize, Mac)> = self.for_director.iter().filter_map(from_others).collect();
        own.sort_unstable();
        let mut macs = Vec::new();
        for (_, mac) in own {
            if !macs.contains(&mac) {
                macs.push(mac);
            }
        }
        macs
    }

    /// The host made up from all that was noted.
    pub(crate) fn host(self, options: &HostOptions) -> Host {
        let found = self.own_macs();
        let is_found = options.macs.is_empty() && !found.is_empty();
        let macs = if !options.macs.is_empty() {
            options.macs.clone()
        } else if is_found {
            found
        } else if self.link_type == LinkType::Raw {
            vec![Mac::default()]
        } else {
            vec![MADE_UP_MAC]
        };
        let mut told = Vec::new();
        if !is_found && options.macs.is_empty() && self.link_type == LinkType::Ethernet {
            told.push(format!(
                "no frame is for a VIP of the rules, so the director's link address is made up ({MADE_UP_MAC}); \
                 --interface-mac names the real one"
            ));
        }
        let mut host = Host {
            network: Network {
                icmp_ratelimit_ms: 1000,
                ..Network::default()
            },
            macs,
            vips: self.vips.clone(),
            told,
        };
        self.interfaces(&mut host, options);
        self.routes(&mut host, options);
        self.neighbours(&mut host);
        host
    }

    fn interfaces(&self, host: &mut Host, options: &HostOptions) {
        let needed = self.longest.max(ETHERNET_MTU);
        let mtu = options
            .mtu
            .unwrap_or_else(|| u32::try_from(needed).unwrap_or(u32::MAX));
        if options.mtu.is_none() && needed > ETHERNET_MTU {
            host.told.push(format!(
                "the MTU is taken as {mtu} octets, which the longest frame needs (frames that the recording host \
                 joined, or jumbo frames); --mtu sets another one"
            ));
        }
        for (number, &mac) in host.macs.iter().enumerate() {
            let own =
                |&&(from, address): &&(Mac, IpAddr)| from == mac && !self.vips.contains(&address);
            let seen = self
                .speakers
                .iter()
                .filter(own)
                .map(|(_, address)| *address);
            let mut addresses: Vec<(IpAddr, u8)> =
                seen.map(|address| (address, whole(address))).collect();
            for made_up in [IpAddr::from(MADE_UP_V4), IpAddr::from(MADE_UP_V6)] {
                if number == 0
                    && !addresses
                        .iter()
                        .any(|(a, _)| a.is_ipv4() == made_up.is_ipv4())
                {
                    addresses.push((made_up, whole(made_up)));
                }
            }
            let name = match number {
                0 => options.interface.clone(),
                more => format!("{}.{more}", options.interface),
            };
            host.network.interfaces.push(Interface {
                index: FIRST_INDEX + u32::try_from(number).unwrap_or(0),
                name,
                mac,
                mtu,
                link_len: self.link_type.link_len(),
                addresses,
                up: true,
            });
        }
    }

    fn routes(&self, host: &mut Host, options: &HostOptions) {
        let network = &mut host.network;
        for any in [
            IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::from(Ipv6Addr::UNSPECIFIED),
        ] {
            network
                .routes
                .insert(any, 0, route(RouteKind::Unicast, FIRST_INDEX));
        }
        let own = network.interfaces.iter().flat_map(|i| &i.addresses);
        let own: Vec<IpAddr> = own.map(|(address, _)| *address).collect();
        for &address in self.vips.iter().chain(&own) {
            network
                .routes
                .insert(address, whole(address), route(RouteKind::Local, 1));
        }
        for &vip in &self.vips {
            network.vips.insert(vip, options.vips);
        }
    }

    fn neighbours(&self, host: &mut Host) {
        if self.link_type == LinkType::Raw {
            return;
        }
        let macs = host.macs.clone();
        let index_of = |mac: &Mac| {
            let place = macs.iter().position(|own| own == mac).unwrap_or(0);
            FIRST_INDEX + u32::try_from(place).unwrap_or(0)
        };
        // Where an address was seen by itself counts more than where the recorded director sent frames for it.
        let sent = self
            .to_servers
            .iter()
            .filter(|((_, from), _)| macs.contains(from));
        for (&(address, from), &to) in sent {
            host.know(index_of(&from), address, to);
        }
        let senders = self
            .senders
            .iter()
            .filter(|((_, from), _)| !macs.contains(from));
        for (&(address, from), to) in senders {
            host.know(index_of(to), address, from);
        }
        let mut unseen = 0;
        for &server in &self.servers {
            let known = host
                .network
                .neighbours
                .keys()
                .any(|(_, address)| *address == server);
            if !known && !host.network.is_local(server) {
                host.know(FIRST_INDEX, server, made_up_mac(server));
                unseen += 1;
            }
        }
        if unseen > 0 {
            host.told.push(format!(
                "{unseen} of {} real servers were not seen in the capture: their link addresses are made up, 02:00 and \
                 the address's last four octets",
                self.servers.len()
            ));
        }
    }
}

/// A host that was made up.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// As the director sees it.
    pub(crate) network: Network,
    /// The director's link addresses.
    pub(crate) macs: Vec<Mac>,
    vips: BTreeSet<IpAddr>,
    /// What the reader of the outcome must know of what was made up, a sentence each.
    pub(crate) told: Vec<String>,
}

impl Host {
    fn know(&mut self, interface: u32, address: IpAddr, mac: Mac) {
        if self.vips.contains(&address) || mac.is_multicast() {
            return;
        }
        let network = &mut self.network;
        let hop = route(RouteKind::Unicast, interface);
        if interface != FIRST_INDEX {
            network.routes.insert(address, whole(address), hop);
        }
        network.neighbours.insert((interface, address), mac);
    }

    /// Index of the interface that a frame arrives on; `None` for a frame that the recorded director sent itself.
    pub(crate) fn arrival(&self, record: &mut Record) -> Option<u32> {
        let packet = record.frame.packet();
        let Some((destination, source)) = link_addresses(packet.bytes(), packet.link_len) else {
            return Some(FIRST_INDEX);
        };
        if packet.link_len == 0 {
            let headers = Headers::parse(&packet);
            let is_own = headers.is_ok_and(|headers| self.vips.contains(&headers.source));
            return (!is_own).then_some(FIRST_INDEX);
        }
        let place = |mac: Mac| self.macs.iter().position(|own| *own == mac);
        if place(source).is_some() {
            return None;
        }
        let number = place(destination).unwrap_or(0);
        Some(FIRST_INDEX + u32::try_from(number).unwrap_or(0))
    }
}

/// Destination and source of the link header; zero on links without one, `None` where it is cut off.
fn link_addresses(frame: &[u8], link_len: usize) -> Option<(Mac, Mac)> {
    if link_len == 0 {
        return Some((Mac::default(), Mac::default()));
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12] = *frame.first_chunk()?;
    Some((Mac([a, b, c, d, e, f]), Mac([g, h, i, j, k, l])))
}

fn made_up_mac(address: IpAddr) -> Mac {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            [a, b, c, d]
        }
    };
    Mac([2, 0, a, b, c, d])
}

const fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

const fn route(kind: RouteKind, interface: u32) -> Route {
    Route {
        kind,
        interface,
        gateway: None,
        source: None,
        mtu: None,
        metric: 0,
    }
}

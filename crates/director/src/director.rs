//! One worker's director: frames in, decisions and frames out.
//!
//! [`Director::handle`] is the packet's way in one place: link address, ARP and NDP, headers, fragments, ICMP,
//! the connection, else a service. Each step's details stand in the file named for it.

use core::net::IpAddr;
use core::sync::atomic::AtomicU64;
use core::time::Duration;
use std::sync::Arc;

use packet::{Headers, Mac, Malformed, Packet, Transport, Vlan};

use crate::assist::Assist;
use crate::connection::{Connection, ConnectionId, FlowKey, StateRules, Table, TableConfig};
use crate::cut::Pieces;
use crate::defence::Sacrifice;
use crate::frame::{Frame, Outgoing, Output};
use crate::ftp;
use crate::icmp_limit::IcmpLimit;
use crate::net::waiting::Waiting;
use crate::net::{Interface, NeighbourTable, Network, PathMtus, RouteKind};
use crate::orphans::Orphans;
use crate::owners::Owners;
use crate::prefetch::Guesses;
use crate::protocol::{Direction, Protocol};
use crate::reassembly::Reassembly;
use crate::redirect::RedirectLimit;
use crate::services::Services;
use crate::shared::{Shared, Timeouts};
use crate::snapshot::Snapshot;
use crate::sysctl::Sysctl;
use crate::template::Ended;
use crate::time::Instant;
use crate::verdict::{Counters, DropReason, Verdict};
use crate::ways::Ways;

/// UDP port of the key exchange that ESP and AH belong to.
pub(crate) const ISAKMP_PORT: u16 = 500;
/// Connections that one [`Director::tick`] may end, so that it takes well under a millisecond.
const EXPIRY_BUDGET: u32 = 512;

/// What all workers share of the host.
#[derive(Debug, Default)]
pub struct Host {
    /// Interfaces, routes, kernel neighbours and VIPs; swapped whole when the host changes.
    pub network: Snapshot<Network>,
    /// Link addresses learned by ulvs itself.
    pub neighbours: NeighbourTable,
    /// Path MTUs learned from ICMP errors.
    pub path_mtus: PathMtus,
    /// Milliseconds from midnight UTC to [`Instant::START`], for the timestamps of IPv4 options.
    pub midnight_ms: AtomicU64,
    /// Packets that wait for a link address.
    pub(crate) waiting: Waiting,
    /// ICMP errors that each peer may still get.
    pub(crate) icmp_limit: IcmpLimit,
    /// Redirects that each neighbour may still get.
    pub(crate) redirect_limit: RedirectLimit,
}

impl Host {
    /// Packets of all workers that wait for a next hop's link address.
    #[must_use]
    pub fn waiting_packets(&self) -> usize {
        self.waiting.len()
    }
}

/// The director of one worker: owns its connections, shares services with the other workers.
#[derive(Debug)]
pub struct Director {
    pub(crate) network: Arc<Network>,
    pub(crate) services: Arc<Services>,
    pub(crate) worker: Worker,
    pub(crate) guesses: Guesses,
}

/// All of a director that a packet may change.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: Arc<Host>,
    pub(crate) connections: Table,
    pub(crate) timeouts: Timeouts,
    pub(crate) orphans: Orphans,
    pub(crate) sacrifice: Sacrifice,
    pub(crate) ways: Ways,
    pub(crate) reassembly: Reassembly,
    /// Flows that the kernel sends on by itself, where that is wanted.
    pub(crate) assist: Option<Assist>,
    pub(crate) counters: Counters,
    /// Identification of the next IPv4 datagram or IPv6 fragment that the director makes.
    pub(crate) next_id: u32,
}

/// What stays the same while a batch is handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'b> {
    pub(crate) now: Instant,
    pub(crate) network: &'b Network,
    pub(crate) services: &'b Services,
}

/// Where a packet came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ingress<'b> {
    pub(crate) interface: &'b Interface,
    /// Firewall mark, 0 = none.
    pub(crate) mark: u32,
    /// 802.1Q tag, to go on the answer.
    pub(crate) vlan: Option<Vlan>,
}

/// A whole IP datagram on its way through the director.
#[derive(Debug)]
pub(crate) struct Datagram<'a, 'b> {
    pub(crate) frame: Frame<'a>,
    /// What its headers say, where it was read to: copying it costs as much as the reading.
    pub(crate) headers: &'b mut Headers,
    /// Payload octets of each fragment it arrived in; empty if it came whole.
    pub(crate) pieces: Pieces<'b>,
    pub(crate) ingress: Ingress<'b>,
}

impl Datagram<'_, '_> {
    /// Octets of the IP datagram.
    pub(crate) fn len(&self) -> usize {
        self.headers.end - self.headers.network_offset
    }
}

impl Director {
    /// The director of worker number `index`; `table` sizes its connection table and holds the secret of its
    /// hash (from the operating system's random source in production, so that nobody can aim at a bucket).
    #[must_use]
    pub fn new(shared: Arc<Shared>, host: Arc<Host>, index: usize, table: &TableConfig) -> Self {
        let [.., a, b, c, d] = table.seed[0].to_be_bytes();
        let mut director = Self {
            network: host.network.load_full(),
            services: shared.snapshot(),
            worker: Worker {
                index,
                connections: Table::new(table),
                timeouts: Timeouts::default(),
                shared,
                host,
                orphans: Orphans::default(),
                sacrifice: Sacrifice::new(
                    table.seed[1].wrapping_add(table.seed[0].rotate_left(32)),
                ),
                ways: Ways::new(),
                reassembly: Reassembly::default(),
                assist: None,
                counters: Counters::default(),
                next_id: u32::from_be_bytes([a, b, c, d]),
            },
            guesses: Guesses::default(),
        };
        director.refresh();
        director
    }

    /// Takes up changes of services, timeouts and host. Call once per batch: a batch sees one configuration.
    pub fn refresh(&mut self) {
        // First: what is decided for an older generation is void.
        if let Some(assist) = &mut self.worker.assist {
            assist.refresh();
        }
        let network = self.worker.host.network.load();
        if !Arc::ptr_eq(&network, &self.network) {
            self.network = Arc::clone(&network);
            self.worker.ways.clear();
        }
        drop(network);
        self.services = self.worker.shared.snapshot();
        self.worker.timeouts = self.worker.shared.timeouts();
    }

    /// Decides what becomes of one frame that arrived on `interface`, with firewall mark `mark` (0 = none);
    /// frames to transmit are appended to `output`.
    pub fn handle<'a>(
        &mut self,
        now: Instant,
        interface: u32,
        mark: u32,
        mut packet: Packet<'a>,
        output: &mut Output<'a>,
    ) -> Verdict {
        if let Some(interface) = self.fast_path(now, interface, &mut packet) {
            let frame = Frame::InPlace(packet);
            output.frames.push(Outgoing { interface, frame });
            self.worker.counters.count(Verdict::Forwarded);
            return Verdict::Forwarded;
        }
        self.long_way(now, interface, mark, packet, output)
    }

    /// [`Director::handle`] for every packet that the fast path leaves alone.
    #[inline(never)]
    pub(crate) fn long_way<'a>(
        &mut self,
        now: Instant,
        interface: u32,
        mark: u32,
        packet: Packet<'a>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let batch = Batch {
            now,
            network: &self.network,
            services: &self.services,
        };
        let verdict = match batch.network.interface(interface) {
            None => Verdict::Drop(DropReason::NoInterface),
            Some(interface) if batch.network.is_for_vlan_interface(interface, packet.vlan) => {
                Verdict::Pass
            }
            Some(interface) => {
                let ingress = Ingress {
                    interface,
                    mark,
                    vlan: packet.vlan,
                };
                self.worker.receive(&batch, &ingress, packet, output)
            }
        };
        self.worker.counters.count(verdict);
        verdict
    }

    /// What time alone brings about: expired connections, repeated ARP requests, abandoned fragments. Works
    /// within a budget, so it may ask to be called again at once by [`Director::next_deadline`].
    pub fn tick(&mut self, now: Instant, output: &mut Output<'_>) {
        let batch = Batch {
            now,
            network: &self.network,
            services: &self.services,
        };
        self.worker.poll_neighbours(&batch, output);
        self.worker.expire_fragments(&batch, output);
        self.worker.expire_connections(now);
        self.worker.end_orphans(now);
        self.worker.sacrifice(now);
    }

    /// When [`Director::tick`] wants to be called next, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline_with(Duration::ZERO)
    }

    /// The same for a driver that may let connections end up to `slack` late while nothing arrives: many of them then
    /// cost one call. What somebody waits for (packets held for a link address, fragments) is as urgent as ever.
    #[must_use]
    pub fn next_deadline_with(&self, slack: Duration) -> Option<Instant> {
        let worker = &self.worker;
        let expiry = worker.connections.next_expiry();
        [
            worker.host.waiting.next_deadline(worker.index),
            worker.reassembly.next_deadline(),
            expiry.map(|moment| moment.after(slack)),
            worker.orphans.next_deadline(worker.shared.deletions()),
            worker.sacrifice.next_deadline(&worker.shared.defence),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What received synchronisation entries change.
    pub(crate) fn parts(&mut self) -> (&Services, &mut Worker) {
        (&self.services, &mut self.worker)
    }

    /// Counts of this worker.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.worker.counters
    }

    /// Fragments that wait for the rest of their datagrams.
    #[must_use]
    pub const fn waiting_fragments(&self) -> u64 {
        self.worker.reassembly.waiting()
    }

    /// Which worker owns which FTP data connection.
    #[must_use]
    pub fn owners(&self) -> &Owners {
        &self.worker.shared.owners
    }

    /// This worker's connections, for listing.
    #[must_use]
    pub fn connections(&self) -> &Table {
        &self.worker.connections
    }
}

impl Worker {
    fn receive<'a>(
        &mut self,
        batch: &Batch<'_>,
        ingress: &Ingress<'_>,
        mut packet: Packet<'a>,
        output: &mut Output<'a>,
    ) -> Verdict {
        if packet.link_len > 0 {
            let Some((destination, ether_type)) = link_fields(packet.bytes()) else {
                return Verdict::Drop(DropReason::Malformed(Malformed::LinkTruncated));
            };
            if ether_type == packet::ethernet::ARP {
                return self.receive_arp(batch, ingress, &packet, output);
            }
            if destination != ingress.interface.mac {
                return match ether_type {
                    packet::ethernet::IPV6 if destination.is_multicast() => {
                        self.receive_multicast(batch, ingress, &packet, output)
                    }
                    _ => Verdict::Pass,
                };
            }
        }
        if packet.offload.gso.is_some() && packet.offload.gso_size == 0 {
            // Segments of nothing: no device takes that.
            return Verdict::Drop(DropReason::Malformed(Malformed::BadLength));
        }
        let mut parsed = Headers::parse(&packet);
        let headers = match &mut parsed {
            Ok(headers) => headers,
            Err(Malformed::NotIp) => return Verdict::Pass,
            Err(malformed) => return Verdict::Drop(DropReason::Malformed(*malformed)),
        };
        packet.truncate(headers.end);
        let frame = Frame::InPlace(packet);
        let mut datagram = Datagram {
            frame,
            headers,
            pieces: Pieces::Whole,
            ingress: *ingress,
        };
        match datagram.headers.fragment {
            Some(fragment) => self.fragment(batch, &mut datagram, fragment, output),
            None => self.datagram(batch, &mut datagram, output),
        }
    }

    /// A whole datagram: an ICMP message, a packet of a known connection, or perhaps the first of a new one.
    pub(crate) fn datagram<'a>(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        self.process_options(batch, datagram);
        let headers = &datagram.headers;
        if matches!(headers.transport, Transport::Icmp { .. }) {
            return self.icmp(batch, datagram, output);
        }
        if !batch.services.serves(headers.family) || self.is_backup_only() {
            return self.stack(batch, datagram, output);
        }
        let Some(protocol) = Protocol::from_number(headers.protocol) else {
            return self.companion(batch, datagram, output);
        };
        let key = FlowKey::of(headers);
        // Without ports there is nothing to know a connection by.
        let is_unknown = matches!(headers.transport, Transport::Truncated { ports: None });
        match self.connections.find(&key).filter(|_| !is_unknown) {
            Some((id, Direction::ToClient)) => self.reply(batch, id, datagram, output),
            Some((id, Direction::ToServer)) => {
                self.request(batch, protocol, Some(id), datagram, output)
            }
            None => self.request(batch, protocol, None, datagram, output),
        }
    }

    /// Whether the director only listens to a master (`backup_only`).
    fn is_backup_only(&self) -> bool {
        self.shared.sync.is_backup() && self.shared.sysctls.is_on(Sysctl::BackupOnly)
    }

    /// A packet of a protocol that cannot be balanced. ESP and AH follow the key exchange between the same endpoints
    /// (BEHAVIOURS 36); the rest is the stack's.
    fn companion<'a>(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let headers = &datagram.headers;
        if !matches!(
            headers.protocol,
            packet::protocol::ESP | packet::protocol::AH
        ) {
            return self.stack(batch, datagram, output);
        }
        let key = FlowKey {
            protocol: Protocol::Udp.number(),
            source: (headers.source, ISAKMP_PORT),
            destination: (headers.destination, ISAKMP_PORT),
        };
        match self.connections.find(&key) {
            Some((id, Direction::ToClient)) => self.reply(batch, id, datagram, output),
            Some((id, Direction::ToServer)) => {
                self.request(batch, Protocol::Udp, Some(id), datagram, output)
            }
            None => self.stack(batch, datagram, output),
        }
    }

    /// Counts a packet for its connection and advances the connection's state and lifetime.
    pub(crate) fn observe(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &Datagram<'_, '_>,
        direction: Direction,
    ) {
        self.count(id, datagram, direction);
        let rules = self.state_rules();
        let transport = &datagram.headers.transport;
        self.connections
            .observe(id, transport, direction, rules, batch.now);
        self.attend(batch, id, datagram, direction);
    }

    /// What decides over states and lifetimes now.
    pub(crate) fn state_rules(&self) -> StateRules {
        StateRules {
            timeouts: self.timeouts,
            secure_tcp: self.shared.sysctls.get(Sysctl::SecureTcp) > 1,
        }
    }

    /// Counts a packet for its connection's real server and service.
    pub(crate) fn count(
        &self,
        id: ConnectionId,
        datagram: &Datagram<'_, '_>,
        direction: Direction,
    ) {
        let connection = self.connections.get(id);
        let Some(destination) = connection.and_then(Connection::destination) else {
            return;
        };
        let octets = u64::try_from(datagram.len()).unwrap_or(u64::MAX);
        match direction {
            Direction::ToServer => self.shared.count_in(self.index, destination, octets),
            Direction::ToClient => self.shared.count_out(self.index, destination, octets),
        }
    }

    /// Ends the connections whose time has come.
    fn expire_connections(&mut self, now: Instant) {
        self.expire_assisted(now, EXPIRY_BUDGET, |shared, connection| {
            let_go(shared, &connection, Ended::InTime);
        });
    }

    /// The identification of the next datagram the director makes.
    pub(crate) fn id(&mut self) -> u16 {
        next_id(&mut self.next_id)
    }
}

/// The identification behind the last one that a worker gave.
pub(crate) fn next_id(last: &mut u32) -> u16 {
    *last = last.wrapping_add(1);
    let [_, _, high, low] = last.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Tells what is kept elsewhere about a connection that has ended, and why.
pub(crate) fn let_go(shared: &Shared, connection: &Connection, ended: Ended) {
    if ftp::is_data(connection) {
        shared.owners.remove(connection);
    }
    if let Some(template) = connection.template() {
        shared.release_template(template, ended);
    }
}

/// Destination address and EtherType.
fn link_fields(frame: &[u8]) -> Option<(Mac, u16)> {
    let header: &[u8; 14] = frame.first_chunk()?;
    let [a, b, c, d, e, f, .., high, low] = *header;
    Some((Mac([a, b, c, d, e, f]), u16::from_be_bytes([high, low])))
}

/// Whether a packet to `address` is delivered on this host: an address of the host, one that a local route covers
/// (`ip route add local`), or a VIP.
pub(crate) fn is_for_us(network: &Network, address: IpAddr) -> bool {
    let is_routed_here = || {
        let route = network.routes.lookup(address);
        route.is_some_and(|route| route.kind == RouteKind::Local)
    };
    network.vips.contains_key(&address) || network.is_local(address) || is_routed_here()
}

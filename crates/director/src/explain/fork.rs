//! A director that has everything one packet can meet, and nothing else.

use core::cell::RefCell;
use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use packet::{Family, Headers, Packet, Quoted};

use crate::assign::template_key;
use crate::changed_servers::ChangedServers;
use crate::connection::{Connection, ConnectionId, FlowKey};
use crate::defence::Sacrifice;
use crate::destination::Destination;
use crate::director::{Director, Host, ISAKMP_PORT, Worker};
use crate::icmp_limit::IcmpLimit;
use crate::orphans::Orphans;
use crate::prefetch::Guesses;
use crate::protocol::Protocol;
use crate::redirect::RedirectLimit;
use crate::request::persistence_data_of;
use crate::scheduler::Flow;
use crate::service::{Service, ServiceKey};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::template::Template;
use crate::time::Instant;
use crate::verdict::Counters;
use crate::ways::Ways;

/// The copies of real servers, so that each has one.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// By where the original lies, which is kept so that nothing else comes to lie there.
    servers: HashMap<usize, [Arc<Destination>; 2]>,
}

impl Copied {
    /// The copy of a real server; one that there is not yet counts for `stats` and is noted in `changed`.
    pub(crate) fn add(
        &mut self,
        original: &Arc<Destination>,
        stats: &Arc<Stats>,
        changed: &Arc<ChangedServers>,
    ) -> Arc<Destination> {
        let [_, copy] = self
            .servers
            .entry(Arc::as_ptr(original).addr())
            .or_insert_with(|| {
                let copy = original.fork(Arc::clone(stats), Arc::clone(changed));
                [Arc::clone(original), Arc::new(copy)]
            });
        Arc::clone(copy)
    }

    /// The copy of a real server; one that no copied service has counts for nobody.
    pub(crate) fn of(&mut self, original: &Arc<Destination>) -> Arc<Destination> {
        self.add(original, &Arc::new(Stats::new(1)), &Arc::default())
    }
}

/// A director to be thrown away, and what is to be said of it.
#[derive(Debug)]
pub(super) struct Dry {
    pub(super) director: Director,
    /// Numbers of the services whose schedulers could not be copied.
    pub(super) inexact: Vec<u64>,
    /// The flow that the packet says it belongs to.
    pub(super) key: Option<FlowKey>,
}

impl Director {
    /// A director that does with this packet what this one would do, and may be changed.
    pub(super) fn dry_run(&self, now: Instant, mark: u32, packet: &Packet<'_>) -> Dry {
        let headers = self.headers_of(packet);
        let ids = self.ids_of(packet);
        let addresses = self.addresses_of(packet, &ids);
        let flow = headers
            .as_ref()
            .and_then(|headers| flow_of(packet, headers));
        let mut copied = Copied::default();
        let families = RefCell::new(Vec::new());
        let keeps = |service: &Service| {
            // One of each family, as without any the director does not look at a packet of it.
            let family: Family = service.config.key.family();
            let is_first = !families.borrow().contains(&family);
            families.borrow_mut().push(family);
            is_first || concerns(service, &addresses, mark)
        };
        let worker = &self.worker;
        let (shared, inexact) = worker.shared.fork(keeps, flow.as_ref(), &mut copied);
        let mut templates: Vec<[Arc<Template>; 2]> = Vec::new();
        let mut template = |original: &Arc<Template>, copied: &mut Copied| {
            let known = templates
                .iter()
                .find(|[have, _]| Arc::ptr_eq(have, original));
            if let Some([_, copy]) = known {
                return Arc::clone(copy);
            }
            let copy = Arc::new(original.fork(copied.of(&original.destination)));
            templates.push([Arc::clone(original), Arc::clone(&copy)]);
            copy
        };
        if let (Some(headers), Some(flow)) = (&headers, &flow) {
            let kept = shared.snapshot();
            for service in kept.iter().filter(|service| service.config.is_persistent()) {
                let data = persistence_data_of(service, headers, packet.bytes());
                let key = template_key(service, flow, data);
                if let Some(found) = worker.shared.templates.peek(&key, now) {
                    shared.templates.adopt(template(&found, &mut copied));
                }
            }
        }
        let connections = worker.connections.fork(&ids, now, |connection| {
            let destination = connection.destination().map(|it| copied.of(it));
            let template = connection.template().map(|it| template(it, &mut copied));
            connection.fork(destination, template)
        });
        let shared = Arc::new(shared);
        let director = Self {
            network: Arc::clone(&self.network),
            services: shared.snapshot(),
            worker: Worker {
                index: worker.index,
                timeouts: shared.timeouts(),
                shared,
                host: Arc::new(worker.host.fork()),
                connections,
                orphans: Orphans::default(),
                sacrifice: Sacrifice::new(0),
                ways: Ways::new(),
                reassembly: worker.reassembly.clone(),
                assist: None,
                counters: Counters::default(),
                next_id: worker.next_id,
            },
            guesses: Guesses::default(),
        };
        Dry {
            director,
            inexact,
            key: headers.map(|headers| FlowKey::of(&headers)),
        }
    }

    /// The headers of the datagram that a packet is, or is a fragment of.
    pub(super) fn headers_of(&self, packet: &Packet<'_>) -> Option<Headers> {
        let headers = Headers::parse(packet).ok()?;
        let first = self.worker.reassembly.first_of(&headers);
        Some(first.copied().unwrap_or(headers))
    }

    /// Whether the first fragment of the datagram that this packet is a fragment of waits here.
    #[must_use]
    pub fn has_first_of(&self, packet: &Packet<'_>) -> bool {
        let headers = Headers::parse(packet);
        headers.is_ok_and(|headers| self.worker.reassembly.first_of(&headers).is_some())
    }

    /// The connections that a packet may have to do with: its own, and that of the packet that it quotes.
    pub(super) fn ids_of(&self, packet: &Packet<'_>) -> Vec<ConnectionId> {
        let Some(headers) = self.headers_of(packet) else {
            return Vec::new();
        };
        let own = FlowKey::of(&headers);
        let companion = FlowKey {
            protocol: Protocol::Udp.number(),
            source: (headers.source, ISAKMP_PORT),
            destination: (headers.destination, ISAKMP_PORT),
        };
        let mut keys = vec![own, own.reversed(), companion];
        for quoted in quoted(packet, &headers) {
            let key = key_of(&quoted);
            keys.extend([key, key.reversed()]);
        }
        let table = &self.worker.connections;
        let mut ids: Vec<ConnectionId> = Vec::new();
        for (id, _) in keys.iter().filter_map(|key| table.find(key)) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    fn addresses_of(&self, packet: &Packet<'_>, ids: &[ConnectionId]) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        if let Ok(headers) = Headers::parse(packet) {
            addresses.extend([headers.source, headers.destination]);
            for quoted in quoted(packet, &headers) {
                addresses.extend([quoted.source, quoted.destination]);
            }
        }
        let connections = ids.iter().filter_map(|id| self.worker.connections.get(*id));
        addresses.extend(connections.map(|connection: &Connection| connection.virtual_server().0));
        addresses
    }
}

/// Whether a service may have to do with a packet of these addresses.
fn concerns(service: &Service, addresses: &[IpAddr], mark: u32) -> bool {
    let is_meant = match service.config.key {
        ServiceKey::Address { address, .. } => addresses.contains(&address),
        ServiceKey::Mark { mark: own, .. } => own == mark,
    };
    is_meant
        || service
            .destinations
            .iter()
            .any(|server| addresses.contains(&server.address))
}

/// The packet that an ICMP error quotes, and the one inside that where it is a tunnel's.
fn quoted(packet: &Packet<'_>, headers: &Headers) -> impl Iterator<Item = Quoted> {
    let quoted = Quoted::of(packet, headers);
    let inner = quoted.and_then(|quoted| quoted.tunnelled(packet));
    quoted.into_iter().chain(inner)
}

fn key_of(quoted: &Quoted) -> FlowKey {
    let (source, destination) = quoted.ports.unwrap_or_default();
    FlowKey {
        protocol: quoted.protocol,
        source: (quoted.source, source),
        destination: (quoted.destination, destination),
    }
}

/// The new connection that a packet may begin; an ICMP error may begin the one of the packet that it quotes.
pub(super) fn flow_of(packet: &Packet<'_>, headers: &Headers) -> Option<Flow> {
    let flow = |key: FlowKey| {
        Some(Flow {
            protocol: Protocol::from_number(key.protocol)?,
            source: key.source.0,
            source_port: key.source.1,
            destination: key.destination.0,
            destination_port: key.destination.1,
        })
    };
    let quoted = quoted(packet, headers).next();
    quoted.map_or_else(
        || flow(FlowKey::of(headers)),
        |quoted| flow(key_of(&quoted).reversed()),
    )
}

impl Host {
    /// The same host for a dry run. How many ICMP errors a peer may still get is not copied: each gets its answer.
    fn fork(&self) -> Self {
        let network = Snapshot::default();
        network.store(self.network.load_full());
        Self {
            network,
            neighbours: self.neighbours.fork(),
            path_mtus: self.path_mtus.fork(),
            midnight_ms: AtomicU64::new(self.midnight_ms.load(Relaxed)),
            waiting: self.waiting.fork(),
            icmp_limit: IcmpLimit::default(),
            redirect_limit: RedirectLimit::default(),
        }
    }
}

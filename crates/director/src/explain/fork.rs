//! A director that has everything one packet can meet, and nothing else: made of what was taken out of a worker
//! ([`Excerpt`]) and of copies of what all workers share, outside of the worker.

use core::cell::RefCell;
use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use packet::{Family, Headers, Packet};

use super::excerpt::{Excerpt, key_of, quoted};
use crate::assign::template_key;
use crate::changed_servers::ChangedServers;
use crate::connection::FlowKey;
use crate::defence::Sacrifice;
use crate::destination::Destination;
use crate::director::{Director, Host, Worker};
use crate::icmp_limit::IcmpLimit;
use crate::orphans::Orphans;
use crate::prefetch::Guesses;
use crate::protocol::Protocol;
use crate::redirect::RedirectLimit;
use crate::request::persistence_data_of;
use crate::scheduler::Flow;
use crate::service::{Service, ServiceKey};
use crate::services::Services;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::template::Template;
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
    /// All services, of which the director has copies of some.
    pub(super) services: Arc<Services>,
    /// Numbers of the services whose schedulers could not be copied.
    pub(super) inexact: Vec<u64>,
    /// The flow that the packet says it belongs to.
    pub(super) key: Option<FlowKey>,
}

/// The copies of templates, so that each has one.
#[derive(Default)]
struct Templates(Vec<[Arc<Template>; 2]>);

impl Templates {
    fn of(&mut self, original: &Arc<Template>, copied: &mut Copied) -> Arc<Template> {
        let known = self.0.iter().find(|[have, _]| Arc::ptr_eq(have, original));
        if let Some([_, copy]) = known {
            return Arc::clone(copy);
        }
        let copy = Arc::new(original.fork(copied.of(&original.destination)));
        self.0.push([Arc::clone(original), Arc::clone(&copy)]);
        copy
    }
}

impl Excerpt {
    /// A director that does with this packet what the worker's would do, and may be changed.
    pub(super) fn dry_run(self, packet: &Packet<'_>) -> Dry {
        let flow = (self.headers.as_ref()).and_then(|headers| flow_of(packet, headers));
        let (mut copied, mut templates) = (Copied::default(), Templates::default());
        let families = RefCell::new(Vec::new());
        let keeps = |service: &Service| {
            // One of each family, as without any the director does not look at a packet of it.
            let family: Family = service.config.key.family();
            let is_first = !families.borrow().contains(&family);
            families.borrow_mut().push(family);
            is_first || concerns(service, &self.addresses, self.mark)
        };
        let services = self.shared.snapshot();
        let (shared, inexact) = self
            .shared
            .fork(&services, keeps, flow.as_ref(), &mut copied);
        if let (Some(headers), Some(flow)) = (&self.headers, &flow) {
            let kept = shared.snapshot();
            for service in kept.iter().filter(|service| service.config.is_persistent()) {
                let data = persistence_data_of(service, headers, packet.bytes());
                let key = template_key(service, flow, data);
                if let Some(found) = self.shared.templates.peek(&key, self.now) {
                    shared.templates.adopt(templates.of(&found, &mut copied));
                }
            }
        }
        let mut connections = self.connections;
        for bound in self.bound {
            let destination = bound.destination.map(|it| copied.of(&it));
            let template = bound.template.map(|it| templates.of(&it, &mut copied));
            connections.bind(bound.connection, destination, template);
        }
        let shared = Arc::new(shared);
        let director = Director {
            network: self.network,
            services: shared.snapshot(),
            worker: Worker {
                index: self.index,
                timeouts: shared.timeouts(),
                shared,
                host: Arc::new(self.host.fork()),
                connections,
                orphans: Orphans::default(),
                sacrifice: Sacrifice::new(0),
                ways: Ways::new(),
                reassembly: self.reassembly,
                assist: None,
                counters: Counters::default(),
                next_id: self.next_id,
            },
            guesses: Guesses::default(),
        };
        Dry {
            director,
            services,
            inexact,
            key: self.headers.map(|headers| FlowKey::of(&headers)),
        }
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

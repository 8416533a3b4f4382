//! One shadow scheduler: a director's services and real servers of its own, with the real scheduler, real templates
//! and real counts, but no packets.

use std::sync::Arc;

use baselines::Spec;
use control::state::DesiredState;
use director::assign::Scheduled;
use director::destination::{Destination, DestinationConfig};
use director::service::{NO_SCHEDULER, Service, ServiceConfig, ServiceKey};
use director::services::Services;
use director::shared::{Options, Shared};
use director::template::{Ended, Template};
use director::time::Instant;

use super::events::{Place, Request};
use crate::reconcile;

/// Templates that one tick may end.
const TEMPLATE_BUDGET: usize = 100_000;

/// A connection at the real server that a follower gave it to.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) server: Arc<Destination>,
    template: Option<Arc<Template>>,
}

impl Held {
    /// Address and port of the real server.
    pub(super) fn place(&self) -> Place {
        (self.server.address, self.server.port)
    }
}

/// A scheduler and its real servers; without a `spec`, those of the live scheduler, whose choices it is told.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) spec: Option<Spec>,
    shared: Shared,
    services: Arc<Services>,
}

impl Follower {
    /// Without services; `options` are the live director's.
    pub(super) fn new(spec: Option<Spec>, options: Options) -> Self {
        let shared = Shared::new(Options {
            workers: 1,
            schedulers: baselines::ENTRIES,
            ..options
        });
        Self {
            spec,
            services: shared.snapshot(),
            shared,
        }
    }

    /// Takes over what the live director is configured as.
    pub(super) fn configure(&mut self, live: &DesiredState) {
        let mut wanted = live.clone();
        for (config, _) in &mut wanted.services {
            *config = match &self.spec {
                Some(spec) => spec.of(config),
                None => ServiceConfig {
                    scheduler: NO_SCHEDULER.to_owned(),
                    flags: config.flags & !Spec::FLAGS,
                    ..config.clone()
                },
            };
        }
        reconcile::reach(&self.shared, &wanted);
        self.services = self.shared.snapshot();
        for (config, servers) in &wanted.services {
            self.put_in_order(&config.key, servers);
        }
        self.services = self.shared.snapshot();
    }

    /// Servers that were deleted and added again since the last look stand elsewhere in the list.
    fn put_in_order(&self, key: &ServiceKey, wanted: &[DestinationConfig]) {
        let Some(service) = self.services.get(key) else {
            return;
        };
        let oldest_first = service.destinations.iter().rev();
        let place = |config: &DestinationConfig| (config.address, config.port);
        let pairs = oldest_first.clone().zip(wanted);
        let right = pairs
            .take_while(|(is, wanted)| (is.address, is.port) == place(wanted))
            .count();
        for server in oldest_first.skip(right) {
            let (address, port) = (server.address, server.port);
            report(self.shared.delete_destination(key, address, port));
        }
        for config in wanted.iter().skip(right) {
            report(self.shared.add_destination(key, config));
        }
    }

    /// The service that a request is for.
    pub(super) fn service(&self, request: &Request) -> Option<&Arc<Service>> {
        let flow = &request.flow;
        self.services.lookup(
            flow.protocol,
            flow.destination,
            flow.destination_port,
            request.mark,
        )
    }

    /// The service with this key.
    pub(super) fn service_of(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// Decides about a new connection.
    pub(super) fn schedule(&self, request: &Request) -> Option<Held> {
        let service = self.service(request)?;
        let data = request.data.as_deref();
        let scheduled = (self.shared).schedule(service, &request.flow, data, request.now);
        match scheduled {
            Scheduled::Assigned(assignment) => {
                self.shared.count_connection(0, &assignment.destination);
                Some(Held {
                    server: assignment.destination,
                    template: assignment.template,
                })
            }
            _ => None,
        }
    }

    /// Puts a new connection where the live director has it.
    pub(super) fn give(&self, request: &Request, (address, port): Place) -> Option<Held> {
        let server = self.service(request)?.destination(address, port)?;
        server.bind(false);
        self.shared.count_connection(0, server);
        Some(Held {
            server: Arc::clone(server),
            template: None,
        })
    }

    /// A connection has ended, active or not.
    pub(super) fn end(&self, held: &Held, active: bool) {
        held.server.unbind(active);
        if let Some(template) = &held.template {
            self.shared.release_template(template, Ended::InTime);
        }
    }

    /// To be called every second.
    pub(super) fn tick(&self, now: Instant) {
        self.shared.tick(now);
        self.shared.expire_templates(now, TEMPLATE_BUDGET);
    }
}

/// A command that the live director took cannot fail here.
fn report(result: Result<(), director::shared::CommandError>) {
    if let Err(error) = result {
        tracing::error!("shadow: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_stand_in_the_live_order() {
        let rules = |order: [u8; 3]| {
            let servers =
                order.map(|host| format!("-a -t 10.0.0.1:80 -r 10.2.0.{host}:80 -g -w 1\n"));
            DesiredState::parse(&format!("-A -t 10.0.0.1:80 -s wlc\n{}", servers.concat())).unwrap()
        };
        let mut follower = Follower::new("mh".parse().ok(), Options::default());
        for order in [[1, 2, 3], [1, 3, 2], [3, 2, 1], [2, 4, 1]] {
            follower.configure(&rules(order));
            let reached = DesiredState::of(&follower.shared);
            assert_eq!(
                reached.services[0].1,
                rules(order).services[0].1,
                "{order:?}"
            );
            assert_eq!(reached.services[0].0.scheduler, "mh");
        }
    }

    /// A template stays as long as a connection needs it, and goes when its time has come after that.
    #[test]
    fn templates_are_let_go_of_in_time() {
        let rules = "-A -t 10.0.0.1:80 -s wlc -p 60\n-a -t 10.0.0.1:80 -r 10.2.0.1:80 -g -w 1\n";
        let mut follower = Follower::new("rr".parse().ok(), Options::default());
        follower.configure(&DesiredState::parse(rules).unwrap());
        let request = Request {
            flow: director::scheduler::Flow {
                protocol: director::protocol::Protocol::Tcp,
                source: [192, 0, 2, 1].into(),
                source_port: 1024,
                destination: [10, 0, 0, 1].into(),
                destination_port: 80,
            },
            mark: 0,
            data: None,
            now: Instant::START,
        };
        let held = follower.schedule(&request).unwrap();
        let after = |seconds| {
            let now = Instant::START.after(core::time::Duration::from_secs(seconds));
            follower.tick(now);
            let mut count = 0;
            follower.shared.for_each_template(|_| count += 1);
            count
        };
        assert_eq!([after(30), after(200)], [1, 1]);
        follower.end(&held, false);
        assert_eq!(after(400), 0);
    }
}

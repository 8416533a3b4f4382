//! Which real server a new connection is assigned to: by its client's template, or by the scheduler.

use core::time::Duration;
use std::sync::Arc;

use crate::destination::{Destination, Method, TunnelConfig};
use crate::scheduler::Flow;
use crate::service::{Service, ServiceKey};
use crate::services::{FTP_DATA_PORT, FTP_PORT};
use crate::shared::Shared;
use crate::sysctl::Sysctl;
use crate::template::{NewTemplate, Template, TemplateKey, mark_address};
use crate::time::Instant;

/// What becomes of a packet that would begin a connection.
#[derive(Debug)]
#[must_use]
pub enum Scheduled {
    /// Here it goes.
    Assigned(Assignment),
    /// No real server may be used: answer with ICMP port unreachable and drop.
    NoDestination,
    /// Not to be scheduled: the host's own stack sees the packet.
    Pass,
    /// To be dropped without an answer: the persistence engine found nothing in it.
    Drop,
    /// To be dropped without an answer: there are as many persistence templates as may be.
    Full,
}

/// A new connection's real server and how it is reached.
///
/// The connection is already counted at the real server ([`Destination::bind`]) and at the template: whoever
/// cannot make it, and whoever ends it, calls [`Destination::unbind`] and [`Shared::release_template`].
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The real server.
    pub destination: Arc<Destination>,
    /// The real server's port, host order.
    pub port: u16,
    /// Forwarding method that the connection keeps.
    pub method: Method,
    /// Tunnel settings that the connection begins with.
    pub tunnel: TunnelConfig,
    /// The connection ends with its first packet (`-o`).
    pub one_packet: bool,
    /// The template that decided, held by the connection.
    pub template: Option<Arc<Template>>,
}

impl Assignment {
    fn new(destination: Arc<Destination>, port: u16, one_packet: bool) -> Self {
        Self {
            port,
            method: destination.method(),
            tunnel: destination.tunnel(),
            one_packet,
            template: None,
            destination,
        }
    }
}

impl Shared {
    /// Assigns a new connection, as the kernel's `ip_vs_schedule` does. `data` is what the service's
    /// persistence engine found in the packet, for services that have one.
    pub fn schedule(
        &self,
        service: &Service,
        flow: &Flow,
        data: Option<&[u8]>,
        now: Instant,
    ) -> Scheduled {
        if flow.source_port == FTP_DATA_PORT {
            // An active FTP data connection comes from a real server; it exists already or is not ours.
            return Scheduled::Pass;
        }
        let config = &service.config;
        let scheduled = if config.is_persistent() {
            self.schedule_persistent(service, flow, data, now)
        } else {
            self.schedule_plain(service, flow, now)
        };
        // What belongs to no FTP connection may be another service's of the host.
        let foreign = config.key.port() == FTP_PORT && flow.destination_port != FTP_PORT;
        match scheduled {
            Scheduled::NoDestination if foreign => Scheduled::Pass,
            scheduled => scheduled,
        }
    }

    fn schedule_plain(&self, service: &Service, flow: &Flow, now: Instant) -> Scheduled {
        if let ServiceKey::Address { port, .. } = service.config.key
            && port != flow.destination_port
        {
            return Scheduled::NoDestination;
        }
        let lifetime = self.cache_lifetime(service);
        let bind = |destination: &Destination| destination.bind(false);
        let Some(destination) = service.pick(flow, now, lifetime, bind) else {
            return Scheduled::NoDestination;
        };
        let port = match destination.port {
            0 => flow.destination_port,
            port => port,
        };
        let one_packet = service.config.is_one_packet(flow.protocol);
        Scheduled::Assigned(Assignment::new(destination, port, one_packet))
    }

    fn schedule_persistent(
        &self,
        service: &Service,
        flow: &Flow,
        data: Option<&[u8]>,
        now: Instant,
    ) -> Scheduled {
        let config = &service.config;
        if config.persistence_engine.is_some() && data.is_none() {
            return Scheduled::Drop;
        }
        let service_port = config.key.port();
        let is_service_port = flow.destination_port == service_port;
        let (key, mut shard) = self.templates.shard(template_key(service, flow, data));
        let mut found = shard.find(&key, now);
        if let Some(template) = &found
            && !self.may_follow(&template.destination)
        {
            shard.invalidate(template, &key);
            found = None;
        }
        let template = if let Some(template) = found {
            template.destination.bind(false);
            template
        } else if !self.templates.has_room() {
            return Scheduled::Full;
        } else {
            let lifetime = self.cache_lifetime(service);
            let bind = |destination: &Destination| {
                destination.bind(true);
                destination.bind(false);
            };
            let Some(destination) = service.pick(flow, now, lifetime, bind) else {
                return Scheduled::NoDestination;
            };
            let port = if is_service_port && service_port != FTP_PORT {
                destination.port
            } else {
                0
            };
            let timeout = Duration::from_secs(config.timeout.into());
            let made = NewTemplate {
                destination,
                port,
                timeout,
                is_synced: false,
            };
            shard.insert(key, made, &self.templates, now)
        };
        template.hold(now);
        drop(shard);
        let destination = Arc::clone(&template.destination);
        let port = if is_service_port && destination.port != 0 {
            destination.port
        } else {
            flow.destination_port
        };
        let one_packet = config.is_one_packet(flow.protocol);
        Scheduled::Assigned(Assignment {
            template: Some(template),
            ..Assignment::new(destination, port, one_packet)
        })
    }

    /// Whether a template's new connections may go to its real server: weight 0 and overload do not matter,
    /// unless `expire_quiescent_template` says so.
    pub(crate) fn may_follow(&self, destination: &Destination) -> bool {
        let expires = self.sysctls.is_on(Sysctl::ExpireQuiescentTemplate);
        destination.is_available() && !(expires && destination.weight() == 0)
    }

    pub(crate) fn cache_lifetime(&self, service: &Service) -> Duration {
        let sysctl = if service.config.scheduler == "lblcr" {
            Sysctl::LblcrExpiration
        } else {
            Sysctl::LblcExpiration
        };
        self.sysctls.seconds(sysctl)
    }
}

/// The template that a connection belongs to. FTP services and any-port services have one for all ports,
/// marks one for all addresses.
pub(crate) fn template_key(service: &Service, flow: &Flow, data: Option<&[u8]>) -> TemplateKey {
    let port = service.config.key.port();
    let is_service_port = flow.destination_port == port;
    let client = service.config.masked(flow.source);
    let (protocol, virtual_address) = match service.config.key {
        ServiceKey::Mark { mark, .. } if !is_service_port => {
            (None, mark_address(mark, flow.source))
        }
        _ => (Some(flow.protocol), flow.destination),
    };
    TemplateKey {
        protocol,
        client,
        virtual_address,
        virtual_port: if is_service_port && port != FTP_PORT {
            port
        } else {
            0
        },
        data: data.map(Box::from),
    }
}

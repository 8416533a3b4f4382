//! Commands on the shared director, and what new connections make of them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use director::assign::{Assignment, Scheduled};
use director::destination::{Destination, DestinationConfig, Method, TunnelConfig};
use director::protocol::Protocol;
use director::scheduler::Flow;
use director::service::{FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use director::shared::{CommandError, Options, Shared};
use director::time::Instant;
use packet::Family;

mod destinations;
mod services;
mod templates;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1));

fn key(port: u16) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: VIP,
        port,
    }
}

fn service(key: ServiceKey, flags: u32) -> ServiceConfig {
    ServiceConfig {
        key,
        scheduler: "rr".to_owned(),
        flags,
        timeout: 30,
        netmask: if key.family() == Family::V4 {
            u32::MAX
        } else {
            64
        },
        persistence_engine: None,
    }
}

fn destination(last: u8, port: u16) -> DestinationConfig {
    DestinationConfig {
        address: Ipv4Addr::new(10, 2, 0, last).into(),
        port,
        method: Method::DirectRoute,
        tunnel: TunnelConfig::default(),
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

fn flow(client: u8, source_port: u16, destination_port: u16) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        source: Ipv4Addr::new(192, 0, 2, client).into(),
        source_port,
        destination: VIP,
        destination_port,
    }
}

fn at(seconds: u64) -> Instant {
    Instant::START.after(Duration::from_secs(seconds))
}

/// A director with one service and its real servers.
fn director(config: ServiceConfig, destinations: &[DestinationConfig]) -> Shared {
    let shared = Shared::new(Options::default());
    let key = config.key;
    shared.add_service(config).unwrap();
    for destination in destinations {
        shared.add_destination(&key, destination).unwrap();
    }
    shared
}

fn schedule(shared: &Shared, flow: &Flow, mark: u32, now: Instant) -> Scheduled {
    let services = shared.snapshot();
    let service = services.lookup(flow.protocol, flow.destination, flow.destination_port, mark);
    shared.schedule(service.expect("a service"), flow, None, now)
}

fn assigned(scheduled: Scheduled) -> Assignment {
    match scheduled {
        Scheduled::Assigned(assignment) => assignment,
        other => panic!("{other:?}"),
    }
}

fn the_destination(shared: &Shared, key: &ServiceKey, last: u8) -> Arc<Destination> {
    let services = shared.snapshot();
    let service = services.get(key).unwrap();
    let config = destination(last, 80);
    Arc::clone(service.destination(config.address, config.port).unwrap())
}

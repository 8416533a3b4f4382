//! A new configuration of 5,000 services and 100,000 real servers, and what commands do to it: by the control thread,
//! while a worker takes up each version with its next batch.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use control::state::DesiredState;
use director::protocol::Protocol;
use director::service::ServiceKey;
use director::shared::Shared;
use director::time::Instant;
use packet::Family;

use crate::Wanted;
use crate::gauge::Gauge;
use crate::one_service::ACK;
use crate::world::{BATCH, World, real_server};

const SERVICES: u16 = 5_000;
const SERVERS: u8 = 20;

pub(crate) fn measure(wanted: &Wanted) {
    wanted.measure("configuration: 100000 real servers, added", added);
    wanted.measure("configuration: restored", restored);
    wanted.measure("configuration: 1000 weights, one by one", changed);
    wanted.measure("configuration: flushed", flushed);
    wanted.measure("configuration: zeroed", zeroed);
    wanted.measure("configuration: estimated", estimated);
    wanted.measure("configuration: read by -Ln", read);
}

fn key(service: u16) -> ServiceKey {
    let [high, low] = service.to_be_bytes();
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: [10, 9, high, low].into(),
        port: 80,
    }
}

fn server(service: u16, number: u8) -> IpAddr {
    let [high, low] = service.to_be_bytes();
    [10, 16 + number, high, low].into()
}

/// What `ipvsadm-restore` reads.
fn text() -> String {
    let mut text = String::new();
    for service in 0..SERVICES {
        let ServiceKey::Address { address, .. } = key(service) else {
            continue;
        };
        let _ = writeln!(text, "-A -t {address}:80 -s wlc");
        for number in 0..SERVERS {
            let server = server(service, number);
            let _ = writeln!(text, "-a -t {address}:80 -r {server}:80 -m -w 1");
        }
    }
    text
}

/// Runs `commands` in a thread of their own, as the daemon does, which has its own memory to take and give back; a worker
/// handles packets meanwhile, and takes up each version with its next batch.
fn beside(
    world: &mut World,
    commands: impl FnOnce(&Shared, &mut Gauge) + Send,
) -> Vec<(&'static str, Gauge)> {
    let shared = Arc::clone(&world.shared);
    let mut worker = Gauge::default();
    let mut batch = |world: &mut World| {
        worker.step(|| {
            world.tick();
            let _ = world.batch(0, BATCH, ACK);
        });
    };
    let control = thread::scope(|scope| {
        let control = scope.spawn(move || {
            let mut control = Gauge::default();
            commands(&shared, &mut control);
            control
        });
        while !control.is_finished() {
            batch(world);
        }
        control.join().expect("no panic")
    });
    batch(world);
    vec![("batch", worker), ("control", control)]
}

/// Adds all of it, each service with its real servers.
fn add(shared: &Shared, control: &mut Gauge) {
    for service in 0..SERVICES {
        let key = key(service);
        let config = crate::world::service(key, "wlc", false);
        let (added, _) = control.step(|| shared.add_service(config));
        added.expect("a new service");
        for number in 0..SERVERS {
            let server = real_server(server(service, number), 1);
            let (added, _) = control.step(|| shared.add_destination(&key, &server));
            added.expect("a new real server");
        }
    }
}

/// A world with a few connections, and what `commands` do to it once it has all of the configuration.
fn configured(commands: impl FnOnce(&Shared, &mut Gauge) + Send) -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, false, 16);
    world.open(BATCH, &mut Gauge::default());
    beside(&mut world, |shared, control| {
        add(shared, &mut Gauge::default());
        commands(shared, control);
    })
}

fn added() -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, false, 16);
    world.open(BATCH, &mut Gauge::default());
    beside(&mut world, add)
}

fn restored() -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, false, 16);
    world.open(BATCH, &mut Gauge::default());
    let text = text();
    beside(&mut world, |shared, control| {
        let (state, _) = control.step(|| DesiredState::parse(&text));
        let (applied, _) = control.step(|| state.expect("it is right").apply(shared));
        applied.expect("it is possible");
    })
}

fn changed() -> Vec<(&'static str, Gauge)> {
    configured(|shared, control| {
        for service in 0..1000 {
            let server = real_server(server(service, 7), 9);
            let (edited, _) = control.step(|| shared.edit_destination(&key(service), &server));
            edited.expect("it is there");
        }
    })
}

fn flushed() -> Vec<(&'static str, Gauge)> {
    configured(|shared, control| {
        control.step(|| shared.flush());
        // Two minutes later nobody remembers them.
        for second in 0..300 {
            let now = Instant::START.after(Duration::from_secs(second));
            control.step(|| shared.tick(now));
        }
    })
}

fn zeroed() -> Vec<(&'static str, Gauge)> {
    configured(|shared, control| {
        for _ in 0..10 {
            control.step(|| shared.zero(None)).0.expect("all of them");
        }
    })
}

fn estimated() -> Vec<(&'static str, Gauge)> {
    configured(|shared, control| {
        for second in 0..20 {
            let now = Instant::START.after(Duration::from_secs(second));
            control.step(|| shared.tick(now));
        }
    })
}

fn read() -> Vec<(&'static str, Gauge)> {
    configured(|shared, control| {
        let (state, _) = control.step(|| DesiredState::of(shared));
        assert_eq!(state.services.len(), usize::from(SERVICES) + 1);
    })
}

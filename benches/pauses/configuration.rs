//! A new configuration of 5,000 services and 100,000 real servers, and what commands do to it: by the control thread,
//! while a worker takes up each version with its next batch.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use control::state::DesiredState;
use director::protocol::Protocol;
use director::service::ServiceKey;
use packet::Family;

use crate::Wanted;
use crate::gauge::Gauge;
use crate::world::{ACK, BATCH, World, real_server};

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

/// The steps of the control thread and of the worker.
#[derive(Default)]
struct Both {
    control: Gauge,
    worker: Gauge,
}

impl Both {
    /// A command, and the worker's next batch.
    fn command<T>(&mut self, world: &mut World, command: impl FnOnce(&World) -> T) -> T {
        let (done, _) = self.control.step(|| command(world));
        self.worker.step(|| {
            world.tick();
            let _ = world.batch(0, BATCH, ACK);
        });
        done
    }

    fn gauges(self) -> Vec<(&'static str, Gauge)> {
        vec![("batch", self.worker), ("control", self.control)]
    }
}

/// A world with all of it, and a few connections.
fn configured() -> World {
    let mut world = World::new(Family::V4, false, 16);
    world.open(BATCH, &mut Gauge::default());
    let state = DesiredState::parse(&text()).expect("it is right");
    state.apply(&world.shared).expect("it is possible");
    world
}

fn added() -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, false, 16);
    world.open(BATCH, &mut Gauge::default());
    let mut both = Both::default();
    for service in 0..SERVICES {
        let key = key(service);
        let config = crate::world::service(key, "wlc", false);
        both.command(&mut world, |world| world.shared.add_service(config))
            .expect("a new service");
        for number in 0..SERVERS {
            let server = real_server(server(service, number), 1);
            both.command(&mut world, |world| {
                world.shared.add_destination(&key, &server)
            })
            .expect("a new real server");
        }
    }
    both.gauges()
}

fn restored() -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, false, 16);
    world.open(BATCH, &mut Gauge::default());
    let mut both = Both::default();
    let text = text();
    let state = both
        .command(&mut world, |_| DesiredState::parse(&text))
        .expect("it is right");
    both.command(&mut world, |world| state.apply(&world.shared))
        .expect("it is possible");
    both.gauges()
}

fn changed() -> Vec<(&'static str, Gauge)> {
    let mut world = configured();
    let mut both = Both::default();
    for service in 0..1000 {
        let server = real_server(server(service, 7), 9);
        let key = key(service);
        both.command(&mut world, |world| {
            world.shared.edit_destination(&key, &server)
        })
        .expect("it is there");
    }
    both.gauges()
}

fn flushed() -> Vec<(&'static str, Gauge)> {
    let mut world = configured();
    let mut both = Both::default();
    world.director.refresh();
    both.command(&mut world, |world| world.shared.flush());
    // Two minutes later nobody remembers them.
    for _ in 0..300 {
        world.now = world.now.after(Duration::from_secs(1));
        both.command(&mut world, |world| world.shared.tick(world.now));
    }
    both.gauges()
}

fn zeroed() -> Vec<(&'static str, Gauge)> {
    let mut world = configured();
    let mut both = Both::default();
    for _ in 0..10 {
        both.command(&mut world, |world| world.shared.zero(None))
            .expect("all of them");
    }
    both.gauges()
}

fn estimated() -> Vec<(&'static str, Gauge)> {
    let mut world = configured();
    let mut both = Both::default();
    for _ in 0..20 {
        world.now = world.now.after(Duration::from_secs(1));
        both.command(&mut world, |world| world.shared.tick(world.now));
    }
    both.gauges()
}

fn read() -> Vec<(&'static str, Gauge)> {
    let mut world = configured();
    let mut both = Both::default();
    let state = both.command(&mut world, |world| DesiredState::of(&world.shared));
    assert_eq!(state.services.len(), usize::from(SERVICES) + 1);
    both.gauges()
}

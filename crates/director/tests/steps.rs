//! What happens to many connections at once is done in steps: one tick ends no more than some hundred of them, whatever
//! they end by, and in the end all are gone.

mod world;

use core::time::Duration;

use director::destination::Method;
use director::frame::Output;
use director::protocol::Protocol;
use director::service::{FLAG_PERSISTENT, ServiceConfig};
use etherparse::PacketBuilder;
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, VIP, World};

/// Connections that are made.
const CONNECTIONS: u16 = 5000;
/// Connections that one tick may end: 512 take some 200 microseconds.
const MOST: usize = 512;

/// A world with half-open connections to its one real server, of one client each.
fn world(persistent: bool) -> World {
    let mut world = World::with_connections(usize::from(CONNECTIONS));
    let key = world.service(Protocol::Tcp, VIP, 80);
    if persistent {
        let services = world.shared.snapshot();
        let config = ServiceConfig {
            flags: FLAG_PERSISTENT,
            timeout: 50,
            ..services.get(&key).unwrap().config.clone()
        };
        world.shared.edit_service(config).unwrap();
    }
    world.server(&key, "10.2.0.11", 80, Method::Masq);
    for number in 0..CONNECTIONS {
        let [high, low] = number.to_be_bytes();
        let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
            .ipv4([192, 0, high, low], [10, 8, 0, 1], 64)
            .tcp(2000, 80, 1000, 64240)
            .syn();
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        let _ = world.receive(CLIENTS, &frame);
    }
    assert_eq!(world.director.connections().len(), usize::from(CONNECTIONS));
    world
}

/// Ticks until no connection is left; the most that one of them ended.
fn end(world: &mut World) -> usize {
    let mut most = 0;
    for _ in 0..200_000 {
        let before = world.director.connections().len();
        if before == 0 {
            return most;
        }
        world.director.refresh();
        world.director.tick(world.now, &mut Output::default());
        most = most.max(before - world.director.connections().len());
        world.now = world.now.after(Duration::from_millis(1));
    }
    panic!("{} are left", world.director.connections().len());
}

#[test]
fn connections_expire_in_steps() {
    for persistent in [false, true] {
        let mut world = world(persistent);
        world.now = world.now.after(Duration::from_secs(3600));
        let most = end(&mut world);
        assert!((1..=MOST).contains(&most), "{most} at once");
    }
}

#[test]
fn deletions_end_connections_in_steps() {
    for persistent in [false, true] {
        let mut world = world(persistent);
        world.shared.set_sysctl("expire_nodest_conn", "1").unwrap();
        world.shared.flush();
        let begun = world.now;
        let most = end(&mut world);
        assert!((1..=MOST).contains(&most), "{most} at once");
        assert!(world.now.since(begun) < Duration::from_secs(1));
    }
}

#[test]
fn connections_are_sacrificed_in_steps() {
    let mut world = world(false);
    world.shared.set_sysctl("drop_entry", "3").unwrap();
    let most = end(&mut world);
    assert!((1..=MOST).contains(&most), "{most} at once");
}

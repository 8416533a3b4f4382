//! The defences: what is dropped when memory runs short, and what each mode makes of it (BEHAVIOURS 33, 46).

mod world;

use core::time::Duration;

use director::destination::Method;
use director::protocol::Protocol;
use director::service::{FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use director::verdict::Verdict;
use world::{CLIENTS, VIP, World};

/// A SYN of client number `client` to the VIP.
fn syn(client: u16) -> Vec<u8> {
    let [high, low] = client.to_be_bytes();
    world::syn(([192, 0, high, low], 1001), 80, 64)
}

fn world() -> (World, ServiceKey) {
    let mut world = World::with_connections(8192);
    let key = world.service(Protocol::Tcp, VIP, 80);
    world.server(&key, "10.2.0.11", 80, Method::DirectRoute);
    (world, key)
}

fn set(world: &World, name: &str, value: &str) {
    world.shared.set_sysctl(name, value).unwrap();
}

fn read(world: &World, name: &str) -> String {
    world.shared.sysctls.read(name).unwrap()
}

/// Whether each of the new clients' SYNs was sent on.
fn forwarded(world: &mut World, clients: core::ops::Range<u16>) -> Vec<bool> {
    clients
        .map(|client| world.receive(CLIENTS, &syn(client)).0 == Verdict::Forwarded)
        .collect()
}

/// Seconds pass for the workers and for what they share.
fn seconds(world: &mut World, seconds: u32) {
    for _ in 0..seconds {
        world.shared.tick(world.now);
        world.sleep(Duration::from_secs(1));
    }
    world.shared.tick(world.now);
}

#[test]
fn the_first_new_connection_is_dropped_and_then_every_nth() {
    let (mut world, _) = world();
    set(&world, "am_droprate", "3");
    set(&world, "drop_packet", "3");
    let expected = [false, true, true, false, true, true, false];
    assert_eq!(forwarded(&mut world, 0..7), expected);
    // A known connection is no new one.
    assert!(forwarded(&mut world, 1..2)[0]);
    set(&world, "drop_packet", "0");
    assert!(forwarded(&mut world, 10..20).into_iter().all(|it| it));
}

#[test]
fn modes_1_and_2_follow_the_free_memory() {
    let (mut world, _) = world();
    let modes = ["drop_entry", "drop_packet", "secure_tcp"];
    for mode in modes {
        set(&world, mode, "2");
        assert_eq!(read(&world, mode), "1", "there is memory enough");
    }
    assert!(world.shared.needs_memory());
    world.shared.set_free_pages(768);
    seconds(&mut world, 2);
    for mode in modes {
        assert_eq!(read(&world, mode), "2");
    }
    // 1024 pages are asked for and 256 are missing: one in four.
    let expected = [true, true, true, false, true, true, true, false];
    assert_eq!(forwarded(&mut world, 0..8), expected);
    world.shared.set_free_pages(1024);
    seconds(&mut world, 2);
    for mode in modes {
        assert_eq!(read(&world, mode), "1");
    }
    assert!(!world.shared.drops_entries());
    assert!(forwarded(&mut world, 10..20).into_iter().all(|it| it));
}

#[test]
fn half_open_connections_go_a_32nd_a_second_and_are_counted_no_more() {
    let (mut world, key) = world();
    let services = world.shared.snapshot();
    let config = services.get(&key).unwrap().config.clone();
    let persistent = ServiceConfig {
        flags: FLAG_PERSISTENT,
        timeout: 300,
        ..config
    };
    world.shared.edit_service(persistent).unwrap();
    assert!(forwarded(&mut world, 0..4096).into_iter().all(|it| it));
    set(&world, "drop_entry", "3");
    let mut left = Vec::new();
    for _ in 0..10 {
        world.sleep(Duration::from_secs(1));
        left.push(world.director.connections().len());
    }
    assert!(left.is_sorted_by(|a, b| a >= b), "{left:?}");
    // (31/32)^9 to (31/32)^10 of 4096, and five standard deviations.
    assert!((2842..=3219).contains(&left[9]), "{left:?}");
    let services = world.shared.snapshot();
    let server = &services.get(&key).unwrap().destinations[0];
    assert_eq!(usize::try_from(server.active()), Ok(left[9]));
    let mut templates = 0;
    world.shared.for_each_template(|_| templates += 1);
    assert_eq!(
        templates, left[9],
        "an unassured template goes with its last connection"
    );
    set(&world, "drop_entry", "0");
    world.sleep(Duration::from_secs(10));
    assert_eq!(world.director.connections().len(), left[9]);
}

#[test]
fn templates_that_nobody_uses_go_too() {
    let (mut world, key) = world();
    let services = world.shared.snapshot();
    let config = services.get(&key).unwrap().config.clone();
    let persistent = ServiceConfig {
        flags: FLAG_PERSISTENT,
        timeout: 3000,
        ..config
    };
    world.shared.edit_service(persistent).unwrap();
    forwarded(&mut world, 0..500);
    world.sleep(Duration::from_secs(100));
    assert!(world.director.connections().is_empty());
    let count = |world: &World| {
        let mut templates = 0;
        world.shared.for_each_template(|_| templates += 1);
        templates
    };
    assert_eq!(count(&world), 500);
    set(&world, "drop_entry", "3");
    seconds(&mut world, 20);
    assert!((150..400).contains(&count(&world)), "{}", count(&world));
}

//! What a backup makes of entries that a master told, and what a master tells. The messages themselves are the
//! control crate's.

mod world;

use core::net::IpAddr;
use core::time::Duration;

use director::connection::{Connection, Cursor};
use director::destination::Method;
use director::frame::Output;
use director::net::Answer;
use director::protocol::Protocol;
use director::service::ServiceKey;
use director::sync::{Entry, FLAG_SYNC, FLAG_TEMPLATE};
use director::verdict::Verdict;
use packet::Packet;
use world::{CLIENTS, VIP, World, ip};

const RIP: &str = "10.2.0.11";
const INACTIVE: u32 = 0x0100;
const ESTABLISHED: u16 = 1;
const CLOSE_WAIT: u16 = 7;

/// An established connection by NAT.
fn entry() -> Entry {
    Entry {
        protocol: 6,
        flags: 0,
        state: ESTABLISHED,
        client: (ip("192.0.2.10"), 1001),
        virtual_server: (ip(VIP), 80),
        server: (ip(RIP), 8080),
        mark: 0,
        timeout: 77,
        shifts: None,
        engine: None,
    }
}

fn template() -> Entry {
    Entry {
        flags: FLAG_TEMPLATE | INACTIVE,
        client: (ip("192.0.2.10"), 0),
        ..entry()
    }
}

fn with_service() -> (World, ServiceKey) {
    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 80);
    world.server(&key, RIP, 8080, Method::Masq);
    (world, key)
}

impl World {
    fn accept(&mut self, entry: &Entry) {
        self.director.refresh();
        self.director.accept(self.now, entry);
    }

    /// Server, state, flags and seconds to live of every connection.
    fn listed(&self) -> Vec<((IpAddr, u16), &'static str, u32, u64)> {
        let mut listed = Vec::new();
        let show = |connection: &Connection| {
            (
                connection.server(),
                connection.state().name(),
                u32::from(connection.flags()),
                connection.expires_in(self.now).as_secs(),
            )
        };
        let table = self.director.connections();
        table.list(Cursor::default(), u32::MAX, |_, it| listed.push(show(it)));
        listed
    }

    /// Active, inactive and persistent connections of the real server.
    fn counts(&self, key: &ServiceKey) -> [i32; 3] {
        let services = self.shared.snapshot();
        let service = services.get(key).unwrap();
        let server = service.destination(ip(RIP), 8080).unwrap();
        [server.active(), server.inactive(), server.persistent()]
    }

    /// Assured, flags and seconds to live of every template.
    fn templates(&self) -> Vec<(bool, u32, u64)> {
        let mut listed = Vec::new();
        self.shared.for_each_template(|it| {
            let left = it.expires().since(self.now).as_secs();
            listed.push((it.is_assured(), it.flags(), left));
        });
        listed
    }
}

#[test]
fn a_connection_is_made_updated_and_counted_by_its_real_server() {
    let (mut world, key) = with_service();
    world.accept(&entry());
    let server = (ip(RIP), 8080);
    assert_eq!(world.listed(), [(server, "ESTABLISHED", FLAG_SYNC, 77)]);
    assert_eq!(world.counts(&key), [1, 0, 0]);
    world.accept(&Entry {
        flags: INACTIVE,
        state: CLOSE_WAIT,
        timeout: 0,
        ..entry()
    });
    let closing = (server, "CLOSE_WAIT", FLAG_SYNC | INACTIVE, 60);
    assert_eq!(world.listed(), [closing]);
    assert_eq!(world.counts(&key), [0, 1, 0]);
    world.sleep(Duration::from_secs(61));
    assert_eq!(world.listed(), []);
    assert_eq!(world.counts(&key), [0, 0, 0]);
}

#[test]
fn the_real_servers_method_goes_before_the_messages() {
    let mut world = World::new();
    let key = world.service(Protocol::Tcp, VIP, 80);
    world.server(&key, RIP, 8080, Method::DirectRoute);
    world.accept(&entry());
    assert_eq!(world.listed()[0].2, FLAG_SYNC | 0x0080 | 3);
}

#[test]
fn another_real_server_replaces_the_connection_unless_it_ends() {
    let (mut world, _) = with_service();
    world.accept(&entry());
    let other = (ip("10.2.0.12"), 80);
    world.accept(&Entry {
        server: other,
        flags: INACTIVE,
        state: CLOSE_WAIT,
        ..entry()
    });
    assert_eq!(world.listed().len(), 1);
    world.accept(&Entry {
        server: other,
        ..entry()
    });
    world.sleep(Duration::from_secs(1));
    assert_eq!(world.listed()[0].0, other);
    assert_eq!(world.listed().len(), 1);
}

#[test]
fn what_has_no_service_is_kept_and_gets_its_real_server_later() {
    let mut world = World::new();
    world.accept(&entry());
    world.accept(&template());
    assert_eq!(world.listed()[0].0, (ip(RIP), 8080));
    let assured = (true, FLAG_SYNC | FLAG_TEMPLATE, 77);
    assert_eq!(world.templates(), [assured]);
    let key = world.service(Protocol::Tcp, VIP, 80);
    world.server(&key, RIP, 8080, Method::Masq);
    assert_eq!(world.counts(&key), [0, 0, 0]);
    world.accept(&entry());
    world.accept(&template());
    assert_eq!(world.counts(&key), [1, 0, 1]);
    assert_eq!(world.templates(), [assured]);
}

#[test]
fn a_template_is_updated_in_place() {
    let (mut world, key) = with_service();
    world.accept(&Entry {
        state: 0,
        ..template()
    });
    let flags = FLAG_SYNC | FLAG_TEMPLATE;
    assert_eq!(world.templates(), [(false, flags, 77)]);
    world.accept(&Entry {
        timeout: 0,
        ..template()
    });
    assert_eq!(world.templates(), [(true, flags, 180)]);
    assert_eq!(world.counts(&key), [0, 0, 1]);
}

#[test]
fn what_cannot_be_is_passed_over() {
    let (mut world, _) = with_service();
    for entry in [
        Entry {
            protocol: 47,
            ..entry()
        },
        Entry {
            state: 11,
            ..entry()
        },
        Entry {
            protocol: 17,
            ..entry()
        },
        Entry {
            protocol: 47,
            ..template()
        },
        Entry {
            engine: Some(("h323".to_owned(), Box::from(&b"x"[..]))),
            ..template()
        },
    ] {
        world.accept(&entry);
    }
    assert!(world.listed().is_empty() && world.templates().is_empty());
}

/// An entry whose client's port is not known takes the first packet's; it ends without a trace.
#[test]
fn an_unknown_client_port_is_the_first_packets() {
    let (mut world, _) = with_service();
    world.accept(&Entry {
        flags: 0x0800,
        client: (ip("192.0.2.10"), 0),
        virtual_server: (ip(VIP), 4000),
        ..entry()
    });
    let (verdict, _) = world.receive(CLIENTS, &syn(4000));
    assert_eq!(verdict, Verdict::Forwarded);
    assert_eq!(world.listed().len(), 1);
    world.sleep(Duration::from_secs(1000));
    assert!(world.listed().is_empty());
}

#[test]
fn a_backup_only_director_leaves_packets_to_the_host() {
    let (mut world, _) = with_service();
    world.network(|network| {
        network.vips.insert(ip(VIP), Answer::Local);
    });
    world.shared.set_sysctl("backup_only", "1").unwrap();
    world.shared.sync.set_backup(true);
    assert_eq!(world.receive(CLIENTS, &syn(80)).0, Verdict::Pass);
    assert!(world.listed().is_empty());
    world.shared.sync.set_backup(false);
    assert_eq!(world.receive(CLIENTS, &syn(80)).0, Verdict::Forwarded);
    assert_eq!(world.listed().len(), 1);
}

#[test]
fn a_director_tells_only_while_a_master_runs() {
    let (mut world, _) = with_service();
    world.shared.set_sysctl("sync_threshold", "1 2").unwrap();
    world.shared.sync.set_master(true);
    assert_eq!(told(&mut world, &syn(80)), []);
    let established = told(&mut world, &segment(80, 0x10));
    assert_eq!(established, []);
    let third = told(&mut world, &segment(80, 0x10));
    assert_eq!((third.len(), third[0].state), (1, ESTABLISHED));
    world.shared.sync.set_master(false);
    assert_eq!(told(&mut world, &segment(80, 0x11)), []);
}

/// What the director tells after a frame.
fn told(world: &mut World, frame: &[u8]) -> Vec<Entry> {
    world.director.refresh();
    let mut buffer = vec![0; 128];
    buffer.extend_from_slice(frame);
    let end = buffer.len();
    let packet = Packet::new(&mut buffer, 128..end, 14);
    let mut output = Output::default();
    let director = &mut world.director;
    let verdict = director.handle(world.now, CLIENTS, 0, packet, &mut output);
    assert_eq!(verdict, Verdict::Forwarded);
    output.told
}

fn syn(port: u16) -> Vec<u8> {
    segment(port, 0x02)
}

/// A TCP segment of client 192.0.2.10:1001 to the VIP.
fn segment(port: u16, flags: u8) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(world::GATEWAY.0, world::CLIENT_SIDE.0)
        .ipv4([192, 0, 2, 10], [10, 8, 0, 1], 64)
        .tcp(1001, port, 1000, 65_535);
    let builder = match flags {
        0x02 => builder.syn(),
        0x10 => builder.ack(1),
        _ => builder.fin().ack(1),
    };
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

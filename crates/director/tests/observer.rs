//! An observer hears of every connection once, of its end once, and of every change in between: what it was told is what
//! the table and the real servers' counts say.

mod world;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use director::connection::{ConnectionId, Cursor};
use director::destination::Method;
use director::observer::{Asked, Choice, Observer};
use director::protocol::Protocol;
use director::service::{FLAG_ONE_PACKET, FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use etherparse::PacketBuilder;
use proptest::prelude::*;
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, VIP, World, ip};

type Place = (IpAddr, u16);

/// What an observer was told so far.
#[derive(Debug, Default)]
struct Heard {
    live: BTreeMap<ConnectionId, (Place, bool)>,
    made: u64,
    once: u64,
    refused: u64,
    ended: u64,
    batches: u64,
    faults: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Ear(Arc<Mutex<Heard>>);

impl Observer for Ear {
    fn asked(&mut self, asked: &Asked<'_>, choice: Choice) {
        let mut heard = self.0.lock().unwrap();
        match choice {
            Choice::Made(id, place) | Choice::Given(id, place) => {
                heard.made += 1;
                if heard.live.insert(id, (place, false)).is_some() {
                    heard.faults.push(format!("{id:?} was made twice"));
                }
            }
            Choice::Once(_) => heard.once += 1,
            Choice::Refused => heard.refused += 1,
        }
        if asked.flow.destination != ip(VIP) {
            heard
                .faults
                .push(format!("{:?} is not to the VIP", asked.flow));
        }
    }

    fn turned(&mut self, connection: ConnectionId, active: bool) {
        let mut heard = self.0.lock().unwrap();
        let before = heard.live.get_mut(&connection);
        let was = before.map(|(_, was)| core::mem::replace(was, active));
        if was != Some(!active) {
            heard
                .faults
                .push(format!("{connection:?} turned {active}, was {was:?}"));
        }
    }

    fn ended(&mut self, connection: ConnectionId) {
        let mut heard = self.0.lock().unwrap();
        heard.ended += 1;
        if heard.live.remove(&connection).is_none() {
            heard
                .faults
                .push(format!("{connection:?} ended, but was not there"));
        }
    }

    fn batch_done(&mut self) {
        self.0.lock().unwrap().batches += 1;
    }
}

/// Services of a world: TCP, persistent TCP, UDP, UDP by single packets; one without real servers.
fn world() -> (World, Vec<ServiceKey>) {
    let mut world = World::new();
    let mut keys = Vec::new();
    for (protocol, port, flags) in [
        (Protocol::Tcp, 80, 0),
        (Protocol::Tcp, 81, FLAG_PERSISTENT),
        (Protocol::Udp, 53, 0),
        (Protocol::Udp, 54, FLAG_ONE_PACKET),
        (Protocol::Tcp, 82, 0),
    ] {
        let key = world.service(protocol, VIP, port);
        let services = world.shared.snapshot();
        let config = ServiceConfig {
            flags,
            timeout: 60,
            scheduler: "wlc".to_owned(),
            ..services.get(&key).unwrap().config.clone()
        };
        world.shared.edit_service(config).unwrap();
        if port != 82 {
            for server in ["10.2.0.11", "10.2.0.12", "10.2.0.13"] {
                world.server(&key, server, port, Method::DirectRoute);
            }
        }
        keys.push(key);
    }
    (world, keys)
}

fn frame(client: u8, source_port: u16, port: u16, flags: u8) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0).ipv4(
        [192, 0, 2, client],
        [10, 8, 0, 1],
        64,
    );
    let mut frame = Vec::new();
    if port >= 80 {
        let mut header = etherparse::TcpHeader::new(source_port, port, 1000, 64240);
        (header.fin, header.syn) = (flags & 1 != 0, flags & 2 != 0);
        (header.rst, header.ack) = (flags & 4 != 0, flags & 16 != 0);
        builder.tcp_header(header).write(&mut frame, &[]).unwrap();
    } else {
        let data = b"question";
        builder
            .udp(source_port, port)
            .write(&mut frame, data)
            .unwrap();
    }
    frame
}

#[derive(Clone, Debug)]
enum Step {
    Packet(u8, u16, u16, u8),
    Sleep(u64),
    Delete(usize, u8),
    Add(usize, u8),
    ExpireNodest,
    DropEntry(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let port = prop::sample::select(vec![80, 80, 81, 82, 53, 54]);
    let flags = prop::sample::select(vec![2, 2, 16, 17, 4, 1]);
    prop_oneof![
        20 => (1..4_u8, 1..4_u16, port, flags).prop_map(|(c, p, to, f)| Step::Packet(c, p, to, f)),
        2 => prop::sample::select(vec![1, 20, 130, 1000]).prop_map(Step::Sleep),
        1 => (0..4_usize, 11..14_u8).prop_map(|(service, server)| Step::Delete(service, server)),
        1 => (0..4_usize, 11..14_u8).prop_map(|(service, server)| Step::Add(service, server)),
        1 => Just(Step::ExpireNodest),
        1 => any::<bool>().prop_map(Step::DropEntry),
    ]
}

fn take(world: &mut World, keys: &[ServiceKey], step: &Step) {
    let address = |server: u8| format!("10.2.0.{server}");
    match *step {
        Step::Packet(client, source_port, port, flags) => {
            let _ = world.receive(CLIENTS, &frame(client, source_port, port, flags));
        }
        Step::Sleep(seconds) => {
            world.sleep(Duration::from_secs(seconds));
        }
        // Of a server that is there already, or is not: nothing changes.
        Step::Delete(service, server) => {
            let (key, address) = (&keys[service], ip(&address(server)));
            let _ = world.shared.delete_destination(key, address, key.port());
        }
        Step::Add(service, server) => {
            let key = &keys[service];
            let server = world::server(&address(server), key.port(), Method::DirectRoute);
            let _ = world.shared.add_destination(key, &server);
        }
        Step::ExpireNodest => world.shared.set_sysctl("expire_nodest_conn", "1").unwrap(),
        Step::DropEntry(on) => {
            let value = if on { "3" } else { "0" };
            world.shared.set_sysctl("drop_entry", value).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_told_is_what_there_is(steps in prop::collection::vec(step(), 1..120)) {
        let (mut world, keys) = world();
        let ear = Ear::default();
        world.director.set_observer(Some(Box::new(ear.clone())));
        for step in &steps {
            take(&mut world, &keys, step);
        }
        world.director.batch_done();
        let heard = ear.0.lock().unwrap();
        prop_assert!(heard.faults.is_empty(), "{:?}", heard.faults);
        prop_assert_eq!(heard.batches, 1);
        let table = world.director.connections();
        prop_assert_eq!(heard.made, table.made());
        prop_assert_eq!(heard.ended, table.ended());
        let mut live = BTreeMap::new();
        table.list(Cursor::default(), u32::MAX, |id, connection| {
            let server = connection.destination().unwrap();
            live.insert(id, ((server.address, server.port), connection.is_active()));
        });
        prop_assert_eq!(&heard.live, &live);
    }
}

#[test]
fn refusals_and_single_packets_are_told() {
    let (mut world, _) = world();
    let ear = Ear::default();
    world.director.set_observer(Some(Box::new(ear.clone())));
    for (port, flags) in [(82, 2), (82, 2), (54, 0), (80, 16)] {
        let _ = world.receive(CLIENTS, &frame(1, 1000, port, flags));
    }
    let heard = ear.0.lock().unwrap();
    assert_eq!((heard.refused, heard.once, heard.made), (2, 1, 0));
}

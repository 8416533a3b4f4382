//! Shadows beside a real director: a shadow of the live scheduler decides as it does, to the last connection, through
//! commands, states and ends; and others are told apart from it.

#[path = "../../director/tests/world/mod.rs"]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::shadow::{Report, Server, Service};
use director::destination::{Destination, Method};
use director::protocol::Protocol;
use director::scheduler::ENTRIES;
use director::scheduler::lots::Lots;
use director::service::{FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use director::shared::Options;
use etherparse::PacketBuilder;
use runtime::clock::Clock;
use runtime::shadow::{Shadows, Wish};
use world::{CLIENT_SIDE, CLIENTS, GATEWAY, VIP, World, ip};

/// A world with one TCP service of this scheduler, and these shadows beside it.
struct Stage {
    world: World,
    key: ServiceKey,
    shadows: Shadows,
    lots: Lots,
    live: Vec<(u8, u16)>,
}

fn wish(schedulers: &[&str], sample: u32) -> Wish {
    Wish {
        schedulers: schedulers
            .iter()
            .map(|text| text.parse().unwrap())
            .collect(),
        sample,
    }
}

impl Stage {
    fn new(scheduler: &str, flags: u32, wish: &Wish) -> Self {
        let options = Options {
            lots: 11,
            ..Options::default()
        };
        let mut world = World::with(options, 100_000);
        let key = world.service(Protocol::Tcp, VIP, 80);
        let services = world.shared.snapshot();
        let config = ServiceConfig {
            scheduler: scheduler.to_owned(),
            flags,
            timeout: 60,
            ..services.get(&key).unwrap().config.clone()
        };
        world.shared.edit_service(config).unwrap();
        for server in 11..15 {
            world.server(&key, &format!("10.2.0.{server}"), 80, Method::DirectRoute);
        }
        let shadows = Shadows::start(wish, &world.shared, Clock::start());
        let shadows = shadows.unwrap();
        world.director.set_observer(Some(shadows.observer(0)));
        Self {
            world,
            key,
            shadows,
            lots: Lots::new(7),
            live: Vec::new(),
        }
    }

    fn send(&mut self, client: u8, source_port: u16, flags: u8) {
        let mut header = etherparse::TcpHeader::new(source_port, 80, 1000, 64240);
        (header.fin, header.syn) = (flags & 1 != 0, flags & 2 != 0);
        (header.rst, header.ack) = (flags & 4 != 0, flags & 16 != 0);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(GATEWAY.0, CLIENT_SIDE.0)
            .ipv4([192, 0, 2, client], [10, 8, 0, 1], 64)
            .tcp_header(header)
            .write(&mut frame, &[])
            .unwrap();
        let _ = self.world.receive(CLIENTS, &frame);
    }

    fn draw(&mut self, limit: u64) -> usize {
        usize::try_from(self.lots.below(limit)).unwrap()
    }

    /// Connections come, are used and end, a while.
    fn traffic(&mut self, steps: usize) {
        for step in 0..steps {
            match self.draw(8) {
                0..5 => {
                    let client = u8::try_from(1 + self.draw(40)).unwrap();
                    let port = u16::try_from(1024 + step % 60_000).unwrap();
                    self.send(client, port, 2);
                    self.live.push((client, port));
                }
                kind if !self.live.is_empty() => {
                    let at = self.draw(self.live.len() as u64);
                    let (client, port) = self.live[at];
                    match kind {
                        5 => self.send(client, port, 16),
                        6 => self.send(client, port, 17),
                        _ => {
                            self.live.swap_remove(at);
                            self.send(client, port, 4);
                        }
                    }
                }
                _ => {}
            }
            if step % 64 == 0 {
                self.world.director.batch_done();
            }
            if step % 500 == 0 {
                self.world.sleep(Duration::from_secs(11));
            }
        }
        self.world.director.batch_done();
    }

    /// A command, told as the control thread tells it.
    fn command(&mut self, command: impl FnOnce(&mut World, &ServiceKey)) {
        let generation = self.world.shared.generation();
        command(&mut self.world, &self.key);
        assert_ne!(self.world.shared.generation(), generation);
        self.shadows.configured();
        // Told and taken over before the next packet.
        self.report();
    }

    fn report(&self) -> Report {
        let begun = Instant::now();
        loop {
            match self.shadows.report() {
                Ok(report) => return report,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
            }
        }
    }

    fn service(&self) -> Service {
        let report = self.report();
        assert_eq!((report.lost, report.restarts), (0, 0));
        let mut services = report.services;
        assert_eq!(services.len(), 1);
        services.remove(0)
    }

    /// Everything that may happen to a service.
    fn history(&mut self) {
        self.traffic(1000);
        self.command(|world, key| world.server(key, "10.2.0.15", 80, Method::DirectRoute));
        self.traffic(1000);
        self.command(|world, key| {
            world
                .shared
                .delete_destination(key, ip("10.2.0.12"), 80)
                .unwrap();
        });
        self.traffic(500);
        self.command(|world, key| {
            let mut server = world::server("10.2.0.13", 80, Method::DirectRoute);
            server.weight = 0;
            world.shared.edit_destination(key, &server).unwrap();
        });
        self.traffic(500);
        self.command(|world, key| {
            let mut server = world::server("10.2.0.13", 80, Method::DirectRoute);
            (server.weight, server.upper_threshold) = (3, 40);
            world.shared.edit_destination(key, &server).unwrap();
            let server = world::server("10.2.0.12", 80, Method::DirectRoute);
            world.shared.add_destination(key, &server).unwrap();
        });
        self.traffic(1000);
    }
}

/// What the live director counts of its real servers, as a report's rows have it.
fn counted(stage: &Stage) -> Vec<Server> {
    let services = stage.world.shared.snapshot();
    let servers = services.get(&stage.key).unwrap().destinations.iter();
    let row = |it: &Arc<Destination>| Server {
        server: format!("{}:{}", it.address, it.port),
        weight: it.weight(),
        connections: it.stats.current().connections,
        active: it.active(),
        inactive: it.inactive(),
    };
    servers.map(row).collect()
}

#[test]
fn a_shadow_of_the_live_scheduler_agrees_to_the_last_connection() {
    for entry in ENTRIES {
        for flags in [0, FLAG_PERSISTENT] {
            let mut stage = Stage::new(entry.name, flags, &wish(&[entry.name], 1));
            stage.history();
            let service = stage.service();
            let [live, shadow] = &service.schedulers[..] else {
                panic!("{service:?}");
            };
            let name = format!("{} {flags}", entry.name);
            assert!(live.connections + live.refused > 1500, "{name}");
            assert_eq!(shadow.elsewhere, 0, "{name}");
            assert_eq!(shadow.connections, live.connections, "{name}");
            assert_eq!(shadow.refused, live.refused, "{name}");
            assert_eq!(shadow.moved, live.moved, "{name}");
            let counted = counted(&stage);
            assert_eq!(shadow.servers, counted, "{name}");
            assert_eq!(live.servers, counted, "{name}");
        }
    }
}

#[test]
fn another_scheduler_differs_and_clients_of_hashes_stay() {
    let schedulers = ["rr", "mh", "maglev", "mh -b mh-port"];
    let mut stage = Stage::new("wlc", 0, &wish(&schedulers, 1));
    stage.traffic(2000);
    let service = stage.service();
    let [live, rr, mh, maglev, mh_port] = &service.schedulers[..] else {
        panic!("{service:?}");
    };
    assert_eq!((live.live, live.elsewhere), (true, 0));
    for row in [rr, mh, maglev, mh_port] {
        assert!(!row.live);
        assert!(row.elsewhere * 2 > row.connections, "{row:?}");
        assert_eq!(row.connections, live.connections);
    }
    // Every client but 40 had been there: hashes by address bring it back.
    assert_eq!(mh.returning, mh.connections - 40);
    assert_eq!((mh.moved, maglev.moved), (0, 0));
    assert!(rr.moved * 2 > rr.returning && mh_port.moved * 2 > mh_port.returning);
    // After a server went, its clients have to move, and few others do.
    stage.command(|world, key| {
        world
            .shared
            .delete_destination(key, ip("10.2.0.12"), 80)
            .unwrap();
    });
    stage.traffic(2000);
    let service = stage.service();
    assert_eq!(service.changes, 1);
    let change = |row: usize| service.schedulers[row].after_change;
    assert_eq!(change(2).returning, 40);
    assert!(
        change(2).forced > 0 && change(2).moved <= change(2).forced + 5,
        "{:?}",
        change(2)
    );
    assert!(
        change(1).moved > change(2).moved,
        "{:?} {:?}",
        change(1),
        change(2)
    );
    assert_eq!(service.schedulers[2].moved, change(2).moved);
}

/// One in ten connections, with all that happens to each.
#[test]
fn a_sample_is_whole_connections() {
    let mut stage = Stage::new("mh", 0, &wish(&["mh"], 10));
    stage.traffic(8000);
    let (live, report) = (stage.world.director.connections().made(), stage.report());
    let row = &report.services[0].schedulers[1];
    assert_eq!(report.sample, 10);
    assert!(
        (live / 14..live / 7).contains(&row.connections),
        "{live}: {row:?}"
    );
    assert_eq!(row.elsewhere, 0);
    stage.world.sleep(Duration::from_secs(2000));
    stage.world.director.batch_done();
    assert!(stage.world.director.connections().is_empty());
    assert_eq!(stage.report().live, 0);
}

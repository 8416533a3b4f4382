//! What the engine makes of events that are written down here: each number of a report.

use std::net::Ipv4Addr;
use std::time::Duration;

use director::observer::Asked;
use director::protocol::Protocol;
use director::scheduler::Flow;
use director::shared::Options;

use super::*;
use crate::shadow::events::Plain;
use crate::shadow::tests::{VIP, ids};

/// The engine with a shadow `rr`, beside a live service with real servers 11, 12 and 13.
struct Stage {
    live: Arc<Shared>,
    engine: Engine,
    ids: Vec<ConnectionId>,
}

fn place(server: u8) -> Place {
    (Ipv4Addr::new(10, 2, 0, server).into(), 80)
}

fn flow(client: u8) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        source: Ipv4Addr::new(192, 0, 2, client).into(),
        source_port: 1024,
        destination: VIP,
        destination_port: 80,
    }
}

impl Stage {
    fn new(service: &str, weights: [i32; 3]) -> Self {
        let live = Arc::new(Shared::new(Options::default()));
        let key = service.split(" -s ").next().unwrap();
        let servers = (11..).zip(weights);
        let servers = servers
            .map(|(server, weight)| format!("-a {key} -r 10.2.0.{server}:80 -g -w {weight}\n"));
        let rules = format!("-A {service}\n{}", servers.collect::<String>());
        DesiredState::parse(&rules).unwrap().apply(&live).unwrap();
        let specs = ["rr".parse().unwrap()];
        Self {
            engine: Engine::new(&specs, Arc::clone(&live), Configured::of(&live)),
            live,
            ids: ids(100),
        }
    }

    /// This client asked for a connection.
    fn asked(&mut self, client: u8, mark: u32, choice: Choice) {
        let request = Request {
            flow: flow(client),
            mark,
            data: None,
            now: Instant::START,
        };
        self.engine
            .take(0, [Event::Asked(Box::new((request, choice)))]);
    }

    fn made(&mut self, client: u8, number: usize, server: u8) {
        let choice = Choice::Made(self.ids[number], place(server));
        self.asked(client, 0, choice);
    }

    /// The rows of the live scheduler and of the shadow.
    fn rows(&self) -> [Scheduler; 2] {
        let Report { mut services, .. } = self.engine.report();
        services.remove(0).schedulers.try_into().unwrap()
    }

    /// A command at the live director: this weight from now on.
    fn weigh(&mut self, server: u8, weight: i32) {
        let services = self.live.snapshot();
        let key: ServiceKey = services.in_order()[0].config.key;
        let (address, port) = place(server);
        let known = services
            .get(&key)
            .unwrap()
            .destination(address, port)
            .unwrap();
        let config = DestinationConfig {
            weight,
            ..known.config()
        };
        self.live.edit_destination(&key, &config).unwrap();
        self.engine.configure();
    }
}

const EVEN: Imbalance = Imbalance {
    max: 1.0,
    cv: 0.0,
    jain: 1.0,
};

/// Three servers of weights 1, 1 and 2 with one, one and two connections are even; a look is a look, however often.
#[test]
fn load_is_for_weight_and_a_mean_of_looks() {
    let mut stage = Stage::new("-t 10.8.0.1:80 -s wlc", [1, 1, 2]);
    for (number, server) in [11, 12, 13, 13].into_iter().enumerate() {
        stage.made(1, number, server);
    }
    let [live, rr] = stage.rows();
    assert_eq!(
        (live.load, live.load_now, live.shares),
        (None, Some(EVEN), Some(EVEN))
    );
    // Newest first.
    let counts = |row: &Scheduler| {
        row.servers
            .iter()
            .map(|it| it.connections)
            .collect::<Vec<_>>()
    };
    assert_eq!((counts(&live), counts(&rr)), (vec![2, 1, 1], vec![2, 1, 1]));
    for second in 1..4 {
        stage
            .engine
            .tick(Instant::START.after(Duration::from_secs(second)));
    }
    assert_eq!(stage.rows()[0].load, Some(EVEN));
    // The two at 13 become active: loads for weight are 1, 1 and 256.
    let turned = [2, 3].map(|number| Event::Turned(stage.ids[number], true));
    stage.engine.take(0, turned);
    let [live, rr] = stage.rows();
    let now = live.load_now.unwrap();
    assert!((now.max - 256.0 / (258.0 / 3.0)).abs() < 1e-9, "{now:?}");
    assert_eq!(live.shares, Some(EVEN), "of all connections so far");
    assert_eq!(
        [2, 0, 0],
        [0, 1, 2].map(|place: usize| live.servers[place].active)
    );
    assert_eq!(rr.servers.iter().map(|it| it.active).sum::<i32>(), 2);
    for number in 0..4 {
        stage.engine.take(0, [Event::Ended(stage.ids[number])]);
    }
    let [live, rr] = stage.rows();
    assert_eq!((live.load_now, live.shares), (None, Some(EVEN)));
    assert!(
        rr.servers
            .iter()
            .all(|it| it.active == 0 && it.inactive == 0)
    );
}

#[test]
fn what_is_refused_and_what_is_given() {
    let mut stage = Stage::new("-t 10.8.0.1:80 -s wlc", [1, 1, 1]);
    stage.asked(1, 0, Choice::Refused);
    let [live, rr] = stage.rows();
    assert_eq!((live.connections, live.refused), (0, 1));
    // The shadow has a real server for it, which is another one than none; without the live one it ends at once.
    assert_eq!((rr.connections, rr.refused, rr.elsewhere), (1, 0, 1));
    assert!(rr.servers.iter().all(|it| it.inactive == 0));
    for server in 11..14 {
        stage.weigh(server, 0);
    }
    stage.asked(1, 0, Choice::Once(place(11)));
    let [live, rr] = stage.rows();
    assert_eq!((live.connections, rr.refused, rr.elsewhere), (1, 1, 2));
    // Nobody was asked: it counts where it is, and is no choice.
    let choice = Choice::Given(stage.ids[0], place(12));
    stage.asked(1, 0, choice);
    let [live, rr] = stage.rows();
    assert_eq!((live.connections, rr.connections, rr.refused), (1, 1, 1));
    assert_eq!((live.servers[1].inactive, rr.servers[1].inactive), (1, 1));
}

/// Clients 1 and 2 come back after a change. Both move, but only the one whose real server takes no more has to.
#[test]
fn who_moves_and_who_has_to() {
    let mut stage = Stage::new("-t 10.8.0.1:80 -s wlc", [1, 1, 1]);
    stage.made(1, 0, 11);
    stage.made(2, 1, 12);
    stage.weigh(12, 0);
    stage.made(1, 2, 13);
    stage.made(2, 3, 13);
    // And again, when nothing has changed.
    stage.made(1, 4, 13);
    let [live, _] = stage.rows();
    assert_eq!((live.connections, live.returning, live.moved), (5, 3, 2));
    let change = live.after_change;
    assert_eq!((change.returning, change.moved, change.forced), (2, 2, 1));
}

#[test]
fn services_of_marks() {
    let mut stage = Stage::new("-f 7 -s wlc", [1, 1, 1]);
    let [first, second] = [0, 1].map(|number| Choice::Made(stage.ids[number], place(11)));
    stage.asked(1, 7, first);
    stage.asked(1, 8, second);
    assert_eq!(stage.rows()[0].connections, 1);
    assert_eq!(stage.engine.report().services[0].service, "FWM 7");
}

/// A template lasts as long after its connection as the service says, by the time that workers tell.
#[test]
fn templates_end_in_their_time() {
    let mut stage = Stage::new("-t 10.8.0.1:80 -s wlc -p 60", [1, 1, 1]);
    let mut moved = Vec::new();
    for (number, seconds) in [100, 150, 400].into_iter().enumerate() {
        let now = Instant::START.after(Duration::from_secs(seconds));
        stage.engine.tick(now);
        let asked = Asked {
            flow: &flow(1),
            mark: 0,
            data: None,
            now,
        };
        let (id, plain) = (stage.ids[number], Plain::of(&asked, place(11)).unwrap());
        let events = [Event::At(now), Event::Made(id, plain), Event::Ended(id)];
        stage.engine.take(0, events);
        moved.push(stage.rows()[1].moved);
    }
    assert_eq!(moved, [0, 0, 1]);
}

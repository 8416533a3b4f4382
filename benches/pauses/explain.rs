//! How long a question of `ulvs explain` keeps a worker from its packets.

use director::explain::Question;
use director::service::ServiceConfig;
use packet::Family;

use crate::Wanted;
use crate::gauge::Gauge;
use crate::one_service::{ACK, client, key, vip};
use crate::world::{BATCH, World, real_server};

/// Questions of each kind.
const QUESTIONS: u32 = 200;
/// Connections that there are.
const CONNECTIONS: u32 = 10_000;

pub(crate) fn measure(wanted: &Wanted) {
    for servers in [16, 256, 4096] {
        for scheduler in ["wlc", "sh", "mh", "twos", "lblc"] {
            let name = format!("explain: {servers} real servers, {scheduler}");
            wanted.measure(&name, || asked(scheduler, servers));
        }
    }
}

/// Questions about clients, half of which have a connection.
fn asked(scheduler: &str, servers: u16) -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, false, 16);
    let key = key(Family::V4);
    for number in 16..servers {
        let [high, low] = number.to_be_bytes();
        let server = real_server([10, 3, high, low].into(), i32::from(number) % 7 + 1);
        let added = world.shared.add_destination(&key, &server);
        added.expect("a new real server");
    }
    let config = world
        .shared
        .snapshot()
        .get(&key)
        .expect("a service")
        .config
        .clone();
    let config = ServiceConfig {
        scheduler: scheduler.to_owned(),
        ..config
    };
    world.shared.edit_service(config).expect("a scheduler");
    world.open(CONNECTIONS, &mut Gauge::default());
    let [mut worker, mut control, mut packets] = [(); 3].map(|()| Gauge::default());
    for number in 0..QUESTIONS {
        let (address, port) = client(Family::V4, number * 2 * CONNECTIONS / QUESTIONS);
        let question = format!("tcp {address}:{port} {}:80", vip(Family::V4));
        let question: Question = question.parse().expect("a question");
        let excerpt = worker.step(|| world.director.excerpt(world.now, &question, |_, _| 0));
        let excerpt = excerpt.0.expect("an answer");
        let _ = control.step(|| excerpt.explain());
        let _ = packets.step(|| world.batch(number % 100 * BATCH, BATCH, ACK));
    }
    vec![
        ("excerpt", worker),
        ("dry run", control),
        ("batch", packets),
    ]
}

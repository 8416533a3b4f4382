//! What a scheduler's pick takes, connections that come and go beside it included.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use director::assign::Scheduled;
use director::destination::Destination;
use director::protocol::Protocol;
use director::scheduler::{ENTRIES, Flow};
use director::shared::{Options, Shared};
use director::time::Instant;
use packet::Family;

use crate::gauge::Gauge;
use crate::one_service::key;
use crate::world::{real_server, service};
use crate::{Wanted, note};

const SIZES: [u16; 3] = [16, 256, 4096];
/// Picks that are measured together.
const TOGETHER: u32 = 16;
const PICKS: u32 = 100_000;

/// The weights of the real servers.
#[derive(Clone, Copy)]
enum Weights {
    /// All 1.
    Equal,
    /// 1, 2, 3 and so on.
    Different,
    /// All quiesced but the last of the list.
    OneUsable,
}

impl Weights {
    fn of(self, number: u16) -> i32 {
        match self {
            Self::Equal => 1,
            Self::Different => i32::from(number) + 1,
            Self::OneUsable => i32::from(number == 0),
        }
    }
}

pub(crate) fn measure(wanted: &Wanted) {
    caches(wanted);
    for entry in ENTRIES {
        for (kind, weights) in [
            ("equal weights", Weights::Equal),
            ("different weights", Weights::Different),
            ("one usable", Weights::OneUsable),
        ] {
            let name = format!("pick {} {kind}", entry.name);
            if !wanted.has(&name) {
                continue;
            }
            let figures = SIZES.map(|size| {
                let (median, p99) = pick(entry.name, size, weights);
                format!("{size:>5}: {median:>6} ns (p99 {p99:>6})")
            });
            note(&name, figures.join("  "));
        }
    }
}

/// The choices that lblc and lblcr keep of a quarter of a million virtual addresses are looked through once a minute, and
/// all of them are forgotten after half an hour.
fn caches(wanted: &Wanted) {
    for scheduler in ["lblc", "lblcr"] {
        let name = format!("pick {scheduler} 250000 virtual addresses");
        wanted.measure(&name, || {
            let shared = made(scheduler, 16, Weights::Equal);
            let services = shared.snapshot();
            let service = services.get(&key(Family::V4)).expect("it was added");
            let mut gauge = Gauge::default();
            let mut now = Instant::START;
            for number in 0..750_000_u32 {
                // A second time after a minute, and all others after an hour.
                let (round, number) = (number / 250_000, number % 250_000);
                let flow = Flow {
                    destination: (0x0b00_0000 + number).to_be_bytes().into(),
                    ..flow(number)
                };
                now = now
                    .max(Instant::START.after(Duration::from_secs([0, 61, 3600][round as usize])));
                now = now.after(Duration::from_micros(10));
                let (_, _) = gauge.step(|| shared.schedule(service, &flow, None, now));
            }
            vec![("pick", gauge)]
        });
    }
}

fn flow(client: u32) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        source: client.to_be_bytes().into(),
        source_port: 1025,
        destination: crate::one_service::vip(Family::V4),
        destination_port: 80,
    }
}

/// A director with one service and so many real servers.
fn made(scheduler: &str, servers: u16, weights: Weights) -> Shared {
    let shared = Shared::new(Options::default());
    let key = key(Family::V4);
    shared
        .add_service(service(key, scheduler, false))
        .expect("a new service");
    for number in 0..servers {
        let [high, low] = number.to_be_bytes();
        let server = real_server([10, 2, high, low].into(), weights.of(number));
        shared
            .add_destination(&key, &server)
            .expect("a new real server");
    }
    shared
}

/// Nanoseconds of a pick, of a connection's becoming active and of the end of another: median and 99th percentile.
fn pick(scheduler: &str, servers: u16, weights: Weights) -> (u128, u128) {
    let shared = made(scheduler, servers, weights);
    let services = shared.snapshot();
    let service = services.get(&key(Family::V4)).expect("it was added");
    let mut open: VecDeque<Arc<Destination>> = VecDeque::new();
    let mut gauge = Gauge::default();
    let mut now = Instant::START;
    let mut client = 0_u32;
    for _ in 0..PICKS / TOGETHER {
        now = now.after(Duration::from_micros(10));
        gauge.step(|| {
            for _ in 0..TOGETHER {
                client = client.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let flow = flow(client);
                if let Scheduled::Assigned(assigned) = shared.schedule(service, &flow, None, now) {
                    assigned.destination.set_active(true);
                    open.push_back(assigned.destination);
                }
                if open.len() > 10_000
                    && let Some(ended) = open.pop_front()
                {
                    ended.unbind(true);
                }
            }
        });
    }
    let (median, p99) = gauge.percentiles();
    (median / u128::from(TOGETHER), p99 / u128::from(TOGETHER))
}

//! What shadow scheduling costs a worker: a new connection, and a connection's whole life in the director, with nobody
//! told and with two shadows (`mh`, `p2c`) in a thread of their own. Rounds of both alternate; the least of each counts.
//!
//! `cargo bench --bench shadow`

#[path = "one_service.rs"]
mod one_service;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant as Clocked};

use director::destination::Method;
use director::director::{Director, Host};
use director::frame::Output;
use director::shared::{Options, Shared};
use director::time::Instant;
use director::verdict::Verdict;
use one_service::{
    ACK, HEADROOM, ROOM, SERVERS, SYN, client, frame_len, key, network, real_server, server,
    service, table, vip, write,
};
use packet::{Family, Packet};
use runtime::clock::Clock;
use runtime::shadow::{Shadows, Wish};

const FAMILY: Family = Family::V4;
/// Frames handled in one go.
const BATCH: u32 = 32;
/// Connections of a round.
const CONNECTIONS: u32 = 2048;
/// Rounds of each kind.
const ROUNDS: u32 = 400;
/// FIN with ACK, as a client sends it.
const FIN: u8 = 0x11;

/// A director with one TCP service of `wlc` and sixteen real servers, perhaps with shadows.
struct Side {
    director: Director,
    shadows: Option<Shadows>,
    now: Instant,
    /// Least time of a round: its new connections, and all of it.
    least: [Duration; 2],
}

impl Side {
    fn new(schedulers: &[&str]) -> Self {
        let shared = Arc::new(Shared::new(Options::default()));
        let key = key(FAMILY);
        shared
            .add_service(service(key, "wlc"))
            .expect("a new service");
        for last in 1..=SERVERS {
            let server = real_server(server(FAMILY, last), Method::Masq, 1);
            let added = shared.add_destination(&key, &server);
            added.expect("a new real server");
        }
        let host = Arc::new(Host::default());
        host.network.store(Arc::new(network(FAMILY)));
        let mut director = Director::new(Arc::clone(&shared), host, 0, &table());
        let shadows = (!schedulers.is_empty()).then(|| {
            let wish = Wish {
                schedulers: (schedulers.iter())
                    .map(|text| text.parse().expect("a scheduler"))
                    .collect(),
                sample: 1,
            };
            Shadows::start(&wish, &shared, Clock::start()).expect("a thread")
        });
        if let Some(shadows) = &shadows {
            director.set_observer(Some(shadows.observer(0)));
        }
        Self {
            director,
            shadows,
            now: Instant::START,
            least: [Duration::MAX; 2],
        }
    }

    /// Connections that begin, are established, end, and expire.
    fn round(&mut self) {
        let made = self.packets(SYN);
        let mut all = made + self.packets(ACK) + self.packets(FIN);
        self.now = self.now.after(Duration::from_secs(1000));
        let begun = Clocked::now();
        while !self.director.connections().is_empty() {
            self.director.refresh();
            self.director.tick(self.now, &mut Output::default());
            self.director.batch_done();
        }
        all += begun.elapsed();
        self.least = [self.least[0].min(made), self.least[1].min(all)];
        // What was told is taken before the next round: nothing is lost, which would be cheaper.
        if let Some(shadows) = &self.shadows {
            let mut report = shadows.report();
            while report.is_err() {
                report = shadows.report();
            }
            assert_eq!(report.map(|report| report.lost), Ok(0));
        }
    }

    /// One packet of each connection; the time that took.
    fn packets(&mut self, flags: u8) -> Duration {
        let len = frame_len(FAMILY);
        let mut spent = Duration::ZERO;
        for first in (0..CONNECTIONS).step_by(BATCH as usize) {
            let mut buffers = [[0; ROOM]; BATCH as usize];
            for (number, buffer) in (first..).zip(&mut buffers) {
                let from = client(FAMILY, number.wrapping_mul(2_654_435_769) >> 8);
                let frame = &mut buffer[HEADROOM..HEADROOM + len];
                write(frame, from, (vip(FAMILY), 80), flags);
            }
            let mut output = Output::default();
            let packets: Vec<Packet<'_>> = (buffers.iter_mut())
                .map(|buffer| Packet::new(buffer, HEADROOM..HEADROOM + len, 14))
                .collect();
            let begun = Clocked::now();
            self.director.refresh();
            for packet in packets {
                let verdict = self.director.handle(self.now, 1, 0, packet, &mut output);
                assert_eq!(verdict, Verdict::Forwarded);
            }
            self.director.batch_done();
            black_box(&output.frames);
            spent += begun.elapsed();
        }
        spent
    }
}

fn main() {
    // Two without: how far they are apart is the noise.
    let mut sides = [
        ("nobody is told", Side::new(&[])),
        ("nobody is told", Side::new(&[])),
        ("shadows mh and p2c", Side::new(&["mh", "p2c"])),
    ];
    for _ in 0..ROUNDS {
        sides.iter_mut().for_each(|(_, side)| side.round());
    }
    let ns = |least: Duration| least.as_secs_f64() * 1e9 / f64::from(CONNECTIONS);
    let [made, all] = sides[0].1.least.map(ns);
    println!(
        "{:<20} {:>16} {:>16}",
        "ns a connection", "new", "whole life"
    );
    for (name, side) in &sides {
        let [new, whole] = side.least.map(ns);
        let more = |value: f64, base: f64| (value / base - 1.0) * 100.0;
        let (new_more, whole_more) = (more(new, made), more(whole, all));
        println!("{name:<20} {new:>7.0} {new_more:>+6.1} % {whole:>7.0} {whole_more:>+6.1} %");
    }
}

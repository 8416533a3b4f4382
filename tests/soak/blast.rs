//! Small frames as fast as they can be made, and the sinks where they end: a UDP service by direct routing whose real
//! servers read nothing, so that the kernel counts what arrives.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::draw::Draw;
use super::inside::{join, run, spawn};
use super::raw::{Wire, set_source, stranger};
use super::world::{VIP, World, real};
use crate::harness::{Director, Host};

/// The port of the service.
const PORT: u16 = 7009;
/// Frames that are sent with one system call.
const BATCH: usize = 64;

/// Whose frames they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    /// Of the first so many flows, by chance.
    Known(u32),
    /// Of the first so many flows, each once.
    Each(u32),
    /// Each of a client that was never seen: TCP SYN.
    New,
}

/// Adds the service and opens the sinks.
pub(crate) fn open_sinks(world: &World, director: &Director) -> Vec<UdpSocket> {
    let vip = VIP[0];
    for protocol in ["-u", "-t"] {
        director.shell(&format!("ipvsadm -A {protocol} {vip}:{PORT} -s rr"));
        for server in 0..2 {
            let real = real(server, 0);
            director.shell(&format!(
                "ipvsadm -a {protocol} {vip}:{PORT} -r {real}:{PORT} -g"
            ));
        }
    }
    let open = |host| join(spawn(host, move || UdpSocket::bind((VIP[0], PORT))));
    let sinks = world.servers.iter().map(open);
    sinks.map(|sink| sink.expect("the port is free")).collect()
}

/// Packets that the service took for a real server so far, UDP and TCP.
pub(crate) fn taken(director: &Director) -> u64 {
    let packets = |protocol: &str| {
        let vip = VIP[0];
        let list = director.shell(&format!(
            "ipvsadm -Ln --stats --exact {protocol} {vip}:{PORT}"
        ));
        let line = list
            .lines()
            .find(|line| line.contains(&format!(":{PORT} ")));
        // Protocol, address, connections, packets in.
        line.and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok())
            .unwrap_or_default()
    };
    packets("-u") + packets("-t")
}

/// Datagrams that the full sinks have counted so far.
pub(crate) fn sunk(world: &World) -> u64 {
    world.servers.iter().map(drops).sum()
}

/// `drops`, the last column of the sink's line in `/proc/net/udp`.
fn drops(host: &Host) -> u64 {
    let table = run(host, || {
        std::fs::read_to_string("/proc/thread-self/net/udp").unwrap_or_default()
    });
    let port = format!(":{PORT:04X}");
    table
        .lines()
        .filter(|line| {
            line.split_whitespace()
                .nth(1)
                .is_some_and(|word| word.ends_with(&port))
        })
        .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        .sum()
}

/// What the generators have done.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Frames that the kernel took.
    pub(crate) taken: AtomicU64,
    /// Frames that it did not: a queue was full before the director's cable.
    pub(crate) refused: AtomicU64,
}

/// Running generators; [`Blast::stop`] ends them.
#[derive(Debug)]
pub(crate) struct Blast {
    sent: Arc<Sent>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    begun: Instant,
}

impl Blast {
    /// Starts `threads` generators that offer `rate` frames a second together; with rate 0 as many as they can.
    pub(crate) fn start(world: &World, flows: Flows, threads: usize, rate: f64) -> Self {
        let macs = [world.client.mac("eth0"), world.director.mac("eth0")];
        let (sent, over) = (Arc::new(Sent::default()), Arc::new(AtomicBool::new(false)));
        let begun = Instant::now();
        let one = |number: usize| {
            let (sent, over) = (Arc::clone(&sent), Arc::clone(&over));
            let [from, to] = macs.clone();
            spawn(&world.client, move || {
                let wire = Wire::open("eth0", &from, &to);
                let mut draw = Draw::new(u64::try_from(number).unwrap_or(0) + 7);
                generate(&wire, flows, rate / threads as f64, &mut draw, &sent, &over);
            })
        };
        let threads = (0..threads).map(one).collect();
        Self {
            sent,
            over,
            threads,
            begun,
        }
    }

    /// Whether the generators have nothing more to send ([`Flows::Each`]).
    pub(crate) fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Frames that the kernel has taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.sent.taken.load(Relaxed)
    }

    /// Stops; frames taken, frames refused, and seconds that it took.
    pub(crate) fn stop(self) -> (u64, u64, f64) {
        self.over.store(true, Relaxed);
        self.threads.into_iter().for_each(join);
        let seconds = self.begun.elapsed().as_secs_f64();
        let sent = &self.sent;
        (
            sent.taken.load(Relaxed),
            sent.refused.load(Relaxed),
            seconds,
        )
    }
}

fn generate(wire: &Wire, flows: Flows, rate: f64, draw: &mut Draw, sent: &Sent, over: &AtomicBool) {
    let vip: Ipv4Addr = VIP[0].parse().expect("an address");
    let mut frames: Vec<Vec<u8>> = (0..BATCH)
        .map(|_| wire.udp((vip, 0), (vip, PORT)))
        .collect();
    let begun = Instant::now();
    let (mut count, mut next) = (0_u64, 0_u32);
    while !over.load(Relaxed) {
        for frame in &mut frames {
            match flows {
                Flows::Known(flows) => {
                    let flow = draw.below(usize::try_from(flows).unwrap_or(1));
                    set_source(frame, tuple(u32::try_from(flow).unwrap_or(0)));
                }
                Flows::Each(_) => {
                    set_source(frame, tuple(next));
                    next += 1;
                }
                Flows::New => {
                    let port = 1024 + u16::try_from(draw.below(60_000)).unwrap_or(0);
                    *frame = wire.syn((stranger(draw), port), (vip, PORT));
                }
            }
        }
        let result = wire.send(frames.iter_mut());
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        sent.taken.fetch_add(number(result.sent), Relaxed);
        sent.refused.fetch_add(number(result.failed()), Relaxed);
        count += number(BATCH);
        if matches!(flows, Flows::Each(flows) if next >= flows) {
            return;
        }
        if rate > 0.0 {
            let due = begun + Duration::from_secs_f64(count as f64 / rate);
            let early = due.saturating_duration_since(Instant::now());
            if early > Duration::from_micros(200) {
                thread::sleep(early);
            }
        }
    }
}

/// Address and port of a flow.
fn tuple(flow: u32) -> (Ipv4Addr, u16) {
    let address = Ipv4Addr::from(0x0a40_0000 + (flow >> 4));
    let [_, _, _, low] = flow.to_be_bytes();
    (address, 2048 + u16::from(low & 15) * 997)
}

//! Clients that come and go: TCP connections that are closed, aborted or left half-open, short UDP flows, garbage.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::draw::Draw;
use super::inside::spawn;
use super::raw::{Wire, stranger};
use super::servers::{ANSWER, QUESTION};
use super::world::{METHODS, Method, VIP, World};
use crate::harness::bracketed;

/// Threads that make TCP connections, and threads that make UDP flows.
const TCP_THREADS: usize = 8;
const UDP_THREADS: usize = 4;
/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same for an answer to a datagram.
const UDP_PATIENCE: Duration = Duration::from_millis(100);
/// A connection in so many is aborted, in percent.
const ABORTED: usize = 25;

/// What the clients did so far.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// TCP connections that were answered and closed.
    pub(crate) closed: AtomicU64,
    /// TCP connections that were answered and reset by the client.
    pub(crate) aborted: AtomicU64,
    /// TCP connections that were refused, or stopped on the way: a server was removed.
    pub(crate) failed: AtomicU64,
    /// SYN segments whose answers nobody wanted.
    pub(crate) half_open: AtomicU64,
    /// UDP flows.
    pub(crate) flows: AtomicU64,
    /// UDP flows of which not every datagram was answered.
    pub(crate) unanswered: AtomicU64,
    /// Frames that are wrong in some way.
    pub(crate) garbage: AtomicU64,
    /// Answers that were not what was asked for.
    pub(crate) corrupted: AtomicU64,
}

/// How much the clients do, a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// TCP connections; half as many half-open ones, as many UDP flows and garbage frames come beside them.
    pub(crate) connections: u32,
    /// Of all choices.
    pub(crate) seed: u64,
}

/// Starts all clients; they work until `over`.
pub(crate) fn start(
    world: &World,
    load: Load,
    done: &Arc<Done>,
    over: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    let mut work = |count: usize, rate: f64, one: fn(&mut Draw, &Done)| {
        for _ in 0..count {
            let seed = load
                .seed
                .wrapping_add(u64::try_from(threads.len()).unwrap_or(0));
            let (done, over) = (Arc::clone(done), Arc::clone(over));
            threads.push(spawn(&world.client, move || {
                let mut draw = Draw::new(seed);
                pace(rate / count as f64, &over, || one(&mut draw, &done));
            }));
        }
    };
    let rate = f64::from(load.connections);
    work(TCP_THREADS, rate, connection);
    work(UDP_THREADS, rate, flow);
    let macs = [world.client.mac("eth0"), world.director.mac("eth0")];
    let (done, over) = (Arc::clone(done), Arc::clone(over));
    threads.push(spawn(&world.client, move || {
        let wire = Wire::open("eth0", &macs[0], &macs[1]);
        let mut draw = Draw::new(load.seed ^ 0xbad);
        pace(rate, &over, || frames(&wire, &mut draw, &done));
    }));
    threads
}

/// Does `one` so many times a second, or as often as it can.
fn pace(rate: f64, over: &AtomicBool, mut one: impl FnMut()) {
    let step = Duration::from_secs_f64(1.0 / rate.max(0.001));
    let mut next = Instant::now();
    while !over.load(Relaxed) {
        one();
        // What was missed is not made up for.
        next = (next + step).max(Instant::now() - step);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Some service.
fn service(draw: &mut Draw) -> (Method, usize, SocketAddr) {
    let (method, family) = (METHODS[draw.below(METHODS.len())], draw.below(2));
    let address = format!("{}:{}", bracketed(VIP[family]), method.port);
    (method, family, address.parse().expect("an address"))
}

/// One TCP connection: a question or some, answered, and an end.
fn connection(draw: &mut Draw, done: &Done) {
    let (_, _, address) = service(draw);
    let mut question = [0; QUESTION];
    question.fill_with(|| draw.octet());
    let (questions, aborts) = (1 + draw.below(3), draw.chance(ABORTED));
    match converse(address, &question, questions, aborts) {
        Ok(true) if aborts => add(&done.aborted),
        Ok(true) => add(&done.closed),
        Ok(false) => add(&done.corrupted),
        Err(_) => add(&done.failed),
    }
}

/// Whether all answers were right.
fn converse(
    address: SocketAddr,
    question: &[u8; QUESTION],
    questions: usize,
    aborts: bool,
) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut answer = [0; ANSWER];
    for _ in 0..questions {
        stream.write_all(question)?;
        stream.read_exact(&mut answer)?;
        if answer.chunks(QUESTION).any(|part| part != question) {
            return Ok(false);
        }
    }
    if aborts {
        // The kernel resets a connection that is closed with something unread.
        stream.write_all(question)?;
        stream.peek(&mut answer)?;
        return Ok(true);
    }
    stream.shutdown(Shutdown::Write)?;
    // The server closes as well.
    Ok(stream.read(&mut answer)? == 0)
}

/// One UDP flow of up to three datagrams.
fn flow(draw: &mut Draw, done: &Done) {
    let (_, family, address) = service(draw);
    add(&done.flows);
    match ask(draw, family, address) {
        Ok(true) => {}
        Ok(false) => add(&done.corrupted),
        Err(_) => add(&done.unanswered),
    }
}

/// Whether every answer was right.
fn ask(draw: &mut Draw, family: usize, address: SocketAddr) -> io::Result<bool> {
    let socket = UdpSocket::bind((["0.0.0.0", "::"][family], 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(UDP_PATIENCE))?;
    let mut answer = [0; 2048];
    for _ in 0..=draw.below(3) {
        let length = 1 + draw.below(1400);
        let question: Vec<u8> = (0..length).map(|_| draw.octet()).collect();
        socket.send(&question)?;
        let length = socket.recv(&mut answer)?;
        if answer[..length] != question[..] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A SYN from nowhere every other time, and one frame of garbage.
fn frames(wire: &Wire, draw: &mut Draw, done: &Done) {
    let vip: Ipv4Addr = VIP[0].parse().expect("an address");
    let mut frames = Vec::new();
    if draw.chance(50) {
        let from = (stranger(draw), 1024 + u16::from(draw.octet()));
        frames.push(wire.syn(from, (vip, METHODS[draw.below(METHODS.len())].port)));
        add(&done.half_open);
    }
    let port = METHODS[draw.below(METHODS.len())].port;
    frames.push(wire.garbage(draw, (vip, port)));
    add(&done.garbage);
    let _ = wire.send(frames.iter_mut());
}

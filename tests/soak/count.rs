//! `count`: is any frame lost, doubled, changed or out of place at a rate that the director carries easily?
//!
//! Numbered datagrams of many flows go through all three methods over IPv4 and IPv6; NAT's are answered. All the while a
//! weight changes, which has the kernel leave all flows to the director, and take them over again. No more than
//! [`WINDOW`] are under way at any time, so that no queue of the kernel overflows, however slow the machine is: what is
//! missing in the end was lost.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use link::sys::poll;

use super::counters::Counters;
use super::datagram::{self, Arrival, Flow, LONGEST, Seen, Way};
use super::inside::{join, spawn};
use super::report::{Report, progress};
use super::world::{Assist, METHODS, Method, VIP, World, add_service, server_line};
use crate::harness::{Director, bracketed};

/// Datagrams under way, at most: less than any queue on the way holds (a socket's is the shortest).
const WINDOW: u64 = 192;
/// How long the sender waits for those under way before it takes them for lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the director may take until everything follows the services.
const SETTLED: Duration = Duration::from_secs(1);
/// How long a service stays as it is.
const CHANGE: Duration = Duration::from_millis(50);
/// Names of the address families.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// What to count.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Datagrams, with each number of workers.
    pub(crate) frames: u64,
    /// Datagrams a second, at most.
    pub(crate) rate: u32,
    /// Flows of each method and family.
    pub(crate) flows: u32,
    /// Numbers of workers, one after the other.
    pub(crate) workers: Vec<usize>,
    /// Whose packets the kernel sends on by itself.
    pub(crate) assist: Assist,
}

/// What was found of one method and family, in one direction.
#[derive(Debug, Default)]
struct Tally {
    arrived: AtomicU64,
    doubled: AtomicU64,
    reordered: AtomicU64,
    elsewhere: AtomicU64,
    corrupted: AtomicU64,
}

/// What all threads of one run share.
#[derive(Debug)]
struct Run {
    flows: Vec<Flow>,
    /// Questions and answers of each method and family: see [`Run::way`].
    tallies: [[Tally; 2]; 6],
    /// Datagrams whose way has ended: at the server, or back at the client.
    done: AtomicU64,
    over: AtomicBool,
}

impl Run {
    /// The method of a flow and its family: flows take turns.
    fn way(flow: u32) -> (usize, usize) {
        let way = usize::try_from(flow).unwrap_or(0) % 6;
        (way % 3, way / 3)
    }

    /// Takes note of a datagram that arrived; whose it is, if it is one of ours and here for the first time.
    fn take(
        &self,
        datagram: &[u8],
        way: Way,
        (method, family): (usize, usize),
        server: Option<u8>,
    ) -> Option<(u32, u32)> {
        let tally = &self.tallies[family * 3 + method][usize::from(way == Way::Answer)];
        let add = |count: &AtomicU64| count.fetch_add(1, Relaxed);
        let known = datagram::read(datagram, way).and_then(|(flow, number)| {
            let index = usize::try_from(flow).ok()?;
            (Self::way(flow) == (method, family)).then_some(())?;
            Some((flow, number, self.flows.get(index)?))
        });
        let Some((number_of_flow, number, flow)) = known else {
            add(&tally.corrupted);
            return None;
        };
        let seen: &Seen = match way {
            Way::Question => &flow.questions,
            Way::Answer => &flow.answers,
        };
        match seen.take(number) {
            None => {
                add(&tally.corrupted);
                return None;
            }
            Some(Arrival::Doubled) => {
                add(&tally.doubled);
                return None;
            }
            Some(Arrival::Late) => add(&tally.reordered),
            Some(Arrival::New) => 0,
        };
        if server.is_some_and(|server| !flow.is_at(server)) {
            add(&tally.elsewhere);
        }
        add(&tally.arrived);
        Some((number_of_flow, number))
    }
}

/// Runs the plan.
pub(crate) fn run(plan: &Plan) -> Report {
    let mut report = Report::new(&[
        "way",
        "workers",
        "sent",
        "arrived",
        "answered",
        "lost",
        "doubled",
        "reordered",
        "elsewhere",
        "corrupted",
    ]);
    let begun = Instant::now();
    for &workers in &plan.workers {
        one(plan, workers, begun, &mut report);
    }
    report
}

fn one(plan: &Plan, workers: usize, begun: Instant, report: &mut Report) {
    let world = World::new();
    let director = world.start(workers, plan.assist.line());
    for method in METHODS {
        add_service(&director, "-u", method, "rr");
    }
    // The kernel's sharing out of flows follows new services a little later; what waits in one worker's ring then is
    // overtaken by what comes to another's.
    thread::sleep(SETTLED);
    introduce(&world);
    // What came before the director knew its interfaces was dropped.
    let before = Counters::read(&director);
    let flows = plan.flows.max(1) * 6;
    let each = plan.frames.div_ceil(u64::from(flows)).max(1);
    let each = u32::try_from(each).unwrap_or(u32::MAX);
    let run = Arc::new(Run {
        flows: (0..flows)
            .map(|flow| Flow::new(each, METHODS[Run::way(flow).0].is_nat()))
            .collect(),
        tallies: Default::default(),
        done: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let sockets = client_sockets(&world, flows);
    let mut threads = servers(&world, &run);
    threads.push(answers(&world, &run, &sockets));
    let sender = {
        let (run, rate) = (Arc::clone(&run), plan.rate);
        spawn(&world.client, move || send(&run, &sockets, each, rate))
    };
    let mut told = begun.elapsed();
    for change in 1.. {
        if sender.is_finished() {
            break;
        }
        thread::sleep(CHANGE);
        let line = server_line(("-e", "-u"), METHODS[0], 0, 0, change % 2 + 1);
        director.shell(&line);
        if begun.elapsed() - told > Duration::from_secs(5) {
            told = begun.elapsed();
            let (done, all) = (run.done.load(Relaxed), u64::from(each) * u64::from(flows));
            let text = format!("count, workers {workers}: {done} of {all} are through");
            progress(begun.elapsed(), &text);
        }
    }
    let sent = join(sender);
    run.over.store(true, Relaxed);
    threads.into_iter().for_each(join);
    tell(&run, workers, &sent, report);
    beside(&director, &before, &sent, (workers, plan.assist), report);
}

/// Has every machine learn its neighbours' link addresses. Datagrams that wait for one in a kernel's queue may be
/// overtaken, when it comes, by those that are sent on another processor at that moment.
fn introduce(world: &World) {
    let greet = spawn(&world.client, || {
        for (vip, any) in VIP.into_iter().zip(["0.0.0.0:0", "[::]:0"]) {
            for method in METHODS {
                for _ in 0..4 {
                    let socket = UdpSocket::bind(any).expect("a port is free");
                    // Nobody listens yet: the servers answer with ICMP.
                    let _ = socket.send_to(&[], format!("{}:{}", bracketed(vip), method.port));
                }
            }
        }
    });
    join(greet);
    thread::sleep(SETTLED);
}

/// A socket of the client's for each flow, connected to its service.
fn client_sockets(world: &World, flows: u32) -> Arc<Vec<UdpSocket>> {
    let made = spawn(&world.client, move || {
        let socket = |flow: u32| {
            let (method, family) = Run::way(flow);
            let from = ["0.0.0.0:0", "[::]:0"][family];
            let to = format!("{}:{}", bracketed(VIP[family]), METHODS[method].port);
            let socket = UdpSocket::bind(from).expect("a port is free");
            socket.connect(&to).expect("there is a route");
            socket.set_nonblocking(true).expect("a socket can be told");
            socket
        };
        Arc::new((0..flows).map(socket).collect())
    });
    join(made)
}

/// A thread for each place where a server listens.
fn servers(world: &World, run: &Arc<Run>) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    for (server, host) in (0..).zip(&world.servers) {
        for (index, method) in METHODS.into_iter().enumerate() {
            for family in 0..2 {
                let address = method.listens(usize::from(server), family);
                let open = spawn(host, move || UdpSocket::bind(&address));
                let socket = join(open).expect("the server's port is free");
                let run = Arc::clone(run);
                threads.push(thread::spawn(move || {
                    serve(&run, &socket, server, (index, family), method);
                }));
            }
        }
    }
    threads
}

fn serve(run: &Run, socket: &UdpSocket, server: u8, way: (usize, usize), method: Method) {
    let timeout = Some(Duration::from_millis(50));
    socket
        .set_read_timeout(timeout)
        .expect("a socket can be told");
    let mut buffer = [0; 2048];
    let mut answer = [0; LONGEST];
    while !run.over.load(Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let taken = run.take(&buffer[..length], Way::Question, way, Some(server));
        let Some((flow, number)) = taken else {
            continue;
        };
        if method.is_nat() {
            let length = datagram::write(&mut answer, flow, number, Way::Answer);
            // One that cannot be sent will be missed by the client.
            let _ = socket.send_to(&answer[..length], from);
        } else {
            run.done.fetch_add(1, Relaxed);
        }
    }
}

/// The thread that reads what comes back to the client.
fn answers(world: &World, run: &Arc<Run>, sockets: &Arc<Vec<UdpSocket>>) -> JoinHandle<()> {
    let (run, sockets) = (Arc::clone(run), Arc::clone(sockets));
    spawn(&world.client, move || {
        let mut buffer = [0; 2048];
        let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        while !run.over.load(Relaxed) {
            let readable = poll::readable(&fds, Some(Duration::from_millis(50)));
            let readable = readable.unwrap_or_default();
            for (flow, socket) in (0..).zip(sockets.iter()) {
                if !readable.get(flow).copied().unwrap_or_default() {
                    continue;
                }
                let way = Run::way(u32::try_from(flow).unwrap_or(u32::MAX));
                while let Ok(length) = socket.recv(&mut buffer) {
                    let taken = run.take(&buffer[..length], Way::Answer, way, None);
                    if taken.is_some() {
                        run.done.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    })
}

/// Sends `each` datagrams of every flow, one flow after the other; how many were sent by each way, and how many the
/// kernel refused to send (an ICMP error came).
fn send(run: &Run, sockets: &[UdpSocket], each: u32, rate: u32) -> Sent {
    let mut sent = Sent::default();
    let begun = Instant::now();
    let mut buffer = [0; LONGEST];
    let mut count = 0_u64;
    let mut given_up = 0;
    for number in 0..each {
        for (flow, socket) in (0..).zip(sockets) {
            let length = datagram::write(&mut buffer, flow, number, Way::Question);
            loop {
                match socket.send(&buffer[..length]) {
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => sent.refused += 1,
                    Err(_) => thread::sleep(Duration::from_micros(50)),
                }
            }
            let (method, family) = Run::way(flow);
            sent.ways[family * 3 + method] += 1;
            count += 1;
            wait_for(run, count, &mut given_up);
            if count.is_multiple_of(16) {
                let due = begun + Duration::from_secs_f64(count as f64 / f64::from(rate));
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
    }
    let end = Instant::now() + PATIENCE;
    while run.done.load(Relaxed) < count && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    sent.seconds = begun.elapsed().as_secs_f64();
    sent
}

/// Waits until fewer than [`WINDOW`] are under way.
fn wait_for(run: &Run, count: u64, given_up: &mut u64) {
    let mut begun = None;
    while count - (run.done.load(Relaxed) + *given_up).min(count) >= WINDOW {
        let since = *begun.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            *given_up += WINDOW;
        }
        thread::sleep(Duration::from_micros(50));
    }
}

/// What the sender did.
#[derive(Clone, Debug, Default)]
struct Sent {
    ways: [u64; 6],
    refused: u64,
    seconds: f64,
}

fn tell(run: &Run, workers: usize, sent: &Sent, report: &mut Report) {
    for (way, ([questions, answers], sent)) in run.tallies.iter().zip(sent.ways).enumerate() {
        let method = METHODS[way % 3];
        let name = format!("{} {}", method.name, FAMILIES[way / 3]);
        let of = |pick: fn(&Tally) -> &AtomicU64| {
            pick(questions).load(Relaxed) + pick(answers).load(Relaxed)
        };
        let arrived = questions.arrived.load(Relaxed);
        let answered = answers.arrived.load(Relaxed);
        let back = if method.is_nat() {
            sent - answered.min(sent)
        } else {
            0
        };
        let lost = back.max(sent - arrived.min(sent));
        let bad = [
            lost,
            of(|tally| &tally.doubled),
            of(|tally| &tally.reordered),
            of(|tally| &tally.elsewhere),
            of(|tally| &tally.corrupted),
        ];
        let mut cells = vec![name.clone(), workers.to_string()];
        cells.extend(
            [sent, arrived, answered]
                .iter()
                .chain(&bad)
                .map(u64::to_string),
        );
        report.row(&cells);
        report.check(bad == [0; 5], || {
            let [lost, doubled, reordered, elsewhere, corrupted] = bad;
            format!(
                "{name}, workers {workers}: {lost} lost, {doubled} doubled, {reordered} reordered, \
                 {elsewhere} at another server, {corrupted} corrupted"
            )
        });
    }
}

/// What the director itself says.
fn beside(
    director: &Director,
    before: &Counters,
    sent: &Sent,
    (workers, assist): (usize, Assist),
    report: &mut Report,
) {
    let counters = Counters::read(director);
    let all: u64 = sent.ways.iter().sum();
    let rate = all as f64 / sent.seconds.max(1e-3);
    let assisted = counters.total("assisted/forwarded");
    report.note(format!(
        "workers {workers}: {all} datagrams in {:.1} s ({rate:.0} a second); the kernel sent on {assisted} frames",
        sent.seconds
    ));
    report.check(assist != Assist::All || assisted > 0, || {
        format!("workers {workers}: the kernel sent on no frame")
    });
    for sentence in counters.broken(true) {
        report.fail(sentence);
    }
    let lost = [
        ("ring full", counters.links("ring_full")),
        ("inbox full", counters.total("shared_out/inbox_full")),
        ("refused by an ICMP error", sent.refused),
    ];
    for group in ["dropped", "not_sent"] {
        for (name, count) in counters.since(before, group) {
            report.fail(format!(
                "workers {workers}: {group}, {name}: {count} frames"
            ));
        }
    }
    for (name, count) in lost {
        report.check(count == 0, || {
            format!("workers {workers}: {name}: {count} frames")
        });
    }
}

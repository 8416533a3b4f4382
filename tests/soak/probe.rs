//! Somebody else's questions: a small datagram every so often, and how long its answer took.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::inside::{join, spawn};
use crate::harness::Host;

/// Between two questions.
const PACE: Duration = Duration::from_millis(2);
/// Questions in a row by which normality is told.
const NORMAL: usize = 100;
/// Questions that one probe may ask: ten minutes.
const MOST: usize = 300_000;

/// A question.
#[derive(Debug, Default)]
struct Asked {
    /// Nanoseconds since the probe began; 0 = not asked yet.
    at: AtomicU64,
    /// Nanoseconds until the answer; 0 = there is none.
    took: AtomicU64,
}

/// What the two threads of a probe share.
#[derive(Debug)]
struct Shared {
    begun: Instant,
    questions: Vec<Asked>,
    over: AtomicBool,
}

impl Shared {
    /// Nanoseconds since the probe began.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A running probe.
#[derive(Debug)]
pub(crate) struct Probe {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Probe {
    /// Asks `address` from `host` until dropped.
    pub(crate) fn start(host: &Host, address: &str) -> Self {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            questions: std::iter::repeat_with(Asked::default).take(MOST).collect(),
            over: AtomicBool::new(false),
        });
        let address = address.to_owned();
        let socket = join(spawn(host, move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
            socket.connect(&address).expect("there is a route");
            let timeout = Some(Duration::from_millis(50));
            socket
                .set_read_timeout(timeout)
                .expect("a socket can be told");
            Arc::new(socket)
        }));
        let (asking, hearing) = (Arc::clone(&shared), Arc::clone(&shared));
        let from = Arc::clone(&socket);
        let threads = vec![
            thread::spawn(move || ask(&asking, &from)),
            thread::spawn(move || hear(&hearing, &socket)),
        ];
        Self { shared, threads }
    }

    /// What was asked from `from` to `to`. Questions still under way count as lost.
    pub(crate) fn heard(&self, from: Instant, to: Instant) -> Heard {
        let since = |moment: Instant| {
            let time = moment.saturating_duration_since(self.shared.begun);
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
        };
        let (from, to) = (since(from), since(to));
        let asked = self.shared.questions.iter();
        let asked = asked
            .map(|question| (question.at.load(Relaxed), question.took.load(Relaxed)))
            .filter(|(at, _)| (from..to).contains(at) && *at > 0);
        let mut heard = Heard::default();
        for (at, took) in asked {
            heard.asked += 1;
            if took == 0 {
                heard.lost += 1;
            } else {
                heard.milliseconds.push(took as f64 / 1e6);
            }
            heard.in_time.push((at - from, took));
        }
        heard.milliseconds.sort_by(f64::total_cmp);
        heard
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

fn ask(shared: &Shared, socket: &UdpSocket) {
    let mut next = Instant::now();
    for (number, question) in (0_u32..).zip(&shared.questions) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if shared.over.load(Relaxed) {
            return;
        }
        question.at.store(shared.now().max(1), Relaxed);
        // One that cannot be sent has no answer.
        let _ = socket.send(&number.to_be_bytes());
        next = (next + PACE).max(Instant::now());
    }
}

fn hear(shared: &Shared, socket: &UdpSocket) {
    let mut number = [0; 4];
    while !shared.over.load(Relaxed) {
        if socket.recv(&mut number).is_err() {
            continue;
        }
        let index = usize::try_from(u32::from_be_bytes(number)).unwrap_or(MOST);
        if let Some(question) = shared.questions.get(index) {
            let took = shared.now() - question.at.load(Relaxed).min(shared.now());
            question.took.store(took.max(1), Relaxed);
        }
    }
}

/// What a probe heard in some time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// Questions.
    pub(crate) asked: u64,
    /// Those without an answer.
    pub(crate) lost: u64,
    /// How long answers took, the shortest first.
    milliseconds: Vec<f64>,
    /// When each question was asked and how long its answer took (0 = none), nanoseconds from the beginning.
    in_time: Vec<(u64, u64)>,
}

impl Heard {
    /// The delay that `percent` of the answers had or less, milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let last = self.milliseconds.len().saturating_sub(1);
        let at = (self.milliseconds.len() * percent / 100).min(last);
        self.milliseconds.get(at).copied().unwrap_or(f64::NAN)
    }

    /// The share of the questions without an answer.
    pub(crate) fn share_lost(&self) -> f64 {
        self.lost as f64 / self.asked.max(1) as f64
    }

    /// Milliseconds from the beginning until [`NORMAL`] questions in a row, but one in a hundred, were answered within
    /// `limit` milliseconds; infinite where that never was.
    pub(crate) fn normal_from(&self, limit: f64) -> f64 {
        let good = |took: u64| took > 0 && took as f64 / 1e6 <= limit;
        let is_normal = |row: &&[(u64, u64)]| {
            let bad = row.iter().filter(|(_, took)| !good(*took)).count();
            bad * 100 <= row.len()
        };
        let first = self.in_time.windows(NORMAL).find(is_normal);
        first.map_or(f64::INFINITY, |row| row[0].0 as f64 / 1e6)
    }
}

//! Threads that live on a machine of the lab: their sockets, and what `/proc` shows them, are that machine's.

use std::path::Path;
use std::thread::{self, JoinHandle};

use link::sys::process;

use crate::harness::Host;

/// Runs `work` in a thread on `host`. Panics in the thread where the machine is not there.
pub(crate) fn spawn<T: Send + 'static>(
    host: &Host,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let path = format!("/run/netns/{}", host.namespace());
    thread::spawn(move || {
        process::enter_network_namespace(Path::new(&path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        work()
    })
}

/// Runs `work` on `host` and gives what it found.
pub(crate) fn run<T: Send + 'static>(host: &Host, work: impl FnOnce() -> T + Send + 'static) -> T {
    join(spawn(host, work))
}

/// Waits for a thread; panics as it did.
pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What an interface's driver has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// Frames in.
    pub(crate) received: u64,
    /// Frames out.
    pub(crate) sent: u64,
}

/// The counters of an interface of `host`; zeros where there is no such interface.
pub(crate) fn traffic(host: &Host, interface: &str) -> Traffic {
    let interface = interface.to_owned();
    let table = run(host, || {
        std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default()
    });
    let line = table.lines().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        (name.trim() == interface).then_some(rest)
    });
    let numbers: Vec<u64> = line
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // Receive: bytes packets errs drop fifo frame compressed multicast; then the same for transmit.
    let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
    Traffic {
        received: at(1),
        sent: at(9),
    }
}

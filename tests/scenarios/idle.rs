//! A director with nothing to do sleeps, however many connections it keeps.
//!
//! Measured by the kernel's own account of the process, which does not depend on what else runs on the machine: the
//! time its threads ran, and how often its worker went to sleep.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{Director, Flat, eventually, udp_flows};

const SERVICES: u32 = 10;

/// Of a thread's `schedstat` and `status` in `/proc`.
#[derive(Debug)]
struct Account {
    /// All threads together.
    ran: Duration,
    /// Of the workers.
    sleeps: u64,
}

fn threads(director: &mut Director) -> Vec<PathBuf> {
    let tasks = format!("/proc/{}/task", director.process().pid());
    let entries = std::fs::read_dir(tasks).expect("the daemon runs");
    entries
        .map(|entry| entry.expect("/proc is readable").path())
        .collect()
}

fn text(thread: &Path, name: &str) -> String {
    std::fs::read_to_string(thread.join(name)).expect("the daemon's threads stay")
}

fn account(director: &mut Director) -> Account {
    let mut account = Account {
        ran: Duration::ZERO,
        sleeps: 0,
    };
    for thread in threads(director) {
        let ran = text(&thread, "schedstat");
        let ran = ran.split_whitespace().next().map(str::parse::<u64>);
        account.ran += Duration::from_nanos(ran.expect("a first number").expect("nanoseconds"));
        if text(&thread, "comm").starts_with("worker-") {
            let status = text(&thread, "status");
            let sleeps = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            let sleeps = sleeps.expect("a count of sleeps").trim();
            account.sleeps += sleeps.parse::<u64>().expect("a count");
        }
    }
    account
}

/// What the daemon did in this time.
fn over(director: &mut Director, time: Duration) -> Account {
    let before = account(director);
    std::thread::sleep(time);
    let after = account(director);
    Account {
        ran: after.ran - before.ran,
        sleeps: after.sleeps - before.sleeps,
    }
}

/// A director with ten services whose real server takes everything and says nothing.
fn director(net: &Flat, timeout: u32, config: &str) -> Director {
    // What one worker does is looked at.
    let builder = net.builder().config("workers = 1");
    let director = builder.config(config).start();
    director.shell(&format!("ipvsadm --set 0 0 {timeout}"));
    for port in 1..=SERVICES {
        director.shell(&format!("ipvsadm -A -u 10.0.0.1:{port}"));
        director.shell(&format!(
            "ipvsadm -a -u 10.0.0.1:{port} -r 10.0.0.20:{port} -g"
        ));
    }
    director
}

/// How many connections the director counts.
fn connections(director: &Director) -> u32 {
    let list = director.shell("ipvsadm -Ln");
    let counts = list
        .lines()
        .filter(|line| line.contains("->"))
        .filter_map(|line| line.split_whitespace().last()?.parse::<u32>().ok());
    counts.sum()
}

/// Half a per cent of a core is the bound; a tenth of that is usual for a release build. The worker has nothing to wake
/// up for but the switch's own chatter and a timer wheel's coarse turns.
fn kept(config: &str) {
    const COUNT: u32 = 100_000;
    const TIME: Duration = Duration::from_secs(30);
    let net = Flat::new(1);
    let mut director = director(&net, 3600, config);
    // On a machine that is busy with other things, what a full ring lost is sent once more.
    eventually("the connections", Duration::from_secs(60), || {
        udp_flows(&net.client, "10.0.0.1", SERVICES, COUNT, 5);
        std::thread::sleep(Duration::from_millis(500));
        (connections(&director) == COUNT).then_some(())
    });
    let account = over(&mut director, TIME);
    assert_eq!(connections(&director), COUNT, "{account:?}");
    assert!(account.ran < TIME / 200, "{account:?} in {TIME:?}");
    assert!(account.sleeps < 100, "{account:?} in {TIME:?}");
}

#[test]
fn hundred_thousand_connections() {
    kept("");
}

#[test]
fn busy_polling_ends_with_the_traffic() {
    kept("busy_poll = 1000");
}

/// Frames half a millisecond apart each wake a worker that sleeps; one that goes on looking for a millisecond hardly ever
/// goes to sleep between them.
#[test]
fn busy_polling_while_frames_come() {
    const FRAMES: u32 = 4000;
    let sleeps = |config: &str| {
        let net = Flat::new(1);
        let mut director = director(&net, 3600, config);
        let before = account(&mut director);
        udp_flows(&net.client, "10.0.0.1", SERVICES, FRAMES, 2);
        account(&mut director).sleeps - before.sleeps
    };
    let (sleeping, looking) = (sleeps(""), sleeps("busy_poll = 1000"));
    assert!(
        looking < sleeping / 2,
        "{sleeping} sleeps without, {looking} with busy polling"
    );
}

/// Connections that end one after the other, a thousand a second, wake the worker twenty times a second and not a
/// thousand times.
#[test]
fn connections_that_end_one_by_one() {
    const TIME: Duration = Duration::from_secs(6);
    let net = Flat::new(1);
    let mut director = director(&net, 12, "");
    let begun = Instant::now();
    udp_flows(&net.client, "10.0.0.1", SERVICES, 10_000, 10);
    std::thread::sleep(Duration::from_secs(14).saturating_sub(begun.elapsed()));
    let before = connections(&director);
    let account = over(&mut director, TIME);
    let ended = before - connections(&director);
    assert!(ended > 4000, "{ended} of {before} ended");
    assert!(
        account.sleeps < 20 * TIME.as_secs() + 20,
        "{account:?}, {ended} ended"
    );
}

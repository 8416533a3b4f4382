//! Traffic that is not HTTP: datagrams, held connections, raw frames; and the receivers' counters.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::director::Director;
use super::lab::{Host, Lab};
use super::process::{Process, eventually, stderr, stdout};
use super::topology::{FLAT_VIP, VIP, bracketed};
use super::web::count;

/// The helper script, which carries its own description.
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/peer.py");

fn peer(host: &Host, words: &[&str]) -> Command {
    let mut command = host.command("/usr/bin/python3");
    command.args(["-I", "-S", PEER]).args(words);
    command
}

/// A server that answers each datagram to `address`:`port` with its machine's name and the payload.
pub(crate) fn udp_echo(lab: &Lab, host: &Host, address: &str, port: u16) -> Process {
    let role = host.role();
    let log = lab.directory().join(format!("udp-{role}-{address}-{port}"));
    let server = Process::spawn(
        peer(host, &["udp-echo", role, address, &port.to_string()]),
        &log,
    );
    eventually(
        &format!("the echo server on {role}"),
        Duration::from_secs(10),
        || server.output().contains("ready").then_some(()),
    );
    server
}

/// The VIPs and the beginnings of the real servers' addresses of [`super::Flat`], as [`udp_services`] takes them.
pub(crate) const FLAT: ([&str; 2], [&str; 2]) = (FLAT_VIP, ["10.0.0.", "fd00::"]);
/// Those of [`super::TwoArm`].
pub(crate) const TWO_ARM: ([&str; 2], [&str; 2]) = (VIP, ["10.2.0.", "fd02::"]);
/// Those of [`super::Routed`].
pub(crate) const ROUTED: ([&str; 2], [&str; 2]) = (VIP, ["10.3.0.", "fd03::"]);

/// Adds a UDP service for each VIP, port 53, with an echo server on each of `servers`, which have the addresses
/// PREFIX20, PREFIX30, ...: on `port`, by `method` (`-m`, say).
pub(crate) fn udp_services(
    director: &Director,
    lab: &Lab,
    servers: &[Host],
    (vips, prefixes): ([&str; 2], [&str; 2]),
    method: &str,
    port: u16,
) -> Vec<Process> {
    let mut echoes = Vec::new();
    for (vip, prefix) in vips.into_iter().zip(prefixes) {
        let service = format!("{}:53", bracketed(vip));
        director.shell(&format!("ipvsadm -A -u {service} -s rr"));
        for (server, number) in servers.iter().zip(2..) {
            let address = format!("{prefix}{number}0");
            let translated = method.starts_with("-m");
            let bound = if translated { &address } else { vip };
            echoes.push(udp_echo(lab, server, bound, port));
            let real = bracketed(&address);
            director.shell(&format!(
                "ipvsadm -a -u {service} -r {real}:{port} {method}"
            ));
        }
    }
    echoes
}

/// Sends `count` datagrams of `size` octets, each from a port that no other one has; who answered each (`lost`, `refused` or an
/// error's name such as `EMSGSIZE` where nobody did). Panics where a payload comes back changed.
pub(crate) fn udp_ask(host: &Host, address: &str, port: u16, count: u32, size: u32) -> Vec<String> {
    /// The next port; below those that the kernel takes for others.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = 10_000 + NEXT.fetch_add(count, Ordering::Relaxed) % 20_000;
    let words = [u32::from(port), count, size, first].map(|number| number.to_string());
    let [port, count, size, first] = &words;
    run(host, &["udp-ask", address, port, count, size, first])
}

/// Sends one datagram of `size` octets in IP fragments of 1024, in the order of these indexes; who answered, as
/// [`udp_ask`] has it.
pub(crate) fn udp_pieces(
    host: &Host,
    address: &str,
    port: u16,
    size: u32,
    order: &[u32],
) -> String {
    let (port, size) = (port.to_string(), size.to_string());
    let order: Vec<String> = order.iter().map(u32::to_string).collect();
    run(
        host,
        &["udp-pieces", address, &port, &size, &order.join(",")],
    )
    .concat()
}

/// Sends the first fragments of `count` datagrams whose others never come.
pub(crate) fn udp_heads(host: &Host, address: &str, port: u16, count: u32) {
    let (port, count) = (port.to_string(), count.to_string());
    run(host, &["udp-heads", address, &port, &count]);
}

/// Starts a server of the helper (`sctp-echo`, say) on `address`:`port`.
pub(crate) fn serve_by(lab: &Lab, host: &Host, role: &str, address: &str, port: u16) -> Process {
    let log = lab
        .directory()
        .join(format!("{role}-{}-{address}", host.role()));
    let server = Process::spawn(peer(host, &[role, address, &port.to_string()]), &log);
    eventually(role, Duration::from_secs(10), || {
        server.output().contains("ready").then_some(())
    });
    server
}

/// Runs a client of the helper (`sctp-ask`, say); the lines that it prints. Panics where it fails.
pub(crate) fn ask_by(host: &Host, words: &[&str]) -> Vec<String> {
    run(host, words)
}

/// A server that, once asked, answers ten times a second until it is killed.
pub(crate) fn udp_repeat(lab: &Lab, host: &Host, address: &str, port: u16) -> Process {
    serve_by(lab, host, "udp-repeat", address, port)
}

/// Makes `count` UDP flows that are never answered, evenly over `seconds` and over the ports 1 to `services` of `address`.
pub(crate) fn udp_flows(host: &Host, address: &str, services: u32, count: u32, seconds: u32) {
    let [services, count, seconds] = [services, count, seconds].map(|number| number.to_string());
    run(host, &["udp-flows", address, &services, &count, &seconds]);
}

/// The lines that the helper prints; panics where it fails.
fn run(host: &Host, words: &[&str]) -> Vec<String> {
    let output = peer(host, words).output().expect("python3 can be started");
    assert!(
        output.status.success(),
        "{}: {}",
        words.join(" "),
        stderr(&output)
    );
    stdout(&output).lines().map(str::to_owned).collect()
}

/// Open TCP connections; closed when dropped.
#[derive(Debug)]
pub(crate) struct TcpHolder {
    process: Process,
}

/// Makes `count` connections to `address`:`port`, one after the other, and keeps those that open.
pub(crate) fn hold_connections(
    lab: &Lab,
    host: &Host,
    address: &str,
    port: u16,
    count: u32,
) -> TcpHolder {
    hold(lab, host, &[address, &port.to_string(), &count.to_string()])
}

/// The same from the ports `first`, `first` + 1, ... of `host`.
pub(crate) fn hold_connections_from(
    lab: &Lab,
    host: &Host,
    first: u16,
    (address, port): (&str, u16),
    count: u16,
) -> TcpHolder {
    let numbers = [port, count, first].map(|number| number.to_string());
    let [port, count, first] = &numbers;
    hold(lab, host, &[address, port, count, first])
}

fn hold(lab: &Lab, host: &Host, arguments: &[&str]) -> TcpHolder {
    let log = tempfile::Builder::new()
        .prefix("hold-")
        .tempfile_in(lab.directory())
        .and_then(|file| file.keep().map_err(|error| error.error))
        .expect("the lab's directory can be written")
        .1;
    let command = peer(host, &[&["tcp-hold"], arguments].concat());
    let process = Process::spawn(command, &log);
    eventually("the connections", Duration::from_secs(60), || {
        process.output().contains("done").then_some(())
    });
    TcpHolder { process }
}

impl TcpHolder {
    /// How many connections ended as `outcome`: `open`, `refused` or `lost`.
    pub(crate) fn count(&self, outcome: &str) -> usize {
        self.process
            .output()
            .lines()
            .filter(|line| *line == outcome)
            .count()
    }
}

/// Puts whole Ethernet frames (hexadecimal) on the wire at `interface`.
pub(crate) fn send_frames(host: &Host, interface: &str, frames: &[String]) {
    let mut words = vec!["frames", interface];
    words.extend(frames.iter().map(String::as_str));
    run(host, &words);
}

/// How many packets this machine's stack has refused for a bad checksum, all protocols together.
pub(crate) fn checksum_errors(host: &Host) -> u64 {
    let tables = host.shell("cat /proc/net/snmp /proc/net/netstat");
    let lines: Vec<&str> = tables.lines().collect();
    let pairs = lines.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let columns: u64 = pairs
        .flat_map(|(names, values)| names.split_whitespace().zip(values.split_whitespace()))
        .filter(|(name, _)| name.ends_with("CsumErrors"))
        .map(|(_, value)| value.parse::<u64>().expect("a counter is a number"))
        .sum();
    let six: u64 = host
        .shell("cat /proc/net/snmp6")
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .filter(|(name, _)| name.ends_with("CsumErrors"))
        .map(|(_, value)| value.trim().parse::<u64>().expect("a counter is a number"))
        .sum();
    columns + six
}

/// Asks 20 times, each from its own port, in datagrams of `size` octets; both real servers must have answered half of
/// them.
pub(crate) fn assert_shared(client: &Host, vip: &str, size: u32) {
    let answers = udp_ask(client, vip, 53, 20, size);
    let counts = count(&answers);
    let both = (counts.get("rs1").copied(), counts.get("rs2").copied());
    assert_eq!(
        both,
        (Some(10), Some(10)),
        "{vip}, {size} octets: {answers:?}"
    );
}

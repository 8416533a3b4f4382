//! Traffic that is not HTTP: datagrams, held connections, raw frames; and the receivers' counters.

use std::process::Command;
use std::time::Duration;

use super::lab::{Host, Lab};
use super::process::{Process, eventually, stderr, stdout};

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

/// Sends `count` datagrams of `size` octets, each from a port of its own; who answered each
/// (`lost` and `refused` where nobody did). Panics where a payload comes back changed.
pub(crate) fn udp_ask(host: &Host, address: &str, port: u16, count: u32, size: u32) -> Vec<String> {
    let (port, count, size) = (port.to_string(), count.to_string(), size.to_string());
    let output = peer(host, &["udp-ask", address, &port, &count, &size])
        .output()
        .expect("python3 can be started");
    assert!(
        output.status.success(),
        "udp-ask {address} {port}: {}",
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
    let log = tempfile::Builder::new()
        .prefix("hold-")
        .tempfile_in(lab.directory())
        .and_then(|file| file.keep().map_err(|error| error.error))
        .expect("the lab's directory can be written")
        .1;
    let command = peer(
        host,
        &["tcp-hold", address, &port.to_string(), &count.to_string()],
    );
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
    let output = peer(host, &words).output().expect("python3 can be started");
    assert!(output.status.success(), "{}", stderr(&output));
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

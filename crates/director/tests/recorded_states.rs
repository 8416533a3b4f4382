//! Replays the kernel's recorded connection states: the frames of a recording go through a table as
//! the packet path would put them, and state, remaining time and the active and inactive counts
//! must be those that the recording shows.
//!
//! The recordings lie in `tests/data/conformance/vectors` of the workspace, or where the
//! environment variable `ULVS_CONFORMANCE` says.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use director::connection::{
    Connection, Cursor, FlowKey, HashKind, NewConnection, StateRules, Table, TableConfig,
};
use director::destination::{Destination, DestinationConfig, Method, TunnelConfig};
use director::protocol::{Direction, Protocol};
use director::stats::Stats;
use director::time::Instant;
use packet::{Headers, Packet, Transport};
use serde_json::Value;

fn vectors() -> PathBuf {
    let data = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/data/conformance/vectors"
    );
    std::env::var_os("ULVS_CONFORMANCE").map_or_else(|| PathBuf::from(data), PathBuf::from)
}

/// Cases of a topic, by file name.
fn cases(topic: &str) -> Vec<PathBuf> {
    let folder = vectors();
    let files = folder
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut cases: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(topic)
        })
        .collect();
    cases.sort();
    cases
}

/// A connection as listed: client port, state, seconds left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row(u16, String, u64);

/// What stands between the frames and the table: just enough of a packet path.
struct Replay {
    case: String,
    table: Table,
    rules: StateRules,
    sloppy: bool,
    persistent: bool,
    destinations: Vec<(Arc<Destination>, Method)>,
    now: Instant,
    last_port: u16,
    /// Rows and counts compared.
    compared: usize,
}

impl Replay {
    fn run(path: &Path) -> usize {
        let mut replay = Self {
            case: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            table: Table::new(&TableConfig {
                max_connections: 1000,
                hash: HashKind::Fold,
                seed: [1, 2],
            }),
            rules: StateRules::default(),
            sloppy: false,
            persistent: false,
            destinations: Vec::new(),
            now: Instant::START,
            last_port: 0,
            compared: 0,
        };
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines() {
            replay.record(&serde_json::from_str(line).unwrap());
        }
        replay.compared
    }

    fn record(&mut self, record: &Value) {
        let word = |key: &str| record[key].as_str().unwrap();
        if let Some(seconds) = record["t"].as_f64() {
            self.now = Instant::START.after(Duration::from_secs_f64(seconds));
            assert!(self.table.expire(self.now, 10_000, drop));
        }
        match word("op") {
            "cmd" => self.command(&words(&record["argv"])),
            "sysctl" => match (word("key"), word("val")) {
                ("net.ipv4.vs.secure_tcp", value) => self.rules.secure_tcp = value == "3",
                ("net.ipv4.vs.sloppy_tcp" | "net.ipv4.vs.sloppy_sctp", value) => {
                    self.sloppy = value == "1";
                }
                ("net.ipv4.vs.nat_icmp_send", _) => {}
                (key, _) => panic!("{}: {key}", self.case),
            },
            "send" => self.frame(&octets(word("frame")), word("if") == "cl"),
            "show" if record["/proc/net/ip_vs_conn"].is_string() => {
                let rows = listed(word("/proc/net/ip_vs_conn"));
                self.compare_rows(&rows, |_| true);
                // The kernel still counts what is over and awaits a late timer.
                let settled = rows.iter().all(|row| row.2 > 0);
                if let (true, Some(services)) = (settled, record["/proc/net/ip_vs"].as_str()) {
                    self.compare_counts(services);
                }
            }
            "table" if record["result"].is_array() => {
                let port = self.last_port;
                let rows = record["result"].as_array().unwrap().iter().map(|row| {
                    let row = words(row);
                    Row(port, row[0].to_owned(), row[1].parse().unwrap())
                });
                self.compare_rows(&rows.collect::<Vec<_>>(), |row| row.0 == port);
            }
            // A template outlives its connections.
            "lifetime" if !self.persistent => self.outlive(record["seconds"].as_f64().unwrap()),
            _ => {}
        }
    }

    /// The kernel's timer is late by up to an eighth, ours is not.
    fn outlive(&mut self, seconds: f64) {
        let at = |seconds| self.now.after(Duration::from_secs_f64(seconds));
        let (early, late) = (at((seconds - 0.2) / 1.125), at(seconds));
        assert!(self.table.expire(early, 10_000, drop));
        assert_eq!(self.table.len(), 1, "{}: ended too early", self.case);
        assert!(self.table.expire(late, 10_000, drop));
        assert!(self.table.is_empty(), "{}: ended too late", self.case);
        self.compared += 1;
    }

    fn command(&mut self, words: &[&str]) {
        let value = |option| {
            let at = words.iter().position(|word| *word == option)?;
            words.get(at + 1).copied()
        };
        if words[1] == "--set" {
            let timeouts = &mut self.rules.timeouts;
            let timeouts = [&mut timeouts.tcp, &mut timeouts.tcp_fin, &mut timeouts.udp];
            for (timeout, word) in timeouts.into_iter().zip(&words[2..]) {
                let seconds: u32 = word.parse().unwrap();
                *timeout = if seconds == 0 { *timeout } else { seconds };
            }
        } else if words[1] == "-A" {
            self.persistent |= words.contains(&"-p");
        } else if words[1] == "-a" {
            let (address, port) = value("-r").unwrap().rsplit_once(':').unwrap();
            let method = if words.contains(&"-m") {
                Method::Masq
            } else {
                Method::DirectRoute
            };
            let destination = destination(address, port.parse().unwrap(), method);
            self.destinations.insert(0, (destination, method));
        }
    }

    fn frame(&mut self, frame: &[u8], from_client: bool) {
        let mut buffer = frame.to_vec();
        let end = buffer.len();
        let packet = Packet::new(&mut buffer, 0..end, 14);
        let headers = Headers::parse(&packet).unwrap();
        let (source, destination) = headers.ports();
        if matches!(headers.transport, Transport::Icmp { .. }) {
            return;
        }
        if from_client {
            self.last_port = source;
        }
        let key = FlowKey {
            protocol: headers.protocol,
            source: (headers.source, source),
            destination: (headers.destination, destination),
        };
        let (begins, schedules) = match headers.transport {
            Transport::Tcp { flags, .. } => {
                let (syn, rst) = (flags & 2 != 0, flags & 4 != 0);
                (syn, !rst && (syn || self.sloppy))
            }
            Transport::Sctp { chunk, .. } => (chunk == Some(1), chunk == Some(1) || self.sloppy),
            _ => (false, true),
        };
        let mut found = self.table.find(&key);
        if let Some((id, Direction::ToServer)) = found
            && begins
            && self.table.get(id).unwrap().is_reusable(1)
        {
            self.table.expire_now(id, self.now);
            found = None;
        }
        if found.is_none() && from_client && schedules {
            let id = self.table.insert(self.connection(&key), self.now).unwrap();
            found = Some((id, Direction::ToServer));
        }
        if let Some((id, direction)) = found {
            self.table
                .observe(id, &headers.transport, direction, self.rules, self.now);
        }
    }

    fn connection(&self, key: &FlowKey) -> Connection {
        let (destination, method) = &self.destinations[0];
        destination.bind(false);
        let new = NewConnection {
            protocol: Protocol::from_number(key.protocol).unwrap(),
            client: key.source,
            virtual_server: key.destination,
            server: (destination.address, destination.port),
            destination: Some(Arc::clone(destination)),
            template: None,
            method: *method,
            mark: 0,
            client_interface: 1,
            client_vlan: 0,
        };
        Connection::new(new)
    }

    /// Connections that expire at this very moment are in the kernel's list or not by timing, so
    /// both sides go without them; the time left may differ by the moment of looking.
    fn compare_rows(&mut self, recorded: &[Row], chosen: impl Fn(&Row) -> bool) {
        let mut rows = Vec::new();
        let rest = self
            .table
            .list(Cursor::default(), u32::MAX, |_, connection| {
                let left = connection.expires_in(self.now).as_millis();
                let state = connection.state().name().to_owned();
                let seconds = u64::try_from((left + 500) / 1000).unwrap();
                rows.push(Row(connection.client().1, state, seconds));
            });
        assert_eq!(rest, None);
        rows.retain(|row| row.2 > 0 && chosen(row));
        let mut recorded = recorded.to_vec();
        recorded.retain(|row| row.2 > 0);
        rows.sort();
        recorded.sort();
        let same = rows.len() == recorded.len()
            && rows.iter().zip(&recorded).all(|(ours, theirs)| {
                (ours.0, &ours.1) == (theirs.0, &theirs.1) && ours.2.abs_diff(theirs.2) <= 1
            });
        assert!(
            same,
            "{} at {:?}\nours     {rows:?}\nrecorded {recorded:?}",
            self.case, self.now
        );
        self.compared += rows.len();
    }

    fn compare_counts(&mut self, services: &str) {
        let sum = |column: usize| -> i32 {
            let servers = services.lines().filter(|line| line.starts_with("  ->"));
            let columns = servers.filter_map(|line| line.split_whitespace().nth(column));
            columns.filter_map(|text| text.parse::<i32>().ok()).sum()
        };
        let ours = |count: fn(&Destination) -> i32| -> i32 {
            self.destinations.iter().map(|(it, _)| count(it)).sum()
        };
        assert_eq!(
            (ours(Destination::active), ours(Destination::inactive)),
            (sum(4), sum(5)),
            "{} at {:?}",
            self.case,
            self.now
        );
        self.compared += 1;
    }
}

fn destination(address: &str, port: u16, method: Method) -> Arc<Destination> {
    let config = DestinationConfig {
        address: address.parse().unwrap(),
        port,
        method,
        tunnel: TunnelConfig::default(),
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
    };
    Arc::new(Destination::new(&config, Arc::new(Stats::new(1)), 1))
}

/// The rows of `/proc/net/ip_vs_conn`, without those of persistence templates (client port 0).
fn listed(text: &str) -> Vec<Row> {
    let rows = text.lines().skip(1).map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let port = u16::from_str_radix(columns[2], 16).unwrap();
        Row(port, columns[7].to_owned(), columns[8].parse().unwrap())
    });
    rows.filter(|row| row.0 != 0).collect()
}

fn words(list: &Value) -> Vec<&str> {
    let words = list.as_array().unwrap().iter();
    words.map(|word| word.as_str().unwrap()).collect()
}

fn octets(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Replays a topic; `least` keeps the test from comparing nothing.
fn replay(topic: &str, least: usize) {
    let cases = cases(topic);
    let compared: usize = cases.iter().map(|case| Replay::run(case)).sum();
    println!("{topic}: {} cases, {compared} comparisons", cases.len());
    assert!(compared >= least, "{topic}: only {compared} comparisons");
}

#[test]
fn tcp_states() {
    replay("tcp_states.", 200);
}

#[test]
fn sctp_states() {
    replay("sctp_states.", 200);
}

#[test]
fn lifetimes() {
    for case in cases("timeouts.") {
        // Which connections `drop_entry` ends is random.
        if case
            .to_str()
            .unwrap()
            .ends_with("timeouts.drop_entry.jsonl")
        {
            continue;
        }
        assert!(Replay::run(&case) > 0, "{}", case.display());
    }
}

/// Not a recording: IPv6, and real servers of the other family.
#[test]
fn families() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    for (client, vip, rip, method) in [
        ("2001:db8:c::10", "fd00:8::1", "fd00:2::11", Method::Masq),
        ("192.0.2.10", "10.8.0.1", "fd00:2::11", Method::Tunnel),
        ("2001:db8:c::10", "fd00:8::1", "10.2.0.11", Method::Tunnel),
    ] {
        let destination = destination(rip, 8080, method);
        destination.bind(false);
        let new = NewConnection {
            protocol: Protocol::Udp,
            client: (address(client), 1001),
            virtual_server: (address(vip), 53),
            server: (address(rip), 8080),
            destination: Some(Arc::clone(&destination)),
            template: None,
            method,
            mark: 7,
            client_interface: 1,
            client_vlan: 0x2005,
        };
        let connection = Connection::new(new);
        assert_eq!(connection.client(), (address(client), 1001));
        assert_eq!(connection.virtual_server(), (address(vip), 53));
        assert_eq!(connection.server(), (address(rip), 8080));
        assert_eq!(connection.method(), method);
        let reply = connection.reply_key().map(|key| key.source);
        let expected = (method == Method::Masq).then(|| (address(rip), 8080));
        assert_eq!(reply, expected);
        let reversed = connection.client_key().reversed();
        assert_eq!(reversed.source, (address(vip), 53));
        drop(connection);
        assert!(!destination.is_bound());
    }
}

//! A recorded session makes the same decisions in `ulvs replay` as it did in the director that was recorded.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Director, FLAT, FLAT_VIP, Flat, Recording, TcpHolder, bracketed, eventually, fetch_from,
    hold_connections_from, udp_ask, udp_services,
};

const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos",
];

/// What a connection is known by: protocol, state, client, virtual endpoint, real server.
type Row = [String; 5];

/// The connections of `ipvsadm -Lcn`, without persistence templates and without the times that are left.
fn rows(listed: &str) -> BTreeSet<Row> {
    let lines = listed.lines().skip(2);
    let rows = lines.filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [protocol, _, state, client, virtual_server, server] = words[..] else {
            panic!("a line of ipvsadm -Lcn: {line:?}");
        };
        let row = [protocol, state, client, virtual_server, server];
        (!client.ends_with(":0")).then(|| row.map(str::to_owned))
    });
    rows.collect()
}

/// Where each connection went: protocol, client, virtual endpoint, real server.
fn choices(rows: &BTreeSet<Row>) -> BTreeSet<[String; 4]> {
    let choice = |[protocol, _, client, virtual_server, server]: &Row| {
        [protocol, client, virtual_server, server].map(String::clone)
    };
    rows.iter().map(choice).collect()
}

/// The same of a replay's report, where every connection ever made stands.
fn replayed_choices(report: &Value) -> BTreeSet<[String; 4]> {
    let connections = report["connections"].as_array().expect("a list");
    let choice = |connection: &Value| {
        let text = |key: &str| connection[key].as_str().expect("a text").to_owned();
        let protocol = match connection["protocol"].as_u64() {
            Some(6) => "TCP".to_owned(),
            Some(17) => "UDP".to_owned(),
            other => panic!("protocol {other:?}"),
        };
        [
            protocol,
            text("client"),
            text("virtual_server"),
            text("server"),
        ]
    };
    connections.iter().map(choice).collect()
}

/// Panics with the rows that only one of the two has, where there are some.
fn assert_alike<const N: usize>(
    what: &str,
    live: &BTreeSet<[String; N]>,
    replayed: &BTreeSet<[String; N]>,
) {
    let only = |rows: &BTreeSet<[String; N]>, others: &BTreeSet<[String; N]>| {
        let rows: Vec<String> = rows.difference(others).map(|row| row.join(" ")).collect();
        format!("{} rows:\n  {}", rows.len(), rows.join("\n  "))
    };
    assert!(
        live == replayed,
        "{what} differ; only live, {}\nonly replayed, {}",
        only(live, replayed),
        only(replayed, live)
    );
}

/// Adds a service with this scheduler and three real servers of different weights.
fn serve(director: &Director, vip: &str, prefix: &str, port: u16, options: &str, method: &str) {
    let service = format!("{}:{port}", bracketed(vip));
    let real_port = if method == "-g" { port } else { 80 };
    director.shell(&format!("ipvsadm -A -t {service} -s {options}"));
    for (last, weight) in [("20", 1), ("30", 3), ("40", 2)] {
        let real = bracketed(&format!("{prefix}{last}"));
        director.shell(&format!(
            "ipvsadm -a -t {service} -r {real}:{real_port} {method} -w {weight}"
        ));
    }
}

/// Where the director's lots begin, as its log says.
fn lots(director: &Director) -> u64 {
    let log = director.log();
    let told = log.split_once("draws the same with --lots ");
    let number = told.and_then(|(_, rest)| rest.lines().next());
    let number = number.unwrap_or_else(|| panic!("no lots in the log:\n{log}"));
    number.trim().parse().expect("a number")
}

/// A session under way: the director, and who records it.
struct Session {
    director: Director,
    recording: Recording,
    /// Connections that are to stay open until the end.
    held: Vec<TcpHolder>,
    /// Where the others went; few of them may be left at the end, for one that was reset lives 10 seconds.
    ended: BTreeSet<[String; 4]>,
    /// The state of a connection that both sides have ended, as far as the director sees them.
    last_state: &'static str,
    /// The next connection's port at the client. No two have the same: by NAT several services' connections reach one port
    /// of a real server, which refuses what it takes for a connection that it has already.
    port: u16,
}

impl Session {
    /// Records what reaches the director from now on.
    fn start(net: &Flat, director: Director, last_state: &'static str) -> Self {
        let file = director.directory().join("session.pcap");
        let recording = Recording::start(&net.director, "eth0", &file);
        Self {
            director,
            recording,
            held: Vec::new(),
            ended: BTreeSet::new(),
            last_state,
            port: 20_000,
        }
    }

    /// The first of the client's next `count` ports.
    const fn ports(&mut self, count: u16) -> u16 {
        let first = self.port;
        self.port += count;
        first
    }

    /// Connections that stay and others that end, so that what is open differs from server to server.
    fn load(&mut self, net: &Flat, vip: &str, port: u16) {
        let service = format!("{}:{port}", bracketed(vip));
        for count in [1, 3] {
            self.fetch(net, &service, 5);
            let first = self.ports(count);
            let holder = hold_connections_from(&net.lab, &net.client, first, (vip, port), count);
            assert_eq!(holder.count("open"), usize::from(count), "{service}");
            self.held.push(holder);
        }
        self.fetch(net, &service, 4);
    }

    /// Connections that end one after the other: none begins before the director has seen the end of the one before.
    /// Else one worker could deal with that end while another deals with the next connection, and the order in which
    /// they do is not in the capture.
    fn fetch(&mut self, net: &Flat, service: &str, requests: usize) {
        for _ in 0..requests {
            let port = self.ports(1);
            fetch_from(&net.client, port, &format!("http://{service}/"));
            let client = format!(":{port}");
            let ended = |row: &Row| {
                let [_, state, from, to, _] = row;
                let last = [self.last_state, "CLOSE"].contains(&state.as_str());
                from.ends_with(&client) && to == service && last
            };
            let what = format!("{service}: the end of the connection from port {port}");
            let row = eventually(&what, Duration::from_secs(60), || {
                let listed = rows(&self.director.shell("ipvsadm -Lcn"));
                listed.into_iter().find(ended)
            });
            self.ended.extend(choices(&BTreeSet::from([row])));
        }
    }

    /// Replays what was recorded: each of so many connections went where it went, and is what it is.
    fn replays_alike(self, net: &Flat, connections: usize) {
        let before = rows(&self.director.shell("ipvsadm -Lcn"));
        // The replay ends with this frame: what it lists then is what was there between the two lists.
        net.client.shell("ping -c 1 -W 5 10.0.0.10");
        self.recording.stop();
        let live = rows(&self.director.shell("ipvsadm -Lcn"));
        let mut went = choices(&live);
        went.extend(self.ended);
        assert_eq!(went.len(), connections, "connections");
        self.director.shell("ipvsadm -Sn > session.rules");
        let listed = self.director.shell(&format!(
            "ulvs replay session.pcap --rules session.rules --lots {} --json session.json --tables \
             | sed -n '/^IPVS connection entries/,$p'",
            lots(&self.director)
        ));
        let json = self.director.shell("cat session.json");
        let report: Value = serde_json::from_str(&json).expect("JSON");
        assert_alike("choices", &went, &replayed_choices(&report));
        let mut replayed = rows(&listed);
        replayed.retain(|row| live.contains(row) || !before.contains(row));
        assert_alike("connections with their states", &live, &replayed);
        assert_eq!(report["drops"], serde_json::json!({}), "nothing is dropped");
        drop(self.held);
    }
}

/// Every scheduler by NAT, and datagrams; both directions pass the director.
fn by_nat(workers: u32) {
    let net = Flat::new(3).with_return_path();
    let director = net
        .builder()
        .config(&format!("workers = {workers}"))
        .start();
    for (scheduler, port) in SCHEDULERS.into_iter().zip(8001..) {
        serve(&director, FLAT_VIP[0], "10.0.0.", port, scheduler, "-m");
    }
    serve(&director, FLAT_VIP[1], "fd00::", 8100, "lblcr -p 300", "-m");
    let _echoes = udp_services(&director, &net.lab, &net.servers, FLAT, "-m", 53);
    let mut session = Session::start(&net, director, "TIME_WAIT");
    for port in (8001..).take(SCHEDULERS.len()) {
        session.load(&net, FLAT_VIP[0], port);
    }
    session.load(&net, FLAT_VIP[1], 8100);
    udp_ask(&net.client, FLAT_VIP[0], 53, 10, 100);
    session.replays_alike(&net, (SCHEDULERS.len() + 1) * 18 + 10);
}

#[test]
fn of_a_nat_session_with_every_scheduler() {
    by_nat(1);
}

#[test]
fn of_a_nat_session_with_two_workers() {
    by_nat(2);
}

/// What a director sees of direct routing is the clients' half.
#[test]
fn of_a_direct_routing_session() {
    let net = Flat::new(3).with_vip_on_servers();
    let director = net.start();
    let services = [
        (FLAT_VIP[0], "10.0.0.", 80, "wlc"),
        (FLAT_VIP[0], "10.0.0.", 8080, "sed"),
        (FLAT_VIP[1], "fd00::", 80, "wrr"),
        (FLAT_VIP[1], "fd00::", 8080, "mh -b mh-port"),
    ];
    for (vip, prefix, port, options) in services {
        serve(&director, vip, prefix, port, options, "-g");
    }
    let mut session = Session::start(&net, director, "FIN_WAIT");
    for (vip, _, port, _) in services {
        session.load(&net, vip, port);
    }
    session.replays_alike(&net, 4 * 18);
}

/// The state file says where lots begin: elsewhere after each start, so that directors differ.
#[test]
fn of_lots_that_the_state_file_knows() {
    let net = Flat::new(3).with_vip_on_servers();
    let director = net.start();
    serve(&director, FLAT_VIP[0], "10.0.0.", 80, "twos", "-g");
    let first = lots(&director);
    let mut session = Session::start(&net, director, "FIN_WAIT");
    for _ in 0..3 {
        session.load(&net, FLAT_VIP[0], 80);
    }
    session.recording.stop();
    let (mut director, held) = (session.director, session.held);
    let mut went = choices(&rows(&director.shell("ipvsadm -Lcn")));
    went.extend(session.ended);
    let replay = |director: &Director| -> Value {
        let line = "ulvs replay session.pcap --rules state.rules --json -";
        serde_json::from_str(&director.shell(line)).expect("JSON")
    };
    director.await_saved("-r 10.0.0.40:80");
    let report = replay(&director);
    assert_eq!(report["lots"], first);
    assert_alike("choices", &went, &replayed_choices(&report));
    drop(held);
    assert!(director.terminate().success());
    director.restart();
    let report = replay(&director);
    assert_ne!(report["lots"], first, "each start draws anew");
    assert_ne!(replayed_choices(&report), went);
}

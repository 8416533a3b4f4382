//! Established flows that the kernel sends on by itself: nobody can tell but by the speed.

use std::time::Duration;

use crate::harness::{
    Director, FLAT_VIP, Flat, Host, Process, TWO_ARM, TwoArm, VIP, WebServer, ask_by, blob,
    bracketed, checksum_errors, count, download, eventually, udp_services, upload,
};
use crate::soak::counters::Counters;

const ON: &str = "assist = \"all\"";
const OFF: &str = "assist = \"off\"";
/// What the log calls the packets that the kernel sent on.
const ASSISTED: &str = " sent on by the kernel";

/// One flow's datagrams from `port`, each answered before the next; who answered each.
fn talk(client: &Host, vip: &str, datagrams: u32, port: u16, gap: u32) -> Vec<String> {
    let [datagrams, port, gap] = [datagrams, port.into(), gap].map(|number| number.to_string());
    let words = ["udp-talk", vip, "53", &datagrams, "64", &port, &gap];
    ask_by(client, &words)
}

/// The only line of a list that has all of `words`.
fn line(text: &str, words: &[&str]) -> String {
    let mut lines = text
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    let found = lines
        .next()
        .unwrap_or_else(|| panic!("no {words:?} in:\n{text}"));
    assert_eq!(lines.next(), None, "{words:?} twice in:\n{text}");
    found.to_owned()
}

/// 100 MB both ways over both families; the receivers verify every checksum.
fn carry(client: &Host, web: &[WebServer], machines: &[&Host], vips: [&str; 2], name: &str) {
    let errors = || -> Vec<u64> { machines.iter().map(|host| checksum_errors(host)).collect() };
    let before = errors();
    for vip in vips {
        let base = format!("http://{}", bracketed(vip));
        assert_eq!(
            download(client, &base),
            blob().1,
            "what arrives from {base}"
        );
        let name = format!("{name}{}", if vip.contains(':') { 6 } else { 4 });
        upload(client, &base, &name);
        let sum = web.iter().find_map(|server| server.uploaded(&name));
        assert_eq!(sum.as_ref(), Some(&blob().1), "what arrives at {base}");
    }
    assert_eq!(errors(), before, "packets with a wrong checksum");
}

fn web_services(director: &Director, vips: [&str; 2], servers: [&str; 2], method: &str) {
    for (vip, server) in vips.into_iter().zip(servers) {
        let (service, server) = (format!("{}:80", bracketed(vip)), bracketed(server));
        director.shell(&format!("ipvsadm -A -t {service} -s rr"));
        director.shell(&format!("ipvsadm -a -t {service} -r {server}:80 {method}"));
    }
}

#[test]
fn bulk_by_direct_routing() {
    let net = Flat::new(1).with_vip_on_servers().with_vip_on_director();
    let director = net.builder().config(ON).start();
    web_services(&director, FLAT_VIP, ["10.0.0.20", "fd00::20"], "-g");
    carry(
        &net.client,
        &net.web,
        &[&net.client, &net.servers[0]],
        FLAT_VIP,
        "dr",
    );
    let (all, assisted) = (director.counter(" forwarded"), director.counter(ASSISTED));
    assert!(assisted > all * 4, "{assisted} packets, and {all} others");
}

/// With and without checksums to be finished: without offloads on the director's interfaces its kernel finishes what is
/// sent, and the receivers verify every segment.
#[test]
fn bulk_by_nat() {
    for offloads in [true, false] {
        let net = TwoArm::new(1);
        if !offloads {
            for interface in ["eth0", "eth1"] {
                net.director
                    .shell(&format!("ethtool -K {interface} tx off"));
            }
            for machine in [&net.client, &net.servers[0]] {
                machine.shell("ethtool -K eth0 rx off");
            }
        }
        let director = net.builder().config(ON).start();
        web_services(&director, VIP, ["10.2.0.20", "fd02::20"], "-m");
        carry(
            &net.client,
            &net.web,
            &[&net.client, &net.servers[0]],
            VIP,
            "nat",
        );
        let (all, assisted) = (director.counter(" forwarded"), director.counter(ASSISTED));
        assert!(assisted > all * 4, "{assisted} packets, and {all} others");
    }
}

/// By default the kernel sends on TCP connections, and leaves datagrams to the workers.
#[test]
fn tcp_by_default() {
    let net = TwoArm::new(1);
    let director = net.builder().start();
    web_services(&director, VIP, ["10.2.0.20", "fd02::20"], "-m");
    let _echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
    assert_eq!(count(&talk(&net.client, VIP[0], 100, 9000, 0))["rs1"], 100);
    assert_eq!(director.counter(ASSISTED), 0);
    assert_eq!(download(&net.client, "http://10.1.0.1"), blob().1);
    let assisted = director.counter(ASSISTED);
    assert!(assisted > 1000, "{assisted}");
}

/// Waits until the kernel shares flows to the VIPs out as the workers do, which it is told a little after a new service:
/// until then one worker hands frames over to another, and leaves nothing to the kernel.
fn await_sharing(director: &Director, client: &Host) {
    const EACH: u64 = 12;
    let received = |counters: &Counters| counters.total("shared_out/from_links");
    let handed_over = |counters: &Counters| counters.total("shared_out/handed_over");
    eventually("no frame is handed over", Duration::from_secs(30), || {
        let before = Counters::read(director);
        // Of no service: not counted as its packets.
        for vip in VIP {
            client.shell(&format!(
                "bash -c 'for i in {{1..{EACH}}}; do echo > /dev/udp/{vip}/54; done'"
            ));
        }
        let after = eventually("the frames", Duration::from_secs(10), || {
            let after = Counters::read(director);
            (received(&after) >= received(&before) + 2 * EACH).then_some(after)
        });
        (handed_over(&after) == handed_over(&before)).then_some(())
    });
}

#[test]
fn statistics_are_those_without() {
    let mut shown = Vec::new();
    for config in [OFF, ON, "assist = \"all\"\nworkers = 2"] {
        let net = TwoArm::new(1);
        let director = net.builder().config(config).start();
        let _echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
        await_sharing(&director, &net.client);
        for vip in VIP {
            assert_eq!(count(&talk(&net.client, vip, 500, 9000, 0))["rs1"], 500);
        }
        let assisted = director.counter(ASSISTED);
        if config == OFF {
            assert_eq!(assisted, 0);
        } else {
            assert!(assisted > 1900, "{assisted}");
        }
        // The estimator's sample comes every two seconds.
        eventually("the sample", Duration::from_secs(30), || {
            let text = director.shell("ipvsadm -Ln --stats");
            let has_all = |vip: &str| {
                let service = format!("{}:53", bracketed(vip));
                line(&text, &["UDP", &service]).contains(" 500 ")
            };
            VIP.into_iter().all(has_all).then_some(())
        });
        let connections = director.shell("ipvsadm -Lcn");
        let states = VIP.map(|vip| {
            let found = line(&connections, &["UDP", &format!("{}:53", bracketed(vip))]);
            found
                .split_whitespace()
                .skip(2)
                .collect::<Vec<_>>()
                .join(" ")
        });
        shown.push((director.shell("ipvsadm -Ln --stats"), states));
    }
    assert_eq!(shown[1], shown[0]);
    assert_eq!(shown[2], shown[0], "two workers");
}

/// A UDP flow and what it stands in.
struct Talk {
    // First: when a test fails it asks for its lists, in its network.
    director: Director,
    _echoes: Vec<Process>,
    net: TwoArm,
}

impl Talk {
    fn new(config: &str) -> Self {
        let net = TwoArm::new(1);
        let director = net.builder().config(config).start();
        let echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
        Self {
            net,
            director,
            _echoes: echoes,
        }
    }

    /// Datagrams of one flow.
    fn say(&self, datagrams: u32, gap: u32) -> Vec<String> {
        talk(&self.net.client, VIP[0], datagrams, 9000, gap)
    }

    /// Makes the flow one that the kernel sends on.
    fn begin(&self) {
        let before = self.director.counter(ASSISTED);
        let answers = self.say(50, 0);
        let answers = count(&answers);
        assert_eq!(answers.get("rs1"), Some(&50), "{answers:?}");
        assert!(self.director.counter(ASSISTED) > before + 50);
    }

    fn connections(&self) -> usize {
        let text = self.director.shell("ipvsadm -Lcn");
        text.lines().filter(|line| line.starts_with("UDP")).count()
    }
}

#[test]
fn connections_live_and_end_as_without() {
    for config in [OFF, ON] {
        let talk = Talk::new(config);
        talk.director.shell("ipvsadm --set 0 0 2");
        let answers = talk.say(50, 100);
        assert_eq!(count(&answers)["rs1"], 50, "{config}");
        assert_eq!(talk.connections(), 1, "{config}: it lived for five seconds");
        let stats = talk.director.shell("ipvsadm -Ln --stats");
        assert!(
            line(&stats, &["UDP", "10.1.0.1:53"]).contains(" 1 "),
            "{stats}"
        );
        eventually("the end", Duration::from_secs(4), || {
            (talk.connections() == 0).then_some(())
        });
    }
}

#[test]
fn a_deleted_server_gets_nothing() {
    let talk = Talk::new(ON);
    talk.begin();
    talk.director
        .shell("ipvsadm -d -u 10.1.0.1:53 -r 10.2.0.20:5353");
    let before = talk.director.counter("dropped: destination_unavailable");
    assert_eq!(count(&talk.say(2, 0))["lost"], 2);
    let dropped = talk.director.counter("dropped: destination_unavailable");
    assert_eq!(dropped, before + 2);
    talk.director
        .shell("ipvsadm -a -u 10.1.0.1:53 -r 10.2.0.20:5353 -m");
    talk.begin();
    talk.director.shell("ipvsadm -C");
    let answers = talk.say(2, 0);
    assert!(!answers.contains(&"rs1".to_owned()), "{answers:?}");
}

#[test]
fn a_server_with_another_link_address_is_found() {
    let talk = Talk::new(ON);
    talk.begin();
    let server = &talk.net.servers[0];
    server.shell("ip link set eth0 down; ip link set eth0 address 02:00:00:00:77:01");
    server.shell("ip link set eth0 up; ip route add default via 10.2.0.10");
    // What the host's kernel knows it knows until told.
    talk.net.director.shell("ip neigh flush all");
    server.shell("ping -c 1 -W 2 10.2.0.10");
    let answers = talk.say(60, 0);
    let answered = count(&answers).get("rs1").copied().unwrap_or(0);
    assert!(answered >= 58, "{answers:?}");
    assert!(talk.director.counter(ASSISTED) > 60);
}

#[test]
fn an_interface_that_goes_and_comes() {
    let talk = Talk::new(ON);
    talk.begin();
    talk.net.director.shell("ip link set eth1 down");
    let answers = talk.say(2, 0);
    assert!(!answers.contains(&"rs1".to_owned()), "{answers:?}");
    talk.net.director.shell("ip link set eth1 up");
    eventually("an answer", Duration::from_secs(10), || {
        talk.say(1, 0).contains(&"rs1".to_owned()).then_some(())
    });
    talk.begin();
}

#[test]
fn nothing_is_left_behind() {
    let mut talk = Talk::new(ON);
    talk.begin();
    talk.director.await_saved("fd02::20");
    talk.director.kill();
    // The director's kernel does not forward, and the client gets nothing.
    assert_eq!(count(&talk.say(1, 0)).get("rs1"), None);
    talk.director.restart();
    talk.begin();
    assert!(talk.director.terminate().success());
    assert_eq!(count(&talk.say(1, 0)).get("rs1"), None);
}

/// A connection that a client keeps: it is the kernel's, then the client's FIN takes it back.
#[test]
fn tcp_states_are_those_without() {
    let mut shown = Vec::new();
    for config in [OFF, ON] {
        let net = TwoArm::new(1);
        let director = net.builder().config(config).start();
        web_services(&director, VIP, ["10.2.0.20", "fd02::20"], "-m");
        for _ in 0..3 {
            assert_eq!(download(&net.client, "http://10.1.0.1"), blob().1);
        }
        let connections = director.shell("ipvsadm -Lcn");
        let mut states: Vec<&str> = connections
            .lines()
            .filter(|line| line.starts_with("TCP"))
            .filter_map(|line| line.split_whitespace().nth(2))
            .collect();
        states.sort_unstable();
        let servers = director.shell("ipvsadm -Ln");
        shown.push((states.join(" "), line(&servers, &["10.2.0.20:80"])));
    }
    assert_eq!(shown[1], shown[0]);
}

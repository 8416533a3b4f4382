//! `ulvs decap` on a real server: one capability is enough, and it delivers to the VIPs it was told only.

use std::process::Command;
use std::time::Duration;

use crate::harness::{
    Capture, Host, Lab, NET_RAW_ONLY, Process, Routed, VIP, ask_by, binary, blob, bracketed, cable,
    count, eventually, fetch, fetch_each, upload,
};

/// Starts it as nobody, from a copy of the binary that nobody can reach.
fn as_nobody(lab: &Lab, server: &Host, vip: &str) -> Process {
    let copy = lab.directory().join("ulvs");
    if !copy.exists() {
        std::fs::copy(binary(), &copy).expect("the binary can be copied");
        let status = Command::new("chmod")
            .arg("755")
            .arg(lab.directory())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "chmod");
    }
    let mut command = server.command("setpriv");
    command
        .args(NET_RAW_ONLY.split_whitespace())
        .arg(copy)
        .args(["decap", "--vip", vip]);
    Process::spawn(
        command,
        &lab.directory().join(format!("decap-{}", server.role())),
    )
}

#[test]
fn needs_one_capability() {
    let net = Routed::new(2);
    let _decap: Vec<Process> = net
        .servers
        .iter()
        .map(|server| as_nobody(&net.lab, server, "10.1.0.1"))
        .collect();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.3.0.20:80 -i
        ipvsadm -a -t 10.1.0.1:80 -r 10.3.0.30:80 -i",
    );
    eventually(
        "the tunnels carry a request",
        Duration::from_secs(5),
        || fetch(&net.client, "http://10.1.0.1/").ok(),
    );
    let answers = fetch_each(&net.client, "http://10.1.0.1/", 10);
    let counts = count(&answers);
    assert_eq!((counts["rs1"], counts["rs2"]), (5, 5), "{counts:?}");
}

/// The real server has two VIPs, its decap was told one of them.
#[test]
fn is_no_open_injector() {
    let net = Routed::new(1);
    net.servers[0].ip("addr add 10.1.0.3/32 dev lo");
    let decap = as_nobody(&net.lab, &net.servers[0], "10.1.0.1");
    let director = net.start();
    for vip in ["10.1.0.1", "10.1.0.3"] {
        director.shell(&format!("ipvsadm -A -t {vip}:80"));
        director.shell(&format!("ipvsadm -a -t {vip}:80 -r 10.3.0.20:80 -i"));
    }
    eventually(
        "the tunnel carries a request",
        Duration::from_secs(5),
        || fetch(&net.client, "http://10.1.0.1/").ok(),
    );
    let refused = fetch(&net.client, "http://10.1.0.3/");
    assert!(
        refused.is_err(),
        "delivered to an address it was not told: {}",
        decap.output()
    );
}

#[test]
fn says_when_the_vip_is_not_there() {
    let lab = Lab::new();
    let server = lab.host("rs1");
    let mut decap = as_nobody(&lab, &server, "10.9.9.9");
    let status = decap.wait(Duration::from_secs(10));
    assert!(!status.success(), "{}", decap.output());
    assert!(
        decap.output().contains("10.9.9.9"),
        "it names the address: {}",
        decap.output()
    );
}

/// On an interface with neighbours the kernel asks for a second or two whether somebody else has the address.
#[test]
fn waits_for_a_vip_that_was_just_added() {
    let lab = Lab::new();
    let (server, other) = (lab.host("rs1"), lab.host("rs2"));
    cable((&server, "eth0"), (&other, "eth0"));
    server.sysctl("net.ipv6.conf.eth0.accept_dad", "1");
    server.sysctl("net.ipv6.conf.eth0.dad_transmits", "1");
    server.ip("addr add fd01::1/64 dev eth0");
    let shown = server.ip("addr show dev eth0");
    assert!(shown.contains("tentative"), "{shown}");
    let mut decap = as_nobody(&lab, &server, "fd01::1");
    eventually("it listens", Duration::from_secs(6), || {
        assert_eq!(decap.ended(), None, "{}", decap.output());
        let sockets = server.shell("cat /proc/net/raw6");
        sockets.contains(":0004 ").then_some(())
    });
}

/// Carries the file up through IPIP to each VIP; for how many of them the real server's stack was handed datagrams of several
/// segments.
fn joined(net: &Routed) -> usize {
    let server = &net.servers[0];
    let long = Capture::arriving(&net.lab, server, "lo", "tcp dst port 80 and greater 4000");
    let director = net.start();
    let mut names = ["four", "six"].into_iter();
    for (vip, real) in VIP.map(bracketed).iter().zip(["10.3.0.20", "[fd03::20]"]) {
        director.shell(&format!("ipvsadm -A -t {vip}:80"));
        director.shell(&format!("ipvsadm -a -t {vip}:80 -r {real}:80 -i"));
        let name = names.next().unwrap_or_default();
        upload(&net.client, &format!("http://{vip}"), name);
        assert_eq!(net.web[0].uploaded(name).as_ref(), Some(&blob().1));
    }
    let frames = long.frames();
    let seen = |vip: &&&str| frames.iter().any(|frame| frame.contains(**vip));
    VIP.iter().filter(seen).count()
}

#[test]
fn segments_reach_the_host_joined() {
    let net = Routed::new(1).with_decap();
    assert_eq!(joined(&net), 2, "VIPs with long datagrams on lo");
}

#[test]
fn a_host_that_takes_no_long_datagrams_gets_segments() {
    let net = Routed::new(1).with_decap();
    net.servers[0].ip("link set lo mtu 1500");
    assert_eq!(joined(&net), 0, "VIPs with long datagrams on lo");
}

/// Datagrams that the kernel dropped for want of room at this machine's sockets for tunnels.
fn lost(server: &Host) -> u64 {
    server
        .shell("cat /proc/net/raw /proc/net/raw6 /proc/net/udp6")
        .lines()
        .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        .sum()
}

/// Floods a `decap` that does not get to run, in tunnels of the kind that `options` begin, until datagrams are lost.
/// The client hears nothing of it, and once `decap` runs again so does the service.
fn survives_a_flood(gue: &[&str], method: &str) {
    let mut net = Routed::new(1).with_decap_options(gue);
    let director = net.start();
    for (vip, real) in VIP.map(bracketed).iter().zip(["10.3.0.20", "[fd03::20]"]) {
        for (flag, port) in [("-t", 80), ("-u", 9)] {
            let service = format!("{flag} {vip}:{port}");
            director.shell(&format!("ipvsadm -A {service}"));
            director.shell(&format!(
                "ipvsadm -a {service} -r {real}:{port} -i {method}"
            ));
        }
    }
    net.decap[0].signal("STOP");
    for vip in VIP {
        let before = lost(&net.servers[0]);
        eventually("the flood is too much", Duration::from_secs(30), || {
            let errors = ask_by(&net.client, &["udp-flood", vip, "9", "4000", "1400"]);
            assert!(errors.is_empty(), "{vip} {method}: {}", errors[0]);
            (lost(&net.servers[0]) > before + 100).then_some(())
        });
    }
    net.decap[0].signal("CONT");
    for vip in VIP.map(bracketed) {
        eventually("requests are answered", Duration::from_secs(10), || {
            fetch(&net.client, &format!("http://{vip}/")).ok()
        });
    }
    net.decap[0].signal("TERM");
    net.decap[0].wait(Duration::from_secs(10));
    let output = net.decap[0].output();
    let counted = output
        .split_once(" lost because the socket was full")
        .and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u64>().ok());
    assert!(counted.is_some_and(|count| count > 200), "{output}");
}

#[test]
fn a_flood_over_ipip_is_lost_in_silence() {
    survives_a_flood(&[], "");
}

#[test]
fn a_flood_over_gre_is_lost_in_silence() {
    survives_a_flood(&[], "--tun-type gre");
}

#[test]
fn a_flood_over_gue_is_lost_in_silence() {
    survives_a_flood(&["--gue-port", "5555"], "--tun-type gue --tun-port 5555");
}

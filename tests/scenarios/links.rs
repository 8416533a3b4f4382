//! The kind of link of each interface: TUN devices beside Ethernet interfaces, changes of that while the director runs,
//! and what is said where it cannot be.

use std::time::Duration;

use crate::harness::{
    Director, DirectorBuilder, Flat, TwoArm, blob, cable, count, download, eventually, fetch_each,
    upload, vip_on_loopback,
};

/// Behind the router 10.1.0.10, which is the director's own host.
const VIP: &str = "10.9.0.1";

/// `ulvs0` as a TUN device.
const TUN: &str = "[[interface]]\nname = \"ulvs0\"\nlink = \"tun\"\n";

/// Two real servers behind `eth1`; the host forwards and routes the VIP into `ulvs0` once that is there.
fn network() -> TwoArm {
    let net = TwoArm::new(2);
    net.director.forwards();
    net.client.ip("route add 10.9.0.1/32 via 10.1.0.10");
    net
}

/// A director on these interfaces, of which `ulvs0` is a TUN device.
fn start(net: &TwoArm, interfaces: &[&str]) -> Director {
    let director = DirectorBuilder::new(&net.lab, &net.director, interfaces)
        .config(TUN)
        .start();
    director.type_lines(
        "ipvsadm -A -t 10.9.0.1:80 -s rr
        ipvsadm -a -t 10.9.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.9.0.1:80 -r 10.2.0.30:80 -m",
    );
    director
}

fn route_vip(net: &TwoArm) {
    net.director.ip(&format!("route add {VIP}/32 dev ulvs0"));
}

fn serves(net: &TwoArm) {
    let url = format!("http://{VIP}");
    let answers = fetch_each(&net.client, &format!("{url}/"), 10);
    let counts = count(&answers);
    assert_eq!((counts["rs1"], counts["rs2"]), (5, 5), "{counts:?}");
    assert_eq!(download(&net.client, &url), blob().1);
    upload(&net.client, &url, "blob");
    let sum = net.web.iter().find_map(|server| server.uploaded("blob"));
    assert_eq!(sum.as_ref(), Some(&blob().1));
}

/// Requests come by TUN and leave by Ethernet; replies come by Ethernet, and leave by the host, through TUN.
#[test]
fn requests_by_tun_and_replies_by_ethernet() {
    let net = network();
    let director = start(&net, &["ulvs0", "eth1"]);
    route_vip(&net);
    serves(&net);
    let told = director.shell("ulvs doctor");
    for part in [
        "link af_packet, tun",
        "ulvs0 link tun",
        "eth1 link af_packet",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
}

/// Requests come by Ethernet and leave by TUN, from where the host routes them; the replies take the same way back.
#[test]
fn requests_by_ethernet_and_replies_by_tun() {
    let net = network();
    let _director = start(&net, &["eth0", "ulvs0"]);
    net.director.ip("route add default dev ulvs0 table 100");
    net.director.ip("rule add iif eth1 lookup 100");
    serves(&net);
}

/// Direct routing from a TUN device out of an Ethernet interface.
#[test]
fn direct_routing_out_of_ethernet() {
    let net = Flat::new(2);
    for server in &net.servers {
        vip_on_loopback(server, &[VIP]);
    }
    net.director.forwards();
    // The requests come by a cable of their own, which the director does not look at.
    cable((&net.client, "eth1"), (&net.director, "eth1"));
    net.client.addresses("eth1", &["10.4.0.2/24"]);
    net.director.addresses("eth1", &["10.4.0.10/24"]);
    net.client
        .ip("route add 10.9.0.1/32 via 10.4.0.10 src 10.0.0.2");
    net.director.sysctl("net.ipv4.conf.all.rp_filter", "0");
    net.director.sysctl("net.ipv4.conf.eth1.rp_filter", "0");
    let director = DirectorBuilder::new(&net.lab, &net.director, &["eth0", "ulvs0"])
        .config(TUN)
        .start();
    net.director.ip(&format!("route add {VIP}/32 dev ulvs0"));
    director.type_lines(
        "ipvsadm -A -t 10.9.0.1:80 -s rr
        ipvsadm -a -t 10.9.0.1:80 -r 10.0.0.20:80 -g
        ipvsadm -a -t 10.9.0.1:80 -r 10.0.0.30:80 -g",
    );
    let answers = fetch_each(&net.client, &format!("http://{VIP}/"), 10);
    let counts = count(&answers);
    assert_eq!((counts["rs1"], counts["rs2"]), (5, 5), "{counts:?}");
}

/// SIGHUP changes the links: a TUN device alone, one beside an Ethernet interface, Ethernet alone, and back.
#[test]
fn links_change_while_the_director_runs() {
    let net = network();
    let mut director = start(&net, &["ulvs0"]);
    let both_ways_by_tun = |net: &TwoArm| {
        net.director.ip("route replace default dev ulvs0 table 100");
        route_vip(net);
    };
    net.director.ip("rule add iif eth1 lookup 100");
    both_ways_by_tun(&net);
    serves(&net);
    let mut change = |interfaces: &str, section: &str, expected: &str| {
        director.reconfigure(|_| format!("interfaces = {interfaces}\n{section}"));
        director.process().signal("HUP");
        eventually(expected, Duration::from_secs(5), || {
            let told = director.shell("ulvs doctor");
            let links = told.lines().find(|line| line.contains("  link "))?;
            links.contains(&format!(" {expected} ")).then_some(())
        });
    };
    change("[\"eth1\", \"ulvs0\"]", TUN, "link af_packet, tun");
    serves(&net);
    change("[\"eth0\", \"eth1\"]", "", "link af_packet");
    let gone = net.director.try_shell("ip link show ulvs0");
    assert!(!gone.status.success(), "nobody holds the device any more");
    serves(&net);
    change("[\"ulvs0\"]", TUN, "link tun");
    both_ways_by_tun(&net);
    serves(&net);
}

/// A link that cannot be is one sentence, with its place in the file.
#[test]
fn impossible_links_are_sentences() {
    let net = TwoArm::new(0);
    let said = |interfaces: &[&str], link: &str| {
        let section = format!(
            "[[interface]]\nname = \"{}\"\nlink = \"{link}\"",
            interfaces[0]
        );
        let mut director = DirectorBuilder::new(&net.lab, &net.director, interfaces)
            .config(&section)
            .launch();
        let status = director.process().wait(Duration::from_secs(5));
        let log = director.log();
        assert!(!status.success(), "{link}: {log}");
        log
    };
    for (name, link, parts) in [
        ("eth0", "tun", ["eth0", "no TUN device"]),
        ("eth7", "af-packet", ["no interface eth7", "eth0"]),
    ] {
        let text = said(&[name, "eth1"], link);
        let place = format!("ulvs.toml:4: `link = \"{link}\"`: ");
        assert!(text.contains(&place), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

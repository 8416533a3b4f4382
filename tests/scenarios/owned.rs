//! VIPs that no machine has: ulvs answers for them itself, and announces them.

use std::time::Duration;

use crate::harness::{
    Capture, Director, FLAT_VIP, Flat, TwoArm, VIP, bracketed, cable, count, eventually, fetch,
    fetch_each,
};

#[test]
fn answers_arp_ping_and_refusals() {
    let net = Flat::new(2).with_vip_on_servers();
    let director = net.start();
    for (vip, prefix) in FLAT_VIP.into_iter().zip(["10.0.0.", "fd00::"]) {
        let service = format!("{}:80", bracketed(vip));
        director.shell(&format!("ipvsadm -A -t {service} -s rr"));
        for last in ["20", "30"] {
            let real = bracketed(&format!("{prefix}{last}"));
            director.shell(&format!("ipvsadm -a -t {service} -r {real}:80 -g"));
        }
        let answers = fetch_each(&net.client, &format!("http://{}/", bracketed(vip)), 10);
        let counts = count(&answers);
        assert_eq!((counts["rs1"], counts["rs2"]), (5, 5), "{vip}: {counts:?}");
        net.client.shell(&format!("ping -c 1 -W 2 {vip}"));
        let neighbour = net.client.ip(&format!("neigh show {vip}"));
        assert!(
            neighbour.contains(&net.director.mac("eth0")),
            "the director's: {neighbour}"
        );
        let refused = fetch(&net.client, &format!("http://{}:81/", bracketed(vip)));
        let refused = refused.expect_err("nobody serves port 81");
        assert!(refused.contains("(7)"), "refused at once: {refused}");
    }
    let listed = net.director.ip("-o addr show");
    assert!(
        !listed.contains("10.0.0.1/"),
        "the host does not have the VIP: {listed}"
    );
}

/// A client that still knows another machine under the VIP is told at once.
#[test]
fn announces_itself() {
    let net = Flat::new(1).with_vip_on_servers();
    net.client
        .ip("neigh add 10.0.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud stale");
    let director = net.start();
    let capture = Capture::arriving(&net.lab, &net.client, "eth0", "arp");
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g",
    );
    eventually("a gratuitous ARP", Duration::from_secs(5), || {
        capture
            .frames()
            .iter()
            .any(|frame| frame.contains("10.0.0.1"))
            .then_some(())
    });
    fetch(&net.client, "http://10.0.0.1/").expect("the client has learnt the new address");
}

/// With the service gone the VIP is nobody's.
#[test]
fn falls_silent_with_its_last_service() {
    let net = Flat::new(1).with_vip_on_servers();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g",
    );
    fetch(&net.client, "http://10.0.0.1/").expect("served");
    director.shell("ipvsadm -C");
    net.client.ip("neigh flush dev eth0");
    assert!(
        fetch(&net.client, "http://10.0.0.1/").is_err(),
        "nobody answers any more"
    );
}

/// VIPs outside every connected network, which a router (here the client) sends to the director. Without a
/// route that covers an IPv6 VIP, the kernel would answer "no route" even where it does not forward.
#[test]
fn reached_through_a_router() {
    let net = TwoArm::new(2);
    net.client.ip("route add 10.9.0.1/32 via 10.1.0.10");
    net.client.ip("-6 route add fd09::1/128 via fd01::10");
    let director = net
        .builder()
        .vip("10.9.0.1", "owned")
        .vip("fd09::1", "owned")
        .start();
    director.type_lines(
        "ipvsadm -A -t 10.9.0.1:80 -s rr
        ipvsadm -a -t 10.9.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.9.0.1:80 -r 10.2.0.30:80 -m
        ipvsadm -A -t [fd09::1]:80 -s rr
        ipvsadm -a -t [fd09::1]:80 -r [fd02::20]:80 -m
        ipvsadm -a -t [fd09::1]:80 -r [fd02::30]:80 -m",
    );
    for vip in ["10.9.0.1", "[fd09::1]"] {
        let answers = fetch_each(&net.client, &format!("http://{vip}/"), 10);
        let counts = count(&answers);
        assert_eq!((counts["rs1"], counts["rs2"]), (5, 5), "{vip}: {counts:?}");
    }
}

/// Clients on two networks, real servers on a third.
#[test]
fn clients_on_several_interfaces() {
    let net = TwoArm::new(2);
    let other = net.lab.host("other");
    cable((&other, "eth0"), (&net.director, "eth2"));
    other.addresses("eth0", &["10.7.0.2/24", "fd07::2/64"]);
    net.director
        .addresses("eth2", &["10.7.0.10/24", "fd07::10/64"]);
    other.ip("route add default via 10.7.0.10");
    other.ip("-6 route add default via fd07::10");
    let director = Director::start(&net.lab, &net.director, &["eth0", "eth1", "eth2"]);
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m
        ipvsadm -A -t [fd01::1]:80 -s rr
        ipvsadm -a -t [fd01::1]:80 -r [fd02::20]:80 -m
        ipvsadm -a -t [fd01::1]:80 -r [fd02::30]:80 -m",
    );
    for client in [&net.client, &other] {
        for vip in VIP {
            let answers = fetch_each(client, &format!("http://{}/", bracketed(vip)), 10);
            let counts = count(&answers);
            assert_eq!(
                (counts["rs1"], counts["rs2"]),
                (5, 5),
                "{}: {counts:?}",
                client.role()
            );
        }
    }
}

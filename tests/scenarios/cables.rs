//! Cables pulled and plugged in again, and interfaces taken down and up: the director carries on.

use std::time::Duration;

use crate::harness::{Director, Flat, TwoArm, eventually, fetch, fetch_each};

fn served_again(net: &TwoArm, director: &mut Director, what: &str) {
    eventually(what, Duration::from_secs(10), || {
        assert!(
            director.process().ended().is_none(),
            "it ended:\n{}",
            director.log()
        );
        fetch(&net.client, "http://10.1.0.1/").ok()
    });
    fetch_each(&net.client, "http://10.1.0.1/", 10);
}

#[test]
fn interface_down_and_up() {
    let net = TwoArm::new(2);
    let mut director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m",
    );
    fetch_each(&net.client, "http://10.1.0.1/", 4);
    for interface in ["eth0", "eth1"] {
        net.director.ip(&format!("link set {interface} down"));
        std::thread::sleep(Duration::from_millis(500));
        assert!(
            fetch(&net.client, "http://10.1.0.1/").is_err(),
            "no way while {interface} is down"
        );
        net.director.ip(&format!("link set {interface} up"));
        served_again(
            &net,
            &mut director,
            &format!("served after {interface} is up again"),
        );
    }
    // The far end: carrier is lost without the director's interface being touched.
    net.client.ip("link set eth0 down");
    std::thread::sleep(Duration::from_millis(500));
    net.client.ip("link set eth0 up");
    served_again(&net, &mut director, "served after the cable is back");
}

#[test]
fn interface_removed_is_said_and_survived() {
    let net = TwoArm::new(1);
    let mut director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m",
    );
    fetch_each(&net.client, "http://10.1.0.1/", 2);
    net.director.ip("link del eth1");
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        director.process().ended().is_none(),
        "it goes on:\n{}",
        director.log()
    );
    director.await_log("eth1");
    assert!(
        director.shell("ipvsadm -Ln").contains("10.1.0.1:80"),
        "and still answers commands"
    );
}

/// A real server that is replaced by another machine under the same address.
#[test]
fn neighbour_that_changes_its_hardware() {
    let net = Flat::new(1).with_vip_on_servers();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g",
    );
    fetch_each(&net.client, "http://10.0.0.1/", 2);
    let server = &net.servers[0];
    server.ip("link set eth0 down");
    server.ip("link set eth0 address 02:00:00:00:00:42");
    server.ip("link set eth0 up");
    // As a machine that starts does: it announces its address.
    eventually(
        "served by the new hardware",
        Duration::from_secs(60),
        || {
            server.shell("ping -c 1 -W 1 10.0.0.10 >/dev/null; true");
            fetch(&net.client, "http://10.0.0.1/").ok()
        },
    );
}

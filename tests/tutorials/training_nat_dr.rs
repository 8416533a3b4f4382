//! The German training: NAT with masquerading on the director, then direct routing with each of its two
//! ways to make a real server take the VIP. Left out: `-m ipvs` (a match of the kernel's own
//! IPVS), the sysctl `net.ipv4.vs.conntrack`, and the package managers.

use super::assert_prints;
use crate::harness::{Director, Host, Lab, WebServer, cable, count, fetch_each};

#[test]
fn nat() {
    let lab = Lab::new();
    let client = lab.host("client");
    let server1 = lab.host("server1");
    cable((&client, "eth0"), (&server1, "enp0s9"));
    client.addresses("eth0", &["10.100.10.1/24"]);
    server1.addresses("enp0s9", &["10.100.10.101/24"]);
    let inside = lab.switch("inside");
    inside.plug(&server1, "enp0s8", &["172.16.120.10/24"]);
    let servers = [
        ("server2", "172.16.120.11/24"),
        ("server3", "172.16.120.12/24"),
    ]
    .map(|(role, address)| {
        let server = lab.host(role);
        inside.plug(&server, "enp0s8", &[address]);
        server.ip("route add default via 172.16.120.10");
        server
    });
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));

    let director = Director::start(&lab, &server1, &["enp0s9", "enp0s8"]);
    director.type_lines(
        "sysctl -w net.ipv4.ip_forward=1
        iptables -t nat -A POSTROUTING -s 172.16.120.0/24 -j MASQUERADE
        ipvsadm -A -t 10.100.10.101:80 -s rr
        ipvsadm -a -t 10.100.10.101:80 -r 172.16.120.11:80 -m
        ipvsadm -a -t 10.100.10.101:80 -r 172.16.120.12:80 -m",
    );
    assert_prints(
        &director,
        "ipvsadm -Ln",
        "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.100.10.101:80 rr
  -> 172.16.120.11:80             Masq    1      0          0
  -> 172.16.120.12:80             Masq    1      0          0",
    );
    let answers = fetch_each(&client, "http://10.100.10.101/", 20);
    let counts = count(&answers);
    assert_eq!(
        (counts["server2"], counts["server3"]),
        (10, 10),
        "round robin: {answers:?}"
    );
}

/// Two real servers on the client's network, each made to take the VIP by the given command. The
/// director has an address besides the VIP: a real server that has the VIP itself answers no ARP request
/// that seems to come from it, with kernel IPVS as with ulvs.
fn direct_routing(take_vip: impl Fn(&Host, &str)) {
    let lab = Lab::new();
    let switch = lab.switch("sw");
    let client = lab.host("client");
    switch.plug(&client, "eth0", &["10.100.10.1/24"]);
    let server1 = lab.host("server1");
    switch.plug(
        &server1,
        "enp0s9",
        &["10.100.10.100/24", "10.100.10.101/24"],
    );
    let servers =
        [("server2", "10.100.10.102"), ("server3", "10.100.10.103")].map(|(role, address)| {
            let server = lab.host(role);
            switch.plug(&server, "enp0s9", &[&format!("{address}/24")]);
            take_vip(&server, address);
            server
        });
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));

    let director = Director::start(&lab, &server1, &["enp0s9"]);
    director.type_lines(
        "ipvsadm -A -t 10.100.10.101:80 -s rr
        ipvsadm -a -t 10.100.10.101:80 -r 10.100.10.102:80 -g
        ipvsadm -a -t 10.100.10.101:80 -r 10.100.10.103:80 -g",
    );
    director.shell("ipvsadm -L");
    let answers = fetch_each(&client, "http://10.100.10.101/", 20);
    let counts = count(&answers);
    assert_eq!(
        (counts["server2"], counts["server3"]),
        (10, 10),
        "round robin: {answers:?}"
    );
}

#[test]
fn direct_routing_with_iptables() {
    direct_routing(|server, _| {
        server
            .shell("iptables -t nat -A PREROUTING -p tcp -d 10.100.10.101 --dport 80 -j REDIRECT");
    });
}

#[test]
fn direct_routing_with_arptables() {
    direct_routing(|server, address| {
        // The text's chain names IN and OUT are those of the older arptables.
        server.shell("arptables-nft -A INPUT -d 10.100.10.101 -j DROP");
        server.shell(&format!(
            "arptables-nft -A OUTPUT -s 10.100.10.101 -j mangle --mangle-ip-s {address}"
        ));
        server.shell("ip addr add 10.100.10.101 dev lo label lo:0");
    });
}

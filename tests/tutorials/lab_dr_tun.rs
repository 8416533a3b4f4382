//! The load balancing lab: LVS-DR with REDIRECT on the real servers, thresholds of three connections, then
//! LVS-TUN. Its `ip tunnel add tun0 mode ipip` needs the kernel's ipip module; `ulvs decap` stands in for
//! it, with the VIP on `lo` instead of `tun0`.

use std::time::Duration;

use super::{assert_prints, connections};
use crate::harness::{
    Director, Host, Lab, WebServer, count, decap, eventually, fetch, fetch_each, hold_connections,
    vip_on_loopback,
};

struct Machines {
    balancer: Host,
    client: Host,
    lab: Lab,
    servers: [Host; 2],
    _web: [WebServer; 2],
}

fn machines() -> Machines {
    let lab = Lab::new();
    let switch = lab.switch("virbr-labs");
    let client = lab.host("lab-lb-host");
    switch.plug(&client, "eth0", &["192.168.100.1/24"]);
    let balancer = lab.host("load-balancer");
    switch.plug(&balancer, "eth0", &["192.168.100.71/24"]);
    let servers = [
        ("lab-lb-2", "192.168.100.72/24"),
        ("lab-lb-3", "192.168.100.73/24"),
    ]
    .map(|(role, address)| {
        let server = lab.host(role);
        switch.plug(&server, "eth0", &[address]);
        server
    });
    let web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));
    Machines {
        balancer,
        client,
        lab,
        servers,
        _web: web,
    }
}

#[test]
fn direct_routing_and_threshold() {
    let Machines {
        balancer,
        client,
        lab,
        servers,
        _web,
    } = machines();
    let director = Director::start(&lab, &balancer, &["eth0"]);
    // Short memory of closed connections, so that the thresholds below count only open ones.
    director.shell("ipvsadm --set 900 2 300");
    director.type_lines(
        "ip addr add dev eth0 192.168.100.251/24 label eth0:1
        ipvsadm -A -t 192.168.100.251:80
        ipvsadm -a -t 192.168.100.251:80 -r 192.168.100.72:80 -g
        ipvsadm -a -t 192.168.100.251:80 -r 192.168.100.73:80 -g",
    );
    for server in &servers {
        server.shell("iptables -t nat -A PREROUTING -d 192.168.100.251 -j REDIRECT");
    }
    let answers = fetch_each(&client, "http://192.168.100.251/", 10);
    assert_eq!(count(&answers).len(), 2, "both answer: {answers:?}");

    let listed = director.shell("ipvsadm -l");
    assert!(
        listed.contains("TCP  192.168.100.251:http wlc"),
        "names instead of numbers:\n{listed}"
    );
    let listed = director.shell("ipvsadm -l -c");
    assert!(
        listed.contains("192.168.100.251:http"),
        "the connections are listed:\n{listed}"
    );

    director.type_lines(
        "ipvsadm -e -t 192.168.100.251:80 -r 192.168.100.72:80 -x 3
        ipvsadm -e -t 192.168.100.251:80 -r 192.168.100.73:80 -x 3",
    );
    eventually(
        "the first connections are forgotten",
        Duration::from_secs(20),
        || (connections(&director) == 0).then_some(()),
    );
    let held = hold_connections(&lab, &client, "192.168.100.251", 80, 20);
    assert_eq!(
        (held.count("open"), held.count("refused")),
        (6, 14),
        "three a real server"
    );
    drop(held);
    eventually("the service recovers", Duration::from_secs(20), || {
        fetch(&client, "http://192.168.100.251/").ok()
    });

    director.shell("ipvsadm -D -t 192.168.100.251:80");
    for server in &servers {
        server.shell("iptables -t nat -F");
    }
    assert_prints(
        &director,
        "ipvsadm -ln",
        "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
    );
}

#[test]
fn tunnelling() {
    let Machines {
        balancer,
        client,
        lab,
        servers,
        _web,
    } = machines();
    let vip = "192.168.100.251";
    let _decap = servers.each_ref().map(|server| {
        vip_on_loopback(server, &[vip]);
        decap(&lab, server, &[vip])
    });
    let director = Director::start(&lab, &balancer, &["eth0"]);
    director.type_lines(
        "ip addr add dev eth0 192.168.100.251/24 label eth0:1
        ipvsadm -A -t 192.168.100.251:80
        ipvsadm -a -t 192.168.100.251:80 -r 192.168.100.72:80 -i
        ipvsadm -a -t 192.168.100.251:80 -r 192.168.100.73:80 -i",
    );
    let answers = fetch_each(&client, "http://192.168.100.251/", 10);
    assert_eq!(count(&answers).len(), 2, "both answer: {answers:?}");
    director.shell("ipvsadm -D -t 192.168.100.251:80");
}

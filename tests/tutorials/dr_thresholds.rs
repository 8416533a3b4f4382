//! "Linux Virtual Server (LVS)": direct routing on one bridge, the real servers taking the VIP by an
//! iptables REDIRECT rule, then round robin with at most four connections a real server.

use std::time::Duration;

use super::{assert_prints, connections};
use crate::harness::{
    Capture, Director, Host, Lab, WebServer, count, eventually, fetch, fetch_each, hold_connections,
};

struct Machines {
    vm1: Host,
    client: Host,
    lab: Lab,
    servers: [Host; 2],
    _web: [WebServer; 2],
}

fn machines() -> Machines {
    let lab = Lab::new();
    let switch = lab.switch("br0");
    // "tcpdump -i br0 -e (capture on the client machine, the host of the virtual machines)".
    let client = switch.host.clone();
    client.addresses("br0", &["10.0.0.2/24"]);
    let vm1 = lab.host("vm1");
    switch.plug(&vm1, "ens3", &["10.0.0.10/24"]);
    let servers = [("vm2", "10.0.0.20/24"), ("vm3", "10.0.0.30/24")].map(|(role, address)| {
        let server = lab.host(role);
        switch.plug(&server, "ens3", &[address]);
        server
    });
    let web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));
    Machines {
        vm1,
        client,
        lab,
        servers,
        _web: web,
    }
}

#[test]
fn as_typed() {
    let Machines {
        vm1,
        client,
        lab,
        servers,
        _web,
    } = machines();
    let director = Director::start(&lab, &vm1, &["ens3"]);
    // Short memory of closed connections, so that the thresholds below count only open ones.
    director.shell("ipvsadm --set 900 2 300");
    director.type_lines(
        "ip addr add dev ens3 10.0.0.1/24 label ens3:1
        ipvsadm -A -t 10.0.0.1:80
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.30:80 -g",
    );
    for server in &servers {
        server.shell("iptables -t nat -A PREROUTING -d 10.0.0.1 -j REDIRECT");
    }
    let answers = fetch_each(&client, "http://10.0.0.1/", 10);
    assert_eq!(count(&answers).len(), 2, "wlc uses both: {answers:?}");

    limit_to_four(&director);
    let capture = Capture::both_ways(&lab, &client, "br0", "tcp port 80");
    let held = hold_connections(&lab, &client, "10.0.0.1", 80, 12);
    assert_eq!(
        (held.count("open"), held.count("refused")),
        (8, 4),
        "four a real server"
    );
    let frames = capture.stop();
    let from_director = format!("{} > {}", vm1.mac("ens3"), servers[0].mac("ens3"));
    assert!(
        frames.iter().any(|frame| frame.contains(&from_director)),
        "requests reach the real server under the director's Ethernet address:\n{}",
        frames.join("\n")
    );

    let listed = director.shell("ipvsadm -l -c");
    let open = listed
        .lines()
        .filter(|line| line.contains("ESTABLISHED"))
        .count();
    assert_eq!(open, 8, "ipvsadm -l -c lists what is held:\n{listed}");

    drop(held);
    eventually("the service recovers", Duration::from_secs(20), || {
        fetch(&client, "http://10.0.0.1/").ok()
    });

    director.shell("ipvsadm -D -t 10.0.0.1:80");
    for server in &servers {
        server.shell("iptables -t nat -F");
    }
    assert!(
        fetch(&client, "http://10.0.0.1/").is_err(),
        "the service is gone"
    );
}

/// Round robin, at most four connections a real server; returns when none is left from before.
fn limit_to_four(director: &Director) {
    director.type_lines(
        "ipvsadm -E -t 10.0.0.1:80 -s rr
        ipvsadm -e -t 10.0.0.1:80 -r 10.0.0.20:80 -x 4
        ipvsadm -e -t 10.0.0.1:80 -r 10.0.0.30:80 -x 4",
    );
    eventually(
        "the first connections are forgotten",
        Duration::from_secs(20),
        || (connections(director) == 0).then_some(()),
    );
    assert_prints(
        director,
        "ipvsadm -Ln",
        "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 rr
  -> 10.0.0.20:80                 Route   1      0          0
  -> 10.0.0.30:80                 Route   1      0          0",
    );
}

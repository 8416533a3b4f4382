//! The Chinese notes: LVS-NAT behind a router, the same service edited to LVS-DR on the changed network
//! with the VIP on every machine's `lo`, then to LVS-TUN (`tunl0` needs the kernel's ipip module;
//! `ulvs decap` stands in for it with the VIP on `lo`).

use super::assert_prints;
use crate::harness::{Director, Host, Lab, WebServer, count, decap, fetch_each, vip_on_loopback};

const VIP: &str = "172.16.0.206";
const PAGE: &str = "http://172.16.0.206/test.html";

const HEADER: &str = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn";

fn client_and_router(lab: &Lab) -> (Host, Host) {
    let outside = lab.switch("outside");
    let client = lab.host("client");
    outside.plug(&client, "eth0", &["192.168.0.204/24"]);
    let router = lab.host("router");
    outside.plug(&router, "eth1", &["192.168.0.205/24"]);
    router.shell("sysctl -w net.ipv4.ip_forward=1");
    client.ip("route add default via 192.168.0.205");
    (client, router)
}

fn real_servers(lab: &Lab, inside: &crate::harness::Switch, gateway: &str) -> [Host; 2] {
    [("rs1", "10.0.0.201/24"), ("rs2", "10.0.0.202/24")].map(|(role, address)| {
        let server = lab.host(role);
        inside.plug(&server, "eth0", &[address]);
        server.ip(&format!("route add default via {gateway}"));
        server
    })
}

fn assert_alternates(client: &Host) {
    let answers = fetch_each(client, PAGE, 10);
    let counts = count(&answers);
    assert_eq!(
        (counts["rs1"], counts["rs2"]),
        (5, 5),
        "equal weights: {answers:?}"
    );
}

#[test]
fn nat() {
    let lab = Lab::new();
    let (client, router) = client_and_router(&lab);
    let middle = lab.switch("middle");
    middle.plug(&router, "eth0", &["172.16.0.205/24"]);
    let lvs = lab.host("lvs-1");
    middle.plug(&lvs, "eth1", &["172.16.0.206/24"]);
    let inside = lab.switch("inside");
    inside.plug(&lvs, "eth0", &["10.0.0.206/24"]);
    lvs.ip("route add 192.168.0.0/24 via 172.16.0.205");
    lvs.sysctl("net.ipv4.ip_forward", "1");
    let servers = real_servers(&lab, &inside, "10.0.0.206");
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));

    let director = Director::start(&lab, &lvs, &["eth0", "eth1"]);
    director.type_lines(
        "ipvsadm -A -t 172.16.0.206:80 -s wrr
        ipvsadm -a -t 172.16.0.206:80 -r 10.0.0.201:80 -m
        ipvsadm -a -t 172.16.0.206:80 -r 10.0.0.202:80 -m",
    );
    assert_prints(
        &director,
        "ipvsadm -Ln",
        &format!(
            "{HEADER}
TCP  172.16.0.206:80 wrr
  -> 10.0.0.201:80                Masq    1      0          0
  -> 10.0.0.202:80                Masq    1      0          0"
        ),
    );
    assert_alternates(&client);
    client.shell("ping -c 1 -W 2 172.16.0.206");
    assert_prints(
        &director,
        "ipvsadm-save -n",
        "-A -t 172.16.0.206:80 -s wrr
-a -t 172.16.0.206:80 -r 10.0.0.201:80 -m -w 1
-a -t 172.16.0.206:80 -r 10.0.0.202:80 -m -w 1",
    );
    director.shell("ipvsadm -C");
    assert_prints(&director, "ipvsadm -Ln", HEADER);
}

#[test]
fn edited_from_nat_to_direct_routing_to_tunnelling() {
    let lab = Lab::new();
    let (client, router) = client_and_router(&lab);
    let inside = lab.switch("inside");
    inside.plug(&router, "eth0", &["10.0.0.205/24", "172.16.0.205/24"]);
    let lvs = lab.host("lvs-1");
    inside.plug(&lvs, "eth0", &["10.0.0.206/24"]);
    lvs.ip("route add default via 10.0.0.205");
    lvs.ip("addr add 172.16.0.206/32 dev lo");
    let servers = real_servers(&lab, &inside, "10.0.0.205");
    for server in &servers {
        vip_on_loopback(server, &[VIP]);
    }
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));

    let director = Director::start(&lab, &lvs, &["eth0"]);
    director.type_lines(
        "ipvsadm -A -t 172.16.0.206:80 -s wrr
        ipvsadm -a -t 172.16.0.206:80 -r 10.0.0.201:80 -m
        ipvsadm -a -t 172.16.0.206:80 -r 10.0.0.202:80 -m
        ipvsadm -e -t 172.16.0.206:80 -r 10.0.0.201:80 -g
        ipvsadm -e -t 172.16.0.206:80 -r 10.0.0.202:80 -g",
    );
    assert_prints(
        &director,
        "ipvsadm -Ln",
        &format!(
            "{HEADER}
TCP  172.16.0.206:80 wrr
  -> 10.0.0.201:80                Route   1      0          0
  -> 10.0.0.202:80                Route   1      0          0"
        ),
    );
    assert_alternates(&client);

    let _decap = servers.each_ref().map(|server| decap(&lab, server, &[VIP]));
    director.type_lines(
        "ipvsadm -e -t 172.16.0.206:80 -r 10.0.0.201:80 -i
        ipvsadm -e -t 172.16.0.206:80 -r 10.0.0.202:80 -i",
    );
    let listed = director.shell("ipvsadm -Ln");
    assert_eq!(
        listed.matches(" Tunnel ").count(),
        2,
        "both are tunnelled:\n{listed}"
    );
    assert_alternates(&client);
    director.shell("ipvsadm -d -t 172.16.0.206:80 -r 10.0.0.202:80");
    let answers = fetch_each(&client, PAGE, 4);
    assert_eq!(
        count(&answers).get("rs1"),
        Some(&4),
        "only rs1 is left: {answers:?}"
    );
}

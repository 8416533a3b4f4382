//! The French wiki page: LVS-NAT on port 10123 with the VIP on an alias of the director's outer
//! interface, and the VIP as the real servers' gateway. (`modprobe ip_vs` has no counterpart here.)

use super::assert_prints;
use crate::harness::{Director, Lab, WebServer, cable, count, fetch_each};

#[test]
fn as_typed() {
    let lab = Lab::new();
    let client = lab.host("client");
    let machine = lab.host("director");
    cable((&client, "eth0"), (&machine, "eth0"));
    client.addresses("eth0", &["192.168.0.5/24"]);
    let inside = lab.switch("inside");
    inside.plug(&machine, "eth1", &["192.168.1.1/24"]);
    let servers =
        [("rs1", "192.168.1.10/24"), ("rs2", "192.168.1.20/24")].map(|(role, address)| {
            let server = lab.host(role);
            inside.plug(&server, "eth0", &[address]);
            server
        });
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));

    let director = Director::start(&lab, &machine, &["eth0", "eth1"]);
    director.type_lines(
        "echo 1 >/proc/sys/net/ipv4/ip_forward
        ip addr add 192.168.0.100/24 brd 192.168.0.255 dev eth0 label eth0:virt
        ipvsadm -C
        ipvsadm -A -t 192.168.0.100:10123 -s rr
        ipvsadm -a -t 192.168.0.100:10123 -r 192.168.1.10:10123 -m -w 1
        ipvsadm -a -t 192.168.0.100:10123 -r 192.168.1.20:10123 -m -w 1",
    );
    for server in &servers {
        server.shell("echo 1 >/proc/sys/net/ipv4/ip_forward");
        server.sysctl("net.ipv4.conf.all.arp_ignore", "1");
        server.sysctl("net.ipv4.conf.all.arp_announce", "2");
        server.sysctl("net.ipv4.conf.lo.arp_ignore", "1");
        server.sysctl("net.ipv4.conf.lo.arp_announce", "2");
        // "route add default gw 192.168.0.100": a gateway outside the server's own network.
        server.ip("route add default via 192.168.0.100 dev eth0 onlink");
    }
    let empty = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn";
    let listing = format!(
        "{empty}
TCP  192.168.0.100:10123 rr
  -> 192.168.1.10:10123           Masq    1      0          0
  -> 192.168.1.20:10123           Masq    1      0          0"
    );
    assert_prints(&director, "ipvsadm -Ln", &listing);
    let named = director.shell("ipvsadm");
    assert!(
        named.contains("TCP  192.168.0.100:10123 rr"),
        "without options it lists:
{named}"
    );

    let answers = fetch_each(&client, "http://192.168.0.100:10123/", 20);
    let counts = count(&answers);
    assert_eq!(
        (counts["rs1"], counts["rs2"]),
        (10, 10),
        "round robin: {answers:?}"
    );

    director.shell("ipvsadm -Sn > ipvsadm_rules");
    director.shell("ipvsadm -C");
    assert_prints(&director, "ipvsadm -Ln", empty);
    director.shell("ipvsadm -R < ipvsadm_rules");
    assert_prints(
        &director,
        "ipvsadm -Sn",
        "-A -t 192.168.0.100:10123 -s rr
-a -t 192.168.0.100:10123 -r 192.168.1.10:10123 -m -w 1
-a -t 192.168.0.100:10123 -r 192.168.1.20:10123 -m -w 1",
    );
    fetch_each(&client, "http://192.168.0.100:10123/", 4);
}

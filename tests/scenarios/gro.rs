//! Receive aggregation of the daemon's own veth interfaces: turned on where the daemon may, off again at the end, and
//! traffic is right with it: clients that send frames of MTU size, and receivers that verify every checksum.

use crate::harness::{
    Director, DirectorBuilder, FLAT_VIP, Flat, Host, NET_RAW_ONLY, TwoArm, VIP, blob, bracketed,
    checksum_errors, download, upload,
};

/// The default, said so that a run with other defaults keeps it.
const AUTO: &str = "gro = \"auto\"";

/// Whether it is on, as ethtool(8) says.
fn is_on(host: &Host, interface: &str) -> bool {
    let features = host.shell(&format!("ethtool -k {interface}"));
    features.contains("generic-receive-offload: on")
}

/// Clients and servers finish and cut everything themselves, and verify what they receive.
fn without_offloads(machines: &[&Host]) {
    for machine in machines {
        machine.shell("ethtool -K eth0 tx off rx off tso off gso off gro off");
    }
}

/// 100 MB down and up, IPv4 and IPv6, octet for octet.
fn carry(net: (&Host, &[crate::harness::WebServer]), vips: [&str; 2], machines: &[&Host]) {
    let (client, web) = net;
    let errors = |machines: &[&Host]| -> Vec<u64> {
        machines.iter().map(|host| checksum_errors(host)).collect()
    };
    let before = errors(machines);
    for vip in vips {
        let base = format!("http://{}", bracketed(vip));
        assert_eq!(download(client, &base), blob().1, "from {base}");
        let name = if vip.contains(':') { "six" } else { "four" };
        upload(client, &base, name);
        let sum = web.iter().find_map(|server| server.uploaded(name));
        assert_eq!(sum.as_ref(), Some(&blob().1), "at {base}");
    }
    assert_eq!(errors(machines), before, "wrong checksums");
}

fn serve(director: &Director, vips: [&str; 2], servers: [&str; 2], method: &str) {
    for (vip, server) in vips.into_iter().zip(servers) {
        let (service, server) = (bracketed(vip), bracketed(server));
        director.shell(&format!("ipvsadm -A -t {service}:80"));
        director.shell(&format!(
            "ipvsadm -a -t {service}:80 -r {server}:80 {method}"
        ));
    }
}

#[test]
fn nat() {
    let net = TwoArm::new(1);
    let machines = [&net.client, &net.servers[0]];
    without_offloads(&machines);
    let mut director = net.builder().config(AUTO).start();
    for interface in ["eth0", "eth1"] {
        assert!(is_on(&net.director, interface), "{}", director.log());
        assert!(
            director
                .log()
                .contains(&format!("gro turned on for {interface}")),
            "{}",
            director.log()
        );
    }
    serve(&director, VIP, ["10.2.0.20", "fd02::20"], "-m");
    carry((&net.client, &net.web), VIP, &machines);
    assert!(director.terminate().success());
    for interface in ["eth0", "eth1"] {
        assert!(!is_on(&net.director, interface), "{}", director.log());
    }
}

#[test]
fn direct_routing() {
    let net = Flat::new(1).with_vip_on_servers();
    let machines = [&net.client, &net.servers[0]];
    without_offloads(&machines);
    let director = net.builder().config(AUTO).start();
    assert!(is_on(&net.director, "eth0"), "{}", director.log());
    serve(&director, FLAT_VIP, ["10.0.0.20", "fd00::20"], "-g");
    carry((&net.client, &net.web), FLAT_VIP, &machines);
}

/// What the operator turned on stays on; `gro = "leave"` leaves everything, and an interface that is not worked on any
/// more is as it was.
#[test]
fn only_what_the_daemon_did_is_undone() {
    let net = TwoArm::new(1);
    net.director.shell("ethtool -K eth1 gro on");
    let mut director = net.builder().config(AUTO).start();
    assert!(is_on(&net.director, "eth0"));
    director.reconfigure(|config| config.replace("\"eth0\", ", ""));
    director.process().signal("HUP");
    director.await_log("configuration read again");
    assert!(!is_on(&net.director, "eth0"), "{}", director.log());
    director.terminate();
    assert!(is_on(&net.director, "eth1"), "{}", director.log());

    net.director.shell("ethtool -K eth1 gro off");
    let mut director = net.builder().config("gro = \"leave\"").start();
    assert!(!is_on(&net.director, "eth0") && !is_on(&net.director, "eth1"));
    director.reconfigure(|config| config.replace("leave", "auto"));
    director.process().signal("HUP");
    director.await_log("configuration read again");
    assert!(is_on(&net.director, "eth0") && is_on(&net.director, "eth1"));
}

/// With CAP_NET_RAW alone the interfaces stay as they are, and the log says what that costs.
#[test]
fn without_the_capability() {
    let net = TwoArm::new(1);
    let words: Vec<&str> = NET_RAW_ONLY.split_whitespace().collect();
    let builder: DirectorBuilder = net.builder().config(AUTO).running_as(&words);
    let director = builder.start();
    assert!(!is_on(&net.director, "eth0"));
    let log = director.log();
    assert!(
        log.contains("gro stays off on eth0") && log.contains("CAP_NET_ADMIN"),
        "{log}"
    );
}

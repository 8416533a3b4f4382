//! `ulvs decap` on a real server: one capability is enough, and it delivers to the VIPs it was told only.

use std::process::Command;
use std::time::Duration;

use crate::harness::{
    Host, Lab, NET_RAW_ONLY, Process, Routed, binary, count, eventually, fetch, fetch_each,
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

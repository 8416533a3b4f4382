//! 100 MB down and up through every method at the interfaces' default offloads: the same octets arrive,
//! in time, and no receiver sees a wrong checksum.

use std::time::{Duration, Instant};

use crate::harness::{
    Director, FLAT_VIP, Flat, Host, Process, Routed, TwoArm, VIP, WebServer, blob, bracketed,
    checksum_errors, download, eventually, upload,
};

/// How long 100 MB may take: the machines of a test share two cores with another test, and still do it
/// in about a second; where others keep both cores busy, it has been half a minute. Each segment that waits for a
/// repetition makes it minutes.
const LIMIT: Duration = Duration::from_secs(50);

/// Adds a service on port 80 of both VIPs with the given real servers.
fn configure(director: &Director, vips: [&str; 2], servers: [&[&str]; 2], method: &str) {
    for (vip, servers) in vips.into_iter().zip(servers) {
        let service = format!("{}:80", bracketed(vip));
        director.shell(&format!("ipvsadm -A -t {service} -s rr"));
        for server in servers {
            let server = bracketed(server);
            director.shell(&format!("ipvsadm -a -t {service} -r {server}:80 {method}"));
        }
    }
}

/// Carries the file both ways over IPv4 and IPv6.
fn carry(client: &Host, vips: [&str; 2], web: &[WebServer], machines: &[&Host]) {
    let errors_before: Vec<u64> = machines.iter().map(|host| checksum_errors(host)).collect();
    for vip in vips {
        let base = format!("http://{}", bracketed(vip));
        let begun = Instant::now();
        assert_eq!(
            download(client, &base),
            blob().1,
            "what arrives from {base}"
        );
        assert!(
            begun.elapsed() < LIMIT,
            "downloading from {base} took {:?}",
            begun.elapsed()
        );

        let begun = Instant::now();
        let name = if vip.contains(':') { "six" } else { "four" };
        upload(client, &base, name);
        assert!(
            begun.elapsed() < LIMIT,
            "uploading to {base} took {:?}",
            begun.elapsed()
        );
        let sum = web.iter().find_map(|server| server.uploaded(name));
        assert_eq!(sum.as_ref(), Some(&blob().1), "what arrives at {base}");
    }
    let errors_after: Vec<u64> = machines.iter().map(|host| checksum_errors(host)).collect();
    assert_eq!(
        errors_after, errors_before,
        "packets with a wrong checksum at the receivers"
    );
}

#[test]
fn direct_routing() {
    let net = Flat::new(2).with_vip_on_servers().with_vip_on_director();
    let director = net.start();
    let servers: [&[&str]; 2] = [&["10.0.0.20", "10.0.0.30"], &["fd00::20", "fd00::30"]];
    configure(&director, FLAT_VIP, servers, "-g");
    carry(
        &net.client,
        FLAT_VIP,
        &net.web,
        &[&net.client, &net.servers[0], &net.servers[1]],
    );
}

#[test]
fn tunnelling() {
    let net = Routed::new(2).with_decap();
    let director = net.start();
    let servers: [&[&str]; 2] = [&["10.3.0.20", "10.3.0.30"], &["fd03::20", "fd03::30"]];
    configure(&director, VIP, servers, "-i");
    carry(
        &net.client,
        VIP,
        &net.web,
        &[&net.client, &net.servers[0], &net.servers[1]],
    );
}

fn nat(net: &TwoArm) {
    let director = net.start();
    let servers: [&[&str]; 2] = [&["10.2.0.20", "10.2.0.30"], &["fd02::20", "fd02::30"]];
    configure(&director, VIP, servers, "-m");
    carry(
        &net.client,
        VIP,
        &net.web,
        &[&net.client, &net.servers[0], &net.servers[1]],
    );
}

#[test]
fn nat_in_a_forwarding_kernel() {
    nat(&TwoArm::new(2).like_the_tutorials());
}

/// A veth receiver does not verify a checksum that was never finished, so a wrong pseudo-header sum goes
/// unnoticed there. Without checksum offload on the director's interfaces its kernel finishes (and
/// segments) what ulvs sends, and the receivers verify every segment.
#[test]
fn nat_with_every_checksum_verified() {
    let net = TwoArm::new(2);
    for interface in ["eth0", "eth1"] {
        net.director
            .shell(&format!("ethtool -K {interface} tx off"));
    }
    for machine in [&net.client, &net.servers[0], &net.servers[1]] {
        machine.shell("ethtool -K eth0 rx off");
    }
    nat(&net);
}

#[test]
fn nat_with_one_arm() {
    let net = Flat::new(2).with_return_path();
    let director = net.start();
    let servers: [&[&str]; 2] = [&["10.0.0.20", "10.0.0.30"], &["fd00::20", "fd00::30"]];
    configure(&director, FLAT_VIP, servers, "-m");
    carry(
        &net.client,
        FLAT_VIP,
        &net.web,
        &[&net.client, &net.servers[0], &net.servers[1]],
    );
}

/// The way without super-frames: every frame fits the wire and carries a finished checksum.
#[test]
fn every_method_without_offloads() {
    const LEAVE: &str = "gro = \"leave\"";
    let off = "for i in $(ls /sys/class/net); do ethtool -K $i tx off tso off gso off gro off; done; true";
    let net = Flat::new(1).with_vip_on_servers();
    for machine in [&net.client, &net.director, &net.servers[0]] {
        machine.shell(off);
    }
    let director = net.builder().config(LEAVE).start();
    configure(&director, FLAT_VIP, [&["10.0.0.20"], &["fd00::20"]], "-g");
    carry(
        &net.client,
        FLAT_VIP,
        &net.web,
        &[&net.client, &net.servers[0]],
    );

    let net = TwoArm::new(1);
    for machine in [&net.client, &net.director, &net.servers[0]] {
        machine.shell(off);
    }
    let director = net.builder().config(LEAVE).start();
    configure(&director, VIP, [&["10.2.0.20"], &["fd02::20"]], "-m");
    carry(&net.client, VIP, &net.web, &[&net.client, &net.servers[0]]);

    let net = Routed::new(1).with_decap();
    for machine in [&net.client, &net.director, &net.router, &net.servers[0]] {
        machine.shell(off);
    }
    let director = net.builder().config(LEAVE).start();
    configure(&director, VIP, [&["10.3.0.20"], &["fd03::20"]], "-i");
    carry(&net.client, VIP, &net.web, &[&net.client, &net.servers[0]]);
}

/// Eight streams at once for three seconds, both directions, by iperf3.
#[test]
fn many_streams() {
    let net = TwoArm::new(1);
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:5201
        ipvsadm -a -t 10.1.0.1:5201 -r 10.2.0.20:5201 -m",
    );
    let mut command = net.servers[0].command("iperf3");
    command.args(["--server", "--forceflush"]);
    let server = Process::spawn(command, &net.lab.directory().join("iperf3"));
    eventually("iperf3 listens", Duration::from_secs(10), || {
        server.output().contains("Server listening").then_some(())
    });
    for direction in ["", "--reverse"] {
        let report = net.client.shell(&format!(
            "iperf3 --client 10.1.0.1 --parallel 8 --time 3 --json {direction}"
        ));
        let report: serde_json::Value = serde_json::from_str(&report).expect("iperf3 prints JSON");
        let rate = report["end"]["sum_received"]["bits_per_second"]
            .as_f64()
            .unwrap_or_default();
        assert!(
            rate > 1e8,
            "{rate} bit/s through NAT {direction}: {}",
            director.log()
        );
    }
    assert_eq!(
        checksum_errors(&net.servers[0]) + checksum_errors(&net.client),
        0
    );
}

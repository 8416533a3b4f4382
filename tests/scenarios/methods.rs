//! The forwarding methods beside one another: mixed within one service, NAT with port mapping, GRE and
//! GUE tunnels, firewall marks aside weights, and each over IPv6.

use crate::harness::{
    FLAT_VIP, Flat, Routed, TwoArm, VIP, bracketed, count, decap, fetch_each, vip_on_loopback,
};

#[test]
fn mixed_in_one_service() {
    let net = Flat::new(3);
    // Only the translated one answers through the director.
    net.servers[1].ip("route add 10.0.0.2/32 via 10.0.0.10");
    net.servers[1].ip("-6 route add fd00::2/128 via fd00::10");
    vip_on_loopback(&net.servers[0], &FLAT_VIP);
    vip_on_loopback(&net.servers[2], &FLAT_VIP);
    let _decap = decap(&net.lab, &net.servers[2], &FLAT_VIP);
    let director = net.start();
    for (vip, prefix) in FLAT_VIP.into_iter().zip(["10.0.0.", "fd00::"]) {
        let service = format!("{}:80", bracketed(vip));
        director.shell(&format!("ipvsadm -A -t {service} -s rr"));
        for (last, method) in [("20", "-g"), ("30", "-m"), ("40", "-i")] {
            let real = bracketed(&format!("{prefix}{last}"));
            director.shell(&format!("ipvsadm -a -t {service} -r {real}:80 {method}"));
        }
        let answers = fetch_each(&net.client, &format!("http://{}/", bracketed(vip)), 30);
        let counts = count(&answers);
        for name in ["rs1", "rs2", "rs3"] {
            assert_eq!(counts.get(name), Some(&10), "{vip}: {counts:?}");
        }
    }
}

#[test]
fn nat_maps_ports_and_follows_weights() {
    let net = TwoArm::new(2);
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:8000 -s wrr
        ipvsadm -a -t 10.1.0.1:8000 -r 10.2.0.20:80 -m -w 3
        ipvsadm -a -t 10.1.0.1:8000 -r 10.2.0.30:8080 -m -w 1
        ipvsadm -A -t [fd01::1]:8000 -s wrr
        ipvsadm -a -t [fd01::1]:8000 -r [fd02::20]:8080 -m -w 3
        ipvsadm -a -t [fd01::1]:8000 -r [fd02::30]:80 -m -w 1",
    );
    for vip in VIP {
        let answers = fetch_each(&net.client, &format!("http://{}:8000/", bracketed(vip)), 40);
        let counts = count(&answers);
        assert_eq!(
            (counts["rs1"], counts["rs2"]),
            (30, 10),
            "{vip}: {counts:?}"
        );
    }
}

#[test]
fn persistence_keeps_a_client_on_its_server() {
    let net = TwoArm::new(2);
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr -p 60
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m",
    );
    let answers = fetch_each(&net.client, "http://10.1.0.1/", 10);
    assert_eq!(
        count(&answers).len(),
        1,
        "one server for this client: {answers:?}"
    );
    let listed = director.shell("ipvsadm -Lcn");
    assert!(
        listed.contains("10.1.0.2:0"),
        "the template is listed:\n{listed}"
    );
}

fn tunnels(options: &[&str], method: &str) {
    let net = Routed::new(2).with_decap_options(options);
    let director = net.start();
    for (vip, prefix) in VIP.into_iter().zip(["10.3.0.", "fd03::"]) {
        let service = format!("{}:80", bracketed(vip));
        director.shell(&format!("ipvsadm -A -t {service} -s rr"));
        for last in ["20", "30"] {
            let real = bracketed(&format!("{prefix}{last}"));
            director.shell(&format!("ipvsadm -a -t {service} -r {real}:80 -i {method}"));
        }
        let answers = fetch_each(&net.client, &format!("http://{}/", bracketed(vip)), 10);
        let counts = count(&answers);
        assert_eq!(
            (counts["rs1"], counts["rs2"]),
            (5, 5),
            "{vip} {method}: {counts:?}"
        );
    }
}

#[test]
fn gre_tunnels() {
    tunnels(&[], "--tun-type gre");
}

#[test]
fn gre_tunnels_with_checksum() {
    tunnels(&[], "--tun-type gre --tun-csum");
}

#[test]
fn gue_tunnels() {
    tunnels(&["--gue-port", "5555"], "--tun-type gue --tun-port 5555");
}

#[test]
fn gue_tunnels_with_checksum() {
    tunnels(
        &["--gue-port", "5555"],
        "--tun-type gue --tun-port 5555 --tun-csum",
    );
}

#[test]
fn tunnels_across_families() {
    let net = Routed::new(2).with_decap();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r [fd03::20]:80 -i
        ipvsadm -A -t [fd01::1]:80 -s rr
        ipvsadm -a -t [fd01::1]:80 -r 10.3.0.30:80 -i",
    );
    let answers = fetch_each(&net.client, "http://10.1.0.1/", 4);
    assert_eq!(count(&answers)["rs1"], 4, "IPv4 in IPv6: {answers:?}");
    let answers = fetch_each(&net.client, "http://[fd01::1]/", 4);
    assert_eq!(count(&answers)["rs2"], 4, "IPv6 in IPv4: {answers:?}");
}

//! An ordinary user with CAP_NET_RAW and nothing else: every method works on owned VIPs.

use std::time::Duration;

use crate::harness::{
    DirectorBuilder, FLAT_VIP, Flat, Host, Lab, NET_RAW_ONLY, Routed, TwoArm, VIP, bracketed,
    count, fetch_each,
};

fn unprivileged(lab: &Lab, host: &Host, interfaces: &[&str]) -> DirectorBuilder {
    let words: Vec<&str> = NET_RAW_ONLY.split_whitespace().collect();
    DirectorBuilder::new(lab, host, interfaces).running_as(&words)
}

fn assert_shared(client: &Host, vips: [&str; 2]) {
    for vip in vips {
        let answers = fetch_each(client, &format!("http://{}/", bracketed(vip)), 10);
        let counts = count(&answers);
        assert_eq!((counts["rs1"], counts["rs2"]), (5, 5), "{vip}: {counts:?}");
    }
}

#[test]
fn direct_routing() {
    let net = Flat::new(2).with_vip_on_servers();
    let mut director = unprivileged(&net.lab, &net.director, &["eth0"]).start();
    let pid = director.process().pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for line in [
        "CapEff:\t0000000000002000",
        "NoNewPrivs:\t1",
        "Uid:\t65534\t65534\t65534\t65534",
    ] {
        assert!(status.contains(line), "{line} in\n{status}");
    }
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80 -s rr
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.30:80 -g
        ipvsadm -A -t [fd00::1]:80 -s rr
        ipvsadm -a -t [fd00::1]:80 -r [fd00::20]:80 -g
        ipvsadm -a -t [fd00::1]:80 -r [fd00::30]:80 -g",
    );
    assert_shared(&net.client, FLAT_VIP);
}

#[test]
fn nat() {
    let net = TwoArm::new(2);
    let director = unprivileged(&net.lab, &net.director, &["eth0", "eth1"]).start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:8080 -m
        ipvsadm -A -t [fd01::1]:80 -s rr
        ipvsadm -a -t [fd01::1]:80 -r [fd02::20]:80 -m
        ipvsadm -a -t [fd01::1]:80 -r [fd02::30]:8080 -m",
    );
    assert_shared(&net.client, VIP);
}

#[test]
fn tunnelling() {
    let net = Routed::new(2).with_decap();
    let director = unprivileged(&net.lab, &net.director, &["eth0"]).start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.3.0.20:80 -i
        ipvsadm -a -t 10.1.0.1:80 -r 10.3.0.30:80 -i
        ipvsadm -A -t [fd01::1]:80 -s rr
        ipvsadm -a -t [fd01::1]:80 -r [fd03::20]:80 -i
        ipvsadm -a -t [fd01::1]:80 -r [fd03::30]:80 -i",
    );
    assert_shared(&net.client, VIP);
}

#[test]
fn without_any_capability_it_says_so() {
    let net = Flat::new(1);
    let words: Vec<&str> = NET_RAW_ONLY.split_whitespace().collect();
    let words: Vec<String> = words
        .iter()
        .map(|word| word.replace(",+net_raw", ""))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut director = net.builder().running_as(&words).launch();
    let status = director.process().wait(Duration::from_secs(10));
    let log = director.log();
    assert!(!status.success(), "it cannot work:\n{log}");
    assert!(
        log.contains("CAP_NET_RAW") && log.contains("eth0"),
        "it says what is missing:\n{log}"
    );
}

#[test]
fn privileged_start_drops_what_it_does_not_need() {
    let net = Flat::new(1).with_vip_on_director();
    let mut director = net.start();
    let pid = director.process().pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    assert!(
        status.contains("NoNewPrivs:\t1"),
        "no new privileges:\n{status}"
    );
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:\t"))
        .expect("CapEff");
    let kept = u64::from_str_radix(line, 16).expect("hexadecimal");
    // CAP_SYS_ADMIN (21), CAP_SYS_PTRACE (19), CAP_SYS_MODULE (16), CAP_SETUID (7), CAP_SETGID (6).
    for capability in [21, 19, 16, 7, 6] {
        assert_eq!(
            kept & (1 << capability),
            0,
            "capability {capability} is dropped: {line}"
        );
    }
}

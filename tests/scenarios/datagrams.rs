//! UDP through every method: a DNS-like echo, IPv4 and IPv6, small datagrams and fragmented ones.

use crate::harness::{
    FLAT_VIP, Flat, Host, Routed, TwoArm, VIP, bracketed, count, udp_ask, udp_echo,
};

/// Asks 20 times, each from its own port; both real servers must have answered half of them.
fn assert_shared(client: &Host, vip: &str, size: u32) {
    let answers = udp_ask(client, vip, 53, 20, size);
    let counts = count(&answers);
    let both = (counts.get("rs1").copied(), counts.get("rs2").copied());
    assert_eq!(
        both,
        (Some(10), Some(10)),
        "{vip}, {size} octets: {answers:?}"
    );
}

#[test]
fn direct_routing() {
    let net = Flat::new(2).with_vip_on_servers().with_vip_on_director();
    let director = net.start();
    let mut echoes = Vec::new();
    for (vip, prefix) in FLAT_VIP.into_iter().zip(["10.0.0.", "fd00::"]) {
        let service = format!("{}:53", bracketed(vip));
        director.shell(&format!("ipvsadm -A -u {service} -s rr"));
        for (server, last) in net.servers.iter().zip(["20", "30"]) {
            echoes.push(udp_echo(&net.lab, server, vip, 53));
            let real = bracketed(&format!("{prefix}{last}"));
            director.shell(&format!("ipvsadm -a -u {service} -r {real}:53 -g"));
        }
        assert_shared(&net.client, vip, 64);
        assert_shared(&net.client, vip, 1400);
        assert_shared(&net.client, vip, 4000);
    }
}

#[test]
fn nat_to_another_port() {
    let net = TwoArm::new(2).like_the_tutorials();
    let director = net.start();
    let mut echoes = Vec::new();
    for (vip, prefix) in VIP.into_iter().zip(["10.2.0.", "fd02::"]) {
        let service = format!("{}:53", bracketed(vip));
        director.shell(&format!("ipvsadm -A -u {service} -s rr"));
        for (server, last) in net.servers.iter().zip(["20", "30"]) {
            let address = format!("{prefix}{last}");
            echoes.push(udp_echo(&net.lab, server, &address, 5353));
            let real = bracketed(&address);
            director.shell(&format!("ipvsadm -a -u {service} -r {real}:5353 -m"));
        }
        assert_shared(&net.client, vip, 64);
        assert_shared(&net.client, vip, 1400);
        assert_shared(&net.client, vip, 4000);
    }
}

#[test]
fn tunnelling() {
    let net = Routed::new(2).with_decap();
    let director = net.start();
    let mut echoes = Vec::new();
    for (vip, prefix) in VIP.into_iter().zip(["10.3.0.", "fd03::"]) {
        let service = format!("{}:53", bracketed(vip));
        director.shell(&format!("ipvsadm -A -u {service} -s rr"));
        for (server, last) in net.servers.iter().zip(["20", "30"]) {
            echoes.push(udp_echo(&net.lab, server, vip, 53));
            let real = bracketed(&format!("{prefix}{last}"));
            director.shell(&format!("ipvsadm -a -u {service} -r {real}:53 -i"));
        }
        assert_shared(&net.client, vip, 64);
        assert_shared(&net.client, vip, 1400);
    }
}

#[test]
fn refused_without_a_real_server() {
    let net = Flat::new(1);
    let director = net.start();
    director.shell("ipvsadm -A -u 10.0.0.1:53");
    let answers = udp_ask(&net.client, "10.0.0.1", 53, 1, 32);
    assert_eq!(
        answers,
        ["refused"],
        "a port unreachable comes back: {}",
        director.log()
    );
}

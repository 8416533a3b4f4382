//! UDP through every method: an echo whose answers are compared, IPv4 and IPv6, from small datagrams to the largest
//! ones, which come and go in fragments.

use crate::harness::{
    FLAT, FLAT_VIP, Flat, ROUTED, Routed, TWO_ARM, TwoArm, VIP, assert_shared, udp_ask,
    udp_services,
};

/// What fits a frame, what a tunnel's headers leave no room for, what takes three fragments, and more than forty.
const SIZES: [u32; 4] = [64, 1400, 4000, 60_000];

fn direct_routing(net: &Flat) {
    let director = net.start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, FLAT, "-g", 53);
    for vip in FLAT_VIP {
        for size in SIZES {
            assert_shared(&net.client, vip, size);
        }
    }
}

#[test]
fn direct_routing_of_an_owned_vip() {
    direct_routing(&Flat::new(2).with_vip_on_servers());
}

#[test]
fn direct_routing_of_a_local_vip() {
    direct_routing(&Flat::new(2).with_vip_on_servers().with_vip_on_director());
}

fn nat_to_another_port(net: &TwoArm, workers: usize) {
    let director = net
        .builder()
        .config(&format!("workers = {workers}"))
        .start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
    for vip in VIP {
        for size in SIZES {
            assert_shared(&net.client, vip, size);
        }
    }
}

#[test]
fn nat_of_an_owned_vip() {
    nat_to_another_port(&TwoArm::new(2), 1);
}

#[test]
fn nat_of_a_local_vip() {
    nat_to_another_port(&TwoArm::new(2).like_the_tutorials(), 1);
}

/// The ports, which say whose flow it is, stand in the first fragment alone.
#[test]
fn nat_with_three_workers() {
    nat_to_another_port(&TwoArm::new(2), 3);
}

/// A client that does not know the path's MTU yet is told it by way of the first datagram that does not fit. A whole
/// IPv4 datagram is only too big because it says not to fragment it; IPv6 has no other ones, and its fragments count.
fn tunnelling(decap: &[&str], method: &str) {
    let net = Routed::new(2).with_decap_options(decap);
    let director = net.start();
    let method = format!("-i {method}");
    let _echoes = udp_services(&director, &net.lab, &net.servers, ROUTED, &method, 53);
    for vip in VIP {
        for size in SIZES {
            let fragmented = size > 1472;
            if fragmented && vip.contains(':') {
                let first = udp_ask(&net.client, vip, 53, 1, size).concat();
                let known = first.starts_with("rs") || first == "EMSGSIZE";
                assert!(known, "{vip}, {size} octets: {first}");
            }
            assert_shared(&net.client, vip, size);
        }
    }
}

#[test]
fn ipip_tunnels() {
    tunnelling(&[], "");
}

#[test]
fn gre_tunnels() {
    tunnelling(&[], "--tun-type gre");
}

#[test]
fn gue_tunnels() {
    tunnelling(&["--gue-port", "5555"], "--tun-type gue --tun-port 5555");
}

#[test]
fn gue_tunnels_with_checksum() {
    tunnelling(
        &["--gue-port", "5555"],
        "--tun-type gue --tun-port 5555 --tun-csum",
    );
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

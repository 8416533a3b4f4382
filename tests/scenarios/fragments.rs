//! Fragments in every order, too few of them, and too many; and a large ping to the VIP.

use std::time::Duration;

use crate::harness::{
    Capture, Director, FLAT, FLAT_VIP, Flat, Host, TWO_ARM, TwoArm, VIP, eventually, udp_ask,
    udp_heads, udp_pieces, udp_services,
};

/// Pings with what takes one, three and more than forty fragments. The answers carry what was sent, which ping looks
/// at, and come in fragments themselves.
fn ping(net: &Flat) {
    let director = net.start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, FLAT, "-g", 53);
    for vip in FLAT_VIP {
        for size in [56, 4000, 60_000] {
            let said = net
                .client
                .shell(&format!("ping -c 3 -i 0.1 -W 2 -s {size} {vip}"));
            let whole = said.contains(" 0% packet loss") && !said.contains("wrong data");
            assert!(whole, "{vip}, {size} octets: {said}\n{}", director.log());
        }
    }
}

#[test]
fn ping_of_an_owned_vip() {
    ping(&Flat::new(1).with_vip_on_servers());
}

#[test]
fn ping_of_a_local_vip() {
    ping(&Flat::new(1).with_vip_on_servers().with_vip_on_director());
}

fn nat(net: &TwoArm, workers: usize) -> (Director, Vec<crate::harness::Process>) {
    let director = net
        .builder()
        .config(&format!("workers = {workers}"))
        .start();
    let echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
    (director, echoes)
}

/// However the fragments come, twice included, the datagram arrives whole and once.
fn any_order(workers: usize) {
    let net = TwoArm::new(1);
    let (director, _echoes) = nat(&net, workers);
    let orders: [&[u32]; 5] = [
        &[0, 1, 2, 3],
        &[3, 2, 1, 0],
        &[2, 0, 3, 1],
        &[1, 1, 0, 0, 3, 2],
        &[3, 0, 1, 2, 2],
    ];
    for vip in VIP {
        for order in orders {
            for _ in 0..5 {
                let answer = udp_pieces(&net.client, vip, 53, 4000, order);
                assert_eq!(answer, "rs1", "{vip}, {order:?}: {}", director.log());
            }
        }
    }
    assert_eq!(director.counter("dropped: reassembly"), 0);
}

#[test]
fn in_any_order() {
    any_order(1);
}

#[test]
fn in_any_order_with_three_workers() {
    any_order(3);
}

fn resident(director: &mut Director) -> u64 {
    let pid = director.process().pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kilobytes.expect("a number of kilobytes")
}

/// Sends datagrams without one of their fragments.
fn gaps(client: &Host) {
    for vip in VIP {
        for order in [&[0_u32, 1, 3], &[0, 1, 2], &[1, 2, 3]] {
            assert_eq!(udp_pieces(client, vip, 53, 4000, order), "lost", "{vip}");
        }
    }
}

/// What waits in vain is counted as dropped after 30 s (IPv6: 60 s), and the sender of what began well is told. Until
/// then it takes up no more than 4 MB, however much comes, and never keeps the others from arriving.
#[test]
fn that_do_not_all_come() {
    let net = TwoArm::new(1);
    let (mut director, _echoes) = nat(&net, 1);
    let told = |family, filter| {
        (
            family,
            Capture::arriving(&net.lab, &net.client, "eth0", filter),
        )
    };
    let captures = [
        told("IPv4", "icmp[0] = 11 and icmp[1] = 1"),
        told("IPv6", "icmp6 and ip6[40] = 3 and ip6[41] = 1"),
    ];
    gaps(&net.client);
    assert_eq!(director.counter("forwarded"), 0, "nothing leaves in parts");
    // Three datagrams for each family, three fragments each; the first of them has waited in vain by now.
    for (vip, (family, capture)) in VIP.into_iter().zip(&captures) {
        let what = format!("time exceeded for {vip} over {family}");
        eventually(&what, Duration::from_secs(80), || {
            (capture.frames().len() == 2).then_some(())
        });
    }
    eventually(
        "all that waited are counted",
        Duration::from_secs(10),
        || (director.counter("dropped: reassembly") == 18).then_some(()),
    );

    let before = resident(&mut director);
    for vip in VIP {
        udp_heads(&net.client, vip, 53, 20_000);
        assert_eq!(udp_ask(&net.client, vip, 53, 1, 4000), ["rs1"], "{vip}");
    }
    let grown = resident(&mut director).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} kB for 4 MB of fragments");
    let given_up = director.counter("dropped: reassembly");
    assert!(given_up > 30_000, "those that gave way: {given_up}");
}

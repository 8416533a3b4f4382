//! The director's kernel sees the same frames, and must not answer or forward them: with the VIP local,
//! with forwarding on, and both.

use crate::harness::{Capture, Director, Flat, TwoArm, bracketed, fetch, fetch_each};

/// How many requests each check makes.
const REQUESTS: usize = 20;

fn lines_with<'a>(frames: &'a [String], text: &str) -> Vec<&'a String> {
    frames.iter().filter(|frame| frame.contains(text)).collect()
}

fn nat_service(director: &Director, vip: &str, servers: [&str; 2]) {
    let service = format!("{}:80", bracketed(vip));
    director.shell(&format!("ipvsadm -A -t {service} -s rr"));
    for server in servers {
        director.shell(&format!(
            "ipvsadm -a -t {service} -r {}:80 -m",
            bracketed(server)
        ));
    }
}

/// NAT with the given network: what reaches the client is exactly one translated stream a request.
fn assert_clean_nat(net: &TwoArm, vip: &str, servers: [&str; 2]) {
    let director = net.start();
    nat_service(&director, vip, servers);
    let capture = Capture::arriving(&net.lab, &net.client, "eth0", "tcp or icmp or icmp6");
    let replies = net
        .servers
        .iter()
        .map(|server| Capture::leaving(&net.lab, server, "eth0", "tcp src port 80"))
        .collect::<Vec<_>>();
    fetch_each(
        &net.client,
        &format!("http://{}/", bracketed(vip)),
        REQUESTS,
    );
    let frames = capture.stop();
    let replied: usize = replies
        .into_iter()
        .map(|capture| capture.stop().len())
        .sum();
    let all = || frames.join("\n");
    assert!(
        lines_with(&frames, "Flags [R").is_empty(),
        "no RST reaches the client:\n{}",
        all()
    );
    for server in servers {
        let from = format!(" {server}.80 > ");
        assert!(
            lines_with(&frames, &from).is_empty(),
            "no untranslated reply:\n{}",
            all()
        );
    }
    assert!(
        lines_with(&frames, "unreachable").is_empty(),
        "no ICMP error:\n{}",
        all()
    );
    let arrived = lines_with(&frames, ".80 > ").len();
    assert_eq!(
        arrived,
        replied,
        "each frame of the servers arrives once:\n{}",
        all()
    );
}

#[test]
fn nat_with_local_vip_and_forwarding() {
    let net = TwoArm::new(2).like_the_tutorials();
    assert_clean_nat(&net, "10.1.0.1", ["10.2.0.20", "10.2.0.30"]);
}

#[test]
fn nat_with_local_vip_and_forwarding_ipv6() {
    let net = TwoArm::new(2).like_the_tutorials();
    assert_clean_nat(&net, "fd01::1", ["fd02::20", "fd02::30"]);
}

#[test]
fn nat_with_owned_vip_and_forwarding() {
    let net = TwoArm::new(2);
    net.director.forwards();
    assert_clean_nat(&net, "10.1.0.1", ["10.2.0.20", "10.2.0.30"]);
}

#[test]
fn nat_with_owned_vip_without_forwarding() {
    assert_clean_nat(&TwoArm::new(2), "10.1.0.1", ["10.2.0.20", "10.2.0.30"]);
}

#[test]
fn direct_routing_with_local_vip_and_forwarding() {
    let net = Flat::new(2).with_vip_on_servers().with_vip_on_director();
    net.director.forwards();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80 -s rr
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.30:80 -g",
    );
    let at_client = Capture::arriving(&net.lab, &net.client, "eth0", "tcp or icmp");
    let at_server = Capture::arriving(&net.lab, &net.servers[0], "eth0", "dst port 80");
    fetch_each(&net.client, "http://10.0.0.1/", REQUESTS);
    let (at_client, at_server) = (at_client.stop(), at_server.stop());
    let all = || at_client.join("\n");
    assert!(
        lines_with(&at_client, "Flags [R").is_empty(),
        "no RST reaches the client:\n{}",
        all()
    );
    assert!(
        lines_with(&at_client, "ICMP").is_empty(),
        "no ICMP error or redirect:\n{}",
        all()
    );
    let asked = lines_with(&at_server, "Flags [S]").len();
    assert_eq!(
        asked,
        REQUESTS / 2,
        "each SYN once:\n{}",
        at_server.join("\n")
    );
}

/// What ulvs does not serve stays the kernel's: a listener of the director's own on the VIP, and a
/// refusal on a port nobody has.
#[test]
fn other_ports_of_a_local_vip_stay_the_kernels() {
    let net = Flat::new(1).with_vip_on_servers().with_vip_on_director();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80 -s rr
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g",
    );
    let _web = crate::harness::WebServer::start(&net.lab, &net.director);
    let own = fetch(&net.client, "http://10.0.0.1:8080/").expect("the director's own listener");
    assert_eq!(own.trim(), "director");
    let served = fetch(&net.client, "http://10.0.0.1/").expect("the virtual service");
    assert_eq!(served.trim(), "rs1");
    let refused = fetch(&net.client, "http://10.0.0.1:81/").expect_err("nobody has port 81");
    assert!(refused.contains("(7)"), "refused at once: {refused}");
    // The director's own way to the real server, as a health check goes it.
    assert_eq!(
        fetch(&net.director, "http://10.0.0.20/")
            .expect("a health check")
            .trim(),
        "rs1"
    );
    net.client.shell("ping -c 1 -W 2 10.0.0.1");
}

//! Real servers that die: their kernels' refusals reach the client in every method, and so does the word that a whole
//! machine is gone.

use std::time::Duration;

use crate::harness::{
    Capture, Director, FLAT, FLAT_VIP, Flat, Host, Lab, Process, ROUTED, Routed, TWO_ARM, TwoArm,
    VIP, bracketed, decap, eventually, fetch, udp_ask, udp_services,
};
use crate::scenarios::guard::WITHOUT_BPF;

/// Frames of refusals and RST arriving at `host`.
fn refusals_at(lab: &Lab, host: &Host) -> Capture {
    let filter = "(icmp[0] = 3) or (icmp6 and ip6[40] = 1) or (tcp[13] & 4 != 0) or (ip6[6] = 6 and ip6[53] & 4 != 0)";
    Capture::arriving(lab, host, "eth0", filter)
}

/// What the clients of services on ports 53 (UDP) and 80 (TCP) see once both servers are killed: `Connection refused`,
/// from the VIP, and of the packet that they sent themselves.
fn refused(lab: &Lab, client: &Host, vips: [&str; 2], mut kill: impl FnMut()) {
    for vip in vips {
        let url = format!("http://{}/", bracketed(vip));
        assert_eq!(fetch(client, &url).as_deref(), Ok("rs1\n"));
        assert_eq!(udp_ask(client, vip, 53, 1, 100), ["rs1"]);
    }
    kill();
    let capture = refusals_at(lab, client);
    for vip in vips {
        let answers = udp_ask(client, vip, 53, 3, 100);
        assert_eq!(answers, ["refused"; 3], "UDP to {vip}");
        let url = format!("http://{}/", bracketed(vip));
        let said = fetch(client, &url).expect_err("nobody serves any more");
        assert!(said.contains("(7)"), "TCP to {vip} is refused: {said}");
    }
    let frames = capture.stop();
    for vip in vips {
        let of_vip = |what: &str| {
            let sent = |frame: &&String| frame.contains(&format!(" {vip}")) && frame.contains(what);
            frames.iter().filter(sent).count()
        };
        let (ports, resets) = (of_vip("unreachable"), of_vip("Flags [R"));
        let seen = frames.join("\n");
        assert_eq!((ports, resets), (3, 1), "refusals from {vip}:\n{seen}");
        let theirs = |frame: &&String| frame.contains(" 10.2.0.") || frame.contains(" fd02::");
        let foreign = frames.iter().filter(theirs).count();
        assert_eq!(foreign, 0, "nothing names a real server:\n{seen}");
    }
}

/// Adds a TCP service beside those of [`udp_services`].
fn web_services(director: &Director, (vips, prefixes): ([&str; 2], [&str; 2]), method: &str) {
    for (vip, prefix) in vips.into_iter().zip(prefixes) {
        let service = format!("{}:80", bracketed(vip));
        let real = bracketed(&format!("{prefix}20"));
        director.shell(&format!("ipvsadm -A -t {service}"));
        director.shell(&format!("ipvsadm -a -t {service} -r {real}:80 {method}"));
    }
}

fn end(processes: &mut [Process]) {
    processes.iter_mut().for_each(Process::kill);
}

/// What the real server says about translated packets is translated back.
fn killed_by_nat(net: &mut TwoArm, director: &Director) {
    let mut echoes = udp_services(director, &net.lab, &net.servers, TWO_ARM, "-m", 53);
    web_services(director, TWO_ARM, "-m");
    refused(&net.lab, &net.client, VIP, || {
        end(&mut echoes);
        net.web[0].kill();
    });
}

#[test]
fn killed_servers_by_nat() {
    let mut net = TwoArm::new(1);
    let director = net.start();
    killed_by_nat(&mut net, &director);
}

/// The host forwards: the guard must keep it from passing on what the real server says of itself.
#[test]
fn killed_servers_by_nat_on_a_forwarding_host() {
    let mut net = TwoArm::new(1).like_the_tutorials();
    let director = net.start();
    killed_by_nat(&mut net, &director);
}

#[test]
fn killed_servers_by_nat_on_a_forwarding_host_with_nftables() {
    let mut net = TwoArm::new(1).like_the_tutorials();
    let director = net.builder().running_as(&[WITHOUT_BPF]).start();
    killed_by_nat(&mut net, &director);
}

/// The real server has the VIP and refuses in its name, past the director.
#[test]
fn killed_servers_by_direct_routing() {
    let mut net = Flat::new(1).with_vip_on_servers();
    let director = net.start();
    let mut echoes = udp_services(&director, &net.lab, &net.servers, FLAT, "-g", 53);
    web_services(&director, FLAT, "-g");
    refused(&net.lab, &net.client, FLAT_VIP, || {
        end(&mut echoes);
        net.web[0].kill();
    });
}

#[test]
fn killed_servers_by_tunnelling() {
    let mut net = Routed::new(1).with_decap();
    let director = net.start();
    let mut echoes = udp_services(&director, &net.lab, &net.servers, ROUTED, "-i", 53);
    web_services(&director, ROUTED, "-i");
    refused(&net.lab, &net.client, VIP, || {
        end(&mut echoes);
        net.web[0].kill();
    });
}

/// Nobody answers for the tunnel itself any more: the real server's kernel refuses IPIP, and the client is told about
/// its own packet (IPv4 alone, as the kernel's director does).
#[test]
fn killed_tunnel_end() {
    let mut net = Routed::new(1).with_decap();
    let director = net.start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, ROUTED, "-i", 53);
    assert_eq!(udp_ask(&net.client, VIP[0], 53, 1, 100), ["rs1"]);
    end(&mut net.decap);
    let answers = udp_ask(&net.client, VIP[0], 53, 1, 100);
    assert_eq!(answers, ["ENOPROTOOPT"], "protocol unreachable");
}

/// Takes a real server off the network; `neighbour` asks anew who it is.
fn unplug(server: &Host, (neighbour, interface): (&Host, &str)) {
    server.ip("link set eth0 down");
    neighbour.ip(&format!("neigh flush dev {interface}"));
    // What still comes out of the switch.
    std::thread::sleep(Duration::from_millis(200));
}

/// A whole machine is gone. Its neighbour finds out by asking three times, a second apart, and says so about each packet
/// that waited: here the director itself, about the client's packet (recordings `found.gone_*`).
fn machine_that_is_gone(
    director: &Director,
    lab: &Lab,
    (client, at): (&Host, (&Host, &str)),
    servers: &[Host],
    (addresses, method): (([&str; 2], [&str; 2]), &str),
) {
    let _echoes = udp_services(director, lab, servers, addresses, method, 53);
    web_services(director, addresses, method);
    let vip = addresses.0[0];
    assert_eq!(udp_ask(client, vip, 53, 1, 100), ["rs1"]);
    unplug(&servers[0], at);
    // What is known of a neighbour is believed for a while.
    eventually(
        "the word that nobody is there",
        Duration::from_secs(60),
        || (udp_ask(client, vip, 53, 1, 100) == ["EHOSTUNREACH"]).then_some(()),
    );
    let said = fetch(client, &format!("http://{vip}/")).expect_err("nobody is there");
    assert!(said.contains("(7)"), "TCP fails at once: {said}");
    assert!(director.counter("dropped: neighbour_unreachable") > 0);
}

#[test]
fn machine_that_is_gone_by_nat() {
    let net = TwoArm::new(1);
    let ends = (&net.client, (&net.director, "eth1"));
    machine_that_is_gone(&net.start(), &net.lab, ends, &net.servers, (TWO_ARM, "-m"));
}

#[test]
fn machine_that_is_gone_by_direct_routing() {
    let net = Flat::new(1).with_vip_on_servers();
    let ends = (&net.client, (&net.director, "eth0"));
    machine_that_is_gone(&net.start(), &net.lab, ends, &net.servers, (FLAT, "-g"));
}

#[test]
fn machine_that_is_gone_by_tunnelling() {
    let net = Flat::new(1).with_vip_on_servers();
    let _decap = decap(&net.lab, &net.servers[0], &FLAT_VIP);
    let ends = (&net.client, (&net.director, "eth0"));
    machine_that_is_gone(&net.start(), &net.lab, ends, &net.servers, (FLAT, "-i"));
}

/// The same behind a router, by tunnel: the director passes its word on (IPv4 alone, as the kernel's director does).
#[test]
fn machine_that_is_gone_behind_a_router() {
    let net = Routed::new(1).with_decap();
    let director = net.start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, ROUTED, "-i", 53);
    assert_eq!(udp_ask(&net.client, VIP[0], 53, 1, 100), ["rs1"]);
    unplug(&net.servers[0], (&net.router, "eth1"));
    assert_eq!(udp_ask(&net.client, VIP[0], 53, 1, 100), ["EHOSTUNREACH"]);
}

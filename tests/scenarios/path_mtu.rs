//! Paths with a smaller MTU than the client's link: 20 MB uploads, which TCP sends with DF, through a hop of 1400
//! octets. Whoever finds the packets too big, the client learns what fits, and the same octets arrive.

use crate::harness::{
    Capture, Director, FLAT_VIP, Flat, Host, Lab, Routed, TwoArm, VIP, WebServer, bracketed,
    udp_ask, udp_services, upload_part,
};

/// Octets of an upload.
const PART: u64 = 20 * 1024 * 1024;

/// Makes the link of two interfaces take packets of 1400 octets at most.
fn narrow(ends: &[(&Host, &str)]) {
    for (host, interface) in ends {
        host.ip(&format!("link set {interface} mtu 1400"));
    }
}

/// Frames for ICMP "fragmentation needed" and ICMPv6 "packet too big" arriving at `host`.
fn too_big_at(lab: &Lab, host: &Host) -> Capture {
    let filter = "(icmp[0] = 3 and icmp[1] = 4) or (icmp6 and ip6[40] = 2)";
    Capture::arriving(lab, host, "eth0", filter)
}

/// Uploads to each VIP, compares what arrives, and looks at the MTU that the client has learnt for it.
fn upload_all(client: &Host, vips: [&str; 2], web: &WebServer, mtu: [u32; 2]) {
    for (vip, mtu) in vips.into_iter().zip(mtu) {
        let name = if vip.contains(':') { "six" } else { "four" };
        let sum = upload_part(client, &format!("http://{}", bracketed(vip)), name, PART);
        assert_eq!(web.uploaded(name), Some(sum), "what arrives at {vip}");
        let learnt = format!(" mtu {mtu} ");
        let route = || client.ip(&format!("route get {vip}"));
        if !route().contains(&learnt) {
            // An error about the director's own link that came by another worker: the client's kernel looks at two
            // errors at once, and keeps either. Its next connection is told again.
            upload_part(client, &format!("http://{}", bracketed(vip)), name, PART);
        }
        let route = route();
        assert!(route.contains(&learnt), "not{learnt}to {vip}: {route}");
    }
}

/// Adds a service on port 80 of both VIPs with one real server.
fn serve(director: &Director, vips: [&str; 2], servers: [&str; 2], method: &str) {
    for (vip, server) in vips.into_iter().zip(servers) {
        let service = format!("{}:80", bracketed(vip));
        let server = bracketed(server);
        director.shell(&format!("ipvsadm -A -t {service}"));
        director.shell(&format!("ipvsadm -a -t {service} -r {server}:80 {method}"));
    }
}

fn assert_from(frames: &[String], sender: &str, what: &str) {
    let text = format!(" {sender} > ");
    assert!(
        frames.iter().any(|frame| frame.contains(&text)),
        "{what}:\n{}",
        frames.join("\n")
    );
}

/// The link to the real servers takes 1400 octets: the router tells the director about the outer packet, and the
/// director tells the client what is left for the inner one. Over IPv6 a director learns nothing that way, as the
/// kernel's does not (recordings `found.ptb6_*`); the operator has to give the route its MTU.
fn tunnelling(decap: &[&str], method: &str, overhead: [u32; 2]) {
    let net = Routed::new(1).with_decap_options(decap);
    narrow(&[(&net.router, "eth1"), (&net.servers[0], "eth0")]);
    // Else TCP would know from the real server's SYN-ACK how much fits.
    net.servers[0].ip("route change default via 10.3.0.254 advmss 1460");
    net.servers[0].ip("-6 route change default via fd03::254 advmss 1440");
    net.director
        .ip("-6 route add fd03::/64 via fd01::254 mtu 1400");
    let director = net.start();
    serve(
        &director,
        VIP,
        ["10.3.0.20", "fd03::20"],
        &format!("-i {method}"),
    );
    let of_outer = too_big_at(&net.lab, &net.director);
    let of_inner = too_big_at(&net.lab, &net.client);
    let mtu = overhead.map(|overhead| 1400 - overhead);
    upload_all(&net.client, VIP, &net.web[0], mtu);
    let (of_outer, of_inner) = (of_outer.stop(), of_inner.stop());
    assert_from(&of_outer, "10.1.0.254", "the router tells the director");
    for vip in VIP {
        assert_from(&of_inner, vip, "the director tells the client");
    }
}

#[test]
fn ipip_tunnels() {
    tunnelling(&[], "", [20, 40]);
}

#[test]
fn gre_tunnels() {
    tunnelling(&[], "--tun-type gre", [24, 44]);
}

#[test]
fn gue_tunnels() {
    let method = "--tun-type gue --tun-port 5555";
    tunnelling(&["--gue-port", "5555"], method, [32, 52]);
}

/// With `pmtu_disc=0` the outer packet may be fragmented, and nobody is told anything.
#[test]
fn tunnels_without_discovery() {
    let net = Routed::new(1).with_decap();
    narrow(&[(&net.router, "eth1"), (&net.servers[0], "eth0")]);
    let director = net.start();
    director.shell("ulvs sysctl net.ipv4.vs.pmtu_disc=0");
    let service = ([VIP[0], VIP[1]], ["10.3.0.", "fd03::"]);
    let _echoes = udp_services(&director, &net.lab, &net.servers, service, "-i", 53);
    let told = too_big_at(&net.lab, &net.client);
    let outer = Capture::arriving(
        &net.lab,
        &net.servers[0],
        "eth0",
        "ip[9] = 4 and ip[6:2] & 0x3fff != 0",
    );
    // The whole frame: too big for the tunnel on the director's own link, and farther on for the outer packet too.
    let answers = udp_ask(&net.client, VIP[0], 53, 10, 1472);
    assert_eq!(answers, ["rs1"; 10]);
    assert_eq!(told.stop(), [""; 0], "the client is told nothing");
    assert!(outer.stop().len() >= 20, "the outer packets are fragmented");
}

/// Behind the director a router finds the translated packets too big; its errors come back to the director, which
/// makes them the VIP's.
#[test]
fn nat() {
    let net = TwoArm::new(1);
    let far = net.lab.host("far");
    crate::harness::cable((&net.servers[0], "eth1"), (&far, "eth0"));
    narrow(&[(&net.servers[0], "eth1"), (&far, "eth0")]);
    // The first real server becomes the router to the second one.
    net.servers[0].addresses("eth1", &["10.4.0.254/24", "fd04::254/64"]);
    net.servers[0].forwards();
    far.addresses("eth0", &["10.4.0.20/24", "fd04::20/64"]);
    far.ip("route add default via 10.4.0.254 advmss 1460");
    far.ip("-6 route add default via fd04::254 advmss 1440");
    net.director.ip("route add 10.4.0.0/24 via 10.2.0.20");
    net.director.ip("-6 route add fd04::/64 via fd02::20");
    let web = WebServer::start(&net.lab, &far);
    let director = net.start();
    serve(&director, VIP, ["10.4.0.20", "fd04::20"], "-m");
    let of_translated = too_big_at(&net.lab, &net.client);
    upload_all(&net.client, VIP, &web, [1400, 1400]);
    let frames = of_translated.stop();
    for vip in VIP {
        assert_from(&frames, vip, "the VIP tells the client");
    }
}

/// The director's own link to the real servers is the narrow one.
#[test]
fn nat_over_a_narrow_link() {
    let net = TwoArm::new(1);
    narrow(&[(&net.director, "eth1"), (&net.servers[0], "eth0")]);
    net.servers[0].ip("route change default via 10.2.0.10 advmss 1460");
    net.servers[0].ip("-6 route change default via fd02::10 advmss 1440");
    let director = net.start();
    serve(&director, VIP, ["10.2.0.20", "fd02::20"], "-m");
    upload_all(&net.client, VIP, &net.web[0], [1400, 1400]);
}

/// The client's own network has more room than the director's link to the real servers, and direct routing changes
/// nothing in the packet that could make it smaller.
#[test]
fn direct_routing() {
    let net = Flat::new(1).with_vip_on_servers();
    let director_side = net.lab.switch("behind");
    director_side.plug(&net.director, "eth1", &["10.5.0.10/24", "fd05::10/64"]);
    director_side.plug(&net.servers[0], "eth1", &["10.5.0.20/24", "fd05::20/64"]);
    narrow(&[(&net.director, "eth1"), (&net.servers[0], "eth1")]);
    let director = Director::start(&net.lab, &net.director, &["eth0", "eth1"]);
    serve(&director, FLAT_VIP, ["10.5.0.20", "fd05::20"], "-g");
    let told = too_big_at(&net.lab, &net.client);
    upload_all(&net.client, FLAT_VIP, &net.web[0], [1400, 1400]);
    let frames = told.stop();
    for vip in FLAT_VIP {
        assert_from(&frames, vip, "the director tells the client");
    }
}

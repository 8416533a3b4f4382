//! AF_XDP links: datagrams and web pages through every method, beside the host's own traffic, and what is left after the
//! director's end.

use std::time::Duration;

use crate::harness::{
    Director, DirectorBuilder, FLAT, FLAT_VIP, Flat, Host, TWO_ARM, TwoArm, VIP, assert_shared,
    blob, cable, checksum_errors, count, download, eventually, fetch_each, udp_ask, udp_services,
    upload,
};

const LINK: &str = "link = \"af-xdp\"";

/// Half of the datagrams are answered by either real server, in sizes of one frame and of several.
fn asks(client: &Host, vip: &str) {
    for size in [64, 1400, 4000] {
        assert_shared(client, vip, size);
    }
}

/// A web service on the first VIP: connections shared out, and bulk both ways.
fn browses(director: &Director, client: &Host, (vip, servers, method): (&str, &str, &str)) {
    director.type_lines(&format!(
        "ipvsadm -A -t {vip}:80 -s rr
        ipvsadm -a -t {vip}:80 -r {servers}20:80 {method}
        ipvsadm -a -t {vip}:80 -r {servers}30:80 {method}"
    ));
    let url = format!("http://{vip}");
    let answers = fetch_each(client, &format!("{url}/"), 10);
    let counts = count(&answers);
    assert_eq!((counts["rs1"], counts["rs2"]), (5, 5), "{counts:?}");
    assert_eq!(download(client, &url), blob().1);
    upload(client, &url, "blob");
}

/// What the interfaces of a machine have attached.
fn programs(host: &Host) -> String {
    host.shell("ip -d link | grep -c prog/xdp || true")
}

#[test]
fn direct_routing() {
    let net = Flat::new(2).with_vip_on_servers().with_vip_on_director();
    let director = DirectorBuilder::new(&net.lab, &net.director, &["eth0"])
        .config(LINK)
        .start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, FLAT, "-g", 53);
    for vip in FLAT_VIP {
        asks(&net.client, vip);
    }
    browses(&director, &net.client, (FLAT_VIP[0], "10.0.0.", "-g"));
    let told = director.shell("ulvs doctor");
    assert!(told.contains("eth0 link af_xdp"), "{told}");
    assert!(told.contains("generic, copied, 1 queue, UDP"), "{told}");
}

fn nat(workers: usize) {
    let net = TwoArm::new(2).like_the_tutorials();
    let director = net
        .builder()
        .config(LINK)
        .config(&format!("workers = {workers}"))
        .start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
    for vip in VIP {
        asks(&net.client, vip);
        // The host has the address, and answers ping itself.
        net.client.shell(&format!("ping -c 1 -W 2 {vip}"));
    }
    browses(&director, &net.client, (VIP[0], "10.2.0.", "-m"));
    for server in &net.servers {
        assert_eq!(checksum_errors(server), 0);
    }
    assert_eq!(checksum_errors(&net.client), 0);
}

#[test]
fn nat_with_one_worker() {
    nat(1);
}

/// Flows of a worker without a queue are handed over to it.
#[test]
fn nat_with_two_workers() {
    nat(2);
}

#[test]
fn nothing_is_left_after_the_end() {
    let net = TwoArm::new(2).like_the_tutorials();
    let mut director = net.builder().config(LINK).start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
    assert_eq!(programs(&net.director).trim(), "2");
    asks(&net.client, VIP[0]);
    director.await_saved("fd02::30");
    director.kill();
    assert_eq!(programs(&net.director).trim(), "0", "after kill -9");
    assert_eq!(udp_ask(&net.client, VIP[0], 53, 1, 64), ["refused"]);
    director.restart();
    asks(&net.client, VIP[0]);
    assert!(director.terminate().success());
    assert_eq!(programs(&net.director).trim(), "0", "after SIGTERM");
}

/// An interface that goes down, and one that is taken away and made again, though most capabilities are gone by then.
#[test]
fn an_interface_comes_back() {
    let net = TwoArm::new(1);
    let mut director = net.builder().config(LINK).start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
    let answers = || udp_ask(&net.client, VIP[0], 53, 2, 64);
    assert_eq!(answers(), ["rs1", "rs1"]);
    net.director
        .shell("ip link set eth0 down; sleep 0.2; ip link set eth0 up");
    let limit = Duration::from_secs(10);
    eventually("answers", limit, || {
        (answers() == ["rs1", "rs1"]).then_some(())
    });
    net.director.ip("link del eth0");
    director.await_log("no longer working on eth0");
    cable((&net.client, "eth0"), (&net.director, "eth0"));
    net.client.addresses("eth0", &["10.1.0.2/24"]);
    net.director.addresses("eth0", &["10.1.0.10/24"]);
    eventually("answers again", limit, || {
        (answers() == ["rs1", "rs1"]).then_some(())
    });
    assert_eq!(programs(&net.director).trim(), "2", "{}", director.log());
    assert!(director.process().ended().is_none());
}

/// SIGHUP changes the link of an interface, and back.
#[test]
fn the_link_changes_while_the_director_runs() {
    let net = TwoArm::new(1).like_the_tutorials();
    let mut director = net.builder().config(LINK).start();
    let _echoes = udp_services(&director, &net.lab, &net.servers, TWO_ARM, "-m", 5353);
    let mut change = |from: &str, to: &str, left: &str| {
        let done = |director: &Director| director.log().matches("configuration read again").count();
        let before = done(&director);
        director.reconfigure(|config| config.replace(from, to));
        director.process().signal("HUP");
        // Programs are there before sockets are, and gone after them.
        eventually(to, Duration::from_secs(10), || {
            let are_left = programs(&net.director).trim() == left;
            (are_left && done(&director) > before).then_some(())
        });
        for vip in VIP {
            assert_eq!(udp_ask(&net.client, vip, 53, 2, 64), ["rs1", "rs1"], "{to}");
        }
    };
    change("af-xdp", "af-packet", "0");
    change("af-packet", "af-xdp", "2");
}

/// Another program's XDP is left alone, and said.
#[test]
fn another_program_is_not_replaced() {
    let net = TwoArm::new(0);
    let first = DirectorBuilder::new(&net.lab, &net.director, &["eth0"])
        .config(LINK)
        .start();
    let line = "ulvs run --config ulvs.toml --control other.sock --state other.rules";
    let output = first.try_shell(line);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = "cannot attach an XDP program on eth0: Device or resource busy (os error 16); eth0 is in use by another \
                  program: stop that first";
    assert!(!output.status.success() && text.contains(wanted), "{text}");
}

//! In a real container: an image that holds the static binary and nothing else, run by a real engine
//! with its default capabilities and seccomp profile, as root and as another user.

use crate::harness::{Container, Engine, Host, Lab, Switch, WebServer, cable, count, fetch_each};

/// The capabilities Docker gives by default, as a mask.
const DOCKER_DEFAULT: u64 = 0xa804_25fb;
/// CAP_NET_RAW alone.
const NET_RAW: u64 = 1 << 13;

/// A container that holds the network namespace, with the director's addresses and cables in it, as
/// a pod's does; the director joins it.
fn namespace_holder<'a>(engine: &'a Engine, lab: &Lab) -> (Container<'a>, Host) {
    let holder = engine.run(
        "net",
        &["--network", "none"],
        &["demo-server", "pause", "127.0.0.1:9"],
    );
    let host = holder.host(lab);
    (holder, host)
}

/// Starts the director beside it, as a user would: the image's own command, a configuration mounted.
fn start_director<'a>(
    engine: &'a Engine,
    lab: &Lab,
    options: &[&str],
    interfaces: &[&str],
) -> Container<'a> {
    let config = lab.directory().join("container.toml");
    std::fs::write(&config, format!("interfaces = {interfaces:?}\n")).expect("a file is written");
    let mount = format!("{}:/etc/ulvs/ulvs.toml:ro", config.display());
    let mut words = vec!["--network", "container:net", "--volume", &mount];
    words.extend(options);
    let director = engine.run("director", &words, &[]);
    director.await_success("ipvsadm -Ln");
    director
}

/// It runs under Docker's seccomp filter, and has no capability beyond `allowed` (it may have dropped
/// some).
fn assert_confined(director: &Container<'_>, allowed: u64) {
    let (capabilities, seccomp) = director.confinement();
    assert_eq!(capabilities & !allowed, 0, "capabilities {capabilities:#x}");
    assert_eq!(seccomp, 2, "Docker's seccomp profile");
}

fn assert_shared(director: &Container<'_>, client: &Host, url: &str) {
    let answers = fetch_each(client, url, 10);
    let counts = count(&answers);
    let both = (counts.get("rs1").copied(), counts.get("rs2").copied());
    assert_eq!(both, (Some(5), Some(5)), "{counts:?}\n{}", director.log());
}

fn servers(lab: &Lab, switch: &Switch, network: &str) -> [Host; 2] {
    [("rs1", "20"), ("rs2", "30")].map(|(role, last)| {
        let server = lab.host(role);
        switch.plug(&server, "eth0", &[&format!("{network}.{last}/24")]);
        server
    })
}

fn direct_routing(options: &[&str], capabilities: u64) {
    let lab = Lab::new();
    let engine = Engine::start(&lab);
    engine.build_image(&lab);
    let switch = lab.switch("sw");
    let client = lab.host("client");
    switch.plug(&client, "eth0", &["10.0.0.2/24"]);
    let servers = servers(&lab, &switch, "10.0.0");
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));
    for server in &servers {
        crate::harness::vip_on_loopback(server, &["10.0.0.1"]);
    }
    let (_holder, machine) = namespace_holder(&engine, &lab);
    switch.plug(&machine, "eth0", &["10.0.0.10/24"]);

    let director = start_director(&engine, &lab, options, &["eth0"]);
    assert_confined(&director, capabilities);
    director.exec("ipvsadm -A -t 10.0.0.1:80 -s rr");
    director.exec("ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g");
    director.exec("ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.30:80 -g");
    assert_shared(&director, &client, "http://10.0.0.1/");
}

fn nat(options: &[&str], capabilities: u64) {
    let lab = Lab::new();
    let engine = Engine::start(&lab);
    engine.build_image(&lab);
    let (_holder, machine) = namespace_holder(&engine, &lab);
    let client = lab.host("client");
    cable((&client, "eth0"), (&machine, "eth0"));
    client.addresses("eth0", &["10.1.0.2/24"]);
    machine.addresses("eth0", &["10.1.0.10/24"]);
    let switch = lab.switch("sw");
    switch.plug(&machine, "eth1", &["10.2.0.10/24"]);
    let servers = servers(&lab, &switch, "10.2.0");
    for server in &servers {
        server.ip("route add default via 10.2.0.10");
    }
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));

    let director = start_director(&engine, &lab, options, &["eth0", "eth1"]);
    assert_confined(&director, capabilities);
    director.exec("ipvsadm -A -t 10.1.0.1:80 -s rr");
    director.exec("ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m");
    director.exec("ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:8080 -m");
    assert_shared(&director, &client, "http://10.1.0.1/");
}

#[test]
fn direct_routing_as_root() {
    direct_routing(&[], DOCKER_DEFAULT);
}

#[test]
fn direct_routing_as_a_user_with_a_file_capability() {
    direct_routing(&["--user", "65534:65534"], NET_RAW);
}

#[test]
fn nat_as_root() {
    nat(&[], DOCKER_DEFAULT);
}

#[test]
fn nat_as_a_user_with_a_file_capability() {
    nat(&["--user", "65534:65534"], NET_RAW);
}

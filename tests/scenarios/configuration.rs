//! What the configuration file offers: the examples as they stand, firewall marks, several workers, TUN
//! devices, the socket's permissions, and what systemd is told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::harness::{
    DirectorBuilder, FLAT_VIP, Flat, Host, Lab, Switch, TwoArm, WebServer, blob, bracketed, count,
    decap, download, eventually, fetch, fetch_each, stderr, upload, vip_on_loopback,
};

/// One of the files in `configs/`.
fn example(name: &str) -> String {
    let path = format!("{}/configs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The client and the director of the examples' pictures on one switch.
fn front(lab: &Lab) -> (Host, Host, Switch) {
    let switch = lab.switch("sw");
    let client = lab.host("client");
    switch.plug(&client, "eth0", &["10.0.0.2/24"]);
    let director = lab.host("director");
    switch.plug(&director, "eth0", &["10.0.0.10/24"]);
    (client, director, switch)
}

/// The real servers of the examples' pictures, .11 and .12.
fn servers(lab: &Lab, switch: &Switch, network: &str) -> [Host; 2] {
    [("rs1", "11"), ("rs2", "12")].map(|(role, last)| {
        let server = lab.host(role);
        switch.plug(&server, "eth0", &[&format!("{network}.{last}/24")]);
        server
    })
}

/// Starts the example and asks the VIP 30 times; how often each real server answered.
fn answers(lab: &Lab, director: &Host, client: &Host, name: &str) -> (usize, usize) {
    let _director = DirectorBuilder::new(lab, director, &[])
        .whole_config(&example(name))
        .start();
    let answers = fetch_each(client, "http://10.0.0.1/", 30);
    let counts = count(&answers);
    (counts["rs1"], counts["rs2"])
}

#[test]
fn example_dr() {
    let lab = Lab::new();
    let (client, director, switch) = front(&lab);
    let servers = servers(&lab, &switch, "10.0.0");
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));
    for server in &servers {
        vip_on_loopback(server, &["10.0.0.1"]);
    }
    assert_eq!(answers(&lab, &director, &client, "dr.toml"), (10, 20));
}

#[test]
fn example_nat() {
    let lab = Lab::new();
    let (client, director, _switch) = front(&lab);
    let inside = lab.switch("inside");
    inside.plug(&director, "eth1", &["10.2.0.10/24"]);
    let servers = servers(&lab, &inside, "10.2.0");
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));
    for server in &servers {
        server.ip("route add default via 10.2.0.10");
    }
    let (one, two) = answers(&lab, &director, &client, "nat.toml");
    assert!(
        one > 0 && two > one,
        "the heavier one gets more: {one}, {two}"
    );
}

#[test]
fn example_tun() {
    let lab = Lab::new();
    let (client, director, switch) = front(&lab);
    let far = lab.switch("far");
    let router = lab.host("router");
    switch.plug(&router, "eth0", &["10.0.0.254/24"]);
    far.plug(&router, "eth1", &["10.3.0.254/24"]);
    router.forwards();
    director.ip("route add default via 10.0.0.254");
    client.ip("route add default via 10.0.0.254");
    let servers = servers(&lab, &far, "10.3.0");
    let _web = servers
        .each_ref()
        .map(|server| WebServer::start(&lab, server));
    let _decap = servers.each_ref().map(|server| {
        server.ip("route add default via 10.3.0.254");
        vip_on_loopback(server, &["10.0.0.1"]);
        decap(&lab, server, &["10.0.0.1"])
    });
    assert_eq!(answers(&lab, &director, &client, "tun.toml"), (15, 15));
}

#[test]
fn firewall_marks_join_ports_into_one_service() {
    let net = TwoArm::new(2);
    let director = net
        .builder()
        .config("[[mark]]\nmark = 7\ndestination = \"10.1.0.1\"\nports = [80, \"8000-8100\"]")
        .vip("10.1.0.1", "owned")
        .start();
    director.type_lines(
        "ipvsadm -A -f 7 -s rr -p 300
        ipvsadm -a -f 7 -r 10.2.0.20 -m
        ipvsadm -a -f 7 -r 10.2.0.30 -m",
    );
    let mut answers = fetch_each(&net.client, "http://10.1.0.1/", 5);
    answers.extend(fetch_each(&net.client, "http://10.1.0.1:8080/", 5));
    assert_eq!(
        count(&answers).len(),
        1,
        "one client, one server on every port: {answers:?}"
    );
    let refused = fetch(&net.client, "http://10.1.0.1:81/");
    assert!(
        refused.is_err(),
        "a port without the mark is not served: {refused:?}"
    );
}

#[test]
fn several_workers_share_the_work_in_order() {
    let net = TwoArm::new(2);
    let director = net.builder().config("workers = 4").start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m",
    );
    let answers = fetch_each(&net.client, "http://10.1.0.1/", 60);
    for pair in answers.chunks(2) {
        assert_ne!(
            pair[0], pair[1],
            "round robin over all workers: {answers:?}"
        );
    }
    let listed = director.shell("ipvsadm -Lcn");
    let connections = listed
        .lines()
        .filter(|line| line.starts_with("TCP"))
        .count();
    assert_eq!(connections, 60, "the connections of all workers:\n{listed}");
    assert_eq!(download(&net.client, "http://10.1.0.1"), blob().1);
    upload(&net.client, "http://10.1.0.1", "blob");
    let sum = net.web.iter().find_map(|server| server.uploaded("blob"));
    assert_eq!(sum.as_ref(), Some(&blob().1));
}

#[test]
fn several_workers_with_direct_routing() {
    let net = Flat::new(2).with_vip_on_servers().with_vip_on_director();
    let director = net.builder().config("workers = 3").start();
    for (vip, prefix) in FLAT_VIP.into_iter().zip(["10.0.0.", "fd00::"]) {
        let service = format!("{}:80", bracketed(vip));
        director.shell(&format!("ipvsadm -A -t {service} -s rr"));
        for last in ["20", "30"] {
            let real = bracketed(&format!("{prefix}{last}"));
            director.shell(&format!("ipvsadm -a -t {service} -r {real}:80 -g"));
        }
        let answers = fetch_each(&net.client, &format!("http://{}/", bracketed(vip)), 40);
        let counts = count(&answers);
        assert_eq!(
            (counts["rs1"], counts["rs2"]),
            (20, 20),
            "{vip}: {counts:?}"
        );
    }
}

/// The host routes the VIP into a TUN device that ulvs made, and the replies as well.
#[test]
fn tun_device() {
    let net = TwoArm::new(2);
    net.director.forwards();
    net.client.ip("route add 10.9.0.1/32 via 10.1.0.10");
    let director = DirectorBuilder::new(&net.lab, &net.director, &["ulvs0"])
        .config("link = \"tun\"")
        .vip("10.9.0.1", "owned")
        .start();
    net.director.ip("link set ulvs0 up");
    net.director.ip("route add 10.9.0.1/32 dev ulvs0");
    net.director.ip("route add default dev ulvs0 table 100");
    net.director.ip("rule add iif eth1 lookup 100");
    director.type_lines(
        "ipvsadm -A -t 10.9.0.1:80 -s rr
        ipvsadm -a -t 10.9.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.9.0.1:80 -r 10.2.0.30:80 -m",
    );
    let answers = fetch_each(&net.client, "http://10.9.0.1/", 10);
    let counts = count(&answers);
    assert_eq!((counts["rs1"], counts["rs2"]), (5, 5), "{counts:?}");
    assert_eq!(download(&net.client, "http://10.9.0.1"), blob().1);
}

#[test]
fn socket_is_for_its_group_only() {
    let net = TwoArm::new(0);
    let director = net.builder().config("[control]\ngroup = \"31337\"").start();
    net.director
        .shell(&format!("chmod 755 {}", net.lab.directory().display()));
    let socket = director.socket();
    let mode = net
        .director
        .shell(&format!("stat -c '%a %g' {}", socket.display()));
    assert_eq!(mode.trim(), "660 31337");
    let line = |group: &str| {
        format!("setpriv --reuid=31000 --regid={group} --clear-groups ./ulvs ipvsadm -Ln")
    };
    director.shell(&format!("cp {} ulvs", crate::harness::binary().display()));
    director.shell(&line("31337"));
    let output = director.try_shell(&line("31000"));
    assert!(!output.status.success(), "another group is refused");
    let said = stderr(&output);
    assert!(
        said.contains("control.sock"),
        "it says which socket: {said}"
    );
}

#[test]
fn systemd_is_told() {
    let net = TwoArm::new(0);
    let path = net.lab.directory().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket can be made");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout can be set");
    let mut heard = String::new();
    let mut hear = |text: &str| {
        let mut datagram = [0; 4096];
        while !heard.contains(text) {
            let count = socket.recv(&mut datagram).unwrap_or_else(|error| {
                panic!("{text} is not heard: {error}; heard so far:\n{heard}")
            });
            heard.push_str(&String::from_utf8_lossy(&datagram[..count]));
        }
    };
    let mut director = net.builder().variable("NOTIFY_SOCKET", &path).start();
    hear("READY=1");
    director.process().signal("HUP");
    hear("RELOADING=1");
    director.terminate();
    hear("STOPPING=1");
}

/// SIGHUP takes over services that the file has changed, and keeps those it does not name.
#[test]
fn reload_takes_over_changed_rules() {
    let net = TwoArm::new(2);
    let rules = |server: &str| {
        format!(
            "rules = \"\"\"\n-A -t 10.1.0.1:80 -s rr\n-a -t 10.1.0.1:80 -r {server}:80 -m\n\"\"\""
        )
    };
    let mut director = net.builder().config(&rules("10.2.0.20")).start();
    assert_eq!(fetch_each(&net.client, "http://10.1.0.1/", 1), ["rs1"]);
    director.reconfigure(|config| config.replace("10.2.0.20", "10.2.0.30"));
    director.process().signal("HUP");
    eventually("the other real server", Duration::from_secs(5), || {
        let answer = fetch(&net.client, "http://10.1.0.1/").ok()?;
        (answer.trim() == "rs2").then_some(())
    });
}

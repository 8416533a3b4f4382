//! Real servers that come and go while clients ask.

use std::time::Duration;

use crate::harness::{Flat, TwoArm, count, eventually, fetch, fetch_each};

#[test]
fn killed_and_removed_under_load() {
    let mut net = TwoArm::new(2).like_the_tutorials();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m",
    );
    fetch_each(&net.client, "http://10.1.0.1/", 4);
    // The one that dies, and a load that goes on meanwhile: failures are expected only until the removal.
    let client = net.client.clone();
    let load = std::thread::spawn(move || {
        (0..60)
            .filter(|_| fetch(&client, "http://10.1.0.1/").is_ok())
            .count()
    });
    std::thread::sleep(Duration::from_millis(300));
    net.web[1].kill();
    std::thread::sleep(Duration::from_millis(300));
    director.shell("ipvsadm -d -t 10.1.0.1:80 -r 10.2.0.30:80");
    let answers = fetch_each(&net.client, "http://10.1.0.1/", 50);
    assert_eq!(count(&answers)["rs1"], 50, "only rs1 is left: {answers:?}");
    let answered = load.join().expect("the load ran");
    assert!(
        answered >= 30,
        "the live server went on answering: {answered} of 60"
    );
}

#[test]
fn quiesced_server_finishes_what_it_has() {
    let net = TwoArm::new(2);
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m",
    );
    let client = net.client.clone();
    let download = std::thread::spawn(move || fetch(&client, "http://10.1.0.1/slow"));
    eventually("the download is under way", Duration::from_secs(5), || {
        director
            .shell("ipvsadm -Lcn")
            .contains("ESTABLISHED")
            .then_some(())
    });
    director.type_lines(
        "ipvsadm -e -t 10.1.0.1:80 -r 10.2.0.20:80 -m -w 0
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m",
    );
    let answers = fetch_each(&net.client, "http://10.1.0.1/", 10);
    assert_eq!(
        count(&answers)["rs2"],
        10,
        "nothing new for rs1: {answers:?}"
    );
    let body = download
        .join()
        .expect("the download ran")
        .expect("it is not cut off");
    assert_eq!(body.len(), 8192);
}

#[test]
fn unreachable_server_is_reported_and_the_others_serve() {
    let net = Flat::new(1).with_vip_on_servers();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80 -s rr
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.99:80 -g",
    );
    let outcomes: Vec<_> = (0..4)
        .map(|_| fetch(&net.client, "http://10.0.0.1/"))
        .collect();
    let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(
        answered, 2,
        "every second request has a live server: {outcomes:?}"
    );
}

#[test]
fn real_servers_behind_a_router_with_nat() {
    let net = TwoArm::new(1);
    let router = net.lab.host("router");
    let far = net.lab.host("far");
    crate::harness::cable((&net.director, "eth2"), (&router, "eth0"));
    crate::harness::cable((&router, "eth1"), (&far, "eth0"));
    net.director.addresses("eth2", &["10.4.0.10/24"]);
    router.addresses("eth0", &["10.4.0.254/24"]);
    router.addresses("eth1", &["10.5.0.254/24"]);
    router.forwards();
    far.addresses("eth0", &["10.5.0.20/24"]);
    far.ip("route add default via 10.5.0.254");
    router.ip("route add default via 10.4.0.10");
    net.director.ip("route add 10.5.0.0/24 via 10.4.0.254");
    let _web = crate::harness::WebServer::start(&net.lab, &far);
    let director =
        crate::harness::Director::start(&net.lab, &net.director, &["eth0", "eth1", "eth2"]);
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.1.0.1:80 -r 10.5.0.20:80 -m",
    );
    let answers = fetch_each(&net.client, "http://10.1.0.1/", 10);
    let counts = count(&answers);
    assert_eq!(
        (counts["rs1"], counts["far"]),
        (5, 5),
        "near and far: {answers:?}"
    );
}

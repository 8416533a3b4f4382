//! Keeping the kernel from answering for a local VIP where BPF is not allowed: nftables, or a refusal that says
//! what to do.

use std::time::Duration;

use crate::harness::{
    Capture, Director, DirectorBuilder, NET_RAW_ONLY, TwoArm, eventually, fetch_each, stderr,
    udp_ask, udp_repeat,
};

/// Root without the capabilities for BPF.
pub(super) const WITHOUT_BPF: &str = "--bounding-set=-bpf,-sys_admin,-perfmon";

fn tables(director: &Director) -> String {
    director.host.shell("nft list tables")
}

#[test]
fn nftables_where_bpf_is_not_allowed() {
    let net = TwoArm::new(2).like_the_tutorials();
    let mut director = net.builder().running_as(&[WITHOUT_BPF]).start();
    director.type_lines(
        "ipvsadm -A -t 10.1.0.1:80 -s rr
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.20:80 -m
        ipvsadm -a -t 10.1.0.1:80 -r 10.2.0.30:80 -m
        ipvsadm -A -t [fd01::1]:80 -s rr
        ipvsadm -a -t [fd01::1]:80 -r [fd02::20]:80 -m",
    );
    let capture = Capture::arriving(&net.lab, &net.client, "eth0", "tcp or icmp or icmp6");
    fetch_each(&net.client, "http://10.1.0.1/", 10);
    fetch_each(&net.client, "http://[fd01::1]/", 10);
    let frames = capture.stop();
    let resets = frames
        .iter()
        .filter(|frame| frame.contains("Flags [R"))
        .count();
    assert_eq!(
        resets,
        0,
        "no RST reaches the client:\n{}\n{}",
        frames.join("\n"),
        director.log()
    );
    let untranslated = frames
        .iter()
        .filter(|frame| frame.contains("10.2.0."))
        .count();
    assert_eq!(
        untranslated,
        0,
        "no untranslated reply:\n{}",
        frames.join("\n")
    );
    assert!(
        tables(&director).contains("ulvs"),
        "the table is there: {}",
        tables(&director)
    );
    director.kill();
    assert_eq!(tables(&director).trim(), "", "and gone with the process");
}

#[test]
fn refusal_where_nothing_is_allowed() {
    let net = TwoArm::new(1).like_the_tutorials();
    let words: Vec<&str> = NET_RAW_ONLY.split_whitespace().collect();
    let mut director = net
        .builder()
        .vip("10.1.0.1", "local")
        .running_as(&words)
        .launch();
    let status = director.process().wait(Duration::from_secs(10));
    let said = director.log();
    assert!(
        !status.success(),
        "it cannot keep the kernel quiet:\n{said}"
    );
    assert!(
        said.contains("10.1.0.1") && said.contains("CAP_NET_ADMIN"),
        "what to do:\n{said}"
    );
}

/// The daemon runs, but a service that the kernel would spoil is refused by a sentence that says what to do.
#[test]
fn service_that_the_kernel_would_spoil_is_refused() {
    let net = TwoArm::new(1).like_the_tutorials();
    let words: Vec<&str> = NET_RAW_ONLY.split_whitespace().collect();
    let director = net.builder().running_as(&words).start();
    let output = director.try_shell("ipvsadm -A -t 10.1.0.1:80");
    let said = stderr(&output);
    let log = director.log();
    assert!(!output.status.success(), "it cannot work: {said}\n{log}");
    assert!(
        log.contains("10.1.0.1") && log.contains("CAP_NET_ADMIN"),
        "what to do:\n{said}{log}"
    );
    assert!(
        !director.shell("ipvsadm -Ln").contains("10.1.0.1"),
        "nothing is half-applied"
    );
}

/// A connection outlives the deletion of its real server, and so must the guard: the kernel, which forwards, would send
/// the client untranslated copies of the replies. With its last connection the guard lets the real server's packets
/// pass again.
fn deleted_server(launch: impl FnOnce(DirectorBuilder) -> DirectorBuilder, delete: &str) {
    let net = TwoArm::new(1).like_the_tutorials();
    let director = launch(net.builder().config("workers = 2")).start();
    director.type_lines(
        "ipvsadm --set 0 0 2
        ipvsadm -A -u 10.1.0.1:54
        ipvsadm -A -u 10.1.0.1:53
        ipvsadm -a -u 10.1.0.1:53 -r 10.2.0.20:53 -m",
    );
    let server = udp_repeat(&net.lab, &net.servers[0], "10.2.0.20", 53);
    // In a burst of commands the guard comes a moment later, and the host's kernel refuses until then.
    std::thread::sleep(Duration::from_secs(1));
    let answers = udp_ask(&net.client, "10.1.0.1", 53, 1, 100);
    assert_eq!(answers, ["repeated"]);
    director.shell(delete);
    let capture = Capture::arriving(&net.lab, &net.client, "eth0", "udp");
    // Two seconds of replies, longer where the machine is busy.
    let count = |address: &str| {
        let text = format!(" {address}.53 > ");
        let frames = capture.frames();
        frames.iter().filter(|frame| frame.contains(&text)).count()
    };
    eventually("replies", Duration::from_secs(20), || {
        (count("10.1.0.1") > 20).then_some(())
    });
    assert_eq!(count("10.2.0.20"), 0, "untranslated copies");
    // While the server is silent, the connection ends.
    server.signal("STOP");
    eventually("the connection's end", Duration::from_secs(10), || {
        (!director.shell("ipvsadm -Lcn").contains("10.2.0.20")).then_some(())
    });
    std::thread::sleep(Duration::from_millis(1500));
    server.signal("CONT");
    eventually("what the kernel forwards", Duration::from_secs(5), || {
        let frames = capture.frames();
        let passed = |frame: &String| frame.contains(" 10.2.0.20.53 > ");
        frames.iter().any(passed).then_some(())
    });
}

#[test]
fn replies_of_a_deleted_server() {
    deleted_server(
        |builder| builder,
        "ipvsadm -d -u 10.1.0.1:53 -r 10.2.0.20:53",
    );
}

#[test]
fn replies_of_a_deleted_service_by_nftables() {
    deleted_server(
        |builder| builder.running_as(&[WITHOUT_BPF]),
        "ipvsadm -D -u 10.1.0.1:53",
    );
}

#[test]
fn replies_of_a_server_with_another_method() {
    deleted_server(
        |builder| builder,
        "ipvsadm -e -u 10.1.0.1:53 -r 10.2.0.20:53 -g",
    );
}

//! `ulvs doctor`: what it says of a host, with a director and without, as root and as nobody; and that it changes
//! nothing.

use std::process::Output;

use crate::harness::{Director, NET_RAW_ONLY, TwoArm, binary, stderr, stdout};

/// Nobody's user, without any capability.
const NOTHING: &str = "--inh-caps=-all --ambient-caps=-all --bounding-set=-all --no-new-privs --reuid=65534 \
    --regid=65534 --clear-groups";

/// `ulvs doctor` on the director's machine: behind these words (`setpriv ...`), with these options. A socket where
/// nobody listens, unless the options name another.
fn doctor(net: &TwoArm, words: &str, options: &str) -> Output {
    let copy = net.lab.directory().join("ulvs");
    std::fs::copy(binary(), &copy).expect("the binary can be copied");
    let (directory, copy) = (net.lab.directory().display(), copy.display());
    net.director.try_shell(&format!(
        "chmod 755 {directory}; ULVS_CONTROL={directory}/nobody.sock {words} {copy} doctor {options}"
    ))
}

fn of(net: &TwoArm, director: &Director) -> Output {
    let options = format!("--control {}", director.socket().display());
    doctor(net, "", &options)
}

/// The line about `what`: whether it is available, whether it is used, and the remark.
fn line(output: &Output, what: &str) -> (String, String, String) {
    let text = stdout(output);
    let begin = format!("  {what} ");
    let found = text.lines().find_map(|line| line.strip_prefix(&begin));
    let rest = found.unwrap_or_else(|| panic!("no line about {what}:\n{text}"));
    let mut words = rest.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (available, used) = (word(), word());
    (available, used, words.collect::<Vec<_>>().join(" "))
}

fn answers(output: &Output, what: &str) -> [String; 2] {
    let (available, used, _) = line(output, what);
    [available, used]
}

/// Everything of the machine that a look might change.
fn state(net: &TwoArm) -> String {
    net.director.shell(
        "ip -d link; ip addr; ip route; ip -6 route; ip neigh; nft list ruleset; tc filter show dev lo ingress; \
         bpftool net 2> /dev/null; for i in eth0 eth1; do ethtool -k $i; done; sysctl -a 2> /dev/null | grep -v random \
         | grep '^net.*conf'",
    )
}

#[test]
fn with_everything_and_then_a_director() {
    let net = TwoArm::new(1);
    let before = state(&net);
    let found = doctor(&net, "", "");
    let text = stdout(&found);
    assert_eq!(found.status.code(), Some(0), "{text}{}", stderr(&found));
    assert!(text.starts_with("No director: "), "{text}");
    assert!(text.ends_with("\nulvs can run here.\n"), "{text}");
    for what in ["CAP_NET_RAW", "CAP_NET_ADMIN", "AF_PACKET", "rtnetlink"] {
        assert_eq!(answers(&found, what), ["yes", "yes"], "{what}");
    }
    for what in ["TPACKET_V2", "PACKET_VNET_HDR", "PACKET_COPY_THRESH"] {
        assert_eq!(answers(&found, what), ["yes", "yes"], "{what}");
    }
    assert_eq!(answers(&found, "PACKET_FANOUT"), ["yes", "no"]);
    assert_eq!(answers(&found, "kernel assist"), ["yes", "yes"]);
    assert_eq!(answers(&found, "eth0 ring"), ["yes", "yes"]);
    let (on, _, remark) = line(&found, "eth1 gro");
    assert!(on == "no" && remark.contains("turns it on"), "{remark}");
    assert_eq!(state(&net), before, "nothing is changed");

    let director = net.builder().config("workers = 2\ngro = \"auto\"").start();
    director.shell("ipvsadm -A -t 10.1.0.1:80");
    let before = state(&net);
    let found = of(&net, &director);
    let text = stdout(&found);
    assert_eq!(found.status.code(), Some(0), "{text}{}", stderr(&found));
    assert!(text.starts_with("A director runs on "), "{text}");
    assert_eq!(answers(&found, "PACKET_FANOUT"), ["yes", "yes"]);
    assert_eq!(answers(&found, "kernel assist"), ["yes", "yes"]);
    let guards = ["guard by TCX", "guard by nftables"].map(|name| answers(&found, name));
    let used: Vec<bool> = guards.iter().map(|guard| guard[1] == "yes").collect();
    assert_eq!(used.iter().filter(|used| **used).count(), 1, "{text}");
    let (on, used, remark) = line(&found, "eth1 gro");
    assert!(on == "yes" && used == "yes", "{text}");
    assert!(remark.contains("turned on by the director"), "{remark}");
    let (_, _, remark) = line(&found, "VIP 10.1.0.1");
    assert!(remark.starts_with("owned"), "{remark}");
    assert_eq!(state(&net), before, "nothing is changed");
}

#[test]
fn as_nobody() {
    let net = TwoArm::new(1);
    let found = doctor(&net, &format!("setpriv {NOTHING}"), "-i eth0");
    let text = stdout(&found);
    assert_eq!(found.status.code(), Some(1), "{text}{}", stderr(&found));
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("ulvs cannot run here: "), "{text}");
    assert!(last.contains("CAP_NET_RAW"), "{text}");
    assert_eq!(answers(&found, "AF_PACKET"), ["no", "no"]);
    assert_eq!(answers(&found, "kernel assist"), ["no", "no"]);
    assert!(!text.contains("eth1"), "{text}");
}

/// What a container has is enough to run, and what the rest would give is told.
#[test]
fn with_raw_sockets_alone() {
    let net = TwoArm::new(1);
    let found = doctor(&net, &format!("setpriv {NET_RAW_ONLY}"), "");
    let text = stdout(&found);
    assert_eq!(found.status.code(), Some(0), "{text}{}", stderr(&found));
    assert_eq!(answers(&found, "CAP_NET_ADMIN"), ["no", "no"]);
    assert_eq!(answers(&found, "guard by TCX"), ["no", "no"]);
    let (_, _, remark) = line(&found, "eth0 gro");
    assert!(remark.contains("half the rate"), "{remark}");
}

/// What is impossible by the configuration is told before a director is started.
#[test]
fn obstacles_of_a_configuration() {
    let net = TwoArm::new(1).like_the_tutorials();
    let path = net.lab.directory().join("ulvs.toml");
    let options = format!("--config {}", path.display());
    let config = |text: &str| std::fs::write(&path, text).expect("the directory can be written");
    let sentence = |words: &str| {
        let found = doctor(&net, words, &options);
        assert_eq!(found.status.code(), Some(1), "{}", stdout(&found));
        let text = stdout(&found);
        text.lines().last().unwrap_or_default().to_owned()
    };
    config("interfaces = [\"eth7\"]");
    let said = sentence("");
    assert!(said.contains("eth7"), "{said}");
    config("nonsense = 1");
    let said = sentence("");
    assert!(said.contains("nonsense"), "{said}");
    config("rules = \"-A -t 192.0.2.7:80\"");
    let said = sentence("");
    assert!(said.contains("192.0.2.7"), "{said}");
    // The host has this VIP, and without the capability there is no guard.
    config("rules = \"-A -t 10.1.0.1:80\"");
    let said = sentence(&format!("setpriv {NET_RAW_ONLY}"));
    assert!(
        said.contains("10.1.0.1") && said.contains("CAP_NET_ADMIN"),
        "{said}"
    );
}

#[test]
fn wrong_command_lines_are_one_sentence() {
    let net = TwoArm::new(1);
    for (options, word) in [
        ("-i eth7", "eth7"),
        ("--nosuch", "--nosuch"),
        ("-i", "NAME"),
    ] {
        let found = doctor(&net, "", options);
        let said = stderr(&found);
        assert_eq!(found.status.code(), Some(2), "{options}: {said}");
        assert!(said.starts_with("ulvs: ") && said.contains(word), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

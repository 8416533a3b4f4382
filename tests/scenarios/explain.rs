//! `ulvs explain` on a running director: what it says of the next connection is what happens, and asking changes nothing.

use serde_json::Value;

use crate::harness::{Director, FLAT_VIP, Flat, bracketed, fetch, stderr, stdout};

/// The answer to a question.
fn explain(director: &Director, question: &str) -> Value {
    let answer = director.shell(&format!("ulvs explain --json {question}"));
    serde_json::from_str(&answer).expect("JSON")
}

/// The sentences about this topic.
fn told(answer: &Value, topic: &str) -> Vec<String> {
    let notes = answer["notes"].as_array().expect("a list");
    let about = notes.iter().filter(|note| note["topic"] == topic);
    let text = |note: &Value| note["text"].as_str().expect("a text").to_owned();
    about.map(text).collect()
}

/// Asks, connects from that port, and asks again, ten times.
fn foretells(net: &Flat, director: &Director, vip: &str, client: &str, first_port: u16) {
    for port in first_port..first_port + 10 {
        let question = format!("tcp {}:{port} {}:80", bracketed(client), bracketed(vip));
        let before = explain(director, &question);
        assert_eq!(
            explain(director, &question),
            before,
            "asking changes nothing"
        );
        assert_eq!(before["verdict"], "forwarded", "{before:#}");
        let answer = net.client.shell(&format!(
            "curl -sS --max-time 5 --local-port {port} http://{}/",
            bracketed(vip)
        ));
        let choice = told(&before, "choice").remove(0);
        let server = net
            .servers
            .iter()
            .find(|server| server.role() == answer.trim());
        let server = server.expect("a real server answered");
        let number: u32 = answer.trim().trim_start_matches("rs").parse().expect("rsN");
        let last = (number + 1) * 10;
        assert!(
            choice.contains(&format!("{last}:80 by Route"))
                || choice.contains(&format!("{last}]:80 by Route")),
            "{answer}: {choice}"
        );
        let output = told(&before, "output").remove(0);
        assert!(
            output.starts_with(&format!("eth0 to {}: TCP ", server.mac("eth0"))),
            "{output}"
        );
        let after = explain(director, &question);
        let own = told(&after, "choice").remove(0);
        assert!(
            own.ends_with("the connection's own")
                && own.starts_with(choice.trim_end_matches("a new connection")),
            "{own}"
        );
    }
}

#[test]
fn foretells_the_next_connection() {
    let net = Flat::new(3).with_vip_on_servers();
    let director = net.builder().config("workers = 2").start();
    let services = [("10.0.0.", "wrr"), ("fd00::", "twos")];
    for (vip, (prefix, scheduler)) in FLAT_VIP.into_iter().zip(services) {
        let service = format!("{}:80", bracketed(vip));
        director.shell(&format!("ipvsadm -A -t {service} -s {scheduler}"));
        for (last, weight) in [("20", 1), ("30", 3), ("40", 2)] {
            let real = bracketed(&format!("{prefix}{last}"));
            director.shell(&format!(
                "ipvsadm -a -t {service} -r {real}:80 -g -w {weight}"
            ));
        }
    }
    // So that the next hops are known.
    for vip in FLAT_VIP {
        for _ in 0..6 {
            fetch(&net.client, &format!("http://{}/", bracketed(vip))).expect("an answer");
        }
    }
    foretells(&net, &director, FLAT_VIP[0], "10.0.0.2", 20_000);
    foretells(&net, &director, FLAT_VIP[1], "fd00::2", 20_100);
}

#[test]
fn says_why_not_and_what_is_wrong_with_a_question() {
    let net = Flat::new(1).with_vip_on_servers();
    let director = net
        .builder()
        .config("[[mark]]\nmark = 7\ndestination = \"10.0.0.1\"\nprotocol = \"udp\"")
        .start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80 -s sh
        ipvsadm -A -f 7 -s rr",
    );
    let answer = explain(&director, "tcp 10.0.0.2:1234 10.0.0.1:80");
    assert_eq!(
        (&answer["verdict"], &answer["reason"]),
        (&"dropped".into(), &"no_destination".into())
    );
    assert_eq!(told(&answer, "server"), ["there is none"]);
    let answer = explain(&director, "udp 10.0.0.2:1234 10.0.0.1:53");
    assert_eq!(
        told(&answer, "service"),
        ["mark 7 (V4) -s rr"],
        "by the configuration's rules"
    );
    let answer = explain(&director, "--mark 0 udp 10.0.0.2:1234 10.0.0.1:53");
    assert_eq!(told(&answer, "service"), ["none matches"]);
    let answer = explain(&director, "--frame 02ff");
    assert_eq!(answer["reason"], "link_truncated");
    for (question, word) in [
        ("tcp 10.0.0.2:1234 10.0.0.1", "address and port"),
        (
            "tcp 10.0.0.2:1234 10.0.0.1:80 --interface wlan7",
            "no interface wlan7",
        ),
        ("--frame xyz", "hexadecimal"),
        ("--frame nothing.pcap", "No such file"),
    ] {
        let output = director.try_shell(&format!("ulvs explain {question}"));
        assert!(!output.status.success(), "{question}: {}", stdout(&output));
        let said = stderr(&output);
        assert!(
            said.contains(word) && said.lines().count() == 1,
            "{question}: {said}"
        );
    }
}

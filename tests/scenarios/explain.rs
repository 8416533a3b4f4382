//! `ulvs explain` on a running director: what it says of the next connection is what happens, and asking changes nothing.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Director, FLAT_VIP, Flat, bracketed, eventually, fetch, stderr, stdout, udp_ask,
};

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
    for (vip, prefix) in FLAT_VIP.into_iter().zip(["10.0.0.", "fd00::"]) {
        let service = format!("{}:80", bracketed(vip));
        director.shell(&format!("ipvsadm -A -t {service} -s wrr"));
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
    // One that draws lots, where they begin at random.
    let service = format!("{}:80", bracketed(FLAT_VIP[1]));
    director.shell(&format!("ipvsadm -E -t {service} -s twos"));
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
        ("tcp 10.0.0.2:1234 10.0.0.1:80 mark=7", "no question"),
        ("tcp", "no question"),
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

/// Connections that each worker has made so far.
fn made(director: &Director) -> Vec<u64> {
    let stats: Value = serde_json::from_str(&director.shell("ulvs stats --json")).expect("JSON");
    let workers = stats["workers"].as_array().expect("a list");
    let of = |worker: &Value| worker["connections"]["made"].as_u64();
    workers
        .iter()
        .map(|worker| of(worker).expect("a number"))
        .collect()
}

#[test]
fn asks_the_worker_that_the_packet_comes_to() {
    let net = Flat::new(1).with_vip_on_servers();
    let director = net.builder().config("workers = 3").start();
    director.type_lines(
        "ipvsadm -A -t 10.0.0.1:80 -s rr
        ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.20:80 -g",
    );
    fetch(&net.client, "http://10.0.0.1/").expect("an answer");
    let mut asked = [0; 3];
    for port in 22_000..22_012 {
        let question = format!("tcp 10.0.0.2:{port} 10.0.0.1:80");
        let worker_of = |answer: &Value| {
            let arrival = told(answer, "arrival").remove(0);
            let (_, worker) = arrival.rsplit_once(", worker ").expect("a worker");
            worker.parse::<usize>().expect("a number")
        };
        let worker = worker_of(&explain(&director, &question));
        let before = made(&director);
        let curl = format!("curl -sS --max-time 5 --local-port {port} http://10.0.0.1/");
        net.client.shell(&curl);
        let mut expected = before;
        expected[worker] += 1;
        assert_eq!(made(&director), expected, "port {port}");
        let again = explain(&director, &question);
        assert_eq!(worker_of(&again), worker);
        assert!(
            told(&again, "connection")[0].ends_with("the client's packet"),
            "{again:#}"
        );
        asked[worker] += 1;
    }
    assert!(asked.iter().all(|count| *count > 0), "{asked:?}");
}

#[test]
fn says_that_a_machine_is_gone() {
    let net = Flat::new(1).with_vip_on_servers();
    let director = net.start();
    director.type_lines(
        "ipvsadm -A -u 10.0.0.1:53 -s rr
        ipvsadm -a -u 10.0.0.1:53 -r 10.0.0.77:53 -g",
    );
    let question = "udp 10.0.0.2:1234 10.0.0.1:53";
    let answer = explain(&director, question);
    assert_eq!(answer["verdict"], "held", "{answer:#}");
    let about = told(&answer, "neighbour");
    let unanswered = "without an answer: dropped after 3 s as neighbour_unreachable";
    assert_eq!(about[0], "10.0.0.77 by eth0: its link address is asked for");
    assert_eq!(about[1], unanswered, "{answer:#}");
    let ask = || udp_ask(&net.client, "10.0.0.1", 53, 1, 100);
    let is = |verdict: &str, reason: Value| {
        eventually(verdict, Duration::from_secs(10), || {
            let answer = explain(&director, question);
            (answer["verdict"] == verdict && answer["reason"] == reason).then_some(())
        });
    };
    ask();
    is("dropped", "neighbour_unreachable".into());
    // It is back.
    net.servers[0].shell("ip address add 10.0.0.77/24 dev eth0");
    ask();
    is("forwarded", Value::Null);
}

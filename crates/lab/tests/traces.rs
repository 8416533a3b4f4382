//! Traces: connections that a capture or a table tells, and what is wrong with one.

use core::time::Duration;
use std::path::{Path, PathBuf};

use lab::scenario::{self, Protocol};
use lab::workload::trace::{self, Row};
use link::pcap::{LinkType, Writer};

/// A folder of its own.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a file");
    path
}

/// What is wrong, without the folder.
fn refusal(folder: &tempfile::TempDir, path: &Path, protocol: Protocol) -> String {
    let error = trace::read(path, protocol).expect_err("a refusal");
    error
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "")
}

fn row(at: u64, client: &str, work: Option<f64>, packets: Option<u32>) -> Row {
    let client: core::net::SocketAddr = client.parse().expect("an endpoint");
    Row {
        at: Duration::from_millis(at),
        client: (client.ip(), client.port()),
        work,
        packets,
    }
}

#[test]
fn a_table_is_read_in_the_order_of_its_times() {
    let folder = folder();
    let text = "seconds,client,port,work,packets\n# a remark\n\n0.5, 192.0.2.7,1234,0.25,3\n0.25,192.0.2.8,99\r\n1,2001:db8::9,1,,7\n";
    let path = file(&folder, "t.csv", text.as_bytes());
    let rows = trace::read(&path, Protocol::Tcp).expect("it is good");
    let expected = [
        row(250, "192.0.2.8:99", None, None),
        row(500, "192.0.2.7:1234", Some(0.25), Some(3)),
        row(1000, "[2001:db8::9]:1", None, Some(7)),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_bad_line_is_named() {
    let cases = [
        (
            "0.5",
            "a line is seconds,client,port,work,packets, the last two as you like",
        ),
        (
            "1,192.0.2.1,1,1,1,1",
            "a line is seconds,client,port,work,packets, the last two as you like",
        ),
        (
            "x,192.0.2.1,1",
            "`x` cannot be seconds: a number from 0 to 1000000",
        ),
        (
            "nan,192.0.2.1,1",
            "`nan` cannot be seconds: a number from 0 to 1000000",
        ),
        (
            "-1,192.0.2.1,1",
            "`-1` cannot be seconds: a number from 0 to 1000000",
        ),
        ("1,192.0.2,1", "`192.0.2` is no address, such as 192.0.2.7"),
        ("1,192.0.2.1,65536", "`65536` is no port: 0 to 65535"),
        (
            "1,192.0.2.1,1,0",
            "`0` cannot be work: a number from more than 0 to 1000000",
        ),
        (
            "1,192.0.2.1,1,1,-1",
            "`-1` is no number of packets: 0 to 10000",
        ),
    ];
    let folder = folder();
    for (line, reason) in cases {
        let path = file(
            &folder,
            "t.csv",
            format!("1,192.0.2.1,1\n{line}\n").as_bytes(),
        );
        let expected = format!("t.csv:2: `{line}`: {reason}");
        assert_eq!(refusal(&folder, &path, Protocol::Tcp), expected);
    }
    let path = file(&folder, "t.csv", b"# nothing\n");
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "t.csv: there is no connection in it: write lines of seconds,client,port,work,packets"
    );
    let path = file(&folder, "t.bin", &[0xff; 100]);
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "t.bin:1: `...`: this is neither a pcap file nor text: a trace is one of these"
    );
}

/// A frame from one endpoint to another, by the last octet of each address.
fn tcp(from: (u8, u16), to: (u8, u16), sequence: u32, flags: &str, payload: usize) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, from.0], [192, 0, 2, to.0], 64)
        .tcp(from.1, to.1, sequence, 1000);
    let builder = match flags {
        "S" => builder.syn(),
        "SA" => builder.syn().ack(1),
        _ => builder.ack(1),
    };
    let mut frame = Vec::new();
    builder
        .write(&mut frame, &vec![7; payload])
        .expect("a frame");
    frame
}

fn udp(from: (u8, u16), to: (u8, u16)) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, from.0], [192, 0, 2, to.0], 64)
        .udp(from.1, to.1)
        .write(&mut frame, &[7; 20])
        .expect("a frame");
    frame
}

/// A capture that begins at some time after 1970.
fn capture(folder: &tempfile::TempDir, frames: &[(u64, Vec<u8>)]) -> PathBuf {
    let path = folder.path().join("t.pcap");
    let mut writer = Writer::create(&path, LinkType::Ethernet).expect("a file");
    for (at, frame) in frames {
        let time = Duration::from_secs(1_700_000_000) + Duration::from_millis(*at);
        writer.write(time, frame, None).expect("it is written");
    }
    path
}

#[test]
fn connections_of_a_capture_are_its_syns() {
    let folder = folder();
    let (client, server) = ((7, 1234), (1, 80));
    let path = capture(
        &folder,
        &[
            // Someone else's connection was there before the capture.
            (0, tcp((9, 5), server, 5, "A", 100)),
            (10, tcp(client, server, 100, "S", 0)),
            (11, tcp(server, client, 200, "SA", 0)),
            (12, tcp(client, server, 101, "A", 0)),
            (13, tcp(client, server, 101, "A", 300)),
            (14, tcp(server, client, 201, "A", 1000)),
            (15, tcp(client, server, 401, "A", 300)),
            // The SYN again is the same connection, another one from the same port is not.
            (16, tcp(client, server, 100, "S", 0)),
            (20, tcp(client, server, 999, "S", 0)),
            (25, udp((8, 53), server)),
        ],
    );
    let rows = trace::read(&path, Protocol::Tcp).expect("it is good");
    let expected = [
        row(10, "192.0.2.7:1234", None, Some(2)),
        row(20, "192.0.2.7:1234", None, Some(0)),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn flows_of_a_capture_begin_with_a_datagram_that_is_no_answer() {
    let folder = folder();
    let (client, server) = ((7, 1234), (1, 53));
    let path = capture(
        &folder,
        &[
            (0, udp(client, server)),
            (1, udp(server, client)),
            (2, udp(client, server)),
            (299_000, udp(server, client)),
            (598_000, udp(client, server)),
            // More than 300 s later it is another one.
            (899_000, udp(client, server)),
        ],
    );
    let rows = trace::read(&path, Protocol::Udp).expect("it is good");
    let expected = [
        row(0, "192.0.2.7:1234", None, Some(2)),
        row(899_000, "192.0.2.7:1234", None, Some(0)),
    ];
    assert_eq!(rows, expected);
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "t.pcap: no SYN of TCP is among its 6 packets: capture where connections begin, or change `protocol` of \
         [service]"
    );
}

#[test]
fn a_capture_of_the_beginnings_of_packets_is_read() {
    let folder = folder();
    let mut frame = tcp((7, 1234), (1, 80), 101, "A", 1000);
    frame.truncate(60);
    let path = capture(
        &folder,
        &[(0, tcp((7, 1234), (1, 80), 100, "S", 0)), (1, frame)],
    );
    let rows = trace::read(&path, Protocol::Tcp).expect("it is good");
    assert_eq!(rows, [row(0, "192.0.2.7:1234", None, Some(1))]);
}

/// A capture of both families has the connections of both, also where only the beginnings of packets were kept.
#[test]
fn connections_over_ipv6_are_connections_too() {
    let folder = folder();
    let segment = |is_syn, payload| {
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([0x20; 16], [0x21; 16], 64)
            .tcp(1234, 80, 100, 1000);
        let builder = if is_syn {
            builder.syn()
        } else {
            builder.ack(1)
        };
        let mut frame = Vec::new();
        builder
            .write(&mut frame, &vec![7; payload])
            .expect("a frame");
        frame
    };
    let mut cut = segment(false, 1000);
    cut.truncate(80);
    let path = capture(
        &folder,
        &[
            (0, tcp((7, 1234), (1, 80), 100, "S", 0)),
            (1, segment(true, 0)),
            (2, cut),
        ],
    );
    let rows = trace::read(&path, Protocol::Tcp).expect("it is good");
    let client = "[2020:2020:2020:2020:2020:2020:2020:2020]:1234";
    assert_eq!(
        rows,
        [
            row(0, "192.0.2.7:1234", None, Some(0)),
            row(1, client, None, Some(1)),
        ]
    );
}

#[test]
fn a_capture_that_cannot_be_used_is_named_with_what_to_do() {
    let folder = folder();
    let path = capture(
        &folder,
        &[
            (0, tcp((7, 1), (1, 80), 1, "S", 0)),
            (1, tcp((7, 2), (1, 80), 1, "S", 0)),
        ],
    );
    let whole = std::fs::read(&path).expect("the file");

    let path = file(&folder, "cut.pcap", &whole[..whole.len() - 5]);
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "cut.pcap: it is cut off or broken behind packet 1 (unexpected end of file): capture it again, or keep what is \
         whole with `editcap -r cut.pcap OUT.pcap 1-1`"
    );

    let path = file(&folder, "head.pcap", &whole[..10]);
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "head.pcap: unexpected end of file: it is cut off before its first packet: capture it again"
    );
    let path = file(&folder, "one.pcap", &whole[..30]);
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "one.pcap: it is cut off or broken behind packet 0 (unexpected end of file): capture it again"
    );

    let mut cooked = whole.clone();
    cooked[23] = 113;
    let path = file(&folder, "any.pcap", &cooked);
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "any.pcap: link type 113 is neither Ethernet nor RAW: capture on one interface instead of `any`"
    );

    let path = file(&folder, "t.pcapng", &[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0]);
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "t.pcapng: this is pcapng: make a pcap file of it with `editcap -F pcap IN OUT`"
    );
    let path = folder.path().join("none.csv");
    assert_eq!(
        refusal(&folder, &path, Protocol::Tcp),
        "none.csv: cannot read the trace: No such file or directory (os error 2)"
    );
    assert_eq!(
        refusal(&folder, Path::new("/dev/zero"), Protocol::Tcp),
        "/dev/zero: a trace is a file, not empty, of at most 8 GiB: name another one"
    );
}

#[test]
fn a_scenario_names_its_trace_beside_it_and_the_line_that_does() {
    let folder = folder();
    let text = "name = \"t\"\nsummary = \"A trace.\"\nduration = 1.0\n[[servers]]\ncount = 2\n[arrivals]\nkind = \"trace\"\n\
                file = \"t.csv\"\n[[connections]]\nwork = { kind = \"deterministic\", mean = 0.5 }\n";
    let name = folder.path().join("s.toml").display().to_string();
    let read = || {
        scenario::read(&name, text).map_err(|error| {
            error
                .to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
    };
    assert_eq!(
        read().expect_err("there is no trace"),
        "s.toml:8: `file = \"t.csv\"`: t.csv: cannot read the trace: No such file or directory (os error 2)"
    );
    file(
        &folder,
        "t.csv",
        b"0.25,192.0.2.8,99\n0.5,192.0.2.9,99,0.1,2\n1.5,192.0.2.9,99\n",
    );
    let scenario = read().expect("it is good");
    let plan = lab::workload::Plan::new(&scenario).expect("it was read before");
    let mut workload = plan.start(1, 0);
    let first = workload.next().expect("the first");
    assert_eq!((first.work, first.packets, first.client.1), (0.5, 1, 99));
    let second = workload.next().expect("the second");
    assert_eq!((second.work, second.packets), (0.1, 2));
    assert_eq!(workload.next(), None, "the third is after the end");
}

#[test]
fn a_trace_that_asks_for_more_than_there_is_on_average_is_refused() {
    let folder = folder();
    let text = "name = \"t\"\nsummary = \"A trace.\"\nduration = 2.0\n[[servers]]\ncount = 2\n[arrivals]\nkind = \"trace\"\n\
                file = \"t.csv\"\n[[connections]]\nwork = { kind = \"deterministic\", mean = 0.5 }\n";
    let name = folder.path().join("s.toml").display().to_string();
    // Work of 3.5 s in the first moment, for which two servers have 4 s; what comes after the end is not of the run.
    let fits = "0,192.0.2.8,1,3\n0,192.0.2.8,2\n2,192.0.2.8,3,100\n";
    file(&folder, "t.csv", fits.as_bytes());
    scenario::read(&name, text).expect("it fits into the run");
    file(
        &folder,
        "t.csv",
        format!("{fits}0.5,192.0.2.8,4\n").as_bytes(),
    );
    let error = scenario::read(&name, text).expect_err("it is as much as there is");
    let told = error.to_string();
    let told = told.replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(
        told,
        "s.toml:8: `file = \"t.csv\"`: that is load 1: 3 connections in 2 s are 2 s of work a second, and the real \
         servers do 2, so queues would grow to the end; add real servers, or make what the trace or [[connections]] says \
         of `work` less"
    );
}

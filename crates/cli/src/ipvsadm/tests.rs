//! Output against that of the real ipvsadm 1.31.
//!
//! `tests/data/ipvsadm-listings.json` holds netlink replies and what the real program printed for them
//! (its libnl replaced by one that hands it these replies); the destinations answer the first question
//! for destinations of each run, later ones have none. `control`'s `ipvsadm-grammar.jsonl` holds command
//! lines with an empty director.

use control::netlink::{Answer, Info, Reply, Timeouts};
use control::netlink::{FAMILY_ID, NLM_F_MULTI, expected, requests, respond};
use serde_json::Value;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

fn strings(value: &Value) -> Vec<String> {
    let words = value.as_array().expect("array");
    words
        .iter()
        .map(|word| word.as_str().expect("string").to_owned())
        .collect()
}

/// Answers lists with recorded messages, once for destinations; everything else with success. Notes
/// the requests but for GET_INFO.
#[derive(Default)]
struct Recorded {
    services: Vec<Vec<u8>>,
    dests: Vec<Vec<u8>>,
    asked: Vec<Request>,
}

impl Recorded {
    /// The recorded messages as a reply to `sequence`, then the end of the list.
    fn list(messages: &[Vec<u8>], sequence: u32) -> Vec<Vec<u8>> {
        let header = |kind: u16, length: usize| {
            let length = u32::try_from(16 + length).expect("short");
            let mut header = length.to_ne_bytes().to_vec();
            header.extend(kind.to_ne_bytes());
            header.extend(NLM_F_MULTI.to_ne_bytes());
            header.extend(sequence.to_ne_bytes());
            header.extend(0_u32.to_ne_bytes());
            header
        };
        let framed = messages
            .iter()
            .map(|message| [header(FAMILY_ID, message.len()), message.clone()].concat());
        framed
            .chain([[header(3, 4), vec![0; 4]].concat()])
            .collect()
    }
}

impl Transport for Recorded {
    fn exchange(&mut self, request: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
        assert_eq!(expected(request), 1);
        let frame = requests(request).next().expect("a request");
        let asked = frame.request.clone().expect("a readable request");
        let sequence = frame.header.sequence;
        if asked != Request::GetInfo {
            self.asked.push(asked.clone());
        }
        Ok(match asked {
            Request::DumpServices => Self::list(&self.services, sequence),
            Request::DumpDests(_) => Self::list(&core::mem::take(&mut self.dests), sequence),
            Request::GetService(_) => {
                let mut replies = Self::list(&self.services[..1], sequence);
                replies.pop();
                replies.extend(respond(&frame, 0, &Ok(Answer::Done)));
                replies
            }
            Request::GetInfo => respond(&frame, 0, &Ok(Answer::One(Reply::Info(Info::default())))),
            Request::GetConfig => respond(
                &frame,
                0,
                &Ok(Answer::One(Reply::Config(Timeouts::default()))),
            ),
            Request::DumpDaemons | Request::DumpConnections => {
                respond(&frame, 0, &Ok(Answer::List(Vec::new())))
            }
            _ => respond(&frame, 0, &Ok(Answer::Done)),
        })
    }
}

/// Names as the recordings' machine had them.
struct RecordedNames;

impl Names for RecordedNames {
    fn host_address(&self, name: &str) -> Option<core::net::Ipv4Addr> {
        (name == "localhost").then_some(core::net::Ipv4Addr::LOCALHOST)
    }

    fn service_port(&self, _name: &str, _protocol: u16) -> Option<u16> {
        None
    }

    fn host_name(&self, address: core::net::IpAddr) -> Option<String> {
        (address == core::net::Ipv4Addr::LOCALHOST).then(|| "localhost".to_owned())
    }

    fn service_name(&self, port: u16, protocol: u16) -> Option<String> {
        let name = match (port, protocol) {
            (80, 6) => "http",
            (8080, 6) => "http-alt",
            (443, 6) => "https",
            (79, 6) => "finger",
            (1, 6) => "tcpmux",
            _ => return None,
        };
        Some(name.to_owned())
    }
}

/// Exit code, output, error output.
fn run_recorded(
    words: &[String],
    stdin: &str,
    director: &mut dyn Transport,
) -> (i64, String, String) {
    let mut argv = vec!["ipvsadm".to_owned()];
    argv.extend_from_slice(words);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let names = &RecordedNames;
    let code = run_with_names(
        &argv,
        &mut stdin.as_bytes(),
        &mut out,
        &mut err,
        director,
        names,
    );
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (i64::from(code), text(out), text(err))
}

/// The first line in which two texts differ.
fn first_difference(own: &str, real: &str) -> String {
    let differs = own
        .split('\n')
        .zip(real.split('\n'))
        .find(|(own, real)| own != real);
    format!("{differs:?}, {} and {} octets", own.len(), real.len())
}

#[test]
fn listings_are_those_of_the_real_one() {
    let data: Value =
        serde_json::from_str(include_str!("../../tests/data/ipvsadm-listings.json")).expect("JSON");
    let messages = |key: &str| {
        strings(&data[key])
            .iter()
            .map(|text| hex(text))
            .collect::<Vec<_>>()
    };
    let runs = data["runs"].as_array().expect("runs");
    assert!(runs.len() > 20);
    for run in runs {
        let mut director = Recorded {
            services: messages("services"),
            dests: messages("dests"),
            ..Recorded::default()
        };
        let words = strings(&run["argv"]);
        let (code, out, err) = run_recorded(&words, "", &mut director);
        let real = run["out"].as_str().expect("out");
        assert!(out == real, "{words:?}: {}", first_difference(&out, real));
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
    }
}

#[test]
fn runs_are_those_of_the_real_one() {
    let data = include_str!("../../../control/tests/data/ipvsadm-grammar.jsonl");
    let mut count = 0;
    for line in data.lines() {
        let run: Value = serde_json::from_str(line).expect("JSON");
        let words = strings(&run["argv"]);
        let text = |key: &str| run[key].as_str().unwrap_or_default();
        let needs_a_table = words.iter().any(|word| word == "-L" || word == "-c")
            && run["requests"]
                .as_array()
                .is_some_and(|requests| requests.len() != 1);
        if needs_a_table
            || words
                .iter()
                .any(|word| word.contains(":http") || word.contains("domain"))
        {
            continue;
        }
        count += 1;
        let mut director = Recorded::default();
        let (code, out, err) = run_recorded(&words, text("stdin"), &mut director);
        assert_eq!(
            (code, err.as_str()),
            (run["rc"].as_i64().expect("rc"), text("err")),
            "{words:?}"
        );
        if run.get("out").is_some() {
            assert!(
                out == text("out"),
                "{words:?}: {}",
                first_difference(&out, text("out"))
            );
        }
        let asked = run["requests"].as_array().expect("requests").len();
        assert_eq!(
            director.asked.len(),
            asked,
            "{words:?}: {:?}",
            director.asked
        );
    }
    assert!(count > 700, "only {count} runs");
}

/// Nothing listens.
struct Nobody;

impl Transport for Nobody {
    fn exchange(&mut self, _request: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
        let text = "cannot connect to /run/ulvs/control.sock: No such file or directory";
        Err(std::io::Error::new(std::io::ErrorKind::NotFound, text))
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn without_a_director_it_says_so() {
    let expected = "Can't initialize ipvs: cannot connect to /run/ulvs/control.sock: No such file or \
                    directory\nAre you sure that the director is running (ulvs run)?\n";
    for line in ["-Ln", "-A -t 10.8.0.1:80", "-S"] {
        let (code, out, err) = run_recorded(&words(line), "", &mut Nobody);
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (2, "", expected),
            "{line}"
        );
    }
    let restored = "-A -t 10.8.0.1:80\n-A -t 10.8.0.1:81\n";
    let (code, _, err) = run_recorded(&words("-R"), restored, &mut Nobody);
    assert_eq!(
        (code, err.as_str()),
        (2, expected),
        "the first line ends it"
    );
    assert_eq!(
        run_recorded(&words("-h"), "", &mut Nobody).0,
        0,
        "help needs no director"
    );
}

/// Runs under another name.
fn run_as(name: &str, arguments: &[&str], stdin: &str, director: &mut Recorded) -> (i32, String) {
    let argv: Vec<String> = core::iter::once(name)
        .chain(arguments.iter().copied())
        .map(str::to_owned)
        .collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run_with_names(
        &argv,
        &mut stdin.as_bytes(),
        &mut out,
        &mut err,
        director,
        &NumericNames,
    );
    out.extend(err);
    (code, String::from_utf8(out).expect("UTF-8"))
}

#[test]
fn restore_script_clears_first_and_leaves_comments_out() {
    let mut director = Recorded::default();
    let text = "# saved\n-A -t 10.8.0.1:80 -s rr\n#-A -t 10.8.0.1:81\n";
    let result = run_as("/sbin/ipvsadm-restore", &[], text, &mut director);
    assert_eq!(result, (0, String::new()));
    assert!(
        matches!(
            director.asked.as_slice(),
            [Request::Flush, Request::NewService(_)]
        ),
        "{:?}",
        director.asked
    );
}

#[test]
fn save_script_knows_n_only() {
    let mut director = Recorded::default();
    assert_eq!(
        run_as("ipvsadm-save", &["-n"], "", &mut director),
        (0, String::new())
    );
    assert_eq!(director.asked, [Request::DumpServices]);
    let (code, text) = run_as("ipvsadm-save", &["--exact"], "", &mut director);
    assert_eq!(code, 1);
    assert!(
        text.starts_with("ipvsadm-save: Script to save the IPVS table to stdout.\n"),
        "{text}"
    );
}

#[test]
fn connections_stand_in_columns() {
    let template = control::netlink::ConnectionEntry {
        protocol: 17,
        client: "192.0.2.10".parse().expect("address"),
        client_port: 0,
        virtual_address: "10.8.0.2".parse().expect("address"),
        virtual_port: 5060,
        destination: "10.2.0.11".parse().expect("address"),
        destination_port: 5060,
        state: "NONE".to_owned(),
        expires_ms: 59_999,
        flags: 0x1000,
        engine: Some(("sip".to_owned(), b"abc@x".to_vec())),
    };
    let six = control::netlink::ConnectionEntry {
        protocol: 6,
        client: "2001:db8:1234:5678:9abc:def0:aaaa:1"
            .parse()
            .expect("address"),
        client_port: 1001,
        virtual_address: "fd00:8::1".parse().expect("address"),
        virtual_port: 80,
        destination: "10.3.0.11".parse().expect("address"),
        destination_port: 80,
        state: "SYN_RECV".to_owned(),
        expires_ms: 900_000,
        flags: 0,
        engine: None,
    };
    let replies = [Reply::Connection(template), Reply::Connection(six)];
    let mut format = Format {
        numeric: true,
        ..Format::default()
    };
    let first = "UDP 00:59  NONE        192.0.2.10:0       10.8.0.2:5060      10.2.0.11:5060";
    let second = "TCP 15:00  SYN_RECV    [2001:db8:1234:5678:9abc:def0:aaaa:1]:1001 \
                  [fd00:8::1]:80     10.3.0.11:80";
    let title = "IPVS connection entries\n\
                 pro expire state       source             virtual            destination";
    let listed = |format| {
        let listed = connections::list(&replies, format, &NumericNames);
        String::from_utf8(listed.text).expect("ASCII")
    };
    assert_eq!(listed(format), format!("{title}\n{first}\n{second}\n"));
    format.persistent_connections = true;
    let title = format!("{title}        pe name          pe_data");
    let first = format!("{first}   sip                abc@x");
    assert_eq!(listed(format), format!("{title}\n{first}\n{second}\n"));
}

/// What ipvsadm 1.31 prints for a template whose Call-ID does not fit its buffer.
#[test]
fn a_long_call_id_is_listed_in_two_parts() {
    let listed = |len: usize, expires_ms| {
        let template = control::netlink::ConnectionEntry {
            protocol: 17,
            client: "192.0.2.24".parse().expect("address"),
            client_port: 0,
            virtual_address: "10.8.0.1".parse().expect("address"),
            virtual_port: 5060,
            destination: "10.2.0.13".parse().expect("address"),
            destination_port: 5060,
            state: "NONE".to_owned(),
            expires_ms,
            flags: 0x1000,
            engine: Some(("sip".to_owned(), vec![b'x'; len])),
        };
        let format = Format {
            numeric: true,
            persistent_connections: true,
            ..Format::default()
        };
        let listed = connections::list(&[Reply::Connection(template)], format, &NumericNames);
        let lines = listed.text.split(|octet| *octet == b'\n').skip(2);
        let lines: Vec<_> = lines.map(<[u8]>::to_vec).collect();
        (listed.fails, lines)
    };
    let rest = |start: &str, dest: &str| {
        format!("{start}  NONE        192.0.2.24:0       10.8.0.1:0         {dest}").into_bytes()
    };
    let dest = "10.2.0.13:5060";
    let (fails, lines) = listed(184, 100_000);
    assert_eq!((fails, lines.len()), (false, 2), "it fits");
    assert!(lines[0].ends_with(&[b'x'; 184]));
    let (fails, lines) = listed(185, 100_000);
    assert_eq!((fails, lines.len()), (true, 2), "nothing is left");
    assert_eq!(listed(186, 100_000).1[1], rest("x   01:40", dest));
    let (_, lines) = listed(200, 100_000);
    assert!(lines[0].ends_with(&[b'x'; 185]) && !lines[0].ends_with(&[b'x'; 186]));
    assert_eq!(lines[1], rest("xxxxxxxx\x01 01:40", dest));
    assert_eq!(listed(200, 5_000).1[1], rest("xxxxxxxx 00:05", dest));
    assert_eq!(listed(200, 3_599_000).1[1], rest("xxxxxxxx; 59:59", dest));
    assert_eq!(
        listed(235, 100_000).1[1],
        rest("xxxxxxxx\x01 01:40", "[(null)]:5060")
    );
    let nowhere =
        b"xxxxxxxx\x01 01:40  NONE        [(null)]:0         [(null)]:0         [(null)]:5060";
    assert_eq!(listed(240, 100_000).1[1], nowhere);
    assert_eq!(
        listed(241, 100_000).1,
        [&listed(240, 100_000).1[0][..], b""]
    );
}

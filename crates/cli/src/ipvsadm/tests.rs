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

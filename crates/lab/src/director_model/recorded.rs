//! The choices that the kernel was recorded with, through the lab's own path: the recorded commands by
//! [`DirectorModel`], the recorded packets as its frames, and the server read from the frame that leaves.

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::schedulers::choose;

/// Recordings of schedulers that the lab can follow: one service by address, commands that its operator gives.
const LEAST_RECORDINGS: usize = 78;

struct Replay {
    model: Option<DirectorModel>,
    now: u64,
    known: Vec<Flow>,
    chosen: Vec<String>,
}

fn endpoint(text: &str) -> Option<(Ipv4Addr, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    Some((address.parse().ok()?, port.parse().ok()?))
}

fn value<'a>(words: &[&'a str], option: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == option)?;
    words.get(at + 1).copied()
}

impl Replay {
    /// Follows an `ipvsadm` command; nothing when the lab has no such command.
    fn command(&mut self, words: &[&str]) -> Option<()> {
        let (option, protocol) = match value(words, "-t") {
            Some(_) => ("-t", scenario::Protocol::Tcp),
            None => ("-u", scenario::Protocol::Udp),
        };
        let (vip, port) = endpoint(value(words, option)?)?;
        if (vip, port) != (Ipv4Addr::new(10, 8, 0, 1), PORT) || value(words, "-p").is_some() {
            return None;
        }
        if words[0] == "-A" {
            let flags = value(words, "-b").map_or_else(String::new, |flags| format!(" -b {flags}"));
            let scheduler = choose(&format!("{}{flags}", value(words, "-s")?)).ok()?;
            let setup = Setup {
                scheduler,
                service: ServiceSection {
                    protocol,
                    one_packet: words.contains(&"-o"),
                    ..ServiceSection::default()
                },
                count: 1,
                is_shared: false,
                servers: 8,
                sloppy: false,
                addresses: Addresses {
                    vips: Ipv4Addr::new(10, 8, 0, 0),
                    servers: Ipv4Addr::new(10, 2, 0, 10),
                },
                seed: 0,
            };
            let is_first = self.model.is_none();
            self.model = Some(DirectorModel::new(setup).ok()?);
            return is_first.then_some(());
        }
        let (server, PORT) = endpoint(value(words, "-r")?)? else {
            return None;
        };
        let number = |option| value(words, option).map_or(Some(0), |text| text.parse().ok());
        let server = u32::from(server.octets()[3]).checked_sub(11)?;
        let listed = Listed {
            server,
            weight: value(words, "-w").map_or(Some(1), |text| text.parse().ok())?,
            upper: number("-x")?,
            lower: number("-y")?,
        };
        let model = self.model.as_mut()?;
        match words[0] {
            "-a" => model.add(listed).ok(),
            "-e" => model.edit(listed).ok(),
            "-d" => model.delete(server).ok(),
            _ => None,
        }
    }

    /// A client's packet, as the recording describes it.
    fn packet(&mut self, text: &str) -> Option<()> {
        let mut words = text.split_whitespace().skip_while(|word| *word != "IP");
        let (client, vip) = words.nth(1)?.split_once('>')?;
        let protocol = words.find(|word| matches!(*word, "TCP" | "UDP"))?;
        let (port, service_port) = words.next()?.split_once('>')?;
        let flow = Flow {
            client: client.parse().ok()?,
            port: port.parse().ok()?,
            vip: vip.parse().ok()?,
            service_port: service_port.parse().ok()?,
        };
        let kind = match (protocol, words.next()) {
            ("UDP", _) => Kind::Datagram,
            (_, Some(flags)) if flags.contains('S') => Kind::Syn,
            (_, Some(flags)) if flags.contains('F') => Kind::Fin,
            (_, Some(flags)) if !flags.contains('R') => Kind::Data,
            _ => return None,
        };
        let model = self.model.as_mut()?;
        let reached = model.handle(self.now, 0, &flow, kind);
        let begins = matches!(kind, Kind::Syn | Kind::Datagram);
        let is_known = self.known.contains(&flow) && !model.setup().service.one_packet;
        if begins && !is_known {
            self.known.push(flow);
            let name = reached.map_or_else(|| "none".to_owned(), |it| format!("rs{}", it + 1));
            self.chosen.push(name);
        }
        Some(())
    }

    /// Follows a line of a recording: its label, what the kernel chose and what the lab did, if it is a sequence;
    /// nothing when the lab cannot follow.
    fn line(&mut self, record: &Value) -> Option<Option<(Vec<String>, Vec<String>)>> {
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        if let Some(at) = record["t"].as_f64() {
            self.now = crate::time::nanoseconds(at);
        }
        match text("op") {
            "cmd" => {
                let words: Vec<&str> = record["argv"]
                    .as_array()?
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                match (words[..].split_first()?, record["rc"].as_i64()?) {
                    ((&"ipvsadm", rest), 0) if rest[0] == "-L" => {}
                    ((&"ipvsadm", rest), 0) => self.command(rest)?,
                    _ => return None,
                }
            }
            "sysctl" => return None,
            "send" if text("if") == "cl" => self.packet(text("dec"))?,
            "sequence" => {
                let chosen = record["chosen"].as_array()?.iter();
                let is_server = |name: &&str| name.starts_with("rs");
                let name = |it: &Value| it.as_str().filter(is_server).unwrap_or("none").to_owned();
                return Some(Some((
                    chosen.map(name).collect(),
                    core::mem::take(&mut self.chosen),
                )));
            }
            _ => {}
        }
        Some(None)
    }
}

/// Sequences of a recording, each as the kernel and as the lab chose; nothing when the lab cannot follow it.
fn sequences(text: &str) -> Option<Vec<(Vec<String>, Vec<String>)>> {
    let mut replay = Replay {
        model: None,
        now: 0,
        known: Vec::new(),
        chosen: Vec::new(),
    };
    let mut found = Vec::new();
    for line in text.lines() {
        let record = serde_json::from_str(line).expect("a recording is JSON");
        found.extend(replay.line(&record)?);
    }
    Some(found)
}

#[test]
fn the_kernels_choices_are_the_labs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/conformance/vectors");
    let (mut recordings, mut choices) = (0, 0);
    for entry in std::fs::read_dir(&folder).expect("the recordings are there") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // twos draws lots of its own.
        if !name.starts_with("sched.") || name.contains("twos") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a recording");
        let Some(found) = sequences(&text) else {
            continue;
        };
        for (kernel, lab) in found {
            assert_eq!(lab, kernel, "{name}");
            choices += kernel.len();
        }
        recordings += 1;
    }
    assert!(
        recordings >= LEAST_RECORDINGS,
        "only {recordings} recordings could be followed"
    );
    assert!(choices > 20 * recordings, "only {choices} choices");
}

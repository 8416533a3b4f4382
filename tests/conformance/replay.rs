//! Replays one recording through the project's own code in virtual time and collects the differences.

use std::collections::HashSet;
use std::time::Duration;

use crate::compare::{self, Recorded};
use crate::flow::{Client, begins, client, same_entries};
use crate::recording::{Entry, Frame, Line, Pairs, Port, Record, Recording, TableResult, from_hex};
use crate::system::{Answer, System};
use crate::texts::{self, Tolerance};
use crate::workers::How;

use serde_json::Value;

/// Seconds that remaining times may be apart where the kernel ran in real time, on a machine with other things to do.
const REAL_TIME_SLACK: u64 = 4;

/// A place where ulvs and the kernel differ.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Line of the recording.
    pub(crate) line: usize,
    /// Which record.
    pub(crate) what: String,
    /// Both sides, readable.
    pub(crate) detail: String,
}

/// One case under way.
struct Replay<'a> {
    recording: &'a Recording,
    masks: &'a [HashSet<usize>],
    system: System,
    differences: Vec<Difference>,
    /// `recv` records seen so far.
    received: usize,
    /// Recorded frames since the last record that causes frames.
    recorded: Vec<Recorded<'a>>,
    /// That record's line and name.
    /// End of the sleep that was recorded last, where nothing with a time followed.
    asleep_until: Option<Duration>,
    cause: (usize, String),
    /// Each send since the last `sequence` record: whether it asks for a new connection, and where it went.
    chosen: Vec<(bool, String)>,
    /// Clients since the last `table` record, and what their connections were after their last segment.
    clients: Vec<(Client, Vec<Entry>)>,
    /// Whether a `table` record follows somewhere, so that `clients` is worth keeping.
    has_tables: bool,
}

/// A path, the kernel's entries after it, and ours.
type Row<'r> = (String, &'r [Entry], Option<&'r Vec<Entry>>);

/// What a replay found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// In order; an empty list means that the case passes.
    pub(crate) differences: Vec<Difference>,
}

/// Replays a recording.
///
/// # Errors
/// A sentence when the case cannot be set up at all.
pub(crate) fn run(
    recording: &Recording,
    masks: &[HashSet<usize>],
    how: How,
) -> Result<Findings, String> {
    let mut replay = Replay {
        recording,
        masks,
        system: System::new(&recording.topology, how)?,
        differences: Vec::new(),
        received: 0,
        recorded: Vec::new(),
        asleep_until: None,
        cause: (0, "start".to_owned()),
        chosen: Vec::new(),
        clients: Vec::new(),
        has_tables: recording
            .lines
            .iter()
            .any(|line| matches!(line.record, Record::Table { .. })),
    };
    for line in &recording.lines {
        replay.step(line);
    }
    Ok(Findings {
        differences: replay.differences,
    })
}

impl<'a> Replay<'a> {
    fn step(&mut self, line: &'a Line) {
        if let Record::Recv { port, frame, .. } = &line.record {
            if let Some(mask) = self.masks.get(self.received) {
                self.recorded.push(Recorded {
                    port: *port,
                    frame,
                    mask,
                });
            }
            self.received += 1;
            return;
        }
        // Settings are recorded without their time: behind a sleep, that is its end.
        let awake = self.asleep_until.take();
        if let Some(time) = line.time.or(awake) {
            self.system.advance(time);
        }
        self.close_window(line);
        match &line.record {
            Record::Send {
                n,
                port,
                frame,
                note,
            } => self.send(line.number, *n, *port, frame, note.as_deref()),
            Record::Cmd {
                argv,
                rc,
                out,
                err,
                stdin,
            } => {
                let answer = self.system.command(argv, stdin.as_deref());
                let kernel = Answer {
                    rc: *rc,
                    out: out.clone(),
                    err: err.clone(),
                };
                self.answers(line.number, &argv.join(" "), &kernel, &answer);
            }
            Record::Sysctl { key, val, err } => self.sysctl(line.number, key, val, err),
            Record::SysctlRead { values } => self.sysctl_read(line.number, values),
            Record::Sequence { label, chosen } => self.sequence(line.number, label, chosen),
            Record::Show { label, texts } => self.show(line.number, label, texts),
            Record::Table { path, result } => self.table(line.number, path, result),
            Record::Lifetime {
                label,
                seconds,
                gone,
            } => {
                self.lifetime(line.number, label, *seconds, *gone);
            }
            Record::Count { conns } => self.count(line.number, *conns),
            Record::Note { text } => self.note(text),
            Record::Error { text } => {
                self.differ(
                    line.number,
                    "error",
                    format!("the recording failed: {text}"),
                );
            }
            Record::Sleep { s } => {
                self.cause = (line.number, format!("sleep {s}"));
                let slept = Duration::try_from_secs_f64(*s).unwrap_or_default();
                self.asleep_until = line.time.map(|time| time + slept);
            }
            Record::Recv { .. } | Record::End {} => {}
        }
    }

    fn send(&mut self, line: usize, n: u32, port: Port, frame: &Frame, note: Option<&str>) {
        let note = note.map_or_else(String::new, |note| format!(" ({note})"));
        let what = format!("send {n}{note}: {}", crate::decode::frame(frame));
        self.cause = (line, what);
        self.system.frame(port, &frame.0);
        if let Some(detail) = self.system.contradiction() {
            let (line, what) = self.cause.clone();
            self.differ(line, what, detail);
        }
        let server = compare::chosen(self.system.output());
        self.chosen.push((begins(&frame.0), server));
        if self.has_tables {
            self.note_client(port, frame);
        }
    }

    fn differ(&mut self, line: usize, what: impl Into<String>, detail: String) {
        self.differences.push(Difference {
            line,
            what: what.into(),
            detail,
        });
    }

    /// Compares what came out since the last cause.
    fn close_window(&mut self, line: &Line) {
        let ours = self.system.take_output();
        let recorded = std::mem::take(&mut self.recorded);
        if let Some(detail) = compare::frames(&recorded, &ours) {
            let (number, what) = self.cause.clone();
            let verdict = self
                .system
                .verdict()
                .map_or_else(String::new, |verdict| format!("\nverdict: {verdict:?}"));
            self.differ(number, what, detail + &verdict);
        }
        if !matches!(line.record, Record::Send { .. }) {
            self.cause = (line.number, "without a frame sent".to_owned());
        }
    }

    /// Compares a command's answer.
    fn answers(&mut self, line: usize, name: &str, kernel: &Answer, ulvs: &Answer) {
        let detail = if kernel.rc != ulvs.rc {
            Some(format!(
                "kernel: exit code {}, {}\nulvs:   exit code {}, {}",
                kernel.rc,
                kernel.says(),
                ulvs.rc,
                ulvs.says()
            ))
        } else if kernel.err != ulvs.err {
            Some(format!(
                "standard error\nkernel: {:?}\nulvs:   {:?}",
                kernel.err, ulvs.err
            ))
        } else {
            texts::difference(name, &kernel.out, &ulvs.out, self.tolerance(0))
        };
        if let Some(detail) = detail {
            self.differ(line, format!("$ {name}"), detail);
        }
    }

    fn sysctl(&mut self, line: usize, key: &str, value: &str, error: &str) {
        let ours = self.system.set_sysctl(key, value).err().unwrap_or_default();
        if ours != error {
            self.differ(
                line,
                format!("sysctl {key}={value}"),
                format!("kernel: {error:?}\nulvs:   {ours:?}"),
            );
        }
    }

    fn sysctl_read(&mut self, line: usize, values: &Pairs<String>) {
        for (key, value) in &values.0 {
            let ours = self.system.sysctl(key);
            if ours.as_deref() != Ok(value) {
                self.differ(
                    line,
                    format!("sysctl {key}"),
                    format!(
                        "kernel: {value}\nulvs:   {}",
                        ours.unwrap_or_else(|error| error)
                    ),
                );
            }
        }
    }

    fn sequence(&mut self, line: usize, label: &str, recorded: &[String]) {
        let sends = std::mem::take(&mut self.chosen);
        let new: Vec<String> = sends
            .iter()
            .filter(|(begins, _)| *begins)
            .map(|(_, server)| server.clone())
            .collect();
        let all: Vec<String> = sends.into_iter().map(|(_, server)| server).collect();
        // Scenarios tell the servers of their last sends, or of their new connections alone.
        let ours = if new.len() == recorded.len() {
            &new[..]
        } else {
            all.get(all.len().saturating_sub(recorded.len())..)
                .unwrap_or_default()
        };
        if ours != recorded {
            self.differ(
                line,
                format!("sequence {label}"),
                format!("kernel: {}\nulvs:   {}", recorded.join(" "), ours.join(" ")),
            );
        }
    }

    fn show(&mut self, line: usize, label: &str, texts: &Pairs<Value>) {
        let late = texts
            .0
            .iter()
            .filter_map(|(name, text)| Some(texts::late(name, text.as_str()?)))
            .max()
            .unwrap_or(0);
        for (name, recorded) in &texts.0 {
            if name == "t" || !texts::is_compared(self.recording.topic(), name) {
                continue;
            }
            let what = format!("show {label:?} {name}");
            let ours = self.system.show(name);
            match (recorded, ours) {
                (Value::String(recorded), Ok(ours)) => {
                    let difference = if ours.rc == 0 {
                        texts::difference(name, recorded, &ours.out, self.tolerance(late))
                    } else {
                        Some(format!(
                            "kernel: a text\nulvs:   exit code {}, {}",
                            ours.rc,
                            ours.says()
                        ))
                    };
                    if let Some(detail) = difference {
                        self.differ(line, what, detail);
                    }
                }
                (failed, Ok(ours)) => match Answer::of(failed) {
                    Some(kernel) => self.answers(line, &what, &kernel, &ours),
                    None => self.differ(line, what, format!("unreadable record {failed}")),
                },
                (_, Err(error)) => self.differ(line, what, error),
            }
        }
    }

    fn tolerance(&self, late: u64) -> Tolerance {
        let seconds = if self.recording.virtual_time {
            1
        } else {
            REAL_TIME_SLACK
        };
        Tolerance { seconds, late }
    }

    fn note_client(&mut self, port: Port, frame: &Frame) {
        let Some(client) = client(port, &frame.0) else {
            return;
        };
        let entries = self.entries_of(&client);
        match self.clients.iter_mut().find(|(have, _)| *have == client) {
            Some((_, have)) => *have = entries,
            None => self.clients.push((client, entries)),
        }
    }

    /// State and remaining seconds of a client's connections.
    fn entries_of(&self, client: &Client) -> Vec<Entry> {
        let text = self.connections();
        text.lines()
            .skip(1)
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let own = words.get(1) == Some(&client.0.as_str())
                    && words.get(2) == Some(&client.1.as_str());
                let (state, seconds) = (words.get(7)?, words.get(8)?);
                own.then(|| ((*state).to_owned(), (*seconds).to_owned()))
            })
            .collect()
    }

    /// `/proc/net/ip_vs_conn` of ulvs; empty when there is none.
    fn connections(&self) -> String {
        self.system
            .show("/proc/net/ip_vs_conn")
            .map(|answer| answer.out)
            .unwrap_or_default()
    }

    fn table(&mut self, line: usize, path: &str, result: &TableResult) {
        let clients = std::mem::take(&mut self.clients);
        let rows: Vec<Row<'_>> = match result {
            TableResult::One(entries) => {
                let ours = clients.last().map(|(_, entries)| entries);
                vec![(path.to_owned(), entries.as_slice(), ours)]
            }
            TableResult::Many(rows) => rows
                .0
                .iter()
                .enumerate()
                .map(|(index, (key, entries))| {
                    let ours = clients.get(index).map(|(_, entries)| entries);
                    (format!("{path} {key}"), entries.as_slice(), ours)
                })
                .collect(),
        };
        for (name, kernel, ours) in rows {
            let empty = Vec::new();
            let ours = ours.unwrap_or(&empty);
            if !same_entries(kernel, ours) {
                self.differ(
                    line,
                    format!("table {name}"),
                    format!("kernel: {kernel:?}\nulvs:   {ours:?}"),
                );
            }
        }
    }

    /// The kernel removes up to 12.5 % late (and looked only every tenth of a second); exact is as good.
    fn lifetime(&mut self, line: usize, label: &str, seconds: f64, gone: bool) {
        let start = self.system.now();
        let limit = start + Duration::from_secs_f64(seconds + 1.0);
        let mut at = start;
        while self
            .connections()
            .lines()
            .nth(1)
            .is_some_and(|line| !line.trim().is_empty())
            && at < limit
        {
            at += Duration::from_millis(100);
            self.system.advance(at);
        }
        let lived = (at - start).as_secs_f64();
        let ours_gone = at < limit;
        let late = seconds - lived;
        if ours_gone != gone || (gone && late > 0.15 * start.as_secs_f64().max(seconds) + 0.5) {
            self.differ(
                line,
                format!("lifetime {label}"),
                format!("kernel: {seconds} s, gone {gone}\nulvs:   {lived:.1} s, gone {ours_gone}"),
            );
        }
    }

    fn count(&mut self, line: usize, recorded: usize) {
        let ours = self
            .connections()
            .lines()
            .skip(1)
            .filter(|line| !line.trim().is_empty())
            .count();
        if ours != recorded {
            self.differ(
                line,
                "count",
                format!("kernel: {recorded} connections\nulvs:   {ours} connections"),
            );
        }
    }

    /// Frames that a scenario sent without recording them stand in a note.
    fn note(&mut self, text: &str) {
        let Some((count, frame)) =
            text.split_once(" copies of this frame follow without being recorded: ")
        else {
            return;
        };
        let (Ok(count), Some(frame)) = (count.parse::<u32>(), from_hex(frame)) else {
            return;
        };
        for _ in 0..count {
            self.system.frame(Port::Client, &frame);
        }
        self.system.take_output();
    }
}

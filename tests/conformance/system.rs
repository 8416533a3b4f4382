//! The system under test: the director, the control server and the command line, all in this process,
//! on a modelled host, in virtual time.

use std::time::Duration;

use serde_json::Value;

use crate::host::Host;
use crate::recording::{Frame, Port, Topology};

/// What a command answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Exit code.
    pub(crate) rc: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Answer {
    /// The first line of what it said.
    pub(crate) fn says(&self) -> String {
        let text = if self.err.is_empty() {
            &self.out
        } else {
            &self.err
        };
        format!("{:?}", text.lines().next().unwrap_or_default())
    }

    /// The answer of a failed command in a `show` record.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        Some(Self {
            rc: i32::try_from(value.get("rc")?.as_i64()?).ok()?,
            out: value.get("out")?.as_str()?.to_owned(),
            err: value.get("err")?.as_str()?.to_owned(),
        })
    }
}

/// Names of `show` texts that `ipvsadm` prints, and its arguments.
const LISTS: [(&str, &str); 11] = [
    ("Ln", "-Ln"),
    ("Ln_nosort", "-Ln --nosort"),
    ("stats", "-Ln --stats"),
    ("stats_exact", "-Ln --stats --exact"),
    ("rate", "-Ln --rate"),
    ("thresholds", "-Ln --thresholds"),
    ("persistent_conn", "-Ln --persistent-conn"),
    ("Lcn", "-Lcn"),
    ("Lcn_persist", "-Lcn --persistent-conn"),
    ("Sn", "-Sn"),
    ("timeout", "-L --timeout"),
];

/// Director, control server and host.
pub(crate) struct System {
    host: Host,
    now: Duration,
    output: Vec<(Port, Frame)>,
}

impl System {
    /// The system on the host of a recording.
    ///
    /// # Errors
    /// A sentence when the topology cannot be read.
    pub(crate) fn new(topology: &Topology) -> Result<Self, String> {
        let host = Host::new(topology)?;
        let _ = host.network();
        Ok(Self {
            host,
            now: Duration::ZERO,
            output: Vec::new(),
        })
    }

    /// Virtual time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Lets time pass up to `time`.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.now = self.now.max(time);
    }

    /// Gives one frame to the director.
    pub(crate) fn frame(&mut self, port: Port, frame: &[u8]) {
        let mark = self.host.marks.mark(port, frame);
        let _ = (mark, crate::host::index(port), crate::host::port(2));
    }

    /// Frames sent since they were last taken.
    pub(crate) fn output(&self) -> &[(Port, Frame)] {
        &self.output
    }

    /// Takes the frames sent.
    pub(crate) fn take_output(&mut self) -> Vec<(Port, Frame)> {
        std::mem::take(&mut self.output)
    }

    /// Runs a command line of the recording.
    pub(crate) fn command(&mut self, argv: &[String], stdin: Option<&str>) -> Answer {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let done = match words.as_slice() {
            ["ipvsadm", arguments @ ..] => return self.ipvsadm(arguments, stdin),
            ["ip", arguments @ ..] => self.host.ip_command(arguments),
            ["iptables" | "iptables-legacy", arguments @ ..] => {
                self.host.marks.command(false, arguments)
            }
            ["ip6tables" | "ip6tables-legacy", arguments @ ..] => {
                self.host.marks.command(true, arguments)
            }
            _ => Err(format!("the host model does not know: {}", argv.join(" "))),
        };
        match done {
            Ok(()) => Answer {
                rc: 0,
                out: String::new(),
                err: String::new(),
            },
            Err(error) => Answer {
                rc: 1,
                out: String::new(),
                err: error,
            },
        }
    }

    fn ipvsadm(&self, arguments: &[&str], stdin: Option<&str>) -> Answer {
        let _ = (arguments, stdin);
        Answer {
            rc: -1,
            out: String::new(),
            err: "the command line is not joined yet".to_owned(),
        }
    }

    /// Writes a kernel setting.
    ///
    /// # Errors
    /// The text of the system's refusal.
    pub(crate) fn set_sysctl(&mut self, key: &str, value: &str) -> Result<(), String> {
        if key.starts_with("net.ipv4.vs.") {
            return Err("settings are not joined yet".to_owned());
        }
        self.host.set_sysctl(key, value);
        Ok(())
    }

    /// Reads a kernel setting.
    ///
    /// # Errors
    /// A sentence when there is no such setting.
    pub(crate) fn sysctl(&self, key: &str) -> Result<String, String> {
        Err(format!("{key}: settings are not joined yet"))
    }

    /// A text of a `show` record.
    ///
    /// # Errors
    /// A sentence when ulvs has no such text.
    pub(crate) fn show(&self, name: &str) -> Result<Answer, String> {
        if let Some((_, arguments)) = LISTS.iter().find(|(have, _)| *have == name) {
            let words: Vec<&str> = arguments.split(' ').collect();
            return Ok(self.ipvsadm(&words, None));
        }
        Err(format!("ulvs has no text {name}"))
    }
}

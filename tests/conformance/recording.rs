//! A recording of the kernel, as written in one `TOPIC.CASE.jsonl` file: parsed whole, checked, never
//! edited.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// One case: what was done to the kernel and what it answered.
#[derive(Debug)]
pub(crate) struct Recording {
    /// `TOPIC.CASE`, the file's name.
    pub(crate) name: String,
    /// The folder it came from.
    pub(crate) folder: PathBuf,
    /// Interfaces, addresses, routes and neighbours of the director.
    pub(crate) topology: Topology,
    /// Everything behind `meta` and `topo`, in order.
    pub(crate) lines: Vec<Line>,
    /// Whether the kernel ran in virtual time; in real time, its texts are older than their time stamps.
    pub(crate) virtual_time: bool,
}

impl Recording {
    /// The part of the name in front of the first dot.
    pub(crate) fn topic(&self) -> &str {
        topic_of(&self.name)
    }
}

/// The topic of a case's name.
pub(crate) fn topic_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// One record and where it stands.
#[derive(Debug)]
pub(crate) struct Line {
    /// Line of the file, counted from 1.
    pub(crate) number: usize,
    /// Virtual time since the case's start, where the record has one.
    pub(crate) time: Option<Duration>,
    /// What happened.
    pub(crate) record: Record,
}

/// The host that the kernel's director stood on.
#[derive(Debug, Deserialize)]
pub(crate) struct Topology {
    /// Client side.
    pub(crate) cl0: Interface,
    /// Server side.
    pub(crate) sv0: Interface,
    /// Loopback: carries the VIPs.
    pub(crate) lo: Interface,
    /// `"DEVICE ADDRESS"` to MAC.
    pub(crate) neigh: Pairs<String>,
    /// Operands of `ip route add`.
    pub(crate) routes: Vec<String>,
    /// Kernel settings.
    pub(crate) sysctl: Pairs<Value>,
}

/// One interface of the director.
#[derive(Debug, Deserialize)]
pub(crate) struct Interface {
    /// Link-layer address; none on loopback.
    #[serde(default)]
    pub(crate) mac: Option<String>,
    /// `ADDRESS/LENGTH`.
    pub(crate) addr: Vec<String>,
    /// Octets.
    #[serde(default)]
    pub(crate) mtu: Option<u32>,
}

/// One step of a recording.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Record {
    /// A command line and its answer.
    Cmd {
        /// Program and arguments.
        argv: Vec<String>,
        /// Exit code.
        rc: i32,
        /// Standard output.
        out: String,
        /// Standard error.
        err: String,
        /// Standard input, for `-R`.
        #[serde(default)]
        stdin: Option<String>,
    },
    /// A kernel setting was written.
    Sysctl {
        /// Dotted name.
        key: String,
        /// Text written.
        val: String,
        /// Python's text of the error, empty on success.
        err: String,
    },
    /// Kernel settings were read.
    SysctlRead {
        /// Name and text.
        values: Pairs<String>,
    },
    /// Nothing was sent for so long.
    Sleep {
        /// Seconds.
        s: f64,
    },
    /// A remark of the scenario.
    Note {
        /// Free text.
        text: String,
    },
    /// A frame went into the director.
    Send {
        /// Number of the send, from 1.
        n: u32,
        /// Interface.
        #[serde(rename = "if")]
        port: Port,
        /// Whole Ethernet frame.
        frame: Frame,
        /// The scenario's remark.
        #[serde(default)]
        note: Option<String>,
    },
    /// A frame came out of the director.
    Recv {
        /// Interface.
        #[serde(rename = "if")]
        port: Port,
        /// Whole Ethernet frame.
        frame: Frame,
    },
    /// The server of each new connection since the last such record.
    Sequence {
        /// The scenario's name for it.
        label: String,
        /// `rs3`, `cl:ICMP:3/3`, `none`, ...
        chosen: Vec<String>,
    },
    /// Tables and lists at one moment.
    Show {
        /// The scenario's name for it.
        label: String,
        /// Name of the text and the text, or an object with `rc`, `out`, `err`.
        #[serde(flatten)]
        texts: Pairs<Value>,
    },
    /// State and remaining seconds of the connection after each path of segments.
    Table {
        /// Segments sent before the last one.
        path: String,
        /// Path or last segment to entries; or the entries themselves.
        result: TableResult,
    },
    /// How long the connections lived.
    Lifetime {
        /// The scenario's name for it.
        label: String,
        /// Seconds until the table was empty.
        seconds: f64,
        /// Whether it became empty.
        gone: bool,
    },
    /// Connections in the table.
    Count {
        /// How many.
        conns: usize,
    },
    /// The scenario itself failed while recording.
    Error {
        /// Python's traceback.
        text: String,
    },
    /// The last record.
    End {},
}

/// Contents of a `table` record.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum TableResult {
    /// The connection of the last path.
    One(Vec<Entry>),
    /// Each path, in the order they were sent.
    Many(Pairs<Vec<Entry>>),
}

/// State and remaining seconds, both as the kernel printed them.
pub(crate) type Entry = (String, String);

/// Side of the director.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
pub(crate) enum Port {
    /// `cl0`.
    #[serde(rename = "cl")]
    Client,
    /// `sv0`.
    #[serde(rename = "sv")]
    Server,
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Client => "cl",
            Self::Server => "sv",
        })
    }
}

/// Bytes of an Ethernet frame.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) Vec<u8>);

impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} octets", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("frame is not hexadecimal"))
    }
}

/// A JSON object in the order it was written.
#[derive(Debug)]
pub(crate) struct Pairs<T>(pub(crate) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Collect<T> {
            type Value = Vec<(String, T)>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer
            .deserialize_map(Collect(std::marker::PhantomData))
            .map(Self)
    }
}

/// Bytes of a hexadecimal text without separators.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Reads one file.
///
/// # Errors
/// A sentence that names the line and what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Recording, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut topology = None;
    let mut virtual_time = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
        match value.get("op").and_then(Value::as_str) {
            Some("meta") => virtual_time = value["timetravel"] == Value::Bool(true),
            Some("topo") => {
                topology = Some(
                    serde_json::from_str(line)
                        .map_err(|error| format!("line {number}: {error}"))?,
                );
            }
            _ => {
                // The text again, not `value`: its objects are sorted by key, and the order counts.
                let record = serde_json::from_str(line)
                    .map_err(|error| format!("line {number}: {error}"))?;
                let time = value
                    .get("t")
                    .and_then(Value::as_f64)
                    .map(Duration::from_secs_f64);
                lines.push(Line {
                    number,
                    time,
                    record,
                });
            }
        }
    }
    match lines.last() {
        Some(Line {
            record: Record::End {},
            ..
        }) => {}
        _ => return Err("has no end record: the recording is cut off".to_owned()),
    }
    let topology = topology.ok_or("has no topo record")?;
    Ok(Recording {
        name,
        folder,
        topology,
        lines,
        virtual_time,
    })
}

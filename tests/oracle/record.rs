//! Inside the guest: does what a plan says to the kernel's IPVS, in a network namespace of its own, and writes down
//! what came of it, in the format of the recordings.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tun_tap::{Iface, Mode};

use crate::compose;
use crate::decode::{self, hex};
use crate::plan::{Plan, Sending, Step};
use crate::recording::{Frame, Port};
use crate::seen::Known;
use crate::topology;

/// Largest frame.
const FRAME: usize = 70_000;
/// Time for what the kernel does a tick later: it ticks a hundred times a second.
const SETTLE: Duration = Duration::from_millis(30);
/// How long the kernel's work is waited for behind a command.
const AFTER_COMMAND: Duration = Duration::from_millis(12);

/// One line of a recording.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Entry<'a> {
    Meta {
        name: &'a str,
        doc: &'a str,
        kernel: &'a str,
        oracle: u32,
        timetravel: bool,
    },
    Cmd {
        argv: &'a [String],
        rc: i32,
        out: String,
        err: String,
        t: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        stdin: Option<&'a str>,
    },
    Sysctl {
        key: String,
        val: String,
        err: String,
        t: f64,
    },
    Sleep {
        s: f64,
        t: f64,
    },
    Send {
        n: u32,
        #[serde(rename = "if")]
        port: String,
        t: f64,
        frame: String,
        dec: String,
    },
    Recv {
        re: Value,
        #[serde(rename = "if")]
        port: String,
        t: f64,
        frame: String,
        dec: String,
    },
    Show {
        label: String,
        t: f64,
        #[serde(flatten)]
        texts: BTreeMap<String, Value>,
    },
    End {
        t: f64,
        noise_frames_dropped: u32,
    },
}

/// A case being recorded.
struct Recorder<'a> {
    plan: &'a Plan,
    file: BufWriter<File>,
    devices: [(Port, Iface); 2],
    known: Vec<Known>,
    start: Instant,
    sends: u32,
    shows: u32,
    noise: u32,
    /// What frames that come out now are an answer to.
    cause: Value,
    /// The flow that the last packet was of.
    flow: Option<usize>,
}

/// Records one case into `folder`.
///
/// # Errors
/// A sentence that says what could not be done.
pub(crate) fn record(plan: &Plan, name: &str, doc: &str, folder: &Path) -> Result<(), String> {
    let devices = topology::set_up()?;
    let path = folder.join(format!("{name}.part"));
    let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut recorder = Recorder {
        plan,
        file: BufWriter::new(file),
        devices,
        known: vec![Known::default(); plan.flows.len()],
        start: Instant::now(),
        sends: 0,
        shows: 0,
        noise: 0,
        cause: Value::from("cmd"),
        flow: None,
    };
    std::thread::sleep(SETTLE * 2);
    recorder.forget_frames();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    recorder.write(&Entry::Meta {
        name,
        doc,
        kernel: kernel.trim(),
        oracle: 1,
        timetravel: false,
    })?;
    recorder.line(&topology::record().to_string())?;
    recorder.start = Instant::now();
    for step in &plan.steps {
        if recorder.time() > plan.limit {
            break;
        }
        recorder.step(step)?;
    }
    std::thread::sleep(SETTLE);
    recorder.drain()?;
    recorder.show(
        "final",
        &[
            "Ln",
            "Ln_nosort",
            "Lcn",
            "thresholds",
            "persistent_conn",
            "Sn",
            "ip_vs",
            "ip_vs_conn",
        ],
    )?;
    recorder.drain()?;
    let (t, noise) = (recorder.time(), recorder.noise);
    recorder.write(&Entry::End {
        t,
        noise_frames_dropped: noise,
    })?;
    recorder.file.flush().map_err(|error| error.to_string())?;
    std::fs::rename(&path, folder.join(format!("{name}.jsonl"))).map_err(|error| error.to_string())
}

impl Recorder<'_> {
    /// Seconds since the start, to a thousandth.
    fn time(&self) -> f64 {
        (self.start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }

    fn write(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let text = serde_json::to_string(entry).map_err(|error| error.to_string())?;
        self.line(&text)
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        writeln!(self.file, "{text}")
            .map_err(|error| format!("the recording cannot be written: {error}"))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        // What came meanwhile belongs to the step before.
        self.drain()?;
        match step {
            Step::Command(argv, input) => self.command(argv, input.as_deref()),
            Step::Sysctl(name, value) => self.sysctl(name, *value),
            Step::Send(sending) => self.send(sending),
            Step::Sleep(seconds) => self.sleep(*seconds),
            Step::Show(names) => {
                self.shows += 1;
                let label = format!("show {}", self.shows);
                self.show(&label, names)
            }
        }
    }

    fn command(&mut self, argv: &[String], input: Option<&str>) -> Result<(), String> {
        let t = self.time();
        let (rc, out, err) = run(argv, input)?;
        self.write(&Entry::Cmd {
            argv,
            rc,
            out,
            err,
            t,
            stdin: input,
        })?;
        self.cause = Value::from("cmd");
        self.flow = None;
        // What a deletion leaves behind is ended a tick or two later.
        let deletes = argv
            .iter()
            .any(|word| matches!(word.as_str(), "-d" | "-D" | "-C"));
        std::thread::sleep(if deletes { SETTLE } else { AFTER_COMMAND });
        Ok(())
    }

    fn sysctl(&mut self, name: &str, value: u32) -> Result<(), String> {
        let t = self.time();
        let key = format!("net.ipv4.vs.{name}");
        let written = std::fs::write(format!("/proc/sys/net/ipv4/vs/{name}"), value.to_string());
        let err = match written {
            Ok(()) => String::new(),
            // As the recordings have it.
            Err(error) if error.raw_os_error() == Some(22) => {
                "[Errno 22] Invalid argument".to_owned()
            }
            Err(error) => error.to_string(),
        };
        self.write(&Entry::Sysctl {
            key,
            val: value.to_string(),
            err,
            t,
        })?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    fn send(&mut self, sending: &Sending) -> Result<(), String> {
        let plan = self.plan;
        let (Some(flow), Some(known)) = (
            plan.flows.get(sending.flow),
            self.known.get_mut(sending.flow),
        ) else {
            return Ok(());
        };
        let Some(frames) = compose::frames(sending, flow, known) else {
            return Ok(());
        };
        let port = sending.port();
        for frame in frames {
            self.drain()?;
            self.sends += 1;
            let (n, t) = (self.sends, self.time());
            self.cause = Value::from(n);
            self.flow = Some(sending.flow);
            let dec = decode::frame(&Frame(frame.clone()));
            self.write(&Entry::Send {
                n,
                port: port.to_string(),
                t,
                frame: hex(&frame, FRAME),
                dec,
            })?;
            for (side, device) in &self.devices {
                // A frame that the device refuses (too short) reaches no kernel: the same as one dropped.
                if *side == port && device.send(&frame).is_err() {
                    self.noise += 1;
                }
            }
            self.drain()?;
        }
        if sending.settle {
            std::thread::sleep(SETTLE);
            self.drain()?;
        }
        Ok(())
    }

    fn sleep(&mut self, seconds: f64) -> Result<(), String> {
        let t = self.time();
        self.write(&Entry::Sleep { s: seconds, t })?;
        self.cause = Value::from("sleep");
        self.flow = None;
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
            self.drain()?;
        }
        Ok(())
    }

    /// Takes what has come out by now; the kernel handles a frame before the write of it returns.
    fn drain(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; FRAME];
        for place in 0..self.devices.len() {
            while let Ok(len) = self.devices[place].1.recv(&mut buffer) {
                let port = self.devices[place].0;
                let frame = &buffer[..len];
                if is_noise(frame) {
                    self.noise += 1;
                    continue;
                }
                if let Some((known, flow)) = self
                    .flow
                    .and_then(|flow| self.known.get_mut(flow).zip(self.plan.flows.get(flow)))
                {
                    known.note(flow, port, frame);
                }
                let (re, t) = (self.cause.clone(), self.time());
                let dec = decode::frame(&Frame(frame.to_vec()));
                let frame = hex(frame, FRAME);
                self.write(&Entry::Recv {
                    re,
                    port: port.to_string(),
                    t,
                    frame,
                    dec,
                })?;
            }
        }
        Ok(())
    }

    fn forget_frames(&self) {
        let mut buffer = vec![0; FRAME];
        for (_, device) in &self.devices {
            while device.recv(&mut buffer).is_ok() {}
        }
    }

    fn show(&mut self, label: &str, names: &[&str]) -> Result<(), String> {
        let mut texts = BTreeMap::new();
        // The tables first, and quickly: what follows takes its time.
        for name in names.iter().filter(|name| name.starts_with("ip_vs")) {
            let path = format!("/proc/net/{name}");
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            texts.insert(path, Value::from(text));
        }
        let t = self.time();
        for name in names.iter().filter(|name| !name.starts_with("ip_vs")) {
            let arguments =
                crate::system::list(name).ok_or_else(|| format!("no list is called {name}"))?;
            let argv: Vec<String> = std::iter::once("ipvsadm")
                .chain(arguments.split(' '))
                .map(str::to_owned)
                .collect();
            let (rc, out, err) = run(&argv, None)?;
            let text = if rc == 0 {
                Value::from(out)
            } else {
                serde_json::json!({"rc": rc, "out": out, "err": err})
            };
            texts.insert((*name).to_owned(), text);
        }
        self.write(&Entry::Show {
            label: label.to_owned(),
            t,
            texts,
        })
    }
}

/// Runs a command: exit code, standard output, standard error.
pub(crate) fn run(argv: &[String], input: Option<&str>) -> Result<(i32, String, String), String> {
    let (program, arguments) = argv.split_first().ok_or("an empty command line")?;
    // The rules of nft are another kernel module's; the recordings are of the old tables.
    let program = match program.as_str() {
        "iptables" | "ip6tables" => format!("{program}-legacy"),
        other => other.to_owned(),
    };
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        // A program that does not read all of it has its reasons.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    ))
}

/// What an interface says of itself without being asked: router solicitations, MLD and IGMP.
fn is_noise(frame: &[u8]) -> bool {
    let at = |place: usize| frame.get(place).copied().unwrap_or(0);
    match (at(12), at(13)) {
        (0x86, 0xdd) if at(0) == 0x33 => {
            at(20) == 0 && matches!(at(62), 131 | 132 | 143) || at(20) == 58 && at(54) == 133
        }
        (0x08, 0x00) => at(23) == 2,
        _ => false,
    }
}

/// Opens a device that has no other name, without waiting for frames.
///
/// # Errors
/// A sentence with the device's name.
pub(crate) fn device(name: &str) -> Result<Iface, String> {
    let device =
        Iface::without_packet_info(name, Mode::Tap).map_err(|error| format!("{name}: {error}"))?;
    device
        .set_non_blocking()
        .map_err(|error| format!("{name}: {error}"))?;
    Ok(device)
}

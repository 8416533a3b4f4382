//! The system under test: the director, the control server and the command line, all in this process,
//! on a modelled host, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use cli::InProcess;
use control::listing;
use control::netlink::{ConnectionEntry, Errno};
use control::server::{ConnectionSource, Server};
use director::director::Host as Shell;
use director::frame::Output;
use director::shared::{Options, Shared};
use director::sysctl::{self, SysctlError};
use director::time::Instant;
use director::verdict::Verdict;
use serde_json::Value;

use crate::forwarding::forward;
use crate::host::{Host, index, port};
use crate::recording::{Frame, Port, Topology};
use crate::sync::Sockets;
use crate::workers::{How, Workers};

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

/// The arguments of `ipvsadm` for the text of this name in a `show` record; `None` when it prints no such text.
pub(crate) fn list(name: &str) -> Option<&'static str> {
    LISTS
        .iter()
        .find(|(have, _)| *have == name)
        .map(|(_, arguments)| *arguments)
}

/// Most ticks at one moment: more means that the director asks for ever.
const TICKS_MAX: usize = 100_000;
/// Free memory of the recorded kernel, pages: most of its 512 MiB.
const FREE_PAGES: i32 = 100_000;

/// Director, control server and host.
pub(crate) struct System {
    host: Host,
    shell: Arc<Shell>,
    shared: Arc<Shared>,
    workers: Workers,
    server: Server,
    sockets: Sockets,
    now: Duration,
    verdict: Option<Verdict>,
    output: Vec<(Port, Frame)>,
}

impl System {
    /// The system on the host of a recording.
    ///
    /// # Errors
    /// A sentence when the topology cannot be read.
    pub(crate) fn new(topology: &Topology, how: How) -> Result<Self, String> {
        let host = Host::new(topology)?;
        let shared = Arc::new(Shared::new(Options {
            workers: how.workers,
            ..Options::default()
        }));
        let shell = Arc::new(Shell::default());
        let workers = Workers::new(&shared, &shell, how)?;
        let mut system = Self {
            host,
            shell,
            server: Server::new(Arc::clone(&shared)),
            sockets: Sockets::default(),
            shared,
            workers,
            now: Duration::ZERO,
            verdict: None,
            output: Vec::new(),
        };
        system.publish_host();
        system.shared.tick(system.instant());
        Ok(system)
    }

    /// Virtual time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    fn instant(&self) -> Instant {
        Instant::START.after(self.now)
    }

    fn publish_host(&mut self) {
        self.shell.network.store(Arc::new(self.host.network()));
        self.steer();
        self.workers.refresh();
    }

    /// Shares flows out anew: the VIPs are other ones.
    fn steer(&mut self) {
        let services = self.shared.snapshot();
        self.workers.steer(&services, &self.shell.network.load());
    }

    /// Lets time pass up to `time`: the director is called whenever it asks to be, and the estimators at their
    /// own times.
    pub(crate) fn advance(&mut self, time: Duration) {
        for _ in 0..TICKS_MAX {
            let deadline = [self.workers.next_deadline(), self.sockets.next_deadline()]
                .into_iter()
                .flatten()
                .map(|deadline| deadline.since(Instant::START))
                .filter(|deadline| *deadline < time)
                .min();
            // Half-second steps in between, for what only the clock drives.
            let step = self.now + Duration::from_millis(500);
            let next = deadline.unwrap_or(time).min(step);
            if next >= time {
                break;
            }
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = self.now.max(time);
        self.tick();
    }

    fn tick(&mut self) {
        let now = self.instant();
        self.shared.set_free_pages(FREE_PAGES);
        self.shared.tick(now);
        self.shared.expire_templates(now, usize::MAX);
        self.workers.refresh();
        let mut output = Output::default();
        self.workers.tick(now, &mut output);
        self.collect(output);
        let network = self.shell.network.load();
        self.output.extend(self.sockets.send(&network, now));
    }

    /// Gives one frame to the worker that gets it, and to the host's own stack if its director passes it on.
    pub(crate) fn frame(&mut self, from: Port, frame: &[u8]) {
        self.workers.refresh();
        let now = self.instant();
        let interface = index(from);
        let mut arrivals = self.workers.arrive(interface, frame, now);
        for arrival in &mut arrivals {
            let mark = self.host.marks.mark(from, arrival.frame.bytes());
            let mut output = Output::default();
            let verdict = self.workers.handle(arrival, mark, now, &mut output);
            self.collect(output);
            self.verdict = Some(verdict);
            if verdict == Verdict::Pass {
                self.pass(interface, arrival.frame.bytes());
            }
        }
        // Nothing at all arriving may still make it send: give it the moment.
        self.tick();
    }

    /// The host's own stack gets a frame.
    fn pass(&mut self, interface: u32, frame: &[u8]) {
        let now = self.instant();
        let network = self.shell.network.load();
        for entry in self.sockets.receive(&network, interface, frame) {
            self.workers.accept(&entry, now);
        }
        self.output.extend(forward(&network, interface, frame));
    }

    fn collect(&mut self, output: Output<'_>) {
        let now = self.instant();
        self.sockets.take(&output.told, &self.shared.sysctls, now);
        for outgoing in output.frames {
            if let Some(port) = port(outgoing.interface) {
                let bytes = outgoing.frame.bytes().to_vec();
                self.output.push((port, Frame(bytes)));
            }
        }
    }

    /// What the director had said of the frames since the last call, where it then did something else.
    pub(crate) fn contradiction(&mut self) -> Option<String> {
        self.workers.contradiction.take()
    }

    /// What the director decided about the last frame.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict
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
            ["ipvsadm", arguments @ ..] => {
                let answer = self.ipvsadm(arguments, stdin);
                self.steer();
                self.sockets.follow(self.server.daemons());
                return answer;
            }
            ["ip", arguments @ ..] => self.host.ip_command(arguments),
            ["iptables" | "iptables-legacy", arguments @ ..] => {
                self.host.marks.command(false, arguments)
            }
            ["ip6tables" | "ip6tables-legacy", arguments @ ..] => {
                self.host.marks.command(true, arguments)
            }
            _ => Err(format!("the host model does not know: {}", argv.join(" "))),
        };
        self.publish_host();
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

    /// Writes a kernel setting.
    ///
    /// # Errors
    /// The text of the system's refusal.
    pub(crate) fn set_sysctl(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Some(name) = key.strip_prefix(sysctl::PREFIX) else {
            self.host.set_sysctl(key, value);
            self.publish_host();
            return Ok(());
        };
        match self.shared.set_sysctl(name, value) {
            Ok(()) => Ok(()),
            Err(SysctlError::Invalid { .. }) => Err("[Errno 22] Invalid argument".to_owned()),
            Err(error @ SysctlError::Unknown { .. }) => Err(error.to_string()),
        }
    }

    /// Reads a kernel setting.
    ///
    /// # Errors
    /// A sentence when there is no such setting.
    pub(crate) fn sysctl(&self, key: &str) -> Result<String, String> {
        let name = key.strip_prefix(sysctl::PREFIX).unwrap_or(key);
        self.shared
            .sysctls
            .read(name)
            .map_err(|error| error.to_string())
    }

    /// A text of a `show` record.
    ///
    /// # Errors
    /// A sentence when ulvs has no such text.
    pub(crate) fn show(&self, name: &str) -> Result<Answer, String> {
        if let Some(arguments) = list(name) {
            let words: Vec<&str> = arguments.split(' ').collect();
            return Ok(self.ipvsadm(&words, None));
        }
        let out = name
            .strip_prefix("/proc/net/")
            .and_then(|short| self.server.text(short, self.instant(), self))
            .ok_or_else(|| format!("ulvs has no text {name}"))?;
        Ok(Answer {
            rc: 0,
            out,
            err: String::new(),
        })
    }

    fn ipvsadm(&self, arguments: &[&str], stdin: Option<&str>) -> Answer {
        let argv: Vec<String> = std::iter::once("ipvsadm")
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect();
        let mut input = stdin.unwrap_or_default().as_bytes();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut transport = InProcess {
            server: &self.server,
            source: self,
            now: self.instant(),
        };
        let rc = cli::ipvsadm::run(&argv, &mut input, &mut out, &mut err, &mut transport);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            rc,
            out: text(out),
            err: text(err),
        }
    }
}

impl ConnectionSource for System {
    fn connections(&self, now: Instant) -> Vec<ConnectionEntry> {
        let mut entries = Vec::new();
        self.workers.for_each_connection(|connection| {
            entries.push(listing::connection(connection, now));
        });
        entries
    }

    fn sync_mtu(&self, interface: &str) -> Result<u32, Errno> {
        let network = self.shell.network.load();
        let known = &mut network.interfaces.iter();
        known
            .find(|known| known.name == interface)
            .map(|known| known.mtu)
            .ok_or(Errno::ENODEV)
    }
}

//! `ulvs demo`: the three forwarding methods, shown on networks of their own in under a minute.
//!
//! Makes network namespaces (client, director, three real servers, a router where the method needs one),
//! starts embedded real servers and a director in them, configures it by the `ipvsadm` commands that it
//! prints, fetches through the VIP with curl and compares who answered with the weights. Succeeds
//! only if every request was answered by a real server that knows the client's own address, and the
//! split is the one the weights ask for. Never touches the machine's own interfaces, routes or
//! sysctls, and leaves nothing behind: an interruption is waited for, and what a killed demo left is
//! removed by the next one.

mod method;
mod network;
mod screen;
pub mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use link::sys::signal::Signals;

use self::method::{METHODS, Method};
use self::network::{Namespace, Running, Workshop};
use self::screen::Screen;

/// Requests through each VIP; a multiple of the weights' sum, so that the split is exact.
const REQUESTS: usize = 30;

/// How long a process may take until it answers.
const START: Duration = Duration::from_secs(10);

/// Why the demo ended early, in one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The caller may not make network namespaces.
    #[error("the demo makes network namespaces: run it as root")]
    NotRoot,
    /// A program it uses is missing.
    #[error("{program} is missing: install it (Debian: apt-get install {package})")]
    Missing {
        /// The program's name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A command did not succeed.
    #[error("{line}: {said}")]
    Command {
        /// What was run.
        line: String,
        /// What it said, or its exit status.
        said: String,
    },
    /// A process did not get ready.
    #[error("{what} {how}; it said:\n{log}")]
    NotReady {
        /// Which process.
        what: String,
        /// Whether it ended or took too long.
        how: &'static str,
        /// All it printed.
        log: String,
    },
    /// Requests were not answered as the weights ask.
    #[error("{method}: {what}\nthe director said:\n{log}")]
    WrongAnswers {
        /// The forwarding method.
        method: &'static str,
        /// What is wrong.
        what: String,
        /// The director's log.
        log: String,
    },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted; everything is cleaned up")]
    Interrupted,
    /// The system refused something else.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// The system's refusal.
        error: std::io::Error,
    },
}

/// What one method's run needs at hand.
struct Stage<'demo> {
    screen: &'demo Screen,
    signals: &'demo Signals,
    program: PathBuf,
    workshop: Workshop,
}

/// Shows every method in turn on standard output.
///
/// # Errors
/// The first thing that did not work; everything the demo made is removed by then.
pub fn run() -> Result<(), DemoError> {
    let signals =
        Signals::take(&[libc::SIGINT, libc::SIGTERM]).map_err(|error| DemoError::System {
            what: "signalfd".to_owned(),
            error,
        })?;
    may_make_namespaces()?;
    network::require("ip", "iproute2", "-V")?;
    network::require("curl", "curl", "--version")?;
    network::remove_orphans();
    let program = std::env::current_exe().map_err(|error| DemoError::System {
        what: "finding this program".to_owned(),
        error,
    })?;
    let screen = Screen::new();
    let begun = Instant::now();
    for (number, method) in METHODS.iter().enumerate() {
        screen.title(&format!(
            "{} of {}: {}",
            number + 1,
            METHODS.len(),
            method.name
        ));
        let workshop = Workshop::new(&format!("{}-{number}", std::process::id()))?;
        let stage = Stage {
            screen: &screen,
            signals: &signals,
            program: program.clone(),
            workshop,
        };
        stage.show(method)?;
    }
    let answered = REQUESTS * METHODS.len();
    screen.success(&format!(
        "all {answered} requests were answered by the right real server ({:.1} s)",
        begun.elapsed().as_secs_f32()
    ));
    Ok(())
}

fn may_make_namespaces() -> Result<(), DemoError> {
    use caps::{CapSet, Capability};
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if has(Capability::CAP_SYS_ADMIN) && has(Capability::CAP_NET_ADMIN) {
        Ok(())
    } else {
        Err(DemoError::NotRoot)
    }
}

impl Stage<'_> {
    /// One method from the empty network to the last listing.
    fn show(&self, method: &Method) -> Result<(), DemoError> {
        self.screen.text(method.picture);
        self.screen.text(method.explanation);
        self.screen.step("building the network");
        let network = (method.build)(&self.workshop)?;
        self.screen.step("starting three real servers");
        let mut running = Vec::new();
        for (server, name) in network.servers.iter().zip(["rs1", "rs2", "rs3"]) {
            running.push(self.start_server(server, name, method.server_port)?);
            if method.decapsulates {
                running.push(self.start_decap(server, name)?);
            }
        }
        self.screen.step("starting the director");
        let mut director = self.start_director(&network.director, method.interfaces)?;
        self.screen.blank();
        for line in method.commands {
            self.screen.command(line);
            self.ipvsadm(line)?;
        }
        let outcome = self.fetch(method, &network.client);
        let log = director.log();
        let wrong = |what| DemoError::WrongAnswers {
            method: method.name,
            what,
            log: log.clone(),
        };
        let answers = outcome.map_err(wrong)?;
        self.split(method, &answers).map_err(wrong)?;
        for line in ["ipvsadm -Ln", "ipvsadm -Lcn"] {
            self.screen.command(line);
            self.screen.excerpt(&self.ipvsadm(line)?, 12);
        }
        director.terminate();
        self.interrupted()
    }

    fn interrupted(&self) -> Result<(), DemoError> {
        if self.signals.next().is_some() {
            Err(DemoError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Repeats `ready` until it holds, the process ends, the time is over or the user interrupts.
    fn await_ready(
        &self,
        what: &str,
        process: &mut Running,
        ready: impl Fn() -> bool,
    ) -> Result<(), DemoError> {
        let deadline = Instant::now() + START;
        while !ready() {
            self.interrupted()?;
            let how = if process.ended() {
                "has ended"
            } else if Instant::now() > deadline {
                "is not ready in time"
            } else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            return Err(DemoError::NotReady {
                what: what.to_owned(),
                how,
                log: process.log(),
            });
        }
        Ok(())
    }

    fn start_server(
        &self,
        server: &Namespace,
        name: &str,
        port: u16,
    ) -> Result<Running, DemoError> {
        let address = format!("0.0.0.0:{port}");
        let mut command = server.command(&self.program);
        command.args(["demo-server", name, &address]);
        let mut process = self.workshop.start(command, name)?;
        let log = process.log_path().to_path_buf();
        self.await_ready(&format!("the real server {name}"), &mut process, || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains(server::READY))
        })?;
        Ok(process)
    }

    fn start_decap(&self, server: &Namespace, name: &str) -> Result<Running, DemoError> {
        let mut command = server.command(&self.program);
        command.args(["decap", "--vip", method::VIP]);
        let mut process = self.workshop.start(command, &format!("{name}-decap"))?;
        self.await_ready(&format!("ulvs decap on {name}"), &mut process, || {
            // A raw socket for IP protocol 4 stands there once it listens.
            server
                .run("cat", &["/proc/net/raw"])
                .is_ok_and(|table| table.contains(":0004 "))
        })?;
        Ok(process)
    }

    fn start_director(
        &self,
        director: &Namespace,
        interfaces: &[&str],
    ) -> Result<Running, DemoError> {
        let config = self
            .workshop
            .write("ulvs.toml", &format!("interfaces = {interfaces:?}\n"))?;
        let mut command = director.command(&self.program);
        command
            .args(["run", "--config"])
            .arg(config)
            .arg("--control")
            .arg(self.workshop.path("control.sock"))
            .arg("--state")
            .arg(self.workshop.path("state.rules"));
        let mut process = self.workshop.start(command, "director")?;
        self.await_ready("ulvs run", &mut process, || {
            self.ipvsadm("ipvsadm -Ln").is_ok()
        })?;
        Ok(process)
    }

    /// Runs a line that begins with `ipvsadm` with this program in its place.
    fn ipvsadm(&self, line: &str) -> Result<String, DemoError> {
        let mut command = std::process::Command::new(&self.program);
        command
            .args(line.split_whitespace())
            .env("ULVS_CONTROL", self.workshop.path("control.sock"));
        network::output(command, line)
    }

    /// Fetches through the VIP; who answered, in order, or what is wrong with an answer.
    fn fetch(&self, method: &Method, client: &Namespace) -> Result<Vec<String>, String> {
        let url = format!("http://{}/?[1-{REQUESTS}]", method::VIP);
        self.screen.blank();
        self.screen.command(&format!("curl '{url}'"));
        let args = [
            "-sS",
            "--fail",
            "--connect-timeout",
            "3",
            "--max-time",
            "5",
            &url,
        ];
        let body = client
            .run("curl", &args)
            .map_err(|error| error.to_string())?;
        let mut answers = Vec::new();
        for line in body.lines() {
            let (name, seen) = line.split_once(' ').unwrap_or((line, ""));
            if seen != method.client {
                return Err(format!(
                    "{name} saw a request from {seen}, not from {}",
                    method.client
                ));
            }
            answers.push(name.to_owned());
        }
        self.screen.answers(&answers);
        Ok(answers)
    }

    /// Shows who answered how often; an error where that is not what the weights ask.
    fn split(&self, method: &Method, answers: &[String]) -> Result<(), String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for answer in answers {
            *counts.entry(answer).or_default() += 1;
        }
        let sum: usize = method.weights.iter().map(|(_, weight)| weight).sum();
        let mut wrong = Vec::new();
        self.screen.blank();
        self.screen.split_header();
        for (name, weight) in method.weights {
            let expected = REQUESTS * weight / sum;
            let answered = counts.remove(name).unwrap_or(0);
            self.screen.split_row(name, *weight, expected, answered);
            if answered != expected {
                wrong.push(format!(
                    "{name} answered {answered} requests instead of {expected}"
                ));
            }
        }
        wrong.extend(
            counts
                .iter()
                .map(|(name, count)| format!("{count} answers from {name}")),
        );
        self.screen.blank();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }
}

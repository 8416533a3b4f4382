//! The director under test: an `ulvs run` process, and the `ipvsadm` that talks to it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::OnceLock;
use std::time::Duration;

use super::combination::Combination;
use super::lab::{Host, Lab};
use super::process::{Process, eventually, stderr, stdout};

/// How long a director may take until it answers on its control socket.
const START: Duration = Duration::from_secs(10);

/// The `ulvs` under test: `ULVS_BIN` where set (scripts/test sets the static release build),
/// else the one cargo built beside this test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("ULVS_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ulvs")), PathBuf::from)
}

/// A directory in which the binary has its ipvsadm names, to be put first in `PATH`.
fn names() -> &'static Path {
    static NAMES: OnceLock<tempfile::TempDir> = OnceLock::new();
    NAMES
        .get_or_init(|| {
            let directory = tempfile::TempDir::new().expect("a temporary directory can be made");
            for name in ["ulvs", "ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
                symlink(binary(), directory.path().join(name)).expect("a symlink can be made");
            }
            directory
        })
        .path()
}

/// What a director is started with.
#[derive(Debug)]
pub(crate) struct DirectorBuilder {
    host: Host,
    directory: PathBuf,
    interfaces: Vec<String>,
    config: String,
    launch: Launch,
}

/// How the daemon's process is started.
#[derive(Clone, Debug)]
struct Launch {
    wrapper: Vec<String>,
    binary: PathBuf,
    variables: Vec<(String, PathBuf)>,
}

impl DirectorBuilder {
    /// A director on `host` that works on `interfaces`.
    pub(crate) fn new(lab: &Lab, host: &Host, interfaces: &[&str]) -> Self {
        let directory = lab.directory().join(host.role());
        std::fs::create_dir_all(&directory).expect("the lab's directory can be written");
        let config = format!("interfaces = {interfaces:?}\n");
        Self {
            host: host.clone(),
            directory,
            interfaces: interfaces.iter().map(ToString::to_string).collect(),
            config,
            launch: Launch {
                wrapper: Vec::new(),
                binary: binary(),
                variables: Vec::new(),
            },
        }
    }

    /// Adds lines to the configuration file.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Takes `toml` as the whole configuration file.
    pub(crate) fn whole_config(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.config);
        self
    }

    /// Gives the daemon an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: &Path) -> Self {
        self.launch
            .variables
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Names a VIP and how it is answered for (`owned`, `local` or `auto`).
    pub(crate) fn vip(self, address: &str, answer: &str) -> Self {
        self.config(&format!(
            "[[vip]]\naddress = \"{address}\"\nanswer = \"{answer}\""
        ))
    }

    /// Runs the daemon as another user, by `setpriv` with these options: from a copy of the binary that
    /// this user can reach, in directories that are the user's own.
    pub(crate) fn running_as(mut self, options: &[&str]) -> Self {
        let copy = self.directory.join("ulvs");
        std::fs::copy(binary(), &copy).expect("the binary can be copied");
        let lab = self
            .directory
            .parent()
            .expect("it lies in the lab's directory");
        let line = format!(
            "chmod 755 {} && chown -R 65534:65534 {}",
            lab.display(),
            self.directory.display()
        );
        self.host.shell(&line);
        self.launch.wrapper = std::iter::once("setpriv")
            .chain(options.iter().copied())
            .map(str::to_owned)
            .collect();
        self.launch.binary = copy;
        self
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(self) -> Director {
        let mut director = self.launch();
        director.await_answer();
        director
    }

    /// Starts it without waiting: for starts that are meant to fail.
    pub(crate) fn launch(self) -> Director {
        let config = match Combination::of_this_run() {
            Some(run) => run.director(&self.host, &self.interfaces, &self.config),
            None => self.config,
        };
        std::fs::write(self.directory.join("ulvs.toml"), config)
            .expect("the lab's directory can be written");
        let process = spawn(&self.host, &self.directory, &self.launch);
        Director {
            host: self.host,
            directory: self.directory,
            launch: self.launch,
            process,
        }
    }
}

fn spawn(host: &Host, directory: &Path, launch: &Launch) -> Process {
    let binary = launch.binary.to_str().expect("the binary's path is text");
    let mut words: Vec<&str> = launch.wrapper.iter().map(String::as_str).collect();
    words.extend([binary, "run", "--config"]);
    let mut command = host.command(words[0]);
    command
        .args(&words[1..])
        .arg(directory.join("ulvs.toml"))
        .arg("--control")
        .arg(directory.join("control.sock"))
        .arg("--state")
        .arg(directory.join("state.rules"))
        .envs(launch.variables.iter().cloned());
    Process::spawn(command, &directory.join("ulvs.log"))
}

/// A running `ulvs run`; killed when dropped, with its log printed where the test failed.
#[derive(Debug)]
pub(crate) struct Director {
    /// The machine it runs on.
    pub(crate) host: Host,
    directory: PathBuf,
    launch: Launch,
    process: Process,
}

impl Director {
    /// A director on `host` that works on `interfaces`, everything else by default.
    pub(crate) fn start(lab: &Lab, host: &Host, interfaces: &[&str]) -> Self {
        DirectorBuilder::new(lab, host, interfaces).start()
    }

    /// The daemon's process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where its configuration, socket, state and log lie.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of its control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    fn await_answer(&mut self) {
        let limit = std::time::Instant::now() + START;
        while !self.try_shell("ipvsadm -Ln").status.success() {
            if let Some(status) = self.process.ended() {
                panic!("ulvs run ended with {status}:\n{}", self.process.output());
            }
            assert!(
                std::time::Instant::now() < limit,
                "ulvs run does not answer on its control socket after {START:?}: {}\nits log:\n{}",
                stderr(&self.try_shell("ipvsadm -Ln")),
                self.process.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A command line typed on the director, where `ipvsadm` is ulvs; its whole outcome.
    pub(crate) fn try_shell(&self, line: &str) -> Output {
        shell(&self.host, &self.directory, line)
    }

    /// A command line that must succeed; its output.
    pub(crate) fn shell(&self, line: &str) -> String {
        let output = self.try_shell(line);
        assert!(
            output.status.success(),
            "{line}: {}\n{}{}",
            output.status,
            stdout(&output),
            stderr(&output)
        );
        stdout(&output)
    }

    /// Several command lines, one a line, as a tutorial shows them.
    pub(crate) fn type_lines(&self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.shell(line);
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.wait(Duration::from_secs(10))
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the same configuration and state, after it has ended.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.host, &self.directory, &self.launch);
        self.await_answer();
    }

    /// Rewrites the configuration file (for a later reload or restart).
    pub(crate) fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        let path = self.directory.join("ulvs.toml");
        let config = std::fs::read_to_string(&path).expect("the configuration was written");
        std::fs::write(&path, change(config)).expect("the lab's directory can be written");
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// A counter of all workers together, by its name in the log (`dropped: reassembly`).
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let lines = self.log().lines().count();
        self.process.signal("USR1");
        let told = eventually("the counters", Duration::from_secs(10), || {
            let log = self.log();
            let news: Vec<&str> = log.lines().skip(lines).collect();
            (news.iter().any(|line| line.contains(" received"))).then(|| news.join(", "))
        });
        let parts = told.split(", ");
        let counts = parts.filter_map(|part| part.strip_suffix(name)?.split_whitespace().last());
        counts.filter_map(|count| count.parse::<u64>().ok()).sum()
    }

    /// Waits until its log has a line with `text`.
    pub(crate) fn await_log(&self, text: &str) {
        eventually(
            &format!("a log line with {text:?}"),
            Duration::from_secs(10),
            || self.log().contains(text).then_some(()),
        );
    }

    /// Waits until its saved state has `text`: what was typed last is written within 100 ms, and only what is written
    /// outlives a kill.
    pub(crate) fn await_saved(&self, text: &str) {
        let path = self.directory.join("state.rules");
        eventually(
            &format!("a saved state with {text:?}"),
            Duration::from_secs(5),
            || {
                std::fs::read_to_string(&path)
                    .ok()?
                    .contains(text)
                    .then_some(())
            },
        );
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in ["ipvsadm -Ln --stats", "ipvsadm -Lcn | head -n 200"] {
                let output = self.try_shell(line);
                eprintln!("--- {line}\n{}{}", stdout(&output), stderr(&output));
            }
            eprintln!("--- ulvs run on {} said:\n{}", self.host.role(), self.log());
        }
    }
}

/// A `PATH` in which `ulvs` and the ipvsadm names are the build under test.
pub(crate) fn names_path() -> String {
    format!(
        "{}:{}",
        names().display(),
        std::env::var("PATH").unwrap_or_default()
    )
}

/// Runs a command line on `host` with ulvs under its ipvsadm names and the socket in `directory`.
fn shell(host: &Host, directory: &Path, line: &str) -> Output {
    let mut command: Command = host.command("sh");
    command
        .args(["-c", line])
        .current_dir(directory)
        .env("PATH", names_path())
        .env("ULVS_CONTROL", directory.join("control.sock"));
    command.output().expect("sh can be started")
}

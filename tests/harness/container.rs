//! A real container engine (Debian's docker.io) of the test's own: own data, own socket, no network.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::director::binary;
use super::lab::{Host, Lab, attach};
use super::process::{Process, eventually, stderr, stdout};

/// The client that belongs to Debian's engine.
const DOCKER: &str = "/usr/bin/docker";

/// A running dockerd; stopped, with everything it runs, when dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    daemon: Process,
    socket: PathBuf,
}

impl Engine {
    /// Starts the engine and waits until it answers.
    pub(crate) fn start(lab: &Lab) -> Self {
        let directory = lab.directory().join("docker");
        std::fs::create_dir_all(&directory).expect("the lab's directory can be written");
        let socket = directory.join("docker.sock");
        let mut command = Command::new("dockerd");
        command
            .args([
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--bridge=none",
            ])
            .args(["--storage-driver", "vfs", "--data-root"])
            .arg(directory.join("data"))
            .arg("--exec-root")
            .arg(directory.join("exec"))
            .arg("--pidfile")
            .arg(directory.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", socket.display()));
        let daemon = Process::spawn(command, &directory.join("log"));
        let mut engine = Self { daemon, socket };
        eventually("dockerd answers", Duration::from_secs(60), || {
            let ended = engine.daemon.ended();
            assert!(
                ended.is_none(),
                "dockerd ended:\n{}",
                engine.daemon.output()
            );
            engine
                .try_docker(&["version"])
                .status
                .success()
                .then_some(())
        });
        engine
    }

    /// Runs the client and gives the whole outcome.
    pub(crate) fn try_docker(&self, args: &[&str]) -> Output {
        Command::new(DOCKER)
            .arg("--host")
            .arg(format!("unix://{}", self.socket.display()))
            .args(args)
            .output()
            .expect("docker.io's client can be started")
    }

    /// Runs the client; it must succeed. Gives its output.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let output = self.try_docker(args);
        assert!(
            output.status.success(),
            "docker {}: {}{}",
            args.join(" "),
            stdout(&output),
            stderr(&output)
        );
        stdout(&output).trim().to_owned()
    }

    /// Builds the project's `Dockerfile` around the binary under test, tagged `ulvs`.
    pub(crate) fn build_image(&self, lab: &Lab) {
        let context = lab.directory().join("image");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/image");
        let output = Command::new(script)
            .arg("--context-only")
            .arg(&context)
            .arg(binary())
            .output()
            .expect("scripts/image can be started");
        assert!(
            output.status.success(),
            "scripts/image: {}",
            stderr(&output)
        );
        self.docker(&[
            "build",
            "--tag",
            "ulvs",
            context.to_str().expect("the path is text"),
        ]);
    }

    /// Starts a container of that image: Docker's default capabilities and seccomp profile.
    pub(crate) fn run(&self, name: &str, options: &[&str], command: &[&str]) -> Container<'_> {
        let mut args = vec!["run", "--detach", "--name", name];
        args.extend(options);
        args.push("ulvs");
        args.extend(command);
        self.docker(&args);
        Container {
            engine: self,
            name: name.to_owned(),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let containers = stdout(&self.try_docker(&["ps", "--all", "--quiet"]));
        for container in containers.split_whitespace() {
            let _ = self.try_docker(&["rm", "--force", container]);
        }
        // SIGTERM, for SIGKILL would leave its containerd behind.
        self.daemon.signal("TERM");
        self.daemon.wait(Duration::from_secs(30));
    }
}

/// One container; removed with its engine.
#[derive(Debug)]
pub(crate) struct Container<'engine> {
    engine: &'engine Engine,
    name: String,
}

impl Container<'_> {
    /// Its network namespace as a machine that cables can be plugged into.
    pub(crate) fn host(&self, lab: &Lab) -> Host {
        let pid = self
            .engine
            .docker(&["inspect", "--format", "{{.State.Pid}}", &self.name]);
        attach(lab, &self.name, &pid)
    }

    /// Runs a command in it; it must succeed. Gives its output.
    pub(crate) fn exec(&self, line: &str) -> String {
        let mut args = vec!["exec", self.name.as_str()];
        args.extend(line.split_whitespace());
        self.engine.docker(&args)
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> String {
        let output = self.engine.try_docker(&["logs", &self.name]);
        stdout(&output) + &stderr(&output)
    }

    /// Waits until `line` succeeds in it; panics with the container's log.
    pub(crate) fn await_success(&self, line: &str) {
        let mut args = vec!["exec", self.name.as_str()];
        args.extend(line.split_whitespace());
        let answered = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            self.engine.try_docker(&args).status.success()
        });
        assert!(
            answered,
            "{line} in {} never succeeds; its log:\n{}",
            self.name,
            self.log()
        );
    }

    /// The capabilities its first process holds, as `/proc` prints them, and its seccomp mode.
    pub(crate) fn confinement(&self) -> (u64, u32) {
        let pid = self
            .engine
            .docker(&["inspect", "--format", "{{.State.Pid}}", &self.name]);
        let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("status"))
            .expect("the container runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("/proc/PID/status has the line")
                .trim()
                .to_owned()
        };
        let capabilities = u64::from_str_radix(&field("CapEff:"), 16).expect("hexadecimal");
        (capabilities, field("Seccomp:").parse().expect("a number"))
    }
}

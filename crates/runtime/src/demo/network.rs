//! The demo's machines: network namespaces made by `ip`, and the processes in them. Everything made here
//! goes away when its value is dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::DemoError;

/// What the names of all namespaces of all demos begin with; the demo's process id follows.
const PREFIX: &str = "ulvs-demo-";

/// How long a process may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(5);

/// Where one method's machines are made and its files lie.
pub(super) struct Workshop {
    label: String,
    directory: PathBuf,
}

impl Workshop {
    /// An empty workshop; `label` must be this demo's own and begin with its process id.
    pub(super) fn new(label: &str) -> Result<Self, DemoError> {
        let directory = std::env::temp_dir().join(format!("{PREFIX}{label}"));
        std::fs::create_dir(&directory).map_err(|error| DemoError::System {
            what: directory.display().to_string(),
            error,
        })?;
        Ok(Self {
            label: label.to_owned(),
            directory,
        })
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file into it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, DemoError> {
        let path = self.path(name);
        std::fs::write(&path, text).map_err(|error| DemoError::System {
            what: path.display().to_string(),
            error,
        })?;
        Ok(path)
    }

    /// A new machine with `lo` up.
    pub(super) fn namespace(&self, role: &str) -> Result<Namespace, DemoError> {
        let name = format!("{PREFIX}{}-{role}", self.label);
        ip(&["netns", "add", &name])?;
        let namespace = Namespace { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A new switch: a machine whose `br0` bridges what is plugged into it.
    pub(super) fn switch(&self, role: &str) -> Result<Namespace, DemoError> {
        let switch = self.namespace(role)?;
        switch.ip("link add br0 type bridge")?;
        switch.ip("link set br0 up")?;
        Ok(switch)
    }

    /// Gives `machine` an interface with an address, on a new port of `switch`.
    pub(super) fn plug(
        &self,
        machine: &Namespace,
        interface: &str,
        address: &str,
        switch: &Namespace,
        port: &str,
    ) -> Result<(), DemoError> {
        ip(&[
            "link",
            "add",
            interface,
            "netns",
            &machine.name,
            "type",
            "veth",
            "peer",
            "name",
            port,
            "netns",
            &switch.name,
        ])?;
        switch.ip(&format!("link set {port} master br0 up"))?;
        machine.ip(&format!("link set {interface} up"))?;
        machine.ip(&format!("addr add {address} dev {interface}"))
    }

    /// Starts a process whose output goes to the file `name.log`.
    pub(super) fn start(&self, mut command: Command, name: &str) -> Result<Running, DemoError> {
        let log = self.path(&format!("{name}.log"));
        let refused = |error| DemoError::System {
            what: format!("starting {name}"),
            error,
        };
        let file = File::create(&log).map_err(refused)?;
        let second = file.try_clone().map_err(refused)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second)
            .spawn()
            .map_err(refused)?;
        Ok(Running { child, log })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // Nothing sensible is left to do where this fails: it is a directory below /tmp.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// One machine.
pub(super) struct Namespace {
    name: String,
}

impl Namespace {
    /// `ip ARGS` on this machine.
    pub(super) fn ip(&self, args: &str) -> Result<(), DemoError> {
        let mut words = vec!["-n", self.name.as_str()];
        words.extend(args.split_whitespace());
        ip(&words)
    }

    /// A program to be started on this machine.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program here and gives its output.
    pub(super) fn run(&self, program: &str, args: &[&str]) -> Result<String, DemoError> {
        let mut command = self.command(Path::new(program));
        command.args(args);
        output(command, program)
    }

    /// Sets a sysctl of this machine, named by its path below `/proc/sys`.
    pub(super) fn set(&self, key: &str, value: &str) -> Result<(), DemoError> {
        let script = format!("echo {value} > /proc/sys/{key}");
        self.run("sh", &["-c", &script]).map(drop)
    }

    /// Gives it `address` on `lo`, about which it keeps silent on the wire.
    pub(super) fn take_quietly(&self, address: &str) -> Result<(), DemoError> {
        self.set("net/ipv4/conf/all/arp_ignore", "1")?;
        self.set("net/ipv4/conf/all/arp_announce", "2")?;
        self.ip(&format!("addr add {address}/32 dev lo"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The next demo removes what could not be removed here.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// A process; killed when dropped.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Whether it has ended.
    pub(super) fn ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// All it has printed.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where that is written.
    pub(super) fn log_path(&self) -> &Path {
        &self.log
    }

    /// Asks it to end and waits for that, not for ever.
    pub(super) fn terminate(&mut self) {
        let _ = link::sys::signal::send(self.child.id(), libc::SIGTERM);
        let deadline = Instant::now() + STOP;
        while !self.ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that must succeed; its output.
pub(super) fn output(mut command: Command, line: &str) -> Result<String, DemoError> {
    let failed = |said: String| DemoError::Command {
        line: line.to_owned(),
        said,
    };
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if said.is_empty() {
        output.status.to_string()
    } else {
        said
    }))
}

fn ip(args: &[&str]) -> Result<(), DemoError> {
    let mut command = Command::new("ip");
    command.args(args);
    output(command, &format!("ip {}", args.join(" "))).map(drop)
}

/// Makes sure that a program is there.
pub(super) fn require(
    program: &'static str,
    package: &'static str,
    harmless: &str,
) -> Result<(), DemoError> {
    let mut command = Command::new(program);
    command.arg(harmless);
    output(command, program)
        .map(drop)
        .map_err(|_| DemoError::Missing { program, package })
}

/// Deletes the namespaces of demos that were killed.
pub(super) fn remove_orphans() {
    let mut command = Command::new("ip");
    command.args(["netns", "list"]);
    for line in output(command, "ip netns list").unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some(label) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let pid = label.split('-').next().unwrap_or_default();
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

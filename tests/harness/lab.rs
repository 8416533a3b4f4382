//! Machines and the wires between them: a [`Lab`] is one test's private world.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};

use tempfile::TempDir;

use super::process::{stderr, stdout};

/// One test's machines and scratch directory. Machines live for as long as it does.
#[derive(Debug)]
pub(crate) struct Lab {
    prefix: String,
    machines: Mutex<Vec<Host>>,
    directory: TempDir,
}

impl Lab {
    /// An empty world with its own names.
    pub(crate) fn new() -> Self {
        Self::named("ulvs")
    }

    /// The same with names that begin with `kind` (without a `-`) instead of `ulvs`.
    pub(crate) fn named(kind: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        SWEEP.call_once(|| remove_orphans(kind));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            prefix: format!("{kind}-{}-{number}", std::process::id()),
            machines: Mutex::default(),
            directory: TempDir::new().expect("a temporary directory can be made"),
        }
    }

    /// A new machine called `role`, with `lo` up and addresses usable at once.
    pub(crate) fn host(&self, role: &str) -> Host {
        let name = format!("{}-{role}", self.prefix);
        run("ip", &["netns", "add", &name]);
        let host = Host(Arc::new(Namespace {
            name,
            role: role.to_owned(),
        }));
        host.sysctl("net.ipv6.conf.all.accept_dad", "0");
        host.sysctl("net.ipv6.conf.default.accept_dad", "0");
        host.ip("link set lo up");
        self.machines
            .lock()
            .expect("no other holder panics")
            .push(host.clone());
        host
    }

    /// A new switch: a bridge in a namespace of its own.
    pub(crate) fn switch(&self, role: &str) -> Switch {
        let host = self.host(role);
        host.ip("link add br0 type bridge");
        host.ip("link set br0 up");
        Switch {
            host,
            ports: AtomicU32::new(0),
        }
    }

    /// Where the test may write.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

#[derive(Debug)]
struct Namespace {
    name: String,
    role: String,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failure is not worth hiding the test's own outcome; the next run sweeps.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

/// One machine: a network namespace, deleted with its lab.
#[derive(Clone, Debug)]
pub(crate) struct Host(Arc<Namespace>);

impl Host {
    /// The name the test gave it.
    pub(crate) fn role(&self) -> &str {
        &self.0.role
    }

    /// The namespace's name, as `ip netns` knows it.
    pub(crate) fn namespace(&self) -> &str {
        &self.0.name
    }

    /// `program` on this machine, to be run by the caller; killed by the kernel when the thread ends.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            &self.0.name,
            "setpriv",
            "--pdeathsig",
            "KILL",
            program,
        ]);
        command
    }

    /// Runs `ip ARGS` on this machine; panics with its message where it fails.
    pub(crate) fn ip(&self, args: &str) -> String {
        let mut words = vec!["-n", self.0.name.as_str()];
        words.extend(args.split_whitespace());
        run("ip", &words)
    }

    /// Runs a shell command line and gives its whole outcome.
    pub(crate) fn try_shell(&self, script: &str) -> Output {
        self.command("sh")
            .args(["-c", script])
            .output()
            .expect("sh can be started")
    }

    /// Runs a shell command line; panics with its message where it fails.
    pub(crate) fn shell(&self, script: &str) -> String {
        let output = self.try_shell(script);
        assert!(
            output.status.success(),
            "on {}: {script}: {}\n{}{}",
            self.role(),
            output.status,
            stdout(&output),
            stderr(&output)
        );
        stdout(&output)
    }

    /// Sets a sysctl of this machine's network (`net.ipv4.ip_forward`).
    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        self.shell(&format!(
            "echo {value} > /proc/sys/{}",
            key.replace('.', "/")
        ));
    }

    /// Adds addresses (`10.0.0.1/24`) to an interface.
    pub(crate) fn addresses(&self, interface: &str, addresses: &[&str]) {
        for address in addresses {
            self.ip(&format!("addr add {address} dev {interface}"));
        }
    }

    /// Makes it a router for IPv4 and IPv6.
    pub(crate) fn forwards(&self) {
        self.sysctl("net.ipv4.ip_forward", "1");
        self.sysctl("net.ipv6.conf.all.forwarding", "1");
    }

    /// The Ethernet address of an interface.
    pub(crate) fn mac(&self, interface: &str) -> String {
        let line = self.ip(&format!("-o link show dev {interface}"));
        let mut words = line
            .split_whitespace()
            .skip_while(|word| *word != "link/ether");
        words
            .nth(1)
            .unwrap_or_else(|| panic!("no Ethernet address in {line}"))
            .to_owned()
    }
}

/// A switch: every interface plugged into it shares one Ethernet segment.
#[derive(Debug)]
pub(crate) struct Switch {
    /// The machine that carries the bridge `br0`, for captures on it.
    pub(crate) host: Host,
    ports: AtomicU32,
}

impl Switch {
    /// Gives `host` a new interface on this switch, up, with `addresses`.
    pub(crate) fn plug(&self, host: &Host, interface: &str, addresses: &[&str]) {
        let port = format!("p{}", self.ports.fetch_add(1, Ordering::Relaxed));
        cable((host, interface), (&self.host, &port));
        self.host.ip(&format!("link set {port} master br0"));
        host.addresses(interface, addresses);
    }
}

/// Whether interfaces of this run have no offloads: every frame is at most as long as the MTU, its checksum complete.
fn without_offloads() -> bool {
    std::env::var("ULVS_COMBINATION").is_ok_and(|run| run.ends_with("/off"))
}

/// A cable between two new interfaces, both up.
pub(crate) fn cable(a: (&Host, &str), b: (&Host, &str)) {
    run(
        "ip",
        &[
            "link",
            "add",
            a.1,
            "netns",
            a.0.namespace(),
            "type",
            "veth",
            "peer",
            "name",
            b.1,
            "netns",
            b.0.namespace(),
        ],
    );
    for (host, interface) in [a, b] {
        if without_offloads() {
            host.shell(&format!(
                "ethtool -K {interface} tx off tso off gso off gro off >/dev/null"
            ));
        }
        host.ip(&format!("link set {interface} up"));
    }
}

/// The network namespace of a running process as a machine called `role`.
pub(crate) fn attach(lab: &Lab, role: &str, pid: &str) -> Host {
    let name = format!("{}-{role}", lab.prefix);
    run("ip", &["netns", "attach", &name, pid]);
    Host(Arc::new(Namespace {
        name,
        role: role.to_owned(),
    }))
}

/// Runs a program that must succeed, and gives its output.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {}: {}",
        args.join(" "),
        stderr(&output).trim()
    );
    stdout(&output)
}

/// Deletes the namespaces of processes of that kind that no longer exist (killed before they could).
fn remove_orphans(kind: &str) {
    for line in run("ip", &["netns", "list"]).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let mut parts = name.split('-');
        let (first, Some(Ok(pid))) = (parts.next(), parts.next().map(str::parse::<u32>)) else {
            continue;
        };
        if first == Some(kind) && !Path::new(&format!("/proc/{pid}")).exists() {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

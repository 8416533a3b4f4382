//! Network namespaces for tests: made by `ip`, entered by a thread, gone when dropped.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use link::sys::process;

/// A network namespace with its loopback up.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// A fresh namespace whose name begins with `lk` and says the role.
    pub(crate) fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert_eq!(
            process::effective_user(),
            0,
            "this test makes network namespaces: run it as root (sudo -E cargo test -p link)"
        );
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lk{role}{}x{number}", std::process::id());
        run(&["ip", "netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip("link set lo up");
        // Router and neighbour discovery frames of the kernel's own would disturb frame counts.
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("net/ipv6/conf/default/router_solicitations", "0");
        namespace
    }

    /// Runs `ip ARGUMENTS` inside.
    pub(crate) fn ip(&self, arguments: &str) {
        let mut words = vec!["ip", "-n", &self.name];
        words.extend(arguments.split_whitespace());
        run(&words);
    }

    /// Runs `ethtool -K INTERFACE SETTINGS` inside.
    pub(crate) fn offloads(&self, interface: &str, settings: &str) {
        let mut words = vec![
            "ip", "netns", "exec", &self.name, "ethtool", "-K", interface,
        ];
        words.extend(settings.split_whitespace());
        run(&words);
    }

    /// Sets a sysctl, named by its path below /proc/sys, inside.
    pub(crate) fn sysctl(&self, path: &str, value: &str) {
        self.enter(&format!("sysctl {path}"), {
            let (path, value) = (format!("/proc/sys/{path}"), value.to_owned());
            move || std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"))
        });
    }

    /// Runs `work` in a thread inside the namespace and gives its result.
    pub(crate) fn enter<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        self.spawn(work)
            .join()
            .unwrap_or_else(|_| panic!("{what} failed in {}", self.name))
    }

    /// Starts a thread inside the namespace.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let path = PathBuf::from(format!("/run/netns/{}", self.name));
        thread::spawn(move || {
            process::enter_network_namespace(&path).expect("enter the namespace");
            work()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// Joins two namespaces by a veth pair, both ends up, with the MAC addresses given by the last
/// octet: 02:00:00:00:00:XX.
pub(crate) fn veth(left: (&Namespace, &str, u8), right: (&Namespace, &str, u8)) {
    left.0.ip(&format!(
        "link add {} address {} type veth peer name {} address {} netns {}",
        left.1,
        mac_text(left.2),
        right.1,
        mac_text(right.2),
        right.0.name
    ));
    left.0.ip(&format!("link set {} up", left.1));
    right.0.ip(&format!("link set {} up", right.1));
}

/// The MAC address 02:00:00:00:00:XX.
pub(crate) fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

fn mac_text(last: u8) -> String {
    format!("02:00:00:00:00:{last:02x}")
}

/// Runs a command and fails with its output when it does.
pub(crate) fn run(words: &[&str]) {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(
        output.status.success(),
        "{}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

//! Counting frames on an interface with tcpdump, and recording them.

use std::path::Path;
use std::time::Duration;

use super::lab::{Host, Lab};
use super::process::{Process, eventually};

/// A running tcpdump; each captured frame is one line of text with its Ethernet header.
#[derive(Debug)]
pub(crate) struct Capture {
    process: Process,
}

impl Capture {
    /// Starts capturing what arrives at `interface` of `host` and matches `filter`; returns when it
    /// is listening.
    pub(crate) fn arriving(lab: &Lab, host: &Host, interface: &str, filter: &str) -> Self {
        Self::start(lab, host, interface, &["-Q", "in"], filter)
    }

    /// The same for what leaves.
    pub(crate) fn leaving(lab: &Lab, host: &Host, interface: &str, filter: &str) -> Self {
        Self::start(lab, host, interface, &["-Q", "out"], filter)
    }

    /// The same in both directions.
    pub(crate) fn both_ways(lab: &Lab, host: &Host, interface: &str, filter: &str) -> Self {
        Self::start(lab, host, interface, &[], filter)
    }

    fn start(lab: &Lab, host: &Host, interface: &str, more: &[&str], filter: &str) -> Self {
        let mut command = host.command("tcpdump");
        command
            .args([
                "-l",
                "-n",
                "-e",
                "--immediate-mode",
                "-s",
                "160",
                "-B",
                "16384",
                "-i",
                interface,
            ])
            .args(more)
            .arg(filter);
        let log = lab
            .directory()
            .join(format!("tcpdump-{}-{interface}.{}", host.role(), unique()));
        let process = Process::spawn(command, &log);
        eventually("tcpdump listens", Duration::from_secs(10), || {
            process.output().contains("listening on").then_some(())
        });
        Self { process }
    }

    /// The frames seen so far, a line each.
    pub(crate) fn frames(&self) -> Vec<String> {
        self.process
            .output()
            .lines()
            .filter(|line| line.contains(" > ") && !line.starts_with("tcpdump"))
            .map(str::to_owned)
            .collect()
    }

    /// Stops after a moment for late frames, and gives what was seen; panics where tcpdump itself lost
    /// frames, for then a count of zero proves nothing.
    pub(crate) fn stop(mut self) -> Vec<String> {
        end(&mut self.process);
        self.frames()
    }
}

/// Ends a tcpdump after a moment for late frames; panics where it lost some.
fn end(tcpdump: &mut Process) {
    std::thread::sleep(Duration::from_millis(300));
    tcpdump.signal("INT");
    tcpdump.wait(Duration::from_secs(5));
    let output = tcpdump.output();
    assert!(
        output.contains("\n0 packets dropped by kernel"),
        "tcpdump lost frames:\n{output}"
    );
}

/// A number for file names, new at every call.
fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A running tcpdump that writes whole frames of both directions to a file, for `ulvs replay`.
#[derive(Debug)]
pub(crate) struct Recording {
    process: Process,
}

impl Recording {
    /// Starts recording at `interface` of `host`; returns when it is listening.
    pub(crate) fn start(host: &Host, interface: &str, file: &Path) -> Self {
        let mut command = host.command("tcpdump");
        command
            .args([
                "-U",
                "--immediate-mode",
                "-Z",
                "root",
                "-s",
                "0",
                "-B",
                "16384",
            ])
            .args(["-i", interface, "-w"])
            .arg(file);
        let process = Process::spawn(command, &file.with_extension("log"));
        eventually("tcpdump listens", Duration::from_secs(10), || {
            process.output().contains("listening on").then_some(())
        });
        Self { process }
    }

    /// Stops after a moment for late frames; panics where tcpdump itself lost frames.
    pub(crate) fn stop(mut self) {
        end(&mut self.process);
    }
}

//! A replay of a capture that was made here, in files as a user has them.
#![allow(dead_code, reason = "each test binary uses its own part")]

#[path = "../capture/mod.rs"]
pub(crate) mod capture;

use replay::{Options, ReplayError, report::Report};

use capture::{CLIENT_MAC, Capture, DIRECTOR_MAC};

pub(crate) const RULES: &str = "-A -t 10.8.0.1:80 -s rr\n\
                     -a -t 10.8.0.1:80 -r 10.2.0.11:80 -g -w 1\n\
                     -a -t 10.8.0.1:80 -r 10.2.0.12:80 -g -w 1\n";
pub(crate) const VIP: ([u8; 4], u16) = ([10, 8, 0, 1], 80);
pub(crate) const SYN: u8 = 2;

/// A capture and rules in a folder of their own.
pub(crate) struct Case {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) options: Options,
}

impl Case {
    pub(crate) fn new(capture: &Capture, rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            capture: folder.path().join("in.pcap"),
            rules: folder.path().join("rules"),
            ..Options::default()
        };
        std::fs::write(&options.capture, capture.octets()).unwrap();
        std::fs::write(&options.rules, rules).unwrap();
        Self { folder, options }
    }

    pub(crate) fn run(&self) -> Result<Report, ReplayError> {
        replay::run(&self.options, &mut |_| ())
    }

    /// The sentence that says why nothing can be replayed.
    pub(crate) fn fault(&self) -> String {
        let sentence = self.run().unwrap_err().to_string();
        assert!(!sentence.contains('\n'), "one sentence: {sentence}");
        sentence
    }
}

/// Four clients, a segment each.
pub(crate) fn clients() -> Capture {
    let mut capture = Capture::ethernet();
    for port in 1..=4 {
        capture.tcp(
            u64::from(port),
            (CLIENT_MAC, DIRECTOR_MAC),
            ([10, 1, 0, 2], 4000 + port),
            VIP,
            SYN,
        );
    }
    capture
}

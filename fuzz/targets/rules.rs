//! Any text as ipvsadm rules: reading never panics, and saving and restoring is the identity.

#![no_main]

use std::sync::Arc;

use cli::Transport;
use control::netlink::ConnectionEntry;
use control::rules::NumericNames;
use control::server::Server;
use control::state::DesiredState;
use director::shared::{Options, Shared};
use director::time::Instant;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // A desired state that can be read is written and read to the same.
    if let Ok(state) = DesiredState::parse(text) {
        let written = state.to_string();
        let again = DesiredState::parse(&written).expect("our own text can be read");
        assert_eq!(again, state, "from {written}");
    }
    // Whatever the lines did, what they left can be saved and restored.
    let first = Machine::new();
    first.ipvsadm(&["-R"], text);
    let saved = first.ipvsadm(&["-S", "-n"], "");
    let second = Machine::new();
    second.ipvsadm(&["-R"], &saved);
    let again = second.ipvsadm(&["-S", "-n"], "");
    // The real program prints the largest marks negative and cannot read them back.
    if !saved.contains("-f -") {
        assert_eq!(saved, again);
    }
    // The same by the form that loses nothing.
    let state = DesiredState::of(&first.shared);
    let third = Machine::new();
    state
        .apply(&third.shared)
        .expect("what was accepted once is accepted again");
    assert_eq!(DesiredState::of(&third.shared), state);
    // Any words are a command line.
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    first.ipvsadm(&words, "");
});

/// A director without packets, and its command line.
struct Machine {
    shared: Arc<Shared>,
}

impl Machine {
    fn new() -> Self {
        Self {
            shared: Arc::new(Shared::new(Options::default())),
        }
    }

    /// Standard output of a command.
    fn ipvsadm(&self, arguments: &[&str], stdin: &str) -> String {
        let argv: Vec<String> = std::iter::once("ipvsadm")
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect();
        let mut input = stdin.as_bytes();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = cli::ipvsadm::run_with_names(
            &argv,
            &mut input,
            &mut out,
            &mut err,
            &mut InProcess(Arc::clone(&self.shared)),
            &NumericNames,
        );
        assert!(
            code == 0 || !err.is_empty(),
            "refused without a word: {argv:?}"
        );
        String::from_utf8(out).expect("lists are text")
    }
}

struct InProcess(Arc<Shared>);

impl Transport for InProcess {
    fn exchange(&mut self, request: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
        let none = |_: Instant| Vec::<ConnectionEntry>::new();
        Ok(Server::new(Arc::clone(&self.0)).handle(request, 0, Instant::START, &none))
    }
}

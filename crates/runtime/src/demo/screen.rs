//! What the demo prints. Colours only on a terminal that wants them (`NO_COLOR`); a write that fails
//! (a closed pipe) is no reason to stop before everything is cleaned up.

use std::io::{IsTerminal, Write};

/// Standard output, with or without colours.
pub(super) struct Screen {
    colours: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const BLUE: &str = "34";

impl Screen {
    /// Standard output as it is.
    pub(super) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: std::io::stdout().is_terminal() && !plain,
        }
    }

    fn line(&self, colour: &str, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = if self.colours && !colour.is_empty() {
            writeln!(out, "\x1b[{colour}m{text}\x1b[0m")
        } else {
            writeln!(out, "{text}")
        };
        let _ = out.flush();
    }

    /// The heading of a method.
    pub(super) fn title(&self, text: &str) {
        self.line("", "");
        self.line(BOLD, &format!("== {text} =="));
    }

    /// Plain lines.
    pub(super) fn text(&self, text: &str) {
        self.line("", text);
    }

    /// An empty line.
    pub(super) fn blank(&self) {
        self.line("", "");
    }

    /// Something that is being done.
    pub(super) fn step(&self, text: &str) {
        self.line(DIM, &format!("... {text}"));
    }

    /// A command as a user would type it.
    pub(super) fn command(&self, line: &str) {
        self.line(BLUE, &format!("$ {line}"));
    }

    /// The first lines of a command's output, and how many more there are.
    pub(super) fn excerpt(&self, text: &str, lines: usize) {
        for line in text.lines().take(lines) {
            self.line("", line.trim_end());
        }
        let more = text.lines().count().saturating_sub(lines);
        if more > 0 {
            self.line(DIM, &format!("(and {more} more)"));
        }
        self.blank();
    }

    /// Who answered, in order.
    pub(super) fn answers(&self, names: &[String]) {
        for names in names.chunks(15) {
            self.line("", &names.join(" "));
        }
    }

    /// The heading over [`Self::split_row`].
    pub(super) fn split_header(&self) {
        self.line(BOLD, "real server  weight  expected  answered");
    }

    /// One real server's share.
    pub(super) fn split_row(&self, name: &str, weight: usize, expected: usize, answered: usize) {
        let colour = if expected == answered { GREEN } else { RED };
        let bar = "#".repeat(answered);
        self.line(
            colour,
            &format!("{name:<11}  {weight:>6}  {expected:>8}  {answered:>8}  {bar}"),
        );
    }

    /// The last line of a demo that went well.
    pub(super) fn success(&self, text: &str) {
        self.line(GREEN, text);
    }
}

//! Messages and exit codes of what went wrong.

use std::io::Write;

use control::rules::{Command, Refusal, refusal_text};

use crate::client::Failure;

/// A command that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// What to print, without the final line feed.
    pub(super) text: Option<String>,
    /// Exit code.
    pub(super) code: i32,
    /// Whether it ends a `-R`.
    pub(super) fatal: bool,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self {
            text: Some(refusal.text),
            code: refusal.code,
            fatal: refusal.fatal,
        }
    }
}

impl Failed {
    /// The end of the program, a `-R` included, without a fault: help was asked for.
    pub(super) const fn end() -> Self {
        Self {
            text: None,
            code: 0,
            fatal: true,
        }
    }

    /// The end of the program, a `-R` included, without a word (exit code 1).
    pub(super) const fn silent() -> Self {
        Self {
            text: None,
            code: 1,
            fatal: true,
        }
    }

    /// A command that changes something: the program goes on with the next line of a `-R`.
    pub(super) fn command(command: &Command, failure: Failure) -> Self {
        match failure {
            Failure::Refused(errno) => Self {
                text: Some(refusal_text(command, errno)),
                code: 255,
                fatal: false,
            },
            Failure::Explained(sentence) => Self {
                text: Some(sentence),
                code: 255,
                fatal: false,
            },
            Failure::Unreachable(error) => Self::unreachable(&error),
        }
    }

    /// A listing: the program ends.
    pub(super) fn listing(command: &Command, failure: Failure) -> Self {
        match failure {
            Failure::Refused(errno) => Self {
                text: Some(refusal_text(command, errno)),
                code: 1,
                fatal: true,
            },
            Failure::Explained(sentence) => Self {
                text: Some(sentence),
                code: 1,
                fatal: true,
            },
            Failure::Unreachable(error) => Self::unreachable(&error),
        }
    }

    fn unreachable(error: &std::io::Error) -> Self {
        let text = format!(
            "Can't initialize ipvs: {error}\nAre you sure that the director is running (ulvs run)?"
        );
        Self {
            text: Some(text),
            code: 2,
            fatal: true,
        }
    }

    pub(super) fn print(&self, err: &mut dyn Write) {
        if let Some(text) = &self.text {
            // What cannot be written cannot be reported either.
            let _ = writeln!(err, "{text}");
        }
    }
}

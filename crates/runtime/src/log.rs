//! The daemon's log: lines on standard error, readable as they are; systemd or the container engine adds the time.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use control::config::{Log, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;

/// Starts logging, for the whole process. The environment variable `ULVS_LOG` (`error`, `warn`, `info`, `debug`,
/// `trace`) goes before the level in `log`.
pub fn start(log: Log) {
    let configured = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let level = std::env::var("ULVS_LOG")
        .ok()
        .and_then(|text| text.parse().ok());
    let builder = tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(configured))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // Started twice in one process (tests): the first one stays.
    let _ = match log.format {
        LogFormat::Text => builder.without_time().try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// What is logged without a configuration.
#[must_use]
pub fn ordinary() -> Log {
    Log {
        level: LogLevel::Info,
        format: LogFormat::Text,
    }
}

/// Sentences that a [`Told`] remembers at most; then it begins anew, and tells them once more.
const TOLD_MAX: usize = 1000;

/// Sentences already logged, so that what lasts is told once.
#[derive(Debug, Default)]
pub struct Told(BTreeSet<String>);

impl Told {
    /// Whether the sentence was not told yet; from now on it was.
    pub fn is_new(&mut self, sentence: &str) -> bool {
        if self.0.len() >= TOLD_MAX {
            self.0.clear();
        }
        self.0.insert(sentence.to_owned())
    }
}

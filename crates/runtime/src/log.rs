//! The daemon's log: lines on standard error, readable as they are; systemd or the container engine adds the time.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

/// Starts logging, for the whole process. The environment variable `ULVS_LOG` (`error`, `warn`, `info`, `debug`,
/// `trace`) sets how much; `info` without it.
pub fn start() {
    let level = std::env::var("ULVS_LOG")
        .ok()
        .and_then(|text| text.parse().ok());
    let builder = tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time();
    // Started twice in one process (tests): the first one stays.
    let _ = builder.try_init();
}

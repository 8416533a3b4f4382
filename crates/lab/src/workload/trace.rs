//! Connections that a file tells: a capture of real traffic, or a table.

use core::net::IpAddr;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use super::maker::Maker;
use super::{Arrival, Workload};

/// A trace that cannot be used: one sentence with file, line and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TraceError(pub(super) String);

/// A connection of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When, since the beginning of the trace.
    pub at: Duration,
    /// The client's address and port.
    pub client: (IpAddr, u16),
    /// Work, where the trace says; else the scenario's.
    pub work: Option<f64>,
    /// Packets of the client beside handshake and end, where the trace says; else the scenario's.
    pub packets: Option<u32>,
}

/// Reads a trace, in the order of its times.
///
/// # Errors
/// It cannot be read, or says something impossible.
pub fn read(path: &Path) -> Result<Vec<Row>, TraceError> {
    Err(TraceError(format!("{}: not yet", path.display())))
}

/// The connections of a trace.
#[derive(Debug)]
pub(super) struct Replay {
    rows: Arc<[Row]>,
    next: usize,
    maker: Maker,
    end: Duration,
}

impl Replay {
    pub(super) fn new(rows: Arc<[Row]>, maker: Maker, end: Duration) -> Self {
        Self {
            rows,
            next: 0,
            maker,
            end,
        }
    }

    fn row(&self) -> Option<&Row> {
        self.rows.get(self.next).filter(|row| row.at < self.end)
    }
}

impl Workload for Replay {
    fn peek(&self) -> Option<Duration> {
        self.row().map(|row| row.at)
    }

    fn next(&mut self) -> Option<Arrival> {
        let row = *self.row()?;
        self.next += 1;
        let made = self.maker.draft(row.at, 0, 0).arrival;
        Some(Arrival {
            client: row.client,
            work: row.work.unwrap_or(made.work),
            packets: row.packets.unwrap_or(made.packets),
            ..made
        })
    }

    fn done(&mut self, _: &Arrival, _: Duration) {}
}

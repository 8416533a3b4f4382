//! Connections that a file tells: a capture of real traffic, or a table.

mod capture;
mod table;

use core::net::IpAddr;
use core::time::Duration;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::maker::Maker;
use super::{Arrival, Workload};
use crate::scenario::Protocol;

/// Most connections of a trace.
const ROWS_MAX: usize = 20_000_000;
/// Most octets of a trace.
const OCTETS_MAX: u64 = 8 << 30;
/// What a pcap file begins with: either byte order, microseconds or nanoseconds.
const PCAP: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];
/// What a pcapng file begins with.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// A trace that cannot be used: one sentence with file, line and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TraceError(String);

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

/// Reads a trace, in the order of its times: a pcap file, where SYNs (TCP) or first datagrams (UDP) are
/// connections, or lines of `seconds,client,port,work,packets`.
///
/// # Errors
/// There is no such file, or it says something impossible, or no connection.
pub fn read(path: &Path, protocol: Protocol) -> Result<Vec<Row>, TraceError> {
    let name = path.display();
    let fail = |text: String| TraceError(format!("{name}: {text}"));
    let refused = |error: std::io::Error| fail(format!("cannot read the trace: {error}"));
    let of = std::fs::metadata(path).map_err(refused)?;
    if !of.is_file() || of.len() == 0 || of.len() > OCTETS_MAX {
        let text = "a trace is a file, not empty, of at most 8 GiB: name another one";
        return Err(fail(text.to_owned()));
    }
    let mut file = File::open(path).map_err(refused)?;
    let mut first = [0; 4];
    let is_text = file.read_exact(&mut first).is_err();
    let mut rows = if !is_text && PCAP.contains(&first) {
        capture::read(path, protocol)?
    } else if !is_text && first == PCAPNG {
        let text = "this is pcapng: make a pcap file of it with `editcap -F pcap IN OUT`";
        return Err(fail(text.to_owned()));
    } else {
        table::read(path)?
    };
    rows.sort_by_key(|row| row.at);
    Ok(rows)
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

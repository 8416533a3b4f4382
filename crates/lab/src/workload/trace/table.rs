//! A trace as a table: `seconds,client,port,work,packets`.

use core::net::IpAddr;
use core::time::Duration;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::{ROWS_MAX, Row, TraceError};

/// First line that says what the columns are; it may be left out.
const HEAD: &str = "seconds,client,port,work,packets";
/// Longest time and most work, seconds.
const SECONDS_MAX: f64 = 1e6;
/// Most packets of a connection.
const PACKETS_MAX: u32 = 10_000;
/// Characters of a line that a message shows.
const SHOWN: usize = 80;

/// Reads the lines; empty ones and those that begin with `#` are passed over.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, TraceError> {
    let name = path.display();
    let refused =
        |error: std::io::Error| TraceError(format!("{name}: cannot read the trace: {error}"));
    let lines = BufReader::new(File::open(path).map_err(refused)?).lines();
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(lines) {
        let fail = |shown: &str, reason: &str| {
            let shown: String = shown.chars().take(SHOWN).collect();
            TraceError(format!("{name}:{number}: `{shown}`: {reason}"))
        };
        let line = line.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => fail(
                "...",
                "this is neither a pcap file nor text: a trace is one of these",
            ),
            _ => refused(error),
        })?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (number == 1 && line == HEAD) {
            continue;
        }
        if rows.len() == ROWS_MAX {
            let reason = format!("this is one connection too many: at most {ROWS_MAX}");
            return Err(fail(line, &reason));
        }
        rows.push(row(line).map_err(|reason| fail(line, &reason))?);
    }
    if rows.is_empty() {
        return Err(TraceError(format!(
            "{name}: there is no connection in it: write lines of {HEAD}"
        )));
    }
    Ok(rows)
}

/// A line; work and packets may be left out.
fn row(line: &str) -> Result<Row, String> {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    let (seconds, client, port, rest) = match columns.as_slice() {
        [seconds, client, port, rest @ ..] if rest.len() <= 2 => (seconds, client, port, rest),
        _ => return Err(format!("a line is {HEAD}, the last two as you like")),
    };
    let at = number(seconds, "seconds", true)?;
    let client: IpAddr = client
        .parse()
        .map_err(|_| format!("`{client}` is no address, such as 192.0.2.7"))?;
    let port: u16 = port
        .parse()
        .map_err(|_| format!("`{port}` is no port: 0 to 65535"))?;
    let given = |index: usize| rest.get(index).filter(|text| !text.is_empty());
    let work = given(0)
        .map(|text| number(text, "work", false))
        .transpose()?;
    let packets = given(1).map(|text| match text.parse() {
        Ok(packets) if packets <= PACKETS_MAX => Ok(packets),
        _ => Err(format!(
            "`{text}` is no number of packets: 0 to {PACKETS_MAX}"
        )),
    });
    Ok(Row {
        at: Duration::try_from_secs_f64(at).map_err(|error| error.to_string())?,
        client: (client, port),
        work,
        packets: packets.transpose()?,
    })
}

/// A number of seconds.
fn number(text: &str, column: &str, may_be_zero: bool) -> Result<f64, String> {
    let value = text.parse().ok();
    let value = value.filter(|value| (0.0..=SECONDS_MAX).contains(value));
    value
        .filter(|value| may_be_zero || *value > 0.0)
        .ok_or_else(|| {
            let least = if may_be_zero { "0" } else { "more than 0" };
            format!("`{text}` cannot be {column}: a number from {least} to {SECONDS_MAX}")
        })
}

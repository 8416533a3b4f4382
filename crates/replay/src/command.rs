//! `ulvs replay`: runs a replay and prints what it found.

use std::io::Write;
use std::path::PathBuf;

use crate::error::ReplayError;
use crate::report::Report;
use crate::run::{Options, run};
use crate::text;

/// What is to be printed, and where.
#[derive(Clone, Debug, Default)]
pub struct Printing {
    /// The whole report as JSON, into this file; `-` = to standard output, instead of the text.
    pub json: Option<PathBuf>,
    /// The tables of services and connections at the end, as ipvsadm prints them.
    pub tables: bool,
}

/// Replays, prints to `out`, and returns the exit code: 0, or 1 with one sentence on `err`; a broken capture is
/// replayed as far as it goes, and is such a sentence too.
pub fn command(
    options: &Options,
    printing: &Printing,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> i32 {
    let result = replay(options, printing, out);
    // Whoever closed the output does not want the rest.
    let _ = out.flush();
    let sentence = match result {
        Ok(None) => return 0,
        Ok(Some(broken)) => broken,
        Err(error) => error.to_string(),
    };
    let _ = writeln!(err, "ulvs: {sentence}");
    1
}

/// Returns where the capture is broken.
fn replay(
    options: &Options,
    printing: &Printing,
    out: &mut dyn Write,
) -> Result<Option<String>, ReplayError> {
    let is_json = printing
        .json
        .as_ref()
        .is_some_and(|path| path.as_os_str() == "-");
    let mut each = Vec::new();
    let mut report = run(options, &mut |frame| {
        if printing.json.is_some() {
            each.push(frame);
        } else {
            let _ = out.write_all(text::frame(&frame).as_bytes());
        }
    })?;
    if !is_json {
        for frame in &each {
            let _ = out.write_all(text::frame(frame).as_bytes());
        }
        if options.each {
            let _ = writeln!(out);
        }
        let _ = out.write_all(text::summary(&report).as_bytes());
        if printing.tables {
            let tables = [&report.services_table, &report.connections_table];
            tables.into_iter().for_each(|table| {
                let _ = write!(out, "\n{table}");
            });
        }
    }
    report.each = each;
    if let Some(path) = &printing.json {
        let json = json(&report)?;
        if is_json {
            let _ = out.write_all(&json);
        } else {
            let name = path.display();
            std::fs::write(path, json).map_err(|error| {
                ReplayError::new(format!("cannot write the report {name}: {error}"))
            })?;
        }
    }
    Ok(report.broken)
}

fn json(report: &Report) -> Result<Vec<u8>, ReplayError> {
    let mut json = serde_json::to_vec_pretty(report).map_err(|error| {
        ReplayError::new(format!("the report cannot be written as JSON: {error}"))
    })?;
    json.push(b'\n');
    Ok(json)
}

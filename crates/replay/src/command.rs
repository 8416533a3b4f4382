//! `ulvs replay`: runs a replay and prints what it found.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::ReplayError;
use crate::report::Report;
use crate::run::{Options, check_apart, discard, run};
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
    let file = printing.json.as_deref();
    let to_file = file.filter(|path| path.as_os_str() != "-");
    if let Some(path) = to_file {
        let others = [
            Some(&options.capture),
            Some(&options.rules),
            options.output.as_ref(),
        ];
        let others: Vec<&Path> = others.into_iter().flatten().map(PathBuf::as_path).collect();
        check_apart("--json", path, &others)?;
    }
    let mut each = Vec::new();
    let mut report = run(options, &mut |frame| {
        if file.is_some() {
            each.push(frame);
        } else {
            let _ = out.write_all(text::frame(&frame).as_bytes());
        }
    })?;
    report.each = each;
    match (file, to_file) {
        (Some(_), None) => {
            let _ = out.write_all(&json(&report)?);
            return Ok(report.broken);
        }
        (_, Some(path)) => save(path, &json(&report)?)?,
        _ => {}
    }
    for frame in &report.each {
        let _ = out.write_all(text::frame(frame).as_bytes());
    }
    if options.each {
        let _ = writeln!(out);
    }
    let _ = out.write_all(text::summary(&report).as_bytes());
    if printing.tables {
        for table in [&report.services_table, &report.connections_table] {
            let _ = write!(out, "\n{table}");
        }
    }
    Ok(report.broken)
}

/// Writes the file, or none.
fn save(path: &Path, json: &[u8]) -> Result<(), ReplayError> {
    std::fs::write(path, json).map_err(|error| {
        discard(path);
        ReplayError::new(format!(
            "cannot write the report {}: {error}",
            path.display()
        ))
    })
}

fn json(report: &Report) -> Result<Vec<u8>, ReplayError> {
    let mut json = serde_json::to_vec_pretty(report).map_err(|error| {
        ReplayError::new(format!("the report cannot be written as JSON: {error}"))
    })?;
    json.push(b'\n');
    Ok(json)
}

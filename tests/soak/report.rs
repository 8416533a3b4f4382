//! What a soak found: numbers in columns, what is wrong, and all of it as JSON.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// The result of one soak.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Titles of the columns.
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Sentences that are part of the result.
    notes: Vec<String>,
    /// What must not be, a sentence each.
    wrong: Vec<String>,
}

impl Report {
    /// A table with these columns and no row.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self {
            columns: columns.to_vec(),
            ..Self::default()
        }
    }

    /// Adds a row, a cell for each column.
    pub(crate) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    /// Notes a failure.
    pub(crate) fn fail(&mut self, sentence: impl Into<String>) {
        self.wrong.push(sentence.into());
    }

    /// Notes a failure where `holds` is false.
    pub(crate) fn check(&mut self, holds: bool, sentence: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(sentence());
        }
    }

    /// What must not be.
    pub(crate) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// The table, the notes and the verdict.
    pub(crate) fn text(&self) -> String {
        let cells = |index: usize| self.rows.iter().filter_map(move |row| row.get(index));
        let width = |index: usize, title: &str| {
            let longest = cells(index).map(|cell| cell.chars().count()).max();
            title.chars().count().max(longest.unwrap_or_default())
        };
        let widths: Vec<usize> = (self.columns.iter().enumerate())
            .map(|(index, title)| width(index, title))
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells
                .zip(&widths)
                .enumerate()
                .map(|(index, (cell, width))| {
                    // Names to the left, numbers to the right.
                    if index == 0 {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let mut text = line(&mut self.columns.iter().copied());
        for row in &self.rows {
            text += &line(&mut row.iter().map(String::as_str));
        }
        for note in &self.notes {
            text += &format!("{note}\n");
        }
        for sentence in &self.wrong {
            text += &format!("WRONG: {sentence}\n");
        }
        text += if self.wrong.is_empty() {
            "verdict: as it must be\n"
        } else {
            "verdict: FAILED\n"
        };
        text
    }

    /// The same as JSON: `rows` are objects with the columns' titles as names.
    pub(crate) fn json(&self) -> Value {
        let row = |cells: &Vec<String>| -> Value {
            let pairs = self.columns.iter().zip(cells);
            pairs
                .map(|(title, cell)| ((*title).to_owned(), value(cell)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "notes": self.notes,
            "wrong": self.wrong,
            "ok": self.wrong.is_empty(),
        })
    }

    /// Writes the JSON.
    ///
    /// # Errors
    /// A sentence with the file's name.
    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        std::fs::write(path, format!("{:#}\n", self.json()))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// A number where it reads as one.
fn value(cell: &str) -> Value {
    cell.parse::<u64>()
        .map(Value::from)
        .or_else(|_| cell.parse::<f64>().map(Value::from))
        .unwrap_or_else(|_| cell.into())
}

/// Tells how far a soak is, with the time since it began.
pub(crate) fn progress(since: Duration, text: &str) {
    println!("{:>7.1} s  {text}", since.as_secs_f64());
}

/// Octets in MiB.
pub(crate) fn mebibytes(octets: u64) -> String {
    format!("{:.1}", octets as f64 / f64::from(1 << 20))
}

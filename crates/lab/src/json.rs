//! JSON files: the same results give the same octets, with a line for each metric and each point of a curve.
//!
//! Numbers are written in the shortest way that reads back as the same number, maps in the order of their keys.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};

use crate::cost::Costs;
use crate::results::Results;

/// The form of [`Results`] that this program writes and reads.
pub const VERSION: u32 = 1;

/// A file of results that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: cannot be read: {error}; `ulvs lab run --json FILE` writes such a file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is something else.
    #[error("{}: {error}; give a file that `ulvs lab` has written", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What, and where in it.
        error: serde_json::Error,
    },
    /// Another ulvs has written it.
    #[error("{}: its version is {version}, and this ulvs reads version {VERSION}: make it again", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u32,
    },
}

/// Depth down to which everything gets a line of its own.
const DEPTH: usize = 6;

/// Lines and indents down to [`DEPTH`], nothing below.
#[derive(Default)]
struct Shallow {
    depth: usize,
    is_empty: bool,
}

impl Shallow {
    fn open<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.is_empty = true;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if !self.is_empty && self.depth < DEPTH {
            self.line(writer)?;
        }
        self.is_empty = false;
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + Write>(&mut self, writer: &mut W, is_first: bool) -> io::Result<()> {
        self.is_empty = false;
        if !is_first {
            writer.write_all(b",")?;
        }
        if self.depth <= DEPTH {
            self.line(writer)?;
        }
        Ok(())
    }

    fn line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b" "))
    }
}

impl Formatter for Shallow {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// As JSON, with a line feed at the end.
#[must_use]
pub fn text(value: &impl Serialize) -> String {
    let mut octets = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut octets, Shallow::default());
    // Neither memory nor what this crate writes refuses: no map of it has keys that are not texts.
    let _ = value.serialize(&mut serializer);
    octets.push(b'\n');
    String::from_utf8_lossy(&octets).into_owned()
}

/// Reads a file of results.
///
/// # Errors
/// [`FileError`]: it cannot be read, is not of this form, or of another version.
pub fn results(path: &Path) -> Result<Results, FileError> {
    read(path)
}

/// Reads a file of costs.
///
/// # Errors
/// [`FileError`]: it cannot be read, is not of this form, or of another version.
pub fn costs(path: &Path) -> Result<Costs, FileError> {
    read(path)
}

/// What every version says of itself.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let octets = std::fs::read(path).map_err(|error| FileError::Read {
        path: path.to_owned(),
        error,
    })?;
    let form = |error| FileError::Form {
        path: path.to_owned(),
        error,
    };
    // Another version may have another form: it is asked for first.
    let Versioned { version } = serde_json::from_slice(&octets).map_err(form)?;
    if version != VERSION {
        return Err(FileError::Version {
            path: path.to_owned(),
            version,
        });
    }
    serde_json::from_slice(&octets).map_err(form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    #[test]
    fn what_is_written_is_read_back() {
        let results = made_up::results(5);
        let written = text(&results);
        assert_eq!(written, text(&results));
        let read: Results = serde_json::from_str(&written).expect("it was just written");
        assert_eq!(read, results);
    }

    #[test]
    fn no_interval_is_null() {
        let results = made_up::once(1);
        let written = text(&results);
        assert!(
            written.contains("\"refused\": {\"mean\": 0.0,\"half\": null,"),
            "{written}"
        );
        let read: Results = serde_json::from_str(&written).expect("it was just written");
        assert_eq!(read, results);
    }

    #[test]
    fn a_metric_and_a_point_of_a_curve_take_a_line_each() {
        let written = text(&made_up::results(1));
        assert!(written.contains("\n     \"name\": \"rr\","), "{written}");
        assert!(written.contains("\n      \"refused\": {\"mean\": 0.0,\"half\": 0.0,"));
        assert!(written.contains("\n      [2,0.5"), "{written}");
        let pretty =
            serde_json::to_string_pretty(&made_up::results(1)).expect("it is like the other");
        assert!(written.lines().count() * 2 < pretty.lines().count());
    }

    #[test]
    fn a_file_of_something_else_is_told_in_a_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.json");
        let told = |text: &str| {
            std::fs::write(&path, text).expect("it is ours");
            results(&path).expect_err("it is wrong").to_string()
        };
        assert!(told("{").contains("results.json: EOF while parsing an object at line 1 column 1"));
        assert!(told("[]").contains("give a file that `ulvs lab` has written"));
        let mut old = made_up::results(1);
        old.version = 7;
        assert!(told(&text(&old)).contains("its version is 7"));
        assert!(told("{\"version\": 2, \"all\": []}").contains("its version is 2"));
        let absent = results(Path::new("/nonexistent/x.json")).expect_err("there is none");
        assert!(absent.to_string().contains("cannot be read"), "{absent}");
    }
}

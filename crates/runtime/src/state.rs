//! The saved state on disk: replaced as a whole, never half written.
//!
//! Promises: after [`StateFile::save`] returns, the file holds the new text even if the machine loses power; a
//! process killed at any moment leaves the old text or the new one. What the text says is another crate's matter.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Result, RuntimeError};

/// Shortest time between two writes. The first change after a quiet time is on disk before its command is answered;
/// of a burst (`ipvsadm -R`) the rest is on disk this much later at the latest.
pub const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// Time from a failed write to the next try.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Where the state is kept.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// When it was last written or tried, and how long to wait from then.
    tried: Option<(Instant, Duration)>,
    dirty: bool,
}

impl StateFile {
    /// The state file at `path`; its directory is made when it is missing.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(path: PathBuf) -> Result<Self> {
        let directory = directory(&path);
        fs::create_dir_all(directory).map_err(|source| {
            let operation = format!("cannot make the state directory {}", directory.display());
            RuntimeError::system(operation, source)
        })?;
        Ok(Self {
            path,
            tried: None,
            dirty: false,
        })
    }

    /// Path of the file, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The saved text; `None` when nothing was ever saved.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn load(&self) -> Result<Option<String>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                let operation = format!("cannot read the saved state {}", self.path.display());
                Err(RuntimeError::system(operation, source))
            }
        }
    }

    /// Notes that the state changed. Returns whether it is to be saved now; otherwise [`StateFile::due`] says when.
    pub fn changed(&mut self, now: Instant) -> bool {
        self.dirty = true;
        self.due(now) == Some(Duration::ZERO)
    }

    /// Time until a noted change must be saved; `None` when there is none.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Duration> {
        let left = self.tried.map_or(Duration::ZERO, |(at, interval)| {
            interval.saturating_sub(now.saturating_duration_since(at))
        });
        self.dirty.then_some(left)
    }

    /// Replaces the file by `text`, durably.
    ///
    /// # Errors
    /// The system refused; the old file is still there, and the change stays noted.
    pub fn save(&mut self, text: &str, now: Instant) -> Result<()> {
        // Until it succeeds: a full disk must not be tried again with every command.
        self.tried = Some((now, RETRY_INTERVAL));
        self.dirty = true;
        replace(&self.path, text.as_bytes()).map_err(|source| {
            let operation = format!("cannot save the state to {}", self.path.display());
            RuntimeError::system(operation, source)
        })?;
        self.tried = Some((now, WRITE_INTERVAL));
        self.dirty = false;
        Ok(())
    }
}

fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // The rename itself is durable only with its directory.
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state");
        let mut file = StateFile::new(path.clone()).unwrap();
        assert_eq!(file.load().unwrap(), None);
        let now = Instant::now();
        file.save("one\n", now).unwrap();
        file.save("two\n", now).unwrap();
        assert_eq!(file.load().unwrap().as_deref(), Some("two\n"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_burst_is_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = StateFile::new(folder.path().join("state")).unwrap();
        let start = Instant::now();
        assert_eq!(file.due(start), None);
        assert!(file.changed(start));
        file.save("1", start).unwrap();
        assert_eq!(file.due(start), None);
        let soon = start + Duration::from_millis(30);
        assert!(!file.changed(soon));
        assert!(!file.changed(soon));
        assert_eq!(file.due(soon), Some(Duration::from_millis(70)));
        assert_eq!(file.due(start + WRITE_INTERVAL), Some(Duration::ZERO));
    }

    #[test]
    fn a_refusal_names_the_file_and_keeps_the_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut file = StateFile::new(path.clone()).unwrap();
        fs::create_dir(&path).unwrap();
        let now = Instant::now();
        file.changed(now);
        let text = file.save("1", now).unwrap_err().to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert_eq!(
            file.due(now + WRITE_INTERVAL),
            Some(RETRY_INTERVAL - WRITE_INTERVAL)
        );
        assert!(!file.changed(now + WRITE_INTERVAL));
        assert_eq!(file.due(now + RETRY_INTERVAL), Some(Duration::ZERO));
    }
}

//! The texts of `/proc/net/ip_vs*` as files, for tools that read files alone (`node_exporter --path.procfs`).
//!
//! Promises: a reader sees a whole text, old or new. A file is never younger than its text, and at most
//! [`PERIOD`] and a tick older; `ulvs proc` tells the text of this moment. Never decides what stands in a text.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use control::proc::TEXTS;

/// Time between two writes: the kernel's estimators, whose rates the texts tell, have the same.
pub const PERIOD: Duration = Duration::from_secs(2);

/// The folder with the files.
#[derive(Debug)]
pub struct ProcFiles {
    folder: PathBuf,
    /// When they were written last; none = they are not there.
    written: Option<Instant>,
    /// The last try failed, and that was said.
    failed: bool,
}

impl ProcFiles {
    /// Files in `proc/net` beside the control socket; there are none yet.
    #[must_use]
    pub fn beside(socket: &Path) -> Self {
        let folder = socket.parent().unwrap_or_else(|| Path::new(""));
        Self {
            folder: folder.join("proc/net"),
            written: None,
            failed: false,
        }
    }

    /// Whether the files are to be written now.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.written
            .is_none_or(|written| now.saturating_duration_since(written) >= PERIOD)
    }

    /// Writes the files; `text` tells the text of a name. A failure is logged, once, and tried again.
    pub fn write(&mut self, now: Instant, text: impl Fn(&str) -> Option<String>) {
        self.written = Some(now);
        match self.replace_all(text) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::error!("cannot write {}: {error}", self.folder.display());
            }
            Err(_) => {}
        }
    }

    fn replace_all(&self, text: impl Fn(&str) -> Option<String>) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for name in TEXTS {
            let Some(text) = text(name) else {
                continue;
            };
            let temporary = self.folder.join(format!(".{name}.new"));
            fs::write(&temporary, text)?;
            fs::rename(&temporary, self.folder.join(name))?;
        }
        Ok(())
    }

    /// Removes the files, if they were written: nobody may take them for the texts of a running director.
    pub fn remove(&mut self) {
        if self.written.take().is_some() {
            for name in TEXTS {
                // What is not there is gone already.
                let _ = fs::remove_file(self.folder.join(name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = ProcFiles::beside(&folder.path().join("control.sock"));
        let (now, path) = (Instant::now(), folder.path().join("proc/net/ip_vs"));
        assert!(files.is_due(now));
        files.write(now, |name| Some(format!("{name} 1\n")));
        assert_eq!(fs::read_to_string(&path).unwrap(), "ip_vs 1\n");
        assert!(!files.is_due(now + PERIOD / 2) && files.is_due(now + PERIOD));
        files.write(now + PERIOD, |name| Some(format!("{name} 2\n")));
        assert_eq!(fs::read_to_string(&path).unwrap(), "ip_vs 2\n");
        let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, TEXTS.len(), "no temporary file is left");
        files.remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_cannot_be_written_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("proc"),
            "a file where the folder should be",
        )
        .unwrap();
        let mut files = ProcFiles::beside(&folder.path().join("control.sock"));
        files.write(Instant::now(), |_| Some(String::new()));
        assert!(files.failed);
        fs::remove_file(folder.path().join("proc")).unwrap();
        files.write(Instant::now(), |_| Some(String::new()));
        assert!(!files.failed);
    }
}

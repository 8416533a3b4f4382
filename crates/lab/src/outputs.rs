//! Files that a command of the lab writes: each is whole, or as it was before.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::command::LabError;

/// Files to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Folder that gets `results.json`, `results.csv` and `report.html`.
    pub folder: Option<PathBuf>,
    /// JSON.
    pub json: Option<PathBuf>,
    /// CSV.
    pub csv: Option<PathBuf>,
    /// The page.
    pub html: Option<PathBuf>,
}

/// What is in a file.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Json,
    Csv,
    Html,
}

impl Outputs {
    /// Each file, and what makes its content.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Kind)> {
        let mut files = Vec::new();
        if let Some(folder) = &self.folder {
            files.push((folder.join("results.json"), Kind::Json));
            files.push((folder.join("results.csv"), Kind::Csv));
            files.push((folder.join("report.html"), Kind::Html));
        }
        let single = [
            (&self.json, Kind::Json),
            (&self.csv, Kind::Csv),
            (&self.html, Kind::Html),
        ];
        let given = single.into_iter();
        files.extend(given.filter_map(|(path, kind)| Some((path.clone()?, kind))));
        files
    }

    /// Makes the folder, and sees whether files could be written: before a run that takes minutes.
    pub(crate) fn prepare(&self) -> Result<(), LabError> {
        let files = self.files();
        for (number, (path, _)) in files.iter().enumerate() {
            if files[..number].iter().any(|(other, _)| other == path) {
                return Err(LabError::SameFile(path.clone()));
            }
        }
        if let Some(folder) = &self.folder {
            fs::create_dir_all(folder).map_err(|error| refused(folder, error))?;
        }
        files.iter().try_for_each(|(path, _)| try_out(path))
    }
}

/// Sees whether a file could be written; nothing is left of it when it is not there yet.
pub(crate) fn try_out(path: &Path) -> Result<(), LabError> {
    let is_new = !path.exists();
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let tried = opened.and_then(|_| {
        if is_new {
            fs::remove_file(path)
        } else {
            Ok(())
        }
    });
    tried.map_err(|error| refused(path, error))
}

/// Writes a file.
pub(crate) fn write(path: &Path, content: &str) -> Result<(), LabError> {
    replace(path, content).map_err(|error| refused(path, error))
}

fn refused(path: &Path, error: io::Error) -> LabError {
    LabError::Write {
        path: path.to_owned(),
        error,
    }
}

/// By a file beside it that takes its name once it is whole: whoever is stopped in between leaves the old one.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    // What a link leads to is replaced, not the link; what is no file (a pipe, a terminal) cannot be.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if path.exists() && !path.is_file() {
        return fs::write(path, content);
    }
    let mut beside = path.clone().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    if fs::File::create(&beside).is_err() {
        // A folder that takes no new file.
        return fs::write(path, content);
    }
    let written = fs::write(&beside, content).and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("a.json"), folder.path().join("b.json"));
        std::os::unix::fs::symlink(&file, &link).expect("the folder is ours");
        write(&file, "long ago").expect("the folder is ours");
        write(&link, "now").expect("the folder is ours");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "now");
        assert!(
            fs::symlink_metadata(&link)
                .expect("it is there")
                .is_symlink()
        );
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }

    /// As if stopped while writing: the other name is taken by what cannot be written.
    #[test]
    fn what_cannot_be_written_whole_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        write(&file, "old").expect("the folder is ours");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("a.json.new"))
            .expect("the folder is ours");
        assert!(write(&file, "new").is_err(), "there is no space");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "old");
        write(&file, "new").expect("there is space again");
    }

    #[test]
    fn trying_leaves_nothing_and_no_file_has_two_contents() {
        let folder = tempfile::tempdir().expect("a folder");
        let outputs = |csv: &str| Outputs {
            json: Some(folder.path().join("a")),
            csv: Some(folder.path().join(csv)),
            ..Outputs::default()
        };
        outputs("b").prepare().expect("the folder is ours");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let told = outputs("a").prepare().expect_err("twice").to_string();
        assert!(told.contains("written twice"), "{told}");
        let told = outputs("none/b")
            .prepare()
            .expect_err("no folder")
            .to_string();
        assert!(told.contains("cannot be written"), "{told}");
    }
}

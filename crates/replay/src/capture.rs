//! A capture file, read from its beginning as often as it is needed.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use link::pcap::{LinkType, Reader, Record};

use crate::error::ReplayError;

/// First octets of a pcapng file (draft-ietf-opsawg-pcapng, section 4.1).
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// First octets of a file that gzip wrote (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A capture file under way.
#[derive(Debug)]
pub(crate) struct Capture {
    path: PathBuf,
    reader: Reader,
    frames: u64,
    broken: Option<String>,
}

impl Capture {
    /// Opens the file at its first frame.
    ///
    /// # Errors
    /// A sentence: there is no such file, or it is no capture of Ethernet or IP, and what to do.
    pub(crate) fn open(path: &Path) -> Result<Self, ReplayError> {
        let reader = Reader::open(path).map_err(|error| {
            let advice = advice(path, &error.to_string());
            ReplayError::new(format!("{error}{advice}"))
        })?;
        Ok(Self {
            path: path.to_owned(),
            reader,
            frames: 0,
            broken: None,
        })
    }

    /// What the frames begin with.
    pub(crate) fn link_type(&self) -> LinkType {
        self.reader.link_type()
    }

    /// The next frame; `None` at the end of the file, and where the file is broken.
    pub(crate) fn next(&mut self) -> Option<Record> {
        if self.broken.is_some() {
            return None;
        }
        match self.reader.next_record() {
            Ok(Some(record)) => {
                self.frames += 1;
                Some(record)
            }
            Ok(None) => None,
            Err(error) => {
                self.broken = Some(format!(
                    "{}: the file is cut off or broken behind frame {} ({}): what comes before was replayed; \
                     for the rest, record or copy it again",
                    self.path.display(),
                    self.frames,
                    error.source
                ));
                None
            }
        }
    }

    /// Frames read so far.
    pub(crate) const fn frames(&self) -> u64 {
        self.frames
    }

    /// The sentence that says where the file is broken; `None` = it is whole, as far as it was read.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }
}

/// What to do about a file that cannot be read, behind the sentence that says why.
fn advice(path: &Path, error: &str) -> &'static str {
    let mut first = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
    if error.contains("link type") {
        ": record one interface (`tcpdump -i eth0 -w FILE`), not `-i any`"
    } else if read.is_err() {
        ""
    } else if first == PCAPNG {
        ": it is a pcapng file, which `editcap -F pcap FILE.pcapng FILE.pcap` converts"
    } else if first.starts_with(&GZIP) {
        ": it is compressed, `gunzip` it first"
    } else {
        ": replay reads classic pcap files, as `tcpdump -w FILE` writes them"
    }
}

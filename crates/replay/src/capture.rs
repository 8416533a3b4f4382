//! A capture file, read from its beginning as often as it is needed.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use link::LinkError;
use link::pcap::{LinkType, Reader, Record};

use crate::error::ReplayError;

/// First octets of a pcapng file (draft-ietf-opsawg-pcapng, section 4.1).
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// First octets of a file that gzip wrote (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// First octets of a classic pcap file: microseconds or nanoseconds, in either order (draft-ietf-opsawg-pcap, section 4).
const PCAP: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];
/// Octets of its header.
const HEADER: u64 = 24;

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
        let reader = Reader::open(path).map_err(|error| why_not(path, error))?;
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

/// Why a file cannot be read, and what to do, by how it begins.
fn why_not(path: &Path, error: LinkError) -> ReplayError {
    let mut first = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEADER).read_to_end(&mut first));
    let is_whole = first.len() == usize::try_from(HEADER).unwrap_or(0);
    let name = path.display();
    let sentence = if read.is_err() {
        return error.into();
    } else if first.is_empty() {
        "it is empty: record it again, `tcpdump -i eth0 -w FILE`".to_owned()
    } else if first.starts_with(&PCAPNG) {
        "it is a pcapng file, which `editcap -F pcap FILE.pcapng FILE.pcap` converts".to_owned()
    } else if first.starts_with(&GZIP) {
        "it is compressed, `gunzip` it first".to_owned()
    } else if !PCAP.iter().any(|magic| first.starts_with(magic)) {
        "it is no capture: replay reads classic pcap files, as `tcpdump -i eth0 -w FILE` writes them"
            .to_owned()
    } else if !is_whole {
        "it is cut off in its header: record or copy it again".to_owned()
    } else {
        format!(
            "{}: record an Ethernet interface by its name, `tcpdump -i eth0 -w FILE`, not `-i any` or a monitor",
            error.source
        )
    };
    ReplayError::new(format!("cannot read the capture file {name}: {sentence}"))
}

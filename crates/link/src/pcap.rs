//! pcap files: frames read from one, frames written to another.
//!
//! Reads classic pcap in either byte order with microsecond or nanosecond time stamps, link types
//! Ethernet and RAW (IP); writes nanoseconds. 802.1Q tags are taken off on reading and put back on
//! writing, as on a live link. A file does not say what a sender left undone, so every frame counts
//! as complete. Octets that a capture left out (`tcpdump -s`) are read as zeros, so that headers still fit lengths.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packet::{Packet, Vlan};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, PcapError, TsResolution};

use crate::{
    BATCH, ETHERNET, Entry, Frame, Link, LinkError, Opened, Outgoing, Receive, Statistics,
    TAG_OFFSET, Transmit, Transmitted,
};

/// This kind of link: reads the file named first, writes the one named after a comma.
pub const ENTRY: Entry = Entry {
    name: "pcap",
    summary: "A capture file to read frames from, and one to write what is sent to.",
    when: "For looking at what the director would do with recorded traffic.",
    needs: "The files' permissions.",
    open: |request| {
        let (input, output) = match request.name.split_once(',') {
            Some((input, output)) => (input, Some(output)),
            None => (request.name, None),
        };
        let link = open(Path::new(input), output.map(Path::new))?;
        Ok(Opened {
            links: vec![link],
            group: None,
            detail: None,
            unsteered: None,
        })
    },
};

/// Octets of the longest frame written; what tcpdump uses.
const SNAP_LENGTH: u32 = 262_144;

/// What the frames of a file begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet header.
    Ethernet,
    /// An IP header (`LINKTYPE_RAW`).
    Raw,
}

impl LinkType {
    /// Octets of link-layer header.
    #[must_use]
    pub fn link_len(self) -> usize {
        match self {
            Self::Ethernet => ETHERNET,
            Self::Raw => 0,
        }
    }
}

/// A frame of a file.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was captured, since 1970.
    pub time: Duration,
    /// The frame, as long as it was on the wire.
    pub frame: Frame,
    /// Octets at its end that the capture left out, which are zeros here.
    pub left_out: usize,
}

/// Reads a file, frame by frame.
#[derive(Debug)]
pub struct Reader {
    file: PcapReader<BufReader<File>>,
    name: String,
    link_type: LinkType,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// No such file, not a pcap file, or a link type that is neither Ethernet nor RAW.
    pub fn open(path: &Path) -> Result<Self, LinkError> {
        let name = path.display().to_string();
        let failed = |source| LinkError::new("read the capture file", &name, source);
        let file = File::open(path).map_err(failed)?;
        let file = PcapReader::new(BufReader::new(file)).map_err(|error| failed(plain(error)))?;
        let link_type = match file.header().datalink {
            DataLink::ETHERNET => LinkType::Ethernet,
            DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => LinkType::Raw,
            other => {
                let text = format!("link type {} is neither Ethernet nor RAW", u32::from(other));
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, text)));
            }
        };
        Ok(Self {
            file,
            name,
            link_type,
        })
    }

    /// What the frames begin with.
    #[must_use]
    pub fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// The next frame; `None` at the end of the file.
    ///
    /// # Errors
    /// The file is cut off or broken here.
    pub fn next_record(&mut self) -> Result<Option<Record>, LinkError> {
        let resolution = self.file.header().ts_resolution;
        let Some(read) = self.file.next_raw_packet() else {
            return Ok(None);
        };
        let read = read
            .map_err(|error| LinkError::new("read the capture file", &self.name, plain(error)))?;
        let nanoseconds = match resolution {
            TsResolution::MicroSecond => u64::from(read.ts_frac) * 1000,
            TsResolution::NanoSecond => u64::from(read.ts_frac),
        };
        let captured = read.data.len();
        let length = usize::try_from(read.orig_len.min(SNAP_LENGTH)).unwrap_or(captured);
        let mut octets = read.data.into_owned();
        octets.resize(length.max(captured), 0);
        Ok(Some(Record {
            time: Duration::from_secs(read.ts_sec.into()) + Duration::from_nanos(nanoseconds),
            frame: untagged(&octets, self.link_type),
            left_out: octets.len() - captured,
        }))
    }
}

/// A frame whose 802.1Q tag stands beside it.
fn untagged(bytes: &[u8], link_type: LinkType) -> Frame {
    let link_len = link_type.link_len();
    let tag = bytes.get(TAG_OFFSET..).and_then(<[u8]>::first_chunk);
    match tag {
        Some([high @ (0x81 | 0x88), low @ (0x00 | 0xa8), tci0, tci1])
            if link_type == LinkType::Ethernet && (*high == 0x81) == (*low == 0x00) =>
        {
            let (addresses, rest) = bytes.split_at(TAG_OFFSET);
            let rest = rest.get(4..).unwrap_or(&[]);
            let mut frame = Frame::new(&[addresses, rest].concat(), link_len);
            frame.vlan = Some(Vlan {
                tpid: u16::from_be_bytes([*high, *low]),
                tci: u16::from_be_bytes([*tci0, *tci1]),
            });
            frame
        }
        _ => Frame::new(bytes, link_len),
    }
}

/// Writes a file, frame by frame. What is written reaches the file when the writer is dropped at the
/// latest.
#[derive(Debug)]
pub struct Writer {
    file: PcapWriter<BufWriter<File>>,
    name: String,
}

impl Writer {
    /// Makes a file, or empties one.
    ///
    /// # Errors
    /// No permission, no such folder, no space.
    pub fn create(path: &Path, link_type: LinkType) -> Result<Self, LinkError> {
        let name = path.display().to_string();
        let failed = |source| LinkError::new("write the capture file", &name, source);
        let file = File::create(path).map_err(failed)?;
        let header = PcapHeader {
            snaplen: SNAP_LENGTH,
            datalink: match link_type {
                LinkType::Ethernet => DataLink::ETHERNET,
                LinkType::Raw => DataLink::RAW,
            },
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let file = PcapWriter::with_header(BufWriter::new(file), header)
            .map_err(|error| failed(plain(error)))?;
        Ok(Self { file, name })
    }

    /// Writes a frame captured at `time` since 1970.
    ///
    /// # Errors
    /// No space, a time beyond the year 2106, a frame beyond 256 KiB.
    pub fn write(
        &mut self,
        time: Duration,
        bytes: &[u8],
        vlan: Option<Vlan>,
    ) -> Result<(), LinkError> {
        let tagged = vlan.and_then(|vlan| {
            let (addresses, rest) = bytes.split_at_checked(TAG_OFFSET)?;
            Some(
                [
                    addresses,
                    &vlan.tpid.to_be_bytes(),
                    &vlan.tci.to_be_bytes(),
                    rest,
                ]
                .concat(),
            )
        });
        let bytes = tagged.as_deref().unwrap_or(bytes);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.file
            .write_packet(&PcapPacket::new(time, len, bytes))
            .map(drop)
            .map_err(|error| LinkError::new("write the capture file", &self.name, plain(error)))
    }

    /// Puts the rest of what was written into the file; a writer that is dropped can tell nobody that this failed.
    ///
    /// # Errors
    /// No space.
    pub fn finish(self) -> Result<(), LinkError> {
        let flushed = self.file.into_writer().flush();
        flushed.map_err(|error| LinkError::new("write the capture file", &self.name, error))
    }
}

fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// A link that receives the frames of one file, as fast as they are asked for, and writes what is
/// sent to another, with the time of the frame received last. Without `output`, sent frames are
/// counted and forgotten.
///
/// # Errors
/// Those of [`Reader::open`] and [`Writer::create`].
pub fn open(input: &Path, output: Option<&Path>) -> Result<Link, LinkError> {
    let reader = Reader::open(input)?;
    let writer = output
        .map(|path| Writer::create(path, reader.link_type))
        .transpose()?;
    let written = Arc::new(Mutex::new(Written {
        writer,
        time: Duration::ZERO,
    }));
    let receiver = Receiver {
        reader,
        written: Arc::clone(&written),
        batch: Vec::with_capacity(BATCH),
        received: 0,
    };
    Ok(Link {
        receiver: Box::new(receiver),
        sender: Arc::new(Sender { written }),
    })
}

/// What both halves share.
struct Written {
    writer: Option<Writer>,
    time: Duration,
}

struct Receiver {
    reader: Reader,
    written: Arc<Mutex<Written>>,
    batch: Vec<Frame>,
    received: u64,
}

impl Receive for Receiver {
    fn receive<'a>(&'a mut self, batch: &mut Vec<Packet<'a>>) -> Result<usize, LinkError> {
        self.batch.clear();
        let mut time = None;
        while self.batch.len() < BATCH {
            let Some(record) = self.reader.next_record()? else {
                break;
            };
            time = Some(record.time);
            self.batch.push(record.frame);
        }
        if let Some(time) = time {
            self.written
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .time = time;
        }
        let count = self.batch.len();
        self.received += u64::try_from(count).unwrap_or(u64::MAX);
        batch.extend(self.batch.iter_mut().map(Frame::packet));
        Ok(count)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn statistics(&mut self) -> Statistics {
        Statistics {
            received: self.received,
            ..Statistics::default()
        }
    }
}

struct Sender {
    written: Arc<Mutex<Written>>,
}

impl Transmit for Sender {
    fn transmit(&self, frames: &[Outgoing<'_>]) -> Transmitted {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let time = written.time;
        let mut result = Transmitted::default();
        for frame in frames {
            let done = written.writer.as_mut().map_or(Ok(()), |writer| {
                writer.write(time, frame.bytes(), frame.vlan())
            });
            match done {
                Ok(()) => result.sent += 1,
                Err(error) => result.refuse(error.source.raw_os_error().unwrap_or(libc::EIO), 1),
            }
        }
        result
    }
}

#[cfg(test)]
mod tests;

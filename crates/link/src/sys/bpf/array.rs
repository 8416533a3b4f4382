//! Maps that are arrays: one that this process and programs read and write at once, and one whose
//! entries each processor has for itself.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU64;

use super::super::mapping::Mapping;
use super::{MAP_CREATE, MapCreate, errno, open};

/// `BPF_MAP_TYPE_ARRAY`.
const MAP_TYPE_ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_PERCPU_ARRAY`.
const MAP_TYPE_PERCPU_ARRAY: u32 = 6;
/// `BPF_F_MMAPABLE` (Linux 5.5).
const MAPPABLE: u32 = 1 << 10;

fn create(map_type: u32, value_size: usize, entries: u32, map_flags: u32) -> io::Result<OwnedFd> {
    let mut attribute = MapCreate {
        map_type,
        key_size: 4,
        value_size: u32::try_from(value_size).unwrap_or(0),
        max_entries: entries,
        map_flags,
    };
    // SAFETY: the attribute is that of MAP_CREATE and holds no address.
    unsafe { open(MAP_CREATE, &mut attribute) }
}

/// An array whose entries are `WORDS` numbers of 64 bits, mapped into this process.
#[derive(Debug)]
pub(crate) struct SharedArray<const WORDS: usize> {
    fd: OwnedFd,
    memory: Mapping,
    entries: usize,
}

impl<const WORDS: usize> SharedArray<WORDS> {
    /// An array of zeros (`CAP_BPF`).
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let fd = create(MAP_TYPE_ARRAY, WORDS * 8, entries, MAPPABLE)?;
        let count = usize::try_from(entries).map_err(|_| errno(libc::EINVAL))?;
        let memory = Mapping::shared(fd.as_fd(), 0, count * WORDS * 8)?;
        Ok(Self {
            fd,
            memory,
            entries: count,
        })
    }

    /// An entry; none beyond the end.
    pub(crate) fn entry(&self, index: u32) -> Option<&[AtomicU64; WORDS]> {
        let index = usize::try_from(index).ok()?;
        if index >= self.entries {
            return None;
        }
        let first = self.memory.start().cast::<[AtomicU64; WORDS]>();
        // SAFETY: within the mapping, which begins on a page and lives as long as this value; programs
        // and this process change it as numbers of 64 bits, aligned.
        Some(unsafe { first.add(index).as_ref() })
    }

    /// The number by which a program's instructions name the map.
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// An array that programs alone use, and that each processor has for itself.
#[derive(Debug)]
pub(crate) struct PerProcessor {
    fd: OwnedFd,
}

impl PerProcessor {
    /// One entry of `octets` zeros (`CAP_BPF`).
    pub(crate) fn new(octets: usize) -> io::Result<Self> {
        let fd = create(MAP_TYPE_PERCPU_ARRAY, octets, 1, 0)?;
        Ok(Self { fd })
    }

    /// The number by which a program's instructions name the map.
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

//! Maps that are arrays: one that this process and programs read and write at once, and one whose
//! entries each processor has for itself.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

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
    memory: NonNull<[AtomicU64; WORDS]>,
    entries: usize,
}

// SAFETY: the mapping is owned by this value alone, is not tied to a thread, and is only reached as
// atomics.
unsafe impl<const WORDS: usize> Send for SharedArray<WORDS> {}
// SAFETY: as above.
unsafe impl<const WORDS: usize> Sync for SharedArray<WORDS> {}

impl<const WORDS: usize> SharedArray<WORDS> {
    /// An array of zeros (`CAP_BPF`).
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let fd = create(MAP_TYPE_ARRAY, WORDS * 8, entries, MAPPABLE)?;
        let count = usize::try_from(entries).map_err(|_| errno(libc::EINVAL))?;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                Self::octets(count),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or_else(|| errno(libc::ENOMEM))?;
        Ok(Self {
            fd,
            memory,
            entries: count,
        })
    }

    const fn octets(entries: usize) -> usize {
        entries * WORDS * 8
    }

    /// An entry; none beyond the end.
    pub(crate) fn entry(&self, index: u32) -> Option<&[AtomicU64; WORDS]> {
        let index = usize::try_from(index).ok()?;
        if index >= self.entries {
            return None;
        }
        // SAFETY: within the mapping, which lives as long as this value; programs and this process
        // change it as numbers of 64 bits, aligned.
        Some(unsafe { self.memory.add(index).as_ref() })
    }

    /// The number by which a program's instructions name the map.
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl<const WORDS: usize> Drop for SharedArray<WORDS> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), Self::octets(self.entries)) };
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

//! Memory mapped into this process, unmapped with its owner.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

use super::errno;

/// One mapping, readable and writable. Who may touch which part of it is said by the type that owns it.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is owned by this value and is not tied to a thread; it lends nothing out by itself.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first `len` octets behind `offset` of what the kernel shares by a descriptor.
    pub(super) fn shared(fd: BorrowedFd<'_>, offset: libc::off_t, len: usize) -> io::Result<Self> {
        Self::new(len, libc::MAP_SHARED, fd.as_raw_fd(), offset)
    }

    /// `len` octets of zeros, in memory from the beginning: touching them first costs nothing.
    pub(super) fn zeros(len: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        Self::new(len, flags, -1, 0)
    }

    fn new(len: usize, flags: i32, fd: i32, offset: libc::off_t) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| errno(libc::ENOMEM))?;
        Ok(Self { start, len })
    }

    /// Its first octet.
    pub(super) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Octets.
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by `new` with this length; its owner lends nothing out that outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

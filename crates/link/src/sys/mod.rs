//! Small safe wrappers around system calls: all `unsafe` of the program is in this folder, one file
//! per subsystem.
//!
//! Each function is sound for every argument that compiles; refusals come back as `io::Error` with
//! the errno. File descriptors are owned, close-on-exec, and closed when dropped.
#![expect(
    unsafe_code,
    reason = "the one place for it: system calls and memory shared with the kernel"
)]

pub mod batch;
pub(crate) mod bpf;
pub mod clock;
pub mod datagrams;
pub mod ethtool;
pub mod interface;
mod mapping;
pub mod multicast;
pub(crate) mod netlink;
pub(crate) mod packet;
pub mod poll;
pub mod process;
pub mod raw_ip;
pub(crate) mod ring;
pub(crate) mod send;
pub mod seqpacket;
pub mod signal;
pub(crate) mod socket;
pub(crate) mod tun;
pub(crate) mod xsk;

use std::io;

/// The result of a system call that returns -1 and sets errno on failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The result of a system call that returns a count, or -1 and sets errno on failure.
fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The result of a system call again while a signal interrupts it.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// An errno as an error.
fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

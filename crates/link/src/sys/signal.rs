//! Signals as something to poll (`signalfd(2)`).

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Signals that are read instead of handled.
#[derive(Debug)]
pub struct Signals {
    file: File,
}

impl Signals {
    /// Takes `numbers` (such as `libc::SIGTERM`) over for the calling thread and every thread it
    /// starts from now on; threads that run already would still be interrupted, so call this first
    /// in `main`.
    ///
    /// # Errors
    /// `EINVAL` for a number that is no signal.
    pub fn take(numbers: &[i32]) -> io::Result<Self> {
        let set = set(numbers)?;
        // SAFETY: `set` is initialised; a null old set is allowed.
        let refused =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if refused != 0 {
            return Err(super::errno(refused));
        }
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: `set` is initialised; -1 asks for a new descriptor.
        let fd = check(unsafe { libc::signalfd(-1, &raw const set, flags) })?;
        // SAFETY: the kernel just made this descriptor, nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { file: fd.into() })
    }

    /// The number of the next signal that arrived, if one did. Never waits.
    pub fn next(&self) -> Option<i32> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        (&self.file).read_exact(&mut info).ok()?;
        // signalfd_siginfo begins with the number.
        i32::try_from(u32::from_ne_bytes(*info.first_chunk()?)).ok()
    }

    /// What to poll.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn set(numbers: &[i32]) -> io::Result<libc::sigset_t> {
    // SAFETY: sigemptyset initialises the set; sigaddset refuses what is no signal.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        check(libc::sigemptyset(&raw mut set))?;
        for number in numbers {
            check(libc::sigaddset(&raw mut set, *number))?;
        }
        Ok(set)
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// `ESRCH`, `EPERM`, `EINVAL`.
pub fn send(process: u32, number: i32) -> io::Result<()> {
    // Zero and negative numbers name groups of processes.
    let process = i32::try_from(process).ok().filter(|process| *process > 0);
    let process = process.ok_or_else(|| super::errno(libc::ESRCH))?;
    // SAFETY: kill(2) takes no pointers.
    check(unsafe { libc::kill(process, number) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_read_instead_of_handled() {
        std::thread::spawn(|| {
            let signals = Signals::take(&[libc::SIGUSR1]).expect("signalfd");
            assert_eq!(signals.next(), None);
            // SAFETY: raise(3) sends to this thread, which has the signal blocked.
            unsafe { libc::raise(libc::SIGUSR1) };
            assert!(crate::sys::poll::readable(&[signals.fd()], None).expect("poll")[0]);
            assert_eq!(signals.next(), Some(libc::SIGUSR1));
            assert_eq!(signals.next(), None);
        })
        .join()
        .expect("no panic");
        assert!(Signals::take(&[12345]).is_err());
        assert!(send(u32::MAX, 0).is_err());
    }
}

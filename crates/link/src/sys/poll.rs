//! Waiting for file descriptors, and waking a thread that waits.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::check;

/// Waits until one of `fds` can be read (or has an error waiting), at most `timeout`; `None` waits
/// without end. Returns which can, in the order given. A signal ends the wait early, with none.
///
/// # Errors
/// Whatever `ppoll(2)` says; it cannot fail in ordinary use.
pub fn readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut entries: Vec<_> = fds.iter().map(|fd| entry(*fd, libc::POLLIN)).collect();
    wait(&mut entries, timeout)?;
    Ok(entries.iter().map(|entry| entry.revents != 0).collect())
}

/// Waits until `fd` can be written, at most `timeout`; returns whether it can.
///
/// # Errors
/// Whatever `ppoll(2)` says.
pub fn writable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut entries = [entry(fd, libc::POLLOUT)];
    wait(&mut entries, Some(timeout))?;
    Ok(entries[0].revents != 0)
}

fn entry(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    }
}

/// `ppoll(2)`: nanoseconds, so that a wait of less than a millisecond is not a busy loop.
fn wait(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(libc::nfds_t::MAX);
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `entries` has `count` entries, `timeout` is null or a timespec; a null mask is allowed.
    let result = unsafe { libc::ppoll(entries.as_mut_ptr(), count, timeout, std::ptr::null()) };
    match check(result) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            entries.iter_mut().for_each(|entry| entry.revents = 0);
            Ok(())
        }
        result => result.map(drop),
    }
}

/// Several descriptors as one that is readable while any of them is (`epoll(7)`).
#[derive(Debug)]
pub struct Set {
    fd: OwnedFd,
}

impl Set {
    /// A set of these. A descriptor leaves it when it is closed.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; `EPERM` for what cannot be polled.
    pub fn of<'a>(fds: impl IntoIterator<Item = BorrowedFd<'a>>) -> io::Result<Self> {
        // SAFETY: epoll_create1(2) takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel just made this descriptor, nothing else owns it.
        let set = unsafe { OwnedFd::from_raw_fd(fd) };
        for fd in fds {
            let mut event = libc::epoll_event {
                events: u32::try_from(libc::EPOLLIN).unwrap_or(1),
                u64: 0,
            };
            let add = libc::EPOLL_CTL_ADD;
            // SAFETY: the kernel reads `event` during the call.
            check(unsafe {
                libc::epoll_ctl(set.as_raw_fd(), add, fd.as_raw_fd(), &raw mut event)
            })?;
        }
        Ok(Self { fd: set })
    }

    /// What to poll.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An event counter (`eventfd(2)`) by which one thread wakes another out of [`readable`].
#[derive(Debug)]
pub struct Waker {
    file: File,
}

impl Waker {
    /// A waker that has not been woken.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd(2) takes no pointers.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the kernel just made this descriptor, nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { file: fd.into() })
    }

    /// Makes [`Waker::fd`] readable. Never waits; waking twice is waking once.
    pub fn wake(&self) {
        // The only possible failure is a counter at its maximum, which is awake already.
        let _ = (&self.file).write(&1_u64.to_ne_bytes());
    }

    /// Makes [`Waker::fd`] unreadable again; returns whether it was awake.
    pub fn clear(&self) -> bool {
        (&self.file).read(&mut [0; 8]).is_ok()
    }

    /// What to poll.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_is_seen_until_cleared() {
        let (first, second) = (
            Waker::new().expect("eventfd"),
            Waker::new().expect("eventfd"),
        );
        let fds = [first.fd(), second.fd()];
        let moment = Some(Duration::from_micros(100));
        assert_eq!(readable(&fds, moment).expect("poll"), [false, false]);
        second.wake();
        second.wake();
        assert_eq!(readable(&fds, None).expect("poll"), [false, true]);
        assert!(second.clear());
        assert!(!second.clear());
        assert_eq!(readable(&fds, moment).expect("poll"), [false, false]);
        assert!(writable(first.fd(), Duration::ZERO).expect("poll"));
    }

    #[test]
    fn a_set_is_readable_while_one_of_it_is() {
        let wakers = [Waker::new(), Waker::new()].map(|waker| waker.expect("eventfd"));
        let set = Set::of(wakers.iter().map(Waker::fd)).expect("epoll");
        let seen = || readable(&[set.fd()], Some(Duration::ZERO)).expect("poll");
        for waker in &wakers {
            assert_eq!(seen(), [false]);
            waker.wake();
            assert_eq!((seen(), seen()), (vec![true], vec![true]));
            waker.clear();
        }
        assert_eq!(seen(), [false]);
    }
}

//! Sockets and socket options.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, check_len, retry};

/// Opens a nonblocking, close-on-exec socket.
pub(crate) fn open(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes no pointers.
    let fd = check(unsafe { libc::socket(domain, kind, protocol) })?;
    // SAFETY: the kernel just made this descriptor, nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Types that an option or an address may have: plain numbers in C layout, where every bit pattern
/// is a value and no octet is padding the kernel must not see.
///
/// # Safety
/// Only for such types.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: numbers.
unsafe impl Plain for i32 {}
// SAFETY: numbers.
unsafe impl Plain for u32 {}
// SAFETY: numbers.
unsafe impl<const N: usize> Plain for [u32; N] {}

macro_rules! plain {
    ($($type:ty),* $(,)?) => {
        $(
            // SAFETY: a `repr(C)` struct of numbers (and, in sock_fprog, a pointer that is only
            // ever made from a live slice by the function that passes it).
            unsafe impl $crate::sys::socket::Plain for $type {}
        )*
    };
}
pub(super) use plain;

plain!(
    libc::sockaddr_ll,
    libc::sockaddr_in,
    libc::sockaddr_in6,
    libc::tpacket_req,
    libc::tpacket_stats,
    libc::packet_mreq,
    libc::ipv6_mreq,
    libc::ucred,
);

/// The size of `T` as the kernel wants it.
pub(super) fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

/// `setsockopt(2)`.
pub(crate) fn set_option<T: Plain>(
    fd: impl AsFd,
    level: i32,
    name: i32,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is readable for the length given, during the call.
    check(unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            socklen::<T>(),
        )
    })?;
    Ok(())
}

/// `getsockopt(2)`.
pub(crate) fn option<T: Plain>(fd: impl AsFd, level: i32, name: i32) -> io::Result<T> {
    let mut value = mem::MaybeUninit::<T>::zeroed();
    let mut len = socklen::<T>();
    // SAFETY: the kernel writes at most `len` octets to `value`.
    check(unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    // SAFETY: zeroed before, and every bit pattern of a `Plain` is a value.
    Ok(unsafe { value.assume_init() })
}

/// The error that waits on a socket (`SO_ERROR`), which reading clears.
pub(crate) fn take_error(fd: impl AsFd) -> io::Result<Option<io::Error>> {
    let number: i32 = option(fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((number != 0).then(|| super::errno(number)))
}

/// `bind(2)` to an address of any family.
pub(crate) fn bind<T: Plain>(fd: impl AsFd, address: &T) -> io::Result<()> {
    let pointer = std::ptr::from_ref(address).cast();
    // SAFETY: `address` is readable for the length given, during the call.
    check(unsafe { libc::bind(fd.as_fd().as_raw_fd(), pointer, socklen::<T>()) })?;
    Ok(())
}

/// `getsockname(2)`, for a socket whose family has addresses of type `T`.
pub(crate) fn own_address<T: Plain>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut address = mem::MaybeUninit::<T>::zeroed();
    let mut len = socklen::<T>();
    let pointer = address.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` octets to `address`.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), pointer, &raw mut len) })?;
    // SAFETY: zeroed before, and every bit pattern of a `Plain` is a value.
    Ok(unsafe { address.assume_init() })
}

/// Raises the receive and send buffers to `octets` each, as far as this process may.
pub(crate) fn raise_buffers(fd: BorrowedFd<'_>, octets: i32) -> io::Result<()> {
    for (forced, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        // Without CAP_NET_ADMIN the plain form is capped at net.core.{r,w}mem_max, silently.
        if set_option(fd, libc::SOL_SOCKET, forced, &octets).is_err() {
            set_option(fd, libc::SOL_SOCKET, plain, &octets)?;
        }
    }
    Ok(())
}

/// Receives one datagram into `buffer` without waiting; returns its real length, which is beyond
/// the buffer's when it was cut.
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    retry(|| {
        // SAFETY: the kernel writes at most `buffer.len()` octets to `buffer`.
        let result = unsafe {
            libc::recv(
                fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                flags,
            )
        };
        check_len(result)
    })
}

/// Sends one datagram without waiting.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let (start, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the kernel reads `len` octets of `bytes`.
    retry(|| check_len(unsafe { libc::send(fd.as_raw_fd(), start, len, flags) }))
}

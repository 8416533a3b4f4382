//! Unix-domain sockets that keep message boundaries (`SOCK_SEQPACKET`, unix(7)).

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, ptr};

use super::{check, check_len, errno, poll, retry, socket};

/// Connections that wait to be accepted at most.
const BACKLOG: i32 = 64;

/// A socket that others connect to. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Makes a socket at `path` with file mode `mode` (such as 0o660) before anybody can connect. A
    /// file left behind by a process that died is replaced.
    ///
    /// # Errors
    /// `EADDRINUSE` when another process listens there; `EACCES`, `ENOENT` (no such folder),
    /// `ENAMETOOLONG` (108 octets are the limit).
    pub fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        let fd = open()?;
        let address = Address::new(path)?;
        if let Err(error) = address.apply(&fd, libc::bind) {
            if error.raw_os_error() != Some(libc::EADDRINUSE) || is_served(path)? {
                return Err(error);
            }
            fs::remove_file(path)?;
            address.apply(&fd, libc::bind)?;
        }
        let listener = Self {
            fd,
            path: path.to_owned(),
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        // SAFETY: listen(2) takes no pointers.
        check(unsafe { libc::listen(listener.fd.as_raw_fd(), BACKLOG) })?;
        Ok(listener)
    }

    /// The next connection that waits, if one does. Never waits.
    ///
    /// # Errors
    /// `EMFILE` and other shortages; the connection stays in the queue.
    pub fn accept(&self) -> io::Result<Option<Connection>> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let (address, len) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: null pointers ask for no address.
        match retry(|| check(unsafe { libc::accept4(self.fd.as_raw_fd(), address, len, flags) })) {
            Ok(fd) => {
                // SAFETY: the kernel just made this descriptor, nothing else owns it.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                Ok(Some(Connection { fd }))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // The client left before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What to poll for connections.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody else may have removed it; there is nothing to do about that.
        let _ = fs::remove_file(&self.path);
    }
}

/// One side of a connection.
#[derive(Debug)]
pub struct Connection {
    fd: OwnedFd,
}

/// Who is at the other end, as the kernel saw it when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process.
    pub process: u32,
    /// Effective user.
    pub user: u32,
    /// Effective group.
    pub group: u32,
}

impl Connection {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// `ENOENT`, `ECONNREFUSED` (nobody listens), `EACCES`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = open()?;
        Address::new(path)?.apply(&fd, libc::connect)?;
        Ok(Self { fd })
    }

    /// Two connected ends.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let mut ends = [0; 2];
        // SAFETY: the kernel writes two descriptors to `ends`.
        check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
        let [one, other] = ends.map(|fd| {
            // SAFETY: the kernel just made both descriptors, nothing else owns them.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            Self { fd }
        });
        Ok((one, other))
    }

    /// Sends one message, waiting at most `timeout` for room.
    ///
    /// # Errors
    /// `EPIPE` (the other side is gone), `EMSGSIZE` (beyond 200 KiB or so), `EAGAIN` (no room in
    /// time).
    pub fn send(&self, message: &[u8], timeout: Duration) -> io::Result<()> {
        match socket::send(self.fd(), message) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll::writable(self.fd(), timeout)?;
                socket::send(self.fd(), message).map(drop)
            }
            result => result.map(drop),
        }
    }

    /// The next message, waiting at most `timeout` for it; `None` when the other side has closed.
    ///
    /// # Errors
    /// `EAGAIN` (none in time), `EMSGSIZE` (the message exceeds `limit` octets; it is lost),
    /// `ECONNRESET`.
    pub fn receive(&self, limit: usize, timeout: Duration) -> io::Result<Option<Vec<u8>>> {
        if !timeout.is_zero() {
            poll::readable(&[self.fd()], Some(timeout))?;
        }
        let peek = libc::MSG_PEEK | libc::MSG_TRUNC | libc::MSG_DONTWAIT;
        let len = retry(|| {
            // SAFETY: no octet is written to a buffer of none.
            check_len(unsafe { libc::recv(self.fd.as_raw_fd(), ptr::null_mut(), 0, peek) })
        })?;
        let mut message = vec![0; len.min(limit)];
        let got = socket::receive(self.fd(), &mut message)?;
        match got {
            0 => Ok(None),
            got if got > limit => Err(errno(libc::EMSGSIZE)),
            _ => Ok(Some(message)),
        }
    }

    /// Who is at the other end (`SO_PEERCRED`).
    ///
    /// # Errors
    /// None for a connected socket.
    pub fn peer(&self) -> io::Result<Peer> {
        let seen: libc::ucred = socket::option(&self.fd, libc::SOL_SOCKET, libc::SO_PEERCRED)?;
        let process = u32::try_from(seen.pid).unwrap_or(0);
        Ok(Peer {
            process,
            user: seen.uid,
            group: seen.gid,
        })
    }

    /// What to poll for messages.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open() -> io::Result<OwnedFd> {
    socket::open(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0)
}

/// Whether a process listens at `path`.
fn is_served(path: &Path) -> io::Result<bool> {
    match Connection::open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        // A full queue, another kind of socket: somebody is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => Ok(true),
    }
}

struct Address {
    address: libc::sockaddr_un,
    len: libc::socklen_t,
}

impl Address {
    fn new(path: &Path) -> io::Result<Self> {
        // SAFETY: zeros are a valid sockaddr_un.
        let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
        address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or(1);
        let octets = path.as_os_str().as_bytes();
        // The last octet stays 0.
        if octets.len() >= address.sun_path.len() {
            return Err(errno(libc::ENAMETOOLONG));
        }
        if octets.is_empty() || octets.contains(&0) {
            return Err(errno(libc::EINVAL));
        }
        for (place, octet) in address.sun_path.iter_mut().zip(octets) {
            *place = libc::c_char::from_ne_bytes([*octet]);
        }
        Ok(Self {
            address,
            len: socket::socklen::<libc::sockaddr_un>(),
        })
    }

    fn apply(
        &self,
        fd: &OwnedFd,
        call: unsafe extern "C" fn(
            libc::c_int,
            *const libc::sockaddr,
            libc::socklen_t,
        ) -> libc::c_int,
    ) -> io::Result<()> {
        let address = (&raw const self.address).cast();
        // SAFETY: `call` is bind or connect; both read `len` octets of the address.
        check(unsafe { call(fd.as_raw_fd(), address, self.len) })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn messages_keep_their_boundaries() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        let listener = Listener::bind(&path, 0o660).expect("bind");
        assert!(listener.accept().expect("accept").is_none());
        let client = Connection::open(&path).expect("connect");
        let server = listener.accept().expect("accept").expect("a client");
        let me = Peer {
            process: std::process::id(),
            user: crate::sys::process::effective_user(),
            group: server.peer().expect("peer").group,
        };
        assert_eq!(server.peer().expect("peer"), me);
        client.send(&[1; 70_000], SECOND).expect("send");
        client.send(&[2; 3], SECOND).expect("send");
        let first = server
            .receive(1 << 20, SECOND)
            .expect("receive")
            .expect("a message");
        assert_eq!(first, [1; 70_000]);
        assert_eq!(
            server.receive(1 << 20, SECOND).expect("receive"),
            Some(vec![2; 3])
        );
        let none = server
            .receive(9, Duration::ZERO)
            .expect_err("nothing there");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        client.send(&[0; 10], SECOND).expect("send");
        let long = server.receive(9, SECOND).expect_err("too long");
        assert_eq!(long.raw_os_error(), Some(libc::EMSGSIZE));
        drop(client);
        assert_eq!(server.receive(9, SECOND).expect("the end"), None);
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_listener_is_refused_and_a_dead_one_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        let first = Listener::bind(&path, 0o600).expect("bind");
        let second = Listener::bind(&path, 0o600).expect_err("in use");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        // What a killed process leaves: the file, nobody behind it.
        let kept = folder.path().join("kept");
        fs::hard_link(&path, &kept).expect("link");
        drop(first);
        fs::rename(&kept, &path).expect("rename");
        Listener::bind(&path, 0o600).expect("replaces what nobody listens on");
        let long = folder.path().join("x".repeat(120));
        let error = Listener::bind(&long, 0o600).expect_err("too long");
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
    }

    #[test]
    fn a_pair_is_connected() {
        let (one, other) = Connection::pair().expect("socketpair");
        one.send(b"x", SECOND).expect("send");
        assert_eq!(
            other.receive(9, SECOND).expect("receive"),
            Some(b"x".to_vec())
        );
    }
}

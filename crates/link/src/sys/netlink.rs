//! Netlink sockets (netlink(7)): whole datagrams in and out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::socket;

/// A socket that talks to one subsystem of the kernel, in the network namespace it was made in.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
}

impl Netlink {
    /// Opens a socket for `protocol`, such as `libc::NETLINK_NETFILTER`.
    pub(crate) fn open(protocol: i32) -> io::Result<Self> {
        let fd = socket::open(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?;
        // A datagram must fit.
        socket::raise_buffers(fd.as_fd(), 16 << 20)?;
        // Acknowledgements without the message they are for.
        socket::set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, &1_i32)?;
        Ok(Self { fd })
    }

    /// Sends one datagram. The kernel has dealt with it when this returns.
    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        socket::send(self.fd.as_fd(), datagram).map(drop)
    }

    /// The next datagram of the kernel's answer, `None` when there is none.
    pub(crate) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut datagram = vec![0; 1 << 15];
        match socket::receive(self.fd.as_fd(), &mut datagram) {
            Ok(len) => {
                datagram.truncate(len);
                Ok(Some(datagram))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

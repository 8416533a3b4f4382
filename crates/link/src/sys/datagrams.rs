//! Floods of datagrams: the same one many times with one system call, or cut from one piece by the kernel
//! (UDP segmentation offload). For programs that put load on a network; a director has no use for it.

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use super::{check, retry, socket};

/// Datagrams that one call sends at most.
pub const MOST: usize = 64;

/// Sends `payload` as a datagram `count` times (at most [`MOST`]) on a connected socket with one
/// `sendmmsg(2)`; returns how many the kernel took.
///
/// # Errors
/// What the kernel said of the first datagram (`ECONNREFUSED`, `ENOBUFS`); none was sent.
pub fn repeat(socket: &UdpSocket, payload: &[u8], count: usize) -> io::Result<usize> {
    let mut piece = libc::iovec {
        iov_base: payload.as_ptr().cast_mut().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: zeros are a valid mmsghdr (no address, no control data).
    let mut entry: libc::mmsghdr = unsafe { mem::zeroed() };
    entry.msg_hdr.msg_iov = &raw mut piece;
    entry.msg_hdr.msg_iovlen = 1;
    let mut messages = [entry; MOST];
    let count = count.min(MOST);
    let sent = retry(|| {
        // SAFETY: the first `count` entries are set; each points to `piece`, which points to `payload`; all live
        // through the call, and the kernel only reads the payload.
        check(unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                libc::c_uint::try_from(count).unwrap_or(0),
                libc::MSG_NOSIGNAL as _,
            )
        })
    })?;
    Ok(usize::try_from(sent).unwrap_or(0))
}

/// Lets the kernel cut whatever is sent on `socket` into datagrams of `octets` each (`UDP_SEGMENT`, udp(7)).
///
/// # Errors
/// `ENOPROTOOPT` on kernels before 4.18.
pub fn cut(socket: &UdpSocket, octets: u16) -> io::Result<()> {
    let octets = i32::from(octets);
    socket::set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, &octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datagram_arrives_and_pieces_have_their_size() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = receiver.local_addr().expect("it is bound");
        sender.connect(address).expect("an address");
        assert_eq!(repeat(&sender, b"five.", 7).expect("room"), 7);
        let mut buffer = [0; 64];
        for _ in 0..7 {
            let length = receiver.recv(&mut buffer).expect("it was sent");
            assert_eq!(&buffer[..length], b"five.");
        }
        cut(&sender, 10).expect("the kernel knows it");
        assert_eq!(sender.send(&[1; 25]).expect("room"), 25);
        for expected in [10, 10, 5] {
            assert_eq!(receiver.recv(&mut buffer).expect("it was sent"), expected);
        }
    }
}

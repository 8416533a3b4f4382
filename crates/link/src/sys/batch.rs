//! Receiving many datagrams with one system call (recvmmsg(2)).

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

use super::{check, retry};

/// Datagrams that one call receives at most.
pub const MOST: usize = 64;
/// Octets of the longest datagram.
const LONGEST: usize = 65_536;
/// From one datagram's place to the next one's. Were it a power of two, the beginnings of all would compete for the same few
/// lines of the processor's caches.
const STRIDE: usize = LONGEST + 2112;

/// Room for the datagrams that one call receives.
#[derive(Debug)]
pub struct Batch {
    memory: Vec<u8>,
    lengths: [usize; MOST],
    count: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch. Its memory is used as far as datagrams reach.
    #[must_use]
    pub fn new() -> Self {
        Self {
            memory: vec![0; MOST * STRIDE],
            lengths: [0; MOST],
            count: 0,
        }
    }

    /// Replaces what was here by the datagrams that wait at a socket, and returns how many they are. Never waits. What is
    /// beyond 65,536 octets of one is cut off.
    ///
    /// # Errors
    /// What the kernel says of the socket: an ICMP error that came back, once.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.count = 0;
        // SAFETY: zeros are valid pieces (none) and message headers (no address, no control data).
        let (mut pieces, mut messages): ([libc::iovec; MOST], [libc::mmsghdr; MOST]) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let places = self.memory.chunks_exact_mut(STRIDE);
        for ((place, piece), message) in places.zip(&mut pieces).zip(&mut messages) {
            piece.iov_base = place.as_mut_ptr().cast();
            piece.iov_len = LONGEST;
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
        }
        let received = retry(|| {
            // SAFETY: each of the MOST headers points to a piece, and that to LONGEST octets of memory of its own; all of
            // it lives through the call. No timeout is given.
            check(unsafe {
                libc::recvmmsg(
                    socket.as_fd().as_raw_fd(),
                    messages.as_mut_ptr(),
                    libc::c_uint::try_from(MOST).unwrap_or(0),
                    libc::MSG_DONTWAIT as _,
                    std::ptr::null_mut(),
                )
            })
        });
        match received {
            Ok(count) => self.count = usize::try_from(count).unwrap_or(0).min(MOST),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        for (length, message) in self.lengths.iter_mut().zip(&messages).take(self.count) {
            *length = usize::try_from(message.msg_len)
                .unwrap_or(LONGEST)
                .min(LONGEST);
        }
        Ok(self.count)
    }

    /// The datagrams received last, in their order.
    pub fn datagrams(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.memory
            .chunks_exact_mut(STRIDE)
            .zip(&self.lengths)
            .take(self.count)
            .map(|(place, length)| place.get_mut(..*length).unwrap_or_default())
    }

    /// Datagram `n` of those received last, from 0; nothing beyond them.
    #[must_use]
    pub fn datagram(&self, n: usize) -> &[u8] {
        let length = self.lengths.get(n).filter(|_| n < self.count);
        let from = n.saturating_mul(STRIDE);
        length
            .and_then(|length| self.memory.get(from..from + length))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn receives_what_is_there() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = receiver.local_addr().expect("it is bound");
        let mut batch = Batch::new();
        assert_eq!(batch.receive(&receiver).expect("nothing waits"), 0);
        let text = |number: usize| vec![b'x'; 65_507 - number];
        for number in 0..MOST {
            sender.send_to(&text(number), address).expect("room");
        }
        let mut seen = 0;
        for number in 0..2 {
            let count = batch.receive(&receiver).expect("they were sent");
            assert_eq!(batch.datagrams().count(), count);
            for (at, datagram) in batch.datagrams().enumerate() {
                assert_eq!(datagram, text(seen + at), "{number}");
            }
            assert_eq!(batch.datagram(count), b"");
            seen += count;
        }
        assert!(seen > 1, "{seen}");
    }
}

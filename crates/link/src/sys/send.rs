//! Sending many frames with one system call.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{check, retry};
use crate::virtio;

/// Messages that one call sends at most.
pub(crate) const MESSAGES: usize = 64;
/// Pieces of one message: header, frame up to the tag, tag, rest.
const PIECES: usize = 4;

/// One frame to be sent: the virtio-net header and up to three pieces, sent in this order.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// The virtio-net header.
    pub(crate) header: [u8; virtio::LEN],
    /// The frame up to where the tag goes in, or all of it.
    pub(crate) head: &'a [u8],
    /// The 802.1Q tag and the frame behind it.
    pub(crate) tag: Option<([u8; 4], &'a [u8])>,
}

/// Memory for the system call's arguments, filled as far as used.
struct Batch {
    headers: [MaybeUninit<([u8; virtio::LEN], [u8; 4])>; MESSAGES],
    pieces: [[MaybeUninit<libc::iovec>; PIECES]; MESSAGES],
    messages: [MaybeUninit<libc::mmsghdr>; MESSAGES],
}

/// Sends the first messages of `messages` (at most [`MESSAGES`]) on `fd` with `sendmmsg(2)`,
/// without waiting; returns how many the kernel took.
///
/// # Errors
/// What the kernel said of the first message; none was taken.
pub(crate) fn batch<'a>(
    fd: BorrowedFd<'_>,
    messages: impl Iterator<Item = Message<'a>>,
) -> io::Result<usize> {
    let mut batch = Batch {
        headers: [const { MaybeUninit::uninit() }; MESSAGES],
        pieces: [const { [const { MaybeUninit::uninit() }; PIECES] }; MESSAGES],
        messages: [const { MaybeUninit::uninit() }; MESSAGES],
    };
    let mut count: libc::c_uint = 0;
    let places = batch
        .headers
        .iter_mut()
        .zip(&mut batch.pieces)
        .zip(&mut batch.messages);
    for (((header, pieces), place), message) in places.zip(messages) {
        let (tag, rest) = message.tag.unwrap_or(([0; 4], &[]));
        let (header, tag) = &*header.write((message.header, tag));
        let used = if message.tag.is_some() { PIECES } else { 2 };
        let parts: [&[u8]; PIECES] = [header, message.head, tag, rest];
        for (piece, part) in pieces.iter_mut().zip(parts).take(used) {
            piece.write(libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            });
        }
        // SAFETY: zeros are a valid mmsghdr (no address, no control data).
        let mut entry: libc::mmsghdr = unsafe { mem::zeroed() };
        entry.msg_hdr.msg_iov = pieces.as_mut_ptr().cast();
        entry.msg_hdr.msg_iovlen = used as _;
        place.write(entry);
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let sent = retry(|| {
        // SAFETY: the first `count` entries are written; each points to its written pieces, which
        // point to `batch.headers` and to slices that live through `'a`, hence through the call.
        // The kernel only reads through them.
        check(unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                batch.messages.as_mut_ptr().cast(),
                count,
                flags as _,
            )
        })
    })?;
    Ok(usize::try_from(sent).unwrap_or(0))
}

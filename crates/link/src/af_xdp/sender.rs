//! The sending half: what fits, by an AF_XDP socket, everything else by a packet socket.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packet::{Packet, finish_checksum};

use crate::sys::xsk::{Pushed, Sending};
use crate::{ETHERNET, Outgoing, TAG_OFFSET, Transmit, Transmitted};

/// Octets of an 802.1Q tag.
const TAG: usize = 4;
/// How long a sender waits once per call for room. Longer would stall the worker for every other
/// interface.
const WAIT: Duration = Duration::from_millis(2);

pub(super) struct Sender {
    /// For what the socket does not carry.
    passed: Arc<dyn Transmit>,
    socket: Mutex<Sending>,
    /// Octets of the longest frame, its tag not counted, that goes by the socket.
    longest: usize,
}

impl Sender {
    pub(super) fn new(passed: Arc<dyn Transmit>, socket: Sending, mtu: u32) -> Self {
        let mtu = usize::try_from(mtu).unwrap_or(usize::MAX);
        let longest = mtu.saturating_add(ETHERNET).min(socket.capacity() - TAG);
        Self {
            passed,
            socket: Mutex::new(socket),
            longest,
        }
    }

    /// Whether a frame is one for the socket: one segment, no longer than the interface carries.
    fn fits(&self, frame: &Outgoing<'_>) -> bool {
        let len = frame.bytes().len();
        frame.offload().gso.is_none() && (ETHERNET..=self.longest).contains(&len)
    }

    fn socket(&self) -> MutexGuard<'_, Sending> {
        // Nothing panics with the lock held.
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends frames that all fit by the socket; `None` when the interface is down, with none of them
    /// sent.
    fn by_socket(&self, frames: &[Outgoing<'_>]) -> Option<Transmitted> {
        let mut socket = self.socket();
        let mut result = Transmitted::default();
        // Frames that went in line before the interface went down leave first, or it still is.
        if socket.in_line() > 0 && flush(&mut socket, &mut result).is_err() {
            return None;
        }
        for frame in frames {
            let mut pushed = push(&mut socket, frame);
            if pushed == Pushed::Full {
                // As many as the socket has chunks are on their way: once they are gone there is room.
                if flush(&mut socket, &mut result).is_ok() {
                    let _ = socket.wait(WAIT);
                }
                pushed = push(&mut socket, frame);
            }
            match pushed {
                Pushed::InLine => result.sent += 1,
                Pushed::Full => result.refuse(libc::ENOBUFS, 1),
                Pushed::Refused => result.refuse(libc::EINVAL, 1),
            }
        }
        // What stays in line while the interface is down is the kernel's, which sends it when the
        // interface is up; that goes on by the packet socket until then. An interface that is gone
        // sends nothing.
        if let Err(errno) = flush(&mut socket, &mut result)
            && errno != libc::ENETDOWN
        {
            let lost = usize::try_from(socket.in_line()).unwrap_or(0);
            let lost = lost.min(result.sent);
            result.sent -= lost;
            result.refuse(errno, lost);
        }
        Some(result)
    }
}

impl Transmit for Sender {
    fn transmit(&self, frames: &[Outgoing<'_>]) -> Transmitted {
        let mut result = Transmitted::default();
        // Neighbours that go the same way go together, and in order.
        for run in frames.chunk_by(|one, next| self.fits(one) == self.fits(next)) {
            let fits = run.first().is_some_and(|frame| self.fits(frame));
            let sent = fits.then(|| self.by_socket(run)).flatten();
            result += sent.unwrap_or_else(|| self.passed.transmit(run));
        }
        result
    }
}

/// Puts a frame in line, tag and checksum included.
fn push(socket: &mut Sending, frame: &Outgoing<'_>) -> Pushed {
    socket.reclaim();
    socket.push(|chunk| write(frame, chunk))
}

/// Writes a frame as it is to be on the wire; returns where.
fn write(frame: &Outgoing<'_>, chunk: &mut [u8]) -> Option<Range<u32>> {
    let bytes = frame.bytes();
    let end = TAG + bytes.len();
    // A tag's place is kept free in front, so that the checksum's offsets are the frame's.
    chunk.get_mut(TAG..end)?.copy_from_slice(bytes);
    let mut packet = Packet::new(chunk, TAG..end, frame.link_len());
    packet.offload = *frame.offload();
    if !finish_checksum(&mut packet) {
        return None;
    }
    let mut start = TAG;
    if let Some(vlan) = frame.vlan() {
        start = 0;
        chunk.copy_within(TAG..TAG + TAG_OFFSET, 0);
        let place = chunk.get_mut(TAG_OFFSET..TAG_OFFSET + TAG)?;
        let ([tpid0, tpid1], [tci0, tci1]) = (vlan.tpid.to_be_bytes(), vlan.tci.to_be_bytes());
        place.copy_from_slice(&[tpid0, tpid1, tci0, tci1]);
    }
    Some(u32::try_from(start).ok()?..u32::try_from(end).ok()?)
}

/// Has the kernel send what is in line, as far as it can. Frames that it dropped are counted as not
/// sent.
///
/// # Errors
/// The interface is down or gone: everything is still in line.
fn flush(socket: &mut Sending, result: &mut Transmitted) -> Result<(), i32> {
    let mut waited = false;
    loop {
        let before = socket.in_line();
        let errno = match socket.kick() {
            Ok(()) => return Ok(()),
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        };
        let left = socket.in_line();
        match errno {
            // One was dropped: the interface has no carrier, or its queue was full.
            libc::EBUSY if result.sent > 0 => {
                result.sent -= 1;
                result.refuse(libc::ENOBUFS, 1);
            }
            // A frame of an earlier call, which counted it.
            libc::EBUSY => {}
            libc::EAGAIN | libc::ENOBUFS if left < before => {}
            libc::EAGAIN | libc::ENOBUFS if !waited => {
                waited = true;
                socket.reclaim();
                let _ = socket.wait(WAIT);
            }
            libc::EAGAIN | libc::ENOBUFS => return Ok(()),
            errno => return Err(errno),
        }
        if left == 0 {
            return Ok(());
        }
    }
}

//! Frames in and out: memory, pcap, AF_PACKET, AF_XDP, TUN; the only crate with unsafe.
//!
//! A link is opened and gives one [`Link`] per worker: a [`Receive`] that owns what it reads from
//! (a ring, a queue, a file) and a [`Transmit`] that any thread may use. Frames received are
//! [`Packet`]s in the link's own memory, borrowed until the next call of [`Receive::receive`]; the
//! borrow checker keeps them from outliving their slot, so nothing is copied between receive and
//! transmit.
//!
//! Checksum and segmentation work that a sender left undone travels as [`packet::Offload`] and is
//! handed on to the kernel; 802.1Q tags travel in [`Packet::vlan`]. A link never computes a
//! checksum, never cuts a frame, and never sends one it did not get as asked.
//!
//! `unsafe` is allowed in [`sys`] only, which is a set of small safe wrappers around system calls
//! that the rest of the program shares.
#![deny(unsafe_code)]

pub mod af_packet;
pub mod af_xdp;
pub mod assist;
mod ebpf;
mod error;
mod frame;
pub mod guard;
pub mod memory;
pub mod pcap;
pub mod probe;
pub mod steering;
pub mod sys;
pub mod tun;
pub mod tun_plain;
mod virtio;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

pub use error::LinkError;
pub use frame::{Frame, Outgoing, recycle};
use packet::Packet;
use steering::Steering;

/// Frames that one call of [`Receive::receive`] gives at most. Measured on veth: batches beyond 8
/// gain nothing in throughput, 64 bounds the time between two looks at the clock.
pub const BATCH: usize = 64;

/// Octets free in front of every received frame at least: the outer headers of an encapsulation
/// (IPv6 40, UDP 8, GUE 4, 802.1Q 4) and some to spare.
pub const HEADROOM: usize = 64;

/// Octets of an Ethernet header without tag.
const ETHERNET: usize = 14;
/// Where an 802.1Q tag stands in a frame: behind the two addresses.
const TAG_OFFSET: usize = 12;

/// The receiving half of a link; one thread owns it.
pub trait Receive: Send {
    /// Appends the frames that are there, at most [`BATCH`], to `batch` and returns how many. Never
    /// waits. The memory of the frames of the previous call goes back to the link.
    ///
    /// After `Ok(0)` nothing is there: wait with `poll(2)` on [`Receive::fd`]. An interface that
    /// goes down is `Ok(0)` too, counted in [`Statistics::link_down`]; it works again when it
    /// comes up.
    ///
    /// # Errors
    /// When no frame can ever come again: the interface was removed, the file is broken.
    fn receive<'a>(&'a mut self, batch: &mut Vec<Packet<'a>>) -> Result<usize, LinkError>;

    /// What to poll for frames; `None` when the link never waits (memory, pcap).
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// What was received and lost since the link was opened.
    fn statistics(&mut self) -> Statistics;

    /// Frames that arrived since the link was opened, whether they were received or wait, those included that the
    /// kernel is still copying; `None` where it cannot be told.
    fn arrived(&mut self) -> Option<u64> {
        None
    }

    /// So many of them were received, or skipped as unusable.
    fn taken(&self) -> u64 {
        0
    }
}

/// The sending half of a link; any number of threads may use it at once.
pub trait Transmit: Send + Sync {
    /// Sends the frames in order and says what became of them. Every frame is either handed to the
    /// kernel or counted as failed; nothing is kept.
    fn transmit(&self, frames: &[Outgoing<'_>]) -> Transmitted;
}

/// Both halves of a link, for one worker.
pub struct Link {
    /// Where frames come from.
    pub receiver: Box<dyn Receive>,
    /// Where frames go to.
    pub sender: Arc<dyn Transmit>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Link").finish_non_exhaustive()
    }
}

/// A kind of link, as the configuration names it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub summary: &'static str,
    /// When to use it, in a sentence.
    pub when: &'static str,
    /// What it needs of the system.
    pub needs: &'static str,
    /// Opens one.
    pub open: fn(&Request<'_>) -> Result<Opened, LinkError>,
}

/// Every kind of link there is.
pub const ENTRIES: &[Entry] = &[
    af_packet::ENTRY,
    af_xdp::ENTRY,
    tun::ENTRY,
    tun_plain::ENTRY,
    pcap::ENTRY,
    memory::ENTRY,
];

/// The kind of link of that name.
#[must_use]
pub fn entry(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// What a link is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The interface; for a pcap link the file read, and after a comma the file written.
    pub name: &'a str,
    /// Links wanted, one per worker, at least 1.
    pub workers: usize,
    /// How frames are shared out among the workers, where the link can do that.
    pub steering: &'a Steering,
    /// What the director is to have ([`guard::Guard::flows`]), for a link that takes it away from
    /// the host.
    pub flows: Option<&'a guard::Flows>,
}

/// Links that were opened together.
#[derive(Debug)]
pub struct Opened {
    /// One per worker, in worker order; a kind that cannot be shared gives one.
    pub links: Vec<Link>,
    /// By which to change the steering; `None` where the link does not steer. Keep it as long as the
    /// links.
    pub group: Option<Group>,
    /// How it is done, where there is a choice: a few words for the log.
    pub detail: Option<String>,
    /// Why the kernel does not share frames out by the steering; the workers hand them over then.
    pub unsteered: Option<LinkError>,
}

/// Links of one interface together. Keep it as long as the links.
#[derive(Debug)]
pub enum Group {
    /// Packet sockets.
    AfPacket(af_packet::Group),
    /// Queues of a TUN device.
    Tun(tun::Group),
}

impl Group {
    /// Shares frames out by another steering, while frames flow; none is lost. Takes some
    /// milliseconds, in which frames still go by the old one: not for a worker thread.
    ///
    /// # Errors
    /// Refusal by the kernel; the old steering stays.
    pub fn steer(&self, steering: &Steering) -> Result<(), LinkError> {
        match self {
            Self::AfPacket(group) => group.steer(steering),
            Self::Tun(group) => group.steer(steering),
        }
    }
}

/// What a receiver has seen since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames given to the caller.
    pub received: u64,
    /// Frames that the kernel dropped because the ring or the queue was full.
    pub overrun: u64,
    /// Frames that came incomplete (longer than any buffer, or no buffer memory left) and were
    /// dropped.
    pub truncated: u64,
    /// Frames whose virtio-net header says something this program does not know, dropped.
    pub unknown_offload: u64,
    /// Times the interface was found to have gone down.
    pub link_down: u64,
}

/// What became of the frames of one [`Transmit::transmit`] call. The sum of all fields but
/// `last_errno` is the number of frames given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Transmitted {
    /// Frames the kernel took.
    pub sent: usize,
    /// Frames longer than the interface carries (`EMSGSIZE`).
    pub too_big: usize,
    /// Frames lost to a full queue (`ENOBUFS`, `EAGAIN`, `ENOMEM`).
    pub queue_full: usize,
    /// Frames lost because the interface is down or gone (`ENETDOWN`, `ENXIO`, `ENODEV`).
    pub down: usize,
    /// Frames refused for any other reason, named by `last_errno`.
    pub refused: usize,
    /// The last errno met, for a log line.
    pub last_errno: Option<i32>,
}

impl Transmitted {
    /// Frames that were not sent.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.too_big + self.queue_full + self.down + self.refused
    }

    /// Counts `count` frames that the system refused with `errno`.
    fn refuse(&mut self, errno: i32, count: usize) {
        self.last_errno = Some(errno);
        match errno {
            libc::EMSGSIZE => self.too_big += count,
            libc::ENOBUFS | libc::EAGAIN | libc::ENOMEM => self.queue_full += count,
            libc::ENETDOWN | libc::ENXIO | libc::ENODEV => self.down += count,
            _ => self.refused += count,
        }
    }
}

impl std::ops::AddAssign for Transmitted {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.too_big += other.too_big;
        self.queue_full += other.queue_full;
        self.down += other.down;
        self.refused += other.refused;
        self.last_errno = other.last_errno.or(self.last_errno);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_link_is_named_once_and_explained() {
        for entry in ENTRIES {
            assert_eq!(
                crate::entry(entry.name).map(|found| found.summary),
                Some(entry.summary)
            );
            let texts = [entry.summary, entry.when, entry.needs];
            assert!(
                texts
                    .iter()
                    .all(|text| text.ends_with('.') && text.len() > 5),
                "{entry:?}"
            );
            assert!(
                entry
                    .name
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter == '_')
            );
        }
        assert!(entry("carrier_pigeon").is_none());
    }

    #[test]
    fn transmit_results_add_up() {
        let mut result = Transmitted::default();
        for (errno, count) in [(libc::EMSGSIZE, 1), (libc::ENOMEM, 2), (libc::ENXIO, 3)] {
            result.refuse(errno, count);
        }
        let mut total = Transmitted {
            sent: 5,
            ..Transmitted::default()
        };
        total.refuse(libc::EINVAL, 4);
        total += result;
        let Transmitted {
            sent,
            too_big,
            queue_full,
            down,
            refused,
            last_errno,
        } = total;
        assert_eq!((sent, too_big, queue_full, down, refused), (5, 1, 2, 3, 4));
        assert_eq!((total.failed(), last_errno), (10, Some(libc::ENXIO)));
    }
}

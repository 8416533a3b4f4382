//! AF_PACKET: raw frames of one interface, by a receive ring and `sendmmsg(2)` (packet(7)).
//!
//! Needs `CAP_NET_RAW` and nothing else. Frames are received into a TPACKET_V2 ring (no latency
//! timer, unlike V3) and sent straight from there, virtio-net header and all, so super-frames of
//! 64 KiB and partial checksums pass through whole. Frames longer than a slot are fetched by
//! `recv(2)` in their place in the order. The host's own stack sees every frame too; keeping it
//! from answering is the guard's work.
//!
//! Several workers share an interface by a fanout group whose classic-BPF program computes what
//! [`Steering`] computes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use packet::{Offload, Packet, Vlan};

use crate::assist::Filter;
use crate::steering::Steering;
use crate::sys::ring::{Ring, Size, Slot};
use crate::sys::{interface, packet as sys_packet, poll, send, socket};
use crate::virtio;
use crate::{
    BATCH, ETHERNET, Entry, HEADROOM, Link, LinkError, Opened, Outgoing, Receive, Statistics,
    TAG_OFFSET, Transmit, Transmitted,
};

/// This kind of link.
pub const ENTRY: Entry = Entry {
    name: "af_packet",
    summary: "Raw Ethernet frames of an interface, by a memory-mapped ring.",
    when: "The default: the fastest that passes super-frames whole, on every kind of interface.",
    needs: "CAP_NET_RAW.",
    open: |request| {
        let (links, group) = open(request.name, request.workers, request.steering)?;
        Ok(Opened {
            links,
            group: Some(crate::Group::AfPacket(group)),
            unsteered: None,
            detail: None,
        })
    },
};

/// Octets of an 802.1Q tag.
const TAG: u16 = 4;
/// Slots of a ring: at a million frames a second, 4 ms of a worker not looking; 8 MiB.
const SLOTS: u32 = 4096;
/// Octets of a slot for the ordinary 1500-octet MTU, and the most for a larger one: what does not
/// fit is fetched by `recv(2)`, slower but in order.
const SLOT: std::ops::RangeInclusive<u32> = 2048..=16384;
/// Octets asked of the kernel between its header and the frame. It adds 80 and the virtio-net
/// header; with 6 more than [`HEADROOM`] the network header falls on a 16-octet boundary.
const RESERVE: u32 = 70;
/// Octets in a slot that are not frame, at most.
const SLOT_OVERHEAD: u32 = RESERVE + 80 + 10 + 4;
/// Octets of a buffer for a long frame: the largest super-frame and its headers.
const LONG_FRAME: usize = HEADROOM + 65536 + 128;
/// Octets of socket memory asked for: a hundred super-frames on their way in or out.
const SOCKET_MEMORY: i32 = 8 << 20;
/// How long a sender waits once per call for a full socket queue. Longer would stall the worker
/// for every other interface.
const QUEUE_WAIT: Duration = Duration::from_millis(2);

/// Opens `workers` links on an interface, in worker order; with more than one, frames are shared
/// out by `steering`. The interface may be down.
///
/// # Errors
/// Unknown interface, no `CAP_NET_RAW`, no memory for the rings. Nothing stays open.
pub fn open(
    name: &str,
    workers: usize,
    steering: &Steering,
) -> Result<(Vec<Link>, Group), LinkError> {
    let failed = |operation| move |source| LinkError::new(operation, name, source);
    let interface = interface::lookup(name).map_err(failed("look up the interface"))?;
    let slot = (interface.mtu.saturating_add(SLOT_OVERHEAD))
        .checked_next_power_of_two()
        .map_or(*SLOT.end(), |slot| slot.clamp(*SLOT.start(), *SLOT.end()));
    let mut members = Vec::with_capacity(workers.max(1));
    for _ in 0..workers.max(1) {
        let fd = sys_packet::open(RESERVE)
            .map_err(|source| failed("open a packet socket")(source).needs("CAP_NET_RAW"))?;
        socket::raise_buffers(fd.as_fd(), SOCKET_MEMORY).map_err(failed("set socket buffers"))?;
        let ring = Ring::new(fd.as_fd(), Size { slots: SLOTS, slot })
            .map_err(failed("make a receive ring"))?;
        members.push((Arc::new(fd), ring));
    }
    // All rings exist before the first frame arrives; membership in worker order gives each worker
    // its index.
    let mut group = None;
    for (fd, _) in &members {
        sys_packet::bind(fd.as_fd(), interface.index).map_err(failed("bind a packet socket"))?;
        if members.len() > 1 {
            let joined = sys_packet::join_fanout(fd.as_fd(), group)
                .map_err(failed("join a fanout group"))?;
            group = Some(joined);
        }
    }
    let group = Group {
        members: members.iter().map(|(fd, _)| Arc::clone(fd)).collect(),
        interface: name.to_owned(),
    };
    group.steer(steering)?;
    let links = members
        .into_iter()
        .map(|(fd, ring)| Link {
            receiver: Box::new(Receiver::new(ring, Arc::clone(&fd), name)),
            sender: Arc::new(Sender { fd }),
        })
        .collect();
    Ok((links, group))
}

/// The workers' sockets of one interface together. Keep it as long as the links: a socket that left
/// the group would change the others' places.
#[derive(Debug)]
pub struct Group {
    members: Vec<Arc<OwnedFd>>,
    interface: String,
}

impl Group {
    /// Keeps from the workers what the kernel assist takes, whose program must be attached to the
    /// interface. Ends with the sockets.
    ///
    /// # Errors
    /// Refusal by the kernel; some sockets may have the filter then.
    pub fn assist(&self, filter: &Filter) -> Result<(), LinkError> {
        self.members
            .iter()
            .try_for_each(|fd| filter.attach(fd.as_fd()))
            .map_err(|source| LinkError::new("filter packet sockets", &self.interface, source))
    }

    /// Gives the workers all frames again.
    pub fn end_assist(&self) {
        for fd in &self.members {
            // Refused only where there is no filter.
            let _ = sys_packet::end_filter(fd.as_fd());
        }
    }

    /// Shares frames out by another steering, while frames flow; none is lost. Takes some
    /// milliseconds, in which frames still go by the old one: not for a worker thread.
    ///
    /// # Errors
    /// Refusal by the kernel; the old steering stays.
    pub fn steer(&self, steering: &Steering) -> Result<(), LinkError> {
        let [first, _, ..] = self.members.as_slice() else {
            return Ok(());
        };
        sys_packet::set_fanout_program(first, steering.program())
            .map_err(|source| LinkError::new("set the steering program", &self.interface, source))
    }
}

struct Receiver {
    ring: Ring,
    fd: Arc<OwnedFd>,
    name: String,
    /// The interface went down and no frame has come since.
    down: bool,
    /// One buffer per frame of a batch, each made when first needed.
    long_frames: [Vec<u8>; BATCH],
    statistics: Statistics,
    /// Frames that had a slot by the last count.
    placed: u64,
    /// Slots that were looked at.
    taken: u64,
}

impl Receiver {
    fn new(ring: Ring, fd: Arc<OwnedFd>, name: &str) -> Self {
        let long_frames = [const { Vec::new() }; BATCH];
        Self {
            ring,
            fd,
            name: name.to_owned(),
            down: false,
            long_frames,
            statistics: Statistics::default(),
            placed: 0,
            taken: 0,
        }
    }

    /// Adds up what the kernel counted, which reading resets.
    fn count(&mut self) -> io::Result<()> {
        let counted = sys_packet::take_counts(self.fd.as_fd())?;
        self.placed += u64::from(counted.placed);
        self.statistics.overrun += u64::from(counted.dropped);
        Ok(())
    }
}

/// Why a slot's frame is not given to the caller.
enum Unusable {
    Outgoing,
    Truncated,
    UnknownOffload,
}

impl Receive for Receiver {
    fn receive<'a>(&'a mut self, batch: &mut Vec<Packet<'a>>) -> Result<usize, LinkError> {
        let Self {
            ring,
            fd,
            name,
            down,
            long_frames,
            statistics,
            taken,
            ..
        } = self;
        let before = batch.len();
        let mut spare = long_frames.iter_mut();
        let mut seen = false;
        let limit = u32::try_from(BATCH).unwrap_or(u32::MAX);
        ring.take(limit, |slot| {
            seen = true;
            *taken += 1;
            match frame(slot, fd.as_fd(), &mut spare) {
                Ok(packet) => batch.push(packet),
                Err(Unusable::Outgoing) => {}
                Err(Unusable::Truncated) => statistics.truncated += 1,
                Err(Unusable::UnknownOffload) => statistics.unknown_offload += 1,
            }
        });
        *down = !seen && take_error(fd.as_fd(), name, *down, statistics)?;
        let count = batch.len() - before;
        statistics.received += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn statistics(&mut self) -> Statistics {
        // A socket that cannot be asked has nothing new to say.
        let _ = self.count();
        self.statistics
    }

    fn arrived(&mut self) -> Option<u64> {
        Some(self.count().map_or(u64::MAX, |()| self.placed))
    }

    fn taken(&self) -> u64 {
        self.taken
    }
}

/// Takes the error that waits on the socket, so that poll(2) waits again; returns whether the
/// interface is down, as far as is known.
fn take_error(
    fd: BorrowedFd<'_>,
    name: &str,
    was_down: bool,
    statistics: &mut Statistics,
) -> Result<bool, LinkError> {
    let failed = |source| LinkError::new("receive", name, source);
    let error = socket::take_error(fd).map_err(failed)?;
    let went_down = match error {
        None => false,
        Some(error) if error.raw_os_error() == Some(libc::ENETDOWN) => true,
        Some(error) => return Err(failed(error)),
    };
    if went_down {
        statistics.link_down += 1;
    }
    // An interface goes down before it is removed, and only the first is reported.
    let down = was_down || went_down;
    if down && sys_packet::is_orphaned(fd).map_err(failed)? {
        return Err(failed(io::Error::from_raw_os_error(libc::ENODEV)));
    }
    Ok(down)
}

/// The frame of a slot: in the slot itself, or fetched into the next spare buffer.
fn frame<'a>(
    slot: Slot<'a>,
    fd: BorrowedFd<'_>,
    spare: &mut slice::IterMut<'a, Vec<u8>>,
) -> Result<Packet<'a>, Unusable> {
    let vlan = vlan(&slot);
    let outgoing = slot.packet_type == libc::PACKET_OUTGOING;
    let (memory, start, end) = if slot.status & libc::TP_STATUS_COPY != 0 {
        let buffer = spare.next().ok_or(Unusable::Truncated)?;
        if buffer.is_empty() {
            buffer.resize(LONG_FRAME, 0);
        }
        let room = buffer.get_mut(HEADROOM..).ok_or(Unusable::Truncated)?;
        let len = socket::receive(fd, room).map_err(|_| Unusable::Truncated)?;
        (
            buffer.as_mut_slice(),
            HEADROOM + virtio::LEN,
            HEADROOM + len,
        )
    } else if slot.captured == slot.len {
        (slot.memory, slot.offset, slot.offset + slot.captured)
    } else {
        return Err(Unusable::Truncated);
    };
    if outgoing {
        return Err(Unusable::Outgoing);
    }
    if end > memory.len() || end < start {
        return Err(Unusable::Truncated);
    }
    let offload = offload(memory, start)?;
    let mut packet = Packet::new(memory, start..end, ETHERNET);
    packet.offload = offload;
    packet.vlan = vlan;
    Ok(packet)
}

/// The virtio-net header in front of `start`.
fn offload(memory: &[u8], start: usize) -> Result<Offload, Unusable> {
    let header = memory
        .get(..start)
        .and_then(<[u8]>::last_chunk)
        .ok_or(Unusable::Truncated)?;
    virtio::decode(*header).ok_or(Unusable::UnknownOffload)
}

fn vlan(slot: &Slot<'_>) -> Option<Vlan> {
    let (tpid, tci) = slot.vlan;
    let said = slot.status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let tpid = if said { tpid } else { 0x8100 };
    (slot.status & libc::TP_STATUS_VLAN_VALID != 0).then_some(Vlan { tpid, tci })
}

struct Sender {
    fd: Arc<OwnedFd>,
}

impl Transmit for Sender {
    fn transmit(&self, frames: &[Outgoing<'_>]) -> Transmitted {
        let mut result = Transmitted::default();
        let mut rest = frames;
        let mut waited = false;
        while !rest.is_empty() {
            let done = match send::batch(self.fd.as_fd(), rest.iter().map(message)) {
                Ok(count) => {
                    result.sent += count;
                    count
                }
                Err(error) => match error.raw_os_error().unwrap_or(libc::EIO) {
                    libc::EAGAIN if !waited => {
                        waited = true;
                        // An error here shows in the next send.
                        let _ = poll::writable(self.fd.as_fd(), QUEUE_WAIT);
                        continue;
                    }
                    libc::EAGAIN => {
                        result.refuse(libc::EAGAIN, rest.len());
                        rest.len()
                    }
                    errno => {
                        result.refuse(errno, 1);
                        1
                    }
                },
            };
            rest = rest.get(done..).unwrap_or(&[]);
        }
        result
    }
}

fn message<'a>(frame: &'a Outgoing<'_>) -> send::Message<'a> {
    let bytes = frame.bytes();
    let tagged = frame
        .vlan()
        .and_then(|vlan| Some((vlan, bytes.split_at_checked(TAG_OFFSET)?)));
    match tagged {
        None => send::Message {
            header: virtio::encode(frame.offload(), bytes, 0),
            head: bytes,
            tag: None,
        },
        Some((vlan, (head, rest))) => {
            let ([tpid0, tpid1], [tci0, tci1]) = (vlan.tpid.to_be_bytes(), vlan.tci.to_be_bytes());
            send::Message {
                header: virtio::encode(frame.offload(), bytes, TAG),
                head,
                tag: Some(([tpid0, tpid1, tci0, tci1], rest)),
            }
        }
    }
}

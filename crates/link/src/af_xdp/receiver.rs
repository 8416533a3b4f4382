//! The receiving half: what the XDP program takes, by AF_XDP sockets, and what it passes, by a packet
//! socket.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use packet::checksum::Sum;
use packet::{Headers, Packet, Transport, Vlan, tcp, udp};

use super::Attached;
use crate::sys::poll::Set;
use crate::sys::xsk::{Receiving, Slot};
use crate::{BATCH, ETHERNET, LinkError, Receive, Statistics, TAG_OFFSET};

/// Octets of an 802.1Q tag.
const TAG: usize = 4;
/// Batches from the sockets after which the packet socket comes first, that a flood of services'
/// packets does not keep ARP waiting.
const PATIENCE: u8 = 8;

pub(super) struct Receiver {
    /// What the program passes.
    passed: Box<dyn Receive>,
    /// One socket for each receive queue that is this worker's.
    queues: Vec<Receiving>,
    /// The queue whose turn it is to be first.
    first: usize,
    /// Batches until the packet socket comes first.
    patience: u8,
    readable: Set,
    /// Frames received by the sockets.
    received: u64,
    /// Frames from the sockets that were of no use.
    truncated: u64,
    /// The program stays on the interface as long as anybody receives by it.
    _program: Arc<Attached>,
}

impl Receiver {
    pub(super) fn new(
        passed: Box<dyn Receive>,
        queues: Vec<Receiving>,
        program: Arc<Attached>,
    ) -> std::io::Result<Self> {
        let sockets = queues.iter().map(Receiving::fd);
        let readable = Set::of(sockets.chain(passed.fd()))?;
        Ok(Self {
            passed,
            queues,
            first: 0,
            patience: PATIENCE,
            readable,
            received: 0,
            truncated: 0,
            _program: program,
        })
    }
}

impl Receive for Receiver {
    fn receive<'a>(&'a mut self, batch: &mut Vec<Packet<'a>>) -> Result<usize, LinkError> {
        self.patience = self.patience.checked_sub(1).unwrap_or(PATIENCE);
        if self.patience == 0 {
            let Self { passed, queues, .. } = self;
            return match passed.receive(batch)? {
                0 => {
                    let (count, useless) = take(queues, &mut self.first, batch);
                    self.received += to_u64(count);
                    self.truncated += to_u64(useless);
                    Ok(count)
                }
                count => Ok(count),
            };
        }
        let (count, useless) = take(&mut self.queues, &mut self.first, batch);
        self.received += to_u64(count);
        self.truncated += to_u64(useless);
        if count > 0 {
            return Ok(count);
        }
        self.passed.receive(batch)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.readable.fd())
    }

    fn statistics(&mut self) -> Statistics {
        let mut statistics = self.passed.statistics();
        statistics.received += self.received;
        statistics.truncated += self.truncated;
        // A socket that cannot be asked has nothing to say.
        let dropped = self.queues.iter().map(|queue| queue.dropped().unwrap_or(0));
        statistics.overrun += dropped.sum::<u64>();
        statistics
    }
}

/// Appends frames of the sockets, at most [`BATCH`]; returns how many, and how many were of no use.
fn take<'a>(
    queues: &'a mut [Receiving],
    first: &mut usize,
    batch: &mut Vec<Packet<'a>>,
) -> (usize, usize) {
    let (mut count, mut useless) = (0, 0);
    let before = (*first).min(queues.len());
    *first = if before + 1 < queues.len() {
        before + 1
    } else {
        0
    };
    let (head, tail) = queues.split_at_mut(before);
    for queue in tail.iter_mut().chain(head) {
        let room = u32::try_from(BATCH - count - useless).unwrap_or(0);
        queue.take(room, |slot| match packet(slot) {
            Some(packet) => {
                batch.push(packet);
                count += 1;
            }
            None => useless += 1,
        });
    }
    (count, useless)
}

/// The frame in a chunk, its tag taken out.
fn packet(slot: Slot<'_>) -> Option<Packet<'_>> {
    let Slot {
        memory,
        offset: mut start,
        len,
    } = slot;
    let end = start + len;
    let header = memory.get(start..end)?;
    let kind: [u8; 2] = *header.get(TAG_OFFSET..)?.first_chunk()?;
    let mut vlan = None;
    if matches!(kind, [0x81, 0x00] | [0x88, 0xa8]) {
        let tci = *header.get(TAG_OFFSET + 2..)?.first_chunk()?;
        vlan = Some(Vlan {
            tpid: u16::from_be_bytes(kind),
            tci: u16::from_be_bytes(tci),
        });
        // The addresses move over the tag, as the kernel does it for packet sockets.
        memory.copy_within(start..start + TAG_OFFSET, start + TAG);
        start += TAG;
    }
    if start + ETHERNET > end {
        return None;
    }
    let mut packet = Packet::new(memory, start..end, ETHERNET);
    packet.vlan = vlan;
    mark_partial(&mut packet);
    Some(packet)
}

/// Finds out whether the sender left the checksum to the device: the field holds the sum of the
/// pseudo-header then, and no socket option says so. Of complete checksums one in 65536 looks the
/// same; completing that again gives what was there.
fn mark_partial(packet: &mut Packet<'_>) {
    let Ok(headers) = Headers::parse(packet) else {
        return;
    };
    let offset = match headers.transport {
        Transport::Tcp { .. } => tcp::CHECKSUM,
        Transport::Udp { checksum, .. } if checksum != 0 => udp::CHECKSUM,
        _ => return,
    };
    let start = headers.transport_offset;
    let at = start + usize::from(offset);
    let field = packet.bytes().get(at..).and_then(<[u8]>::first_chunk);
    let pseudo = Sum::ZERO.pseudo_header(
        headers.source,
        headers.destination,
        headers.protocol,
        headers.end.saturating_sub(start),
    );
    if let (Some(field), Ok(start)) = (field, u16::try_from(start))
        && u16::from_be_bytes(*field) == pseudo.fold()
    {
        packet.offload.partial_checksum = Some(offset);
        packet.offload.checksum_start = start;
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

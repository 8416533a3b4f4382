//! TPACKET_V2 receive ring: memory that the kernel fills with frames, slot by slot.
//!
//! A slot belongs either to the kernel or to us; its status word says to whom, and only the owner
//! touches the rest. [`Ring::take`] hands slots out for as long as the ring is borrowed and gives
//! them back at the next call, so no slot is ever given back while a frame in it is in use.

use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use super::mapping::Mapping;
use super::socket;

/// Octets in front of a slot's data that hold the kernel's own header.
pub(crate) const HEADER: usize = size_of::<libc::tpacket2_hdr>();
/// Where the packet type stands in the `sockaddr_ll` behind the header.
const PACKET_TYPE: usize = HEADER + mem::offset_of!(libc::sockaddr_ll, sll_pkttype);

/// Slots and octets of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Number of slots, a power of two.
    pub(crate) slots: u32,
    /// Octets of a slot, a power of two from 2048.
    pub(crate) slot: u32,
}

/// A slot that the kernel filled.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    /// `TP_STATUS_*` bits.
    pub(crate) status: u32,
    /// Octets of the frame as it was on the wire.
    pub(crate) len: usize,
    /// Octets of it that are in the slot.
    pub(crate) captured: usize,
    /// Offset of the frame in `memory`.
    pub(crate) offset: usize,
    /// 802.1Q tag protocol and control information; valid by `status`.
    pub(crate) vlan: (u16, u16),
    /// `PACKET_*` kind of the frame.
    pub(crate) packet_type: u8,
    /// The slot behind its header.
    pub(crate) memory: &'a mut [u8],
}

/// The ring of one socket.
#[derive(Debug)]
pub(crate) struct Ring {
    memory: Mapping,
    size: Size,
    /// The next slot to look at.
    next: u32,
    /// Slots before `next` that are ours.
    taken: u32,
}

impl Ring {
    /// Gives the packet socket a receive ring and maps it.
    pub(crate) fn new(fd: BorrowedFd<'_>, size: Size) -> io::Result<Self> {
        // Blocks only matter to the kernel's allocator: 64 KiB is found even in fragmented memory.
        let block = size.slot.max(1 << 16);
        let request = libc::tpacket_req {
            tp_block_size: block,
            tp_block_nr: size.slots.div_ceil(block / size.slot.max(1)),
            tp_frame_size: size.slot,
            tp_frame_nr: size.slots,
        };
        socket::set_option(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let memory = Mapping::shared(fd, 0, octets(size))?;
        Ok(Self {
            memory,
            size,
            next: 0,
            taken: 0,
        })
    }

    /// Gives the slots of the previous call back to the kernel, then hands every filled slot, up to
    /// `limit`, to `visit`.
    pub(crate) fn take<'a>(&'a mut self, limit: u32, mut visit: impl FnMut(Slot<'a>)) {
        self.release();
        while self.taken < limit.min(self.size.slots) {
            // SAFETY: `self` is borrowed for `'a`, and `next` moves on, at most once around.
            let Some(slot) = (unsafe { self.filled(self.next) }) else {
                break;
            };
            self.next = (self.next + 1) & (self.size.slots - 1);
            self.taken += 1;
            visit(slot);
        }
    }

    fn release(&mut self) {
        // Oldest first: the kernel waits for that one.
        for back in (1..=self.taken).rev() {
            self.status(self.next.wrapping_sub(back))
                .store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.taken = 0;
    }

    /// The slot's first octet.
    fn slot(&self, index: u32) -> NonNull<u8> {
        let offset = to_usize(index & (self.size.slots - 1)) * to_usize(self.size.slot);
        // SAFETY: index is below the number of slots, so the offset is inside the mapping.
        unsafe { self.memory.start().add(offset) }
    }

    fn status(&self, index: u32) -> &AtomicU32 {
        let header = self.slot(index).cast::<libc::tpacket2_hdr>();
        // SAFETY: a slot begins with a tpacket2_hdr, aligned as slots are powers of two; the status
        // word is only ever accessed atomically by both sides.
        unsafe { AtomicU32::from_ptr(&raw mut (*header.as_ptr()).tp_status) }
    }

    /// The slot, when the kernel has filled it.
    ///
    /// # Safety
    /// The ring must be mutably borrowed for `'a`, and each slot asked for once in that time.
    unsafe fn filled<'a>(&self, index: u32) -> Option<Slot<'a>> {
        let status = self.status(index).load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let start = self.slot(index);
        let header = start.cast::<libc::tpacket2_hdr>().as_ptr();
        // SAFETY: the status says that the slot is ours, so the kernel writes no more to it; the
        // Acquire load makes what it wrote visible. All offsets are inside the slot. The memory
        // behind the header is lent out once by contract, and `release` takes the slot back only
        // when `&mut self` is free again, so when the last borrow is over.
        unsafe {
            let packet_type = start.add(PACKET_TYPE).read();
            let len = to_usize(self.size.slot) - HEADER;
            let memory = slice::from_raw_parts_mut(start.add(HEADER).as_ptr(), len);
            Some(Slot {
                status,
                len: to_usize((*header).tp_len),
                captured: to_usize((*header).tp_snaplen),
                offset: usize::from((*header).tp_mac).saturating_sub(HEADER),
                vlan: ((*header).tp_vlan_tpid, (*header).tp_vlan_tci),
                packet_type,
                memory,
            })
        }
    }
}

fn octets(size: Size) -> usize {
    to_usize(size.slots) * to_usize(size.slot)
}

/// Widens; Linux has no 16-bit machines.
fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

//! AF_XDP sockets (Linux `Documentation/networking/af_xdp.rst`): memory in chunks, four rings that
//! pass chunks between us and the kernel, and one receive queue of an interface.
//!
//! A chunk belongs either to the kernel or to us. Those of the receiving half come by the receive
//! ring and go back by the fill ring; those of the sending half go by the transmit ring and come back
//! by the completion ring. The halves never touch each other's chunks, so each has a thread of its
//! own. [`Receiving::take`] lends chunks out for as long as the half is borrowed and gives them back
//! at the next call.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::mapping::Mapping;
use super::socket::plain;
use super::{check, errno, poll, retry, socket};
use crate::HEADROOM;

/// Octets that the kernel leaves free in front of a received frame (`XDP_PACKET_HEADROOM`).
const KERNEL_HEADROOM: u32 = 256;
const _: () = assert!(
    KERNEL_HEADROOM as usize >= HEADROOM,
    "room for outer headers"
);
/// Octets of a frame that drivers leave in one piece, at least: a page without the kernel's share of it.
const ONE_PIECE: u32 = 3500;
/// Octets of a page: memory of chunks begins on one.
const PAGE: usize = 4096;

plain!(
    libc::sockaddr_xdp,
    libc::xdp_umem_reg,
    libc::xdp_mmap_offsets,
    libc::xdp_statistics,
    libc::xdp_options,
);

/// How much memory a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Octets of a chunk: 2048 or 4096.
    pub(crate) chunk: u32,
    /// Chunks to receive into, a power of two.
    pub(crate) receive: u32,
    /// Chunks to send from, a power of two.
    pub(crate) transmit: u32,
}

impl Size {
    /// Octets of the longest frame that is received whole.
    pub(crate) const fn capacity(self) -> u32 {
        let room = self.chunk - KERNEL_HEADROOM;
        if room < ONE_PIECE { room } else { ONE_PIECE }
    }

    fn octets(self) -> usize {
        to_usize(self.chunk) * (to_usize(self.receive) + to_usize(self.transmit))
    }
}

/// What both halves share.
#[derive(Debug)]
struct Shared {
    // The socket closes before its memory goes.
    fd: OwnedFd,
    memory: Mapping,
    size: Size,
}

impl Shared {
    /// The chunk that an address of a descriptor lies in, counted from the memory's start.
    fn chunk_of(&self, address: u64) -> Option<usize> {
        let chunk = to_usize(self.size.chunk);
        let address = usize::try_from(address).ok()?;
        (address < self.memory.len()).then_some(address & !(chunk - 1))
    }

    /// The chunk at that place.
    ///
    /// # Safety
    /// `start` is a chunk's; it is ours, and nobody else refers to it for `'a`, during which `self`'s
    /// memory lives.
    unsafe fn chunk<'a>(&self, start: usize) -> &'a mut [u8] {
        // SAFETY: by contract; chunks lie inside the mapping.
        unsafe {
            let first = self.memory.start().add(start).as_ptr();
            slice::from_raw_parts_mut(first, to_usize(self.size.chunk))
        }
    }
}

/// One ring, of descriptors `T`. Whether we produce or consume, we alone move our index.
#[derive(Debug)]
struct Ring<T> {
    mapping: Mapping,
    offset: libc::xdp_ring_offset,
    size: u32,
    /// Our index.
    index: u32,
    descriptors: PhantomData<T>,
}

impl<T: Copy> Ring<T> {
    /// Makes a ring by socket option `option` and maps it from `place`.
    fn new(
        fd: BorrowedFd<'_>,
        option: i32,
        size: u32,
        place: (
            libc::off_t,
            fn(&libc::xdp_mmap_offsets) -> libc::xdp_ring_offset,
        ),
    ) -> io::Result<Self> {
        socket::set_option(fd, libc::SOL_XDP, option, &size)?;
        let offsets = socket::option(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
        let offset = (place.1)(&offsets);
        let descriptors = usize::try_from(offset.desc).map_err(|_| errno(libc::EOVERFLOW))?;
        let len = descriptors + to_usize(size) * size_of::<T>();
        Ok(Self {
            mapping: Mapping::shared(fd, place.0, len)?,
            offset,
            size,
            index: 0,
            descriptors: PhantomData,
        })
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        let offset = usize::try_from(offset).unwrap_or(0);
        // SAFETY: the kernel said that an aligned 32-bit word of the ring is there; it is only ever
        // accessed atomically by both sides.
        unsafe { AtomicU32::from_ptr(self.mapping.start().add(offset).cast().as_ptr()) }
    }

    fn place(&self, index: u32) -> NonNull<T> {
        let first = usize::try_from(self.offset.desc).unwrap_or(0);
        let at = to_usize(index & (self.size - 1));
        // SAFETY: the mapping holds `size` descriptors from `first` on, and `size` is a power of two.
        unsafe { self.mapping.start().add(first).cast::<T>().add(at) }
    }

    /// Whether the kernel asks for a system call to go on.
    fn needs_wakeup(&self) -> bool {
        self.word(self.offset.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// Descriptors written that the kernel has not taken.
    fn pending(&self) -> u32 {
        let taken = self.word(self.offset.consumer).load(Ordering::Acquire);
        self.index.wrapping_sub(taken)
    }

    /// Writes a descriptor of a ring that we produce, for which there must be room.
    fn write(&mut self, descriptor: T) {
        // SAFETY: the place is inside the ring, and ours until `publish`.
        unsafe { self.place(self.index).write(descriptor) };
        self.index = self.index.wrapping_add(1);
    }

    /// Shows the kernel what was written.
    fn publish(&self) {
        let producer = self.word(self.offset.producer);
        producer.store(self.index, Ordering::Release);
    }

    /// Reads what the kernel has written to a ring that we consume, at most `limit`.
    fn read(&mut self, limit: u32, mut visit: impl FnMut(T)) {
        let written = self.word(self.offset.producer).load(Ordering::Acquire);
        let count = written.wrapping_sub(self.index).min(limit).min(self.size);
        if count == 0 {
            return;
        }
        for _ in 0..count {
            // SAFETY: written by the kernel before the index that was loaded, and ours until our
            // index moves below.
            visit(unsafe { self.place(self.index).read() });
            self.index = self.index.wrapping_add(1);
        }
        let consumer = self.word(self.offset.consumer);
        consumer.store(self.index, Ordering::Release);
    }
}

/// Opens a socket that is not bound yet, its receiving chunks given to the kernel (`CAP_NET_RAW`).
///
/// # Errors
/// `ENOBUFS` from [`register`]: more memory than the limit of locked memory allows.
pub(crate) fn open(size: Size, buffers: i32) -> Result<(Receiving, Sending), (Step, io::Error)> {
    let fd = socket::open(libc::AF_XDP, libc::SOCK_RAW, 0).map_err(|error| (Step::Open, error))?;
    let memory = Mapping::zeros(size.octets()).map_err(|error| (Step::Memory, error))?;
    let shared = Shared { fd, memory, size };
    register(&shared).map_err(|error| (Step::Memory, error))?;
    rings(shared, buffers).map_err(|error| (Step::Rings, error))
}

/// What [`open`] was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Open,
    Memory,
    Rings,
}

fn register(shared: &Shared) -> io::Result<()> {
    let start = shared.memory.start().as_ptr().expose_provenance();
    debug_assert_eq!(start % PAGE, 0);
    let registration = libc::xdp_umem_reg {
        addr: u64::try_from(start).map_err(|_| errno(libc::EOVERFLOW))?,
        len: u64::try_from(shared.memory.len()).map_err(|_| errno(libc::EOVERFLOW))?,
        chunk_size: shared.size.chunk,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    socket::set_option(&shared.fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)
}

fn rings(shared: Shared, buffers: i32) -> io::Result<(Receiving, Sending)> {
    let fd = shared.fd.as_fd();
    socket::raise_buffers(fd, buffers)?;
    let offset = |offset: libc::c_ulonglong| {
        libc::off_t::try_from(offset).map_err(|_| errno(libc::EOVERFLOW))
    };
    let (fill_at, done_at) = (
        offset(libc::XDP_UMEM_PGOFF_FILL_RING)?,
        offset(libc::XDP_UMEM_PGOFF_COMPLETION_RING)?,
    );
    let (receive, transmit) = (shared.size.receive, shared.size.transmit);
    let fill = Ring::new(
        fd,
        libc::XDP_UMEM_FILL_RING,
        receive,
        (fill_at, |all| all.fr),
    )?;
    let option = libc::XDP_UMEM_COMPLETION_RING;
    let done = Ring::new(fd, option, transmit, (done_at, |all| all.cr))?;
    let (receive_at, transmit_at) = (libc::XDP_PGOFF_RX_RING, libc::XDP_PGOFF_TX_RING);
    let received = Ring::new(fd, libc::XDP_RX_RING, receive, (receive_at, |all| all.rx))?;
    let sent = Ring::new(fd, libc::XDP_TX_RING, transmit, (transmit_at, |all| all.tx))?;
    let chunk = u64::from(shared.size.chunk);
    let shared = Arc::new(shared);
    let mut receiving = Receiving {
        fill,
        received,
        lent: Vec::with_capacity(to_usize(receive)),
        shared: Arc::clone(&shared),
    };
    receiving
        .lent
        .extend((0..receive).map(|at| u64::from(at) * chunk));
    receiving.give_back();
    let free = (receive..receive + transmit).map(|at| u64::from(at) * chunk);
    let sending = Sending {
        sent,
        done,
        free: free.collect(),
        shared,
    };
    Ok((receiving, sending))
}

/// A received frame.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    /// The chunk that it lies in.
    pub(crate) memory: &'a mut [u8],
    /// Where it begins in the chunk.
    pub(crate) offset: usize,
    /// Octets of it.
    pub(crate) len: usize,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Receiving {
    fill: Ring<u64>,
    received: Ring<libc::xdp_desc>,
    /// Chunks that are ours.
    lent: Vec<u64>,
    shared: Arc<Shared>,
}

impl Receiving {
    /// Binds the socket to a receive queue of an interface: with zero copy where the driver has that,
    /// unless `copied`. Returns whether it is zero copy.
    pub(crate) fn bind(&self, interface: u32, queue: u32, copied: bool) -> io::Result<bool> {
        let fd = &self.shared.fd;
        let how = if copied { libc::XDP_COPY } else { 0 };
        let address = libc::sockaddr_xdp {
            sxdp_family: u16::try_from(libc::AF_XDP).unwrap_or(44),
            sxdp_flags: how | libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        socket::bind(fd, &address)?;
        let options: libc::xdp_options = socket::option(fd, libc::SOL_XDP, libc::XDP_OPTIONS)?;
        Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// The socket.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }

    /// Gives the chunks of the previous call back to the kernel, then hands every received frame, up
    /// to `limit`, to `visit`.
    pub(crate) fn take<'a>(&'a mut self, limit: u32, mut visit: impl FnMut(Slot<'a>)) {
        self.give_back();
        let Self {
            received,
            lent,
            shared,
            ..
        } = self;
        received.read(limit, |descriptor| {
            // The kernel never writes a descriptor beyond the memory it was given.
            let Some(start) = shared.chunk_of(descriptor.addr) else {
                return;
            };
            lent.push(descriptor.addr);
            // SAFETY: the descriptor makes the chunk ours; it goes back only in `give_back`, which
            // needs `&mut self`, so after `'a`. The kernel gives no chunk twice.
            let memory = unsafe { shared.chunk(start) };
            let offset = usize::try_from(descriptor.addr).unwrap_or(start) - start;
            let len = to_usize(descriptor.len);
            if offset + len <= memory.len() {
                visit(Slot {
                    memory,
                    offset,
                    len,
                });
            }
        });
    }

    fn give_back(&mut self) {
        if !self.lent.is_empty() {
            let mask = !u64::from(self.shared.size.chunk - 1);
            // There is room: the ring holds as many as there are chunks.
            for address in self.lent.drain(..) {
                self.fill.write(address & mask);
            }
            self.fill.publish();
        }
        if self.fill.needs_wakeup() {
            // A driver that ran out of chunks looks again; its refusals show elsewhere.
            let _ = poll::readable(&[self.shared.fd.as_fd()], Some(Duration::ZERO));
        }
    }

    /// Frames that the kernel dropped since the socket was opened, for want of room.
    pub(crate) fn dropped(&self) -> io::Result<u64> {
        let fd = &self.shared.fd;
        let seen: libc::xdp_statistics = socket::option(fd, libc::SOL_XDP, libc::XDP_STATISTICS)?;
        Ok(seen.rx_dropped + seen.rx_ring_full)
    }
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Sending {
    sent: Ring<libc::xdp_desc>,
    done: Ring<u64>,
    /// Chunks that are ours.
    free: Vec<u64>,
    shared: Arc<Shared>,
}

impl Sending {
    /// Octets of the longest frame that a chunk holds.
    pub(crate) fn capacity(&self) -> usize {
        to_usize(self.shared.size.chunk)
    }

    /// Takes back the chunks of frames that are sent.
    pub(crate) fn reclaim(&mut self) {
        let Self {
            done, free, shared, ..
        } = self;
        let mask = !u64::from(shared.size.chunk - 1);
        done.read(u32::MAX, |address| free.push(address & mask));
    }

    /// Has `fill` write a frame into a free chunk and puts it in line. `fill` returns where in the
    /// chunk it wrote, or `None` for no frame.
    pub(crate) fn push(&mut self, fill: impl FnOnce(&mut [u8]) -> Option<Range<u32>>) -> Pushed {
        let Some(address) = self.free.pop() else {
            return Pushed::Full;
        };
        let written = self.shared.chunk_of(address).and_then(|start| {
            // SAFETY: chunks in `free` are ours, and this one is taken out of it.
            let chunk = unsafe { self.shared.chunk(start) };
            fill(chunk)
        });
        let written = written.filter(|place| place.end <= self.shared.size.chunk);
        let Some(place) = written.filter(|place| place.start < place.end) else {
            self.free.push(address);
            return Pushed::Refused;
        };
        // There is room: the ring holds as many as there are chunks.
        self.sent.write(libc::xdp_desc {
            addr: address + u64::from(place.start),
            len: place.end - place.start,
            options: 0,
        });
        Pushed::InLine
    }

    /// Has the kernel send what is in line. `Ok` when it took all or goes on by itself.
    ///
    /// # Errors
    /// `EAGAIN`, `ENOBUFS`: not all for now; `EBUSY`: the first was dropped; `ENETDOWN`, `ENXIO`:
    /// the interface is down or gone. What is in line stays there.
    pub(crate) fn kick(&self) -> io::Result<()> {
        self.sent.publish();
        if !self.sent.needs_wakeup() {
            return Ok(());
        }
        let fd = self.shared.fd.as_raw_fd();
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        retry(|| {
            // SAFETY: sends nothing of ours by address: a null buffer of length 0.
            let result = unsafe { libc::sendto(fd, ptr::null(), 0, flags, ptr::null(), 0) };
            check(i32::try_from(result).unwrap_or(-1)).map(drop)
        })
    }

    /// Frames in line that the kernel has not taken.
    pub(crate) fn in_line(&self) -> u32 {
        self.sent.pending()
    }

    /// Waits until the socket's memory for frames on their way has room again.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        poll::writable(self.shared.fd.as_fd(), timeout)
    }
}

/// What became of a frame given to [`Sending::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    InLine,
    /// No chunk is free.
    Full,
    /// It could not be written.
    Refused,
}

/// Widens; Linux has no 16-bit machines.
fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

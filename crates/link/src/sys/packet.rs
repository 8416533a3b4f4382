//! AF_PACKET sockets (packet(7)): options, fanout groups.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::check;
use super::socket::{self, set_option, socklen};
use crate::steering::Instruction;

/// `PACKET_FANOUT_FLAG_UNIQUEID`: the kernel picks the group number.
const FANOUT_UNIQUE: u32 = libc::PACKET_FANOUT_FLAG_UNIQUEID;

/// Opens a packet socket that receives nothing yet, set up for [`super::ring`]: TPACKET_V2 with
/// virtio-net headers, without the frames that this host sends, with frames beyond the slot size
/// kept whole for `recv`.
pub(crate) fn open(reserve: u32) -> io::Result<OwnedFd> {
    let fd = socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let version: i32 = libc::tpacket_versions::TPACKET_V2 as _;
    set_option(&fd, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
    set_option(&fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1_i32)?;
    set_option(&fd, libc::SOL_PACKET, libc::PACKET_RESERVE, &reserve)?;
    set_option(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32)?;
    set_option(&fd, libc::SOL_PACKET, libc::PACKET_COPY_THRESH, &1_i32)?;
    Ok(fd)
}

/// Binds a packet socket to an interface; from here on frames arrive.
pub(crate) fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(3);
    socket::bind(
        fd,
        &libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).unwrap_or(17),
            sll_protocol: protocol.to_be(),
            sll_ifindex: i32::try_from(index).unwrap_or(0),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        },
    )
}

/// Joins the fanout group `group`, or makes a new one, whose frames are shared out by a
/// classic-BPF program; returns the group's number. Indices are given in order of joining.
pub(crate) fn join_fanout(fd: BorrowedFd<'_>, group: Option<u16>) -> io::Result<u16> {
    let mode = match group {
        Some(group) => u32::from(group) | libc::PACKET_FANOUT_CBPF << 16,
        None => (libc::PACKET_FANOUT_CBPF | FANOUT_UNIQUE) << 16,
    };
    set_option(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &mode)?;
    let joined: u32 = socket::option(fd, libc::SOL_PACKET, libc::PACKET_FANOUT)?;
    let [low, high, ..] = joined.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}

/// Sets the program of the fanout group that `fd` is in. Takes some milliseconds (the kernel waits
/// for readers of the old one): not for a worker thread.
pub(crate) fn set_fanout_program(fd: impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program
        .iter()
        .map(|step| libc::sock_filter {
            code: step.code,
            jt: step.jt,
            jf: step.jf,
            k: step.k,
        })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| super::errno(libc::EINVAL))?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` points to `filter`, which outlives the call and which the kernel only reads.
    check(unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT_DATA,
            (&raw const program).cast(),
            socklen::<libc::sock_fprog>(),
        )
    })?;
    Ok(())
}

/// Takes the filter off a socket.
pub(crate) fn end_filter(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_i32)
}

/// What became of frames since the last call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// They have a slot of the ring, though some may not be filled yet.
    pub(crate) placed: u32,
    /// The ring or the socket's memory was full.
    pub(crate) dropped: u32,
}

/// What the kernel counted since the last call.
pub(crate) fn take_counts(fd: BorrowedFd<'_>) -> io::Result<Counted> {
    let counted: libc::tpacket_stats =
        socket::option(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
    Ok(Counted {
        // The kernel tells the sum of both.
        placed: counted.tp_packets.wrapping_sub(counted.tp_drops),
        dropped: counted.tp_drops,
    })
}

/// Whether the interface that the socket is bound to was removed.
pub(crate) fn is_orphaned(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let address: libc::sockaddr_ll = socket::own_address(fd)?;
    Ok(address.sll_ifindex == -1)
}

//! TUN devices (Linux `Documentation/networking/tuntap.rst`): opening queues, reading and writing.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::bpf::Program;
use super::interface::named_request;
use super::{check, retry};

/// Flags of a queue of ours: layer 3, a virtio-net header in front of each packet.
const FLAGS: i32 = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

/// Opens a queue of the TUN device `name`, which is made when it does not exist and goes away with
/// its last queue unless it is persistent. Super-frames and partial checksums are accepted.
pub(crate) fn open(name: &str, virtio_header: i32, several_queues: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut request = named_request(name)?;
    let queues = if several_queues {
        libc::IFF_MULTI_QUEUE
    } else {
        0
    };
    // The flags fill the 16 bits of the field from 0x8000 down.
    let [low, high, ..] = (FLAGS | queues).to_le_bytes();
    request.ifr_ifru.ifru_flags = libc::c_short::from_le_bytes([low, high]);
    // SAFETY: TUNSETIFF reads and writes an ifreq.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) })?;
    // SAFETY: TUNSETVNETHDRSZ reads an int.
    check(unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            libc::TUNSETVNETHDRSZ as _,
            &raw const virtio_header,
        )
    })?;
    set_offloads(&file)?;
    Ok(file)
}

/// What the kernel's TUN devices can do, without making one: virtio-net headers, several queues.
pub(crate) fn features() -> io::Result<(bool, bool)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut flags: libc::c_uint = 0;
    let number = libc::TUNGETFEATURES;
    // SAFETY: TUNGETFEATURES writes an unsigned int.
    check(unsafe { libc::ioctl(file.as_raw_fd(), number as _, &raw mut flags) })?;
    let has = |flag: libc::c_int| flags & flag.unsigned_abs() != 0;
    Ok((has(libc::IFF_VNET_HDR), has(libc::IFF_MULTI_QUEUE)))
}

/// Lets the kernel hand over unfinished packets; UDP super-frames where it knows them (Linux 6.2).
fn set_offloads(file: &File) -> io::Result<()> {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let set = |flags: libc::c_uint| {
        let argument = libc::c_ulong::from(flags);
        // SAFETY: TUNSETOFFLOAD takes a number.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD as _, argument) })
    };
    set(tcp | udp).or_else(|_| set(tcp)).map(drop)
}

/// Has a program choose the queue of each packet that the host routes into the device, by its result modulo the queues
/// (Linux 4.16).
pub(crate) fn steer(queue: &File, program: &Program) -> io::Result<()> {
    let number: libc::c_int = program.number();
    // SAFETY: TUNSETSTEERINGEBPF reads an int, the number of a program that is open.
    check(unsafe {
        libc::ioctl(
            queue.as_raw_fd(),
            libc::TUNSETSTEERINGEBPF as _,
            &raw const number,
        )
    })
    .map(drop)
}

/// Opens the one queue of a TUN device without virtio-net headers: the kernel finishes every packet
/// before it hands it over.
pub(crate) fn open_plain(name: &str) -> io::Result<File> {
    // tun-tap would cut a longer name.
    named_request(name)?;
    let device = tun_tap::Iface::without_packet_info(name, tun_tap::Mode::Tun)?;
    device.set_non_blocking()?;
    // SAFETY: `into_raw_fd` gives the descriptor away.
    let fd = unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) };
    // tun-tap does not ask for close-on-exec; a clone of std's has it.
    Ok(fd.try_clone()?.into())
}

/// Reads one packet, virtio-net header first when the queue has one; returns the octets read. A packet longer than the
/// buffer is cut.
pub(crate) fn read(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| file.read(buffer))
}

/// Writes one packet, virtio-net header first when the queue has one.
pub(crate) fn write(mut file: &File, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    retry(|| file.write_vectored(pieces))
}

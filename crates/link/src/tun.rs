//! TUN: IP packets that the host routes to a virtual interface, with virtio-net headers.
//!
//! For hosts where packet sockets see nothing useful, or where the director shall get only what
//! routing sends to it. Needs `CAP_NET_ADMIN` and `/dev/net/tun`, or a persistent device that
//! belongs to the user. Measured on veth at half the packet rate of AF_PACKET and the same bulk
//! throughput. One queue for each worker: the kernel chooses by the steering program, so that both
//! directions of a flow meet in the worker that owns it (`CAP_BPF`); else by a hash of its own, and
//! workers hand packets over.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::slice;
use std::sync::Arc;

use packet::{Offload, Packet};

use crate::steering::Steering;
use crate::sys::bpf::{Kind, Program};
use crate::sys::{ethtool, interface, tun as sys_tun};
use crate::{
    BATCH, Entry, HEADROOM, Link, LinkError, Opened, Outgoing, Receive, Statistics, Transmit,
    Transmitted, virtio,
};

/// This kind of link.
pub const ENTRY: Entry = Entry {
    name: "tun",
    summary: "IP packets that the host routes to a virtual interface, with virtio-net headers.",
    when: "Where the host's routing shall decide what the director gets, or frames of the interface \
           cannot be had.",
    needs: "/dev/net/tun and CAP_NET_ADMIN, or a persistent device of the user's own.",
    open: |request| {
        let (links, group) = open(request.name, request.workers)?;
        let unsteered = group.steer(request.steering).err();
        Ok(Opened {
            links,
            group: Some(crate::Group::Tun(group)),
            unsteered,
            detail: None,
        })
    },
};

/// Octets of a receive buffer: the largest packet, its virtio-net header, and headroom.
const BUFFER: usize = HEADROOM + virtio::LEN + 65536;

/// Packets that wait for a worker, at most, in a device made here: those of some milliseconds, as in
/// the ring of a packet socket. The kernel's own choice is 500.
const QUEUE_LEN: i32 = 4096;

/// Opens `workers` queues of the TUN device `name`, making it when it does not exist, and brings it
/// up. Addresses and routes are the caller's; the queues are chosen by the kernel's own hash until
/// [`Group::steer`].
///
/// # Errors
/// No `/dev/net/tun`, no `CAP_NET_ADMIN`, a device of that name that is no TUN, or one in use.
pub fn open(name: &str, workers: usize) -> Result<(Vec<Link>, Group), LinkError> {
    let is_new = interface::index(name).is_err();
    // Another program's queues would take part of the packets, and the kernel does not mind.
    if is_tun(name) && ethtool::has_carrier(name).unwrap_or(false) {
        return Err(refused(name, io::Error::from_raw_os_error(libc::EBUSY)));
    }
    let header = i32::try_from(virtio::LEN).unwrap_or(i32::MAX);
    let queue = |several| sys_tun::open(name, header, several);
    let mut several = workers > 1;
    let mut queues = Vec::with_capacity(workers.max(1));
    for _ in 0..workers.max(1) {
        let file = queue(several)
            .or_else(|error| {
                // A device that was made for several queues may have one.
                several = workers == 1 && error.raw_os_error() == Some(libc::EINVAL);
                if several { queue(true) } else { Err(error) }
            })
            .map_err(|source| refused(name, source))?;
        queues.push(Arc::new(file));
    }
    if is_new {
        interface::set_queue_len(name, QUEUE_LEN)
            .map_err(|source| LinkError::new("set the length of the queues", name, source))?;
    }
    bring_up(name)?;
    let links = queues.iter().map(|file| link(Arc::clone(file), name, true));
    let links = links.collect();
    let interface = name.to_owned();
    Ok((links, Group { queues, interface }))
}

/// The workers' queues of one device together, in their order.
#[derive(Debug)]
pub struct Group {
    queues: Vec<Arc<File>>,
    interface: String,
}

impl Group {
    /// Shares packets out by a steering, while they flow; none is lost.
    ///
    /// # Errors
    /// Refusal by the kernel (`CAP_BPF`): things stay as they are.
    pub fn steer(&self, steering: &Steering) -> Result<(), LinkError> {
        let [first, _, ..] = self.queues.as_slice() else {
            return Ok(());
        };
        let too_long = || io::Error::from_raw_os_error(libc::E2BIG);
        let program = steering.extended_program(self.queues.len());
        let loaded = program.ok_or_else(too_long).and_then(|program| {
            let program = Program::load(Kind::SocketFilter, &program)?;
            sys_tun::steer(first, &program)
        });
        loaded.map_err(|source| {
            LinkError::new("set the steering program", &self.interface, source).needs("CAP_BPF")
        })
    }
}

fn is_tun(name: &str) -> bool {
    ethtool::driver(name).is_ok_and(|driver| driver == "tun")
}

/// What the refusal of a queue says.
pub(crate) fn refused(name: &str, source: io::Error) -> LinkError {
    let is_there = interface::index(name).is_ok();
    let is_tun = is_tun(name);
    let errno = source.raw_os_error();
    let error = LinkError::new("open a TUN queue (/dev/net/tun)", name, source);
    match errno {
        Some(libc::EINVAL) if is_there && !is_tun => {
            error.because("it is no TUN device: name another one, which ulvs will make")
        }
        Some(libc::EINVAL) if is_there => error.because(
            "it is a TAP device, or has one queue only: make it by `ip tuntap add mode tun multi_queue`, or leave \
             that to ulvs",
        ),
        Some(libc::EPERM) if is_there => error.because(
            "it belongs to somebody else: give it to this user by `ip tuntap add mode tun user USER`, or ulvs \
             CAP_NET_ADMIN",
        ),
        Some(libc::EACCES) => error.because(
            "that file is not for this user, and to make a device needs CAP_NET_ADMIN: run as root, or `chmod 666 \
             /dev/net/tun` for devices that are this user's already",
        ),
        Some(libc::EBUSY) => error.because("another program has it open: stop that first"),
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => error.because(
            "there are no TUN devices here: `modprobe tun`, or `--device /dev/net/tun` for a container",
        ),
        _ => error.needs("CAP_NET_ADMIN"),
    }
}

/// A link over an open queue, with virtio-net headers or without.
pub(crate) fn link(file: Arc<File>, name: &str, virtio: bool) -> Link {
    Link {
        receiver: Box::new(Receiver {
            file: Arc::clone(&file),
            name: name.to_owned(),
            virtio,
            buffers: [const { Vec::new() }; BATCH],
            statistics: Statistics::default(),
        }),
        sender: Arc::new(Sender { file, virtio }),
    }
}

/// Brings the interface up unless it is.
pub(crate) fn bring_up(name: &str) -> Result<(), LinkError> {
    let up = interface::lookup(name).and_then(|found| match found.up {
        true => Ok(()),
        false => interface::set_up(name, true),
    });
    up.map_err(|source| {
        LinkError::new("bring the interface up", name, source).needs("CAP_NET_ADMIN")
    })
}

struct Receiver {
    file: Arc<File>,
    name: String,
    /// Whether a virtio-net header stands in front of each packet.
    virtio: bool,
    /// One per frame of a batch, each made when first needed.
    buffers: [Vec<u8>; BATCH],
    statistics: Statistics,
}

impl Receive for Receiver {
    fn receive<'a>(&'a mut self, batch: &mut Vec<Packet<'a>>) -> Result<usize, LinkError> {
        let Self {
            file,
            name,
            virtio,
            buffers,
            statistics,
        } = self;
        let header_len = if *virtio { virtio::LEN } else { 0 };
        let before = batch.len();
        for buffer in buffers {
            if buffer.is_empty() {
                buffer.resize(BUFFER, 0);
            }
            let room = buffer.get_mut(HEADROOM..).unwrap_or(&mut []);
            let len = match sys_tun::read(file, room) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::EBADFD) => {
                    let gone = io::Error::from_raw_os_error(libc::ENODEV);
                    return Err(LinkError::new("receive", name, gone));
                }
                Err(error) => return Err(LinkError::new("receive", name, error)),
            };
            let Some((header, _)) = room
                .get(..len)
                .and_then(|packet| packet.split_at_checked(header_len))
            else {
                statistics.truncated += 1;
                continue;
            };
            let offload = match header.first_chunk() {
                Some(header) => virtio::decode(*header),
                None => Some(Offload::default()),
            };
            let Some(offload) = offload else {
                statistics.unknown_offload += 1;
                continue;
            };
            let mut packet = Packet::new(buffer, HEADROOM + header_len..HEADROOM + len, 0);
            packet.offload = offload;
            batch.push(packet);
        }
        let count = batch.len() - before;
        statistics.received += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn statistics(&mut self) -> Statistics {
        self.statistics
    }
}

struct Sender {
    file: Arc<File>,
    virtio: bool,
}

impl Transmit for Sender {
    fn transmit(&self, frames: &[Outgoing<'_>]) -> Transmitted {
        let mut result = Transmitted::default();
        for frame in frames {
            let (bytes, offload) = (frame.bytes(), frame.offload());
            let header = virtio::encode(offload, bytes, 0);
            let pieces = [IoSlice::new(&header), IoSlice::new(bytes)];
            let sent = match pieces.as_slice() {
                pieces if self.virtio => sys_tun::write(&self.file, pieces),
                [_, packet] if *offload == Offload::default() => {
                    sys_tun::write(&self.file, slice::from_ref(packet))
                }
                // Nobody would finish it.
                _ => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
            };
            match sent {
                Ok(_) => result.sent += 1,
                // A TUN device that is down says EIO.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    result.refuse(libc::ENETDOWN, 1);
                }
                Err(error) => result.refuse(error.raw_os_error().unwrap_or(libc::EIO), 1),
            }
        }
        result
    }
}

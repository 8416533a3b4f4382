//! What this kernel offers this process, found out by trying.
//!
//! Promises: everything opened is closed again before a function returns; no interface, address, rule or setting is
//! changed, and no frame is sent.

use std::io;
use std::os::fd::AsFd;

use crate::sys::{interface, packet, socket, tun};

/// A facility and the kernel's refusal, where it refuses.
pub type Found = (&'static str, io::Result<()>);

/// A packet socket, and each of its facilities that the AF_PACKET link uses. Without the socket there is one entry.
#[must_use]
pub fn packet_socket() -> Vec<Found> {
    let fd = match socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0) {
        Ok(fd) => fd,
        Err(error) => return vec![("AF_PACKET", Err(error))],
    };
    let set = |name, value: i32| socket::set_option(&fd, libc::SOL_PACKET, name, &value);
    let version = libc::tpacket_versions::TPACKET_V2 as _;
    vec![
        ("AF_PACKET", Ok(())),
        ("TPACKET_V2", set(libc::PACKET_VERSION, version)),
        ("PACKET_VNET_HDR", set(libc::PACKET_VNET_HDR, 1)),
        (
            "PACKET_IGNORE_OUTGOING",
            set(libc::PACKET_IGNORE_OUTGOING, 1),
        ),
        ("PACKET_COPY_THRESH", set(libc::PACKET_COPY_THRESH, 1)),
        ("PACKET_FANOUT", fanout()),
    ]
}

/// Joins a group of its own on loopback.
fn fanout() -> io::Result<()> {
    let fd = socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    packet::bind(fd.as_fd(), interface::index("lo")?)?;
    packet::join_fanout(fd.as_fd(), None).map(drop)
}

/// AF_XDP sockets.
///
/// # Errors
/// `EAFNOSUPPORT` where the kernel has none, `EPERM` without `CAP_NET_RAW`.
pub fn af_xdp() -> io::Result<()> {
    socket::open(libc::AF_XDP, libc::SOCK_RAW, 0).map(drop)
}

/// TUN devices; none is made.
///
/// # Errors
/// `/dev/net/tun` cannot be opened.
pub fn tun() -> io::Result<Tun> {
    tun::features().map(|(virtio_header, several_queues)| Tun {
        virtio_header,
        several_queues,
    })
}

/// What TUN devices of this kernel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tun {
    /// A virtio-net header in front of each packet: super-frames and unfinished checksums pass.
    pub virtio_header: bool,
    /// A queue for each worker.
    pub several_queues: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_facility_is_named_once_and_nothing_stays_open() {
        let open = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
        // Other tests open files too: one quiet look is enough.
        let quiet = (0..100).any(|_| {
            let before = open();
            let found = packet_socket();
            let (_, _) = (af_xdp(), tun());
            assert_eq!(found[0].0, "AF_PACKET");
            assert!(found.len() == 6 || found[0].1.is_err());
            open() == before
        });
        assert!(quiet, "descriptors stay open");
    }
}

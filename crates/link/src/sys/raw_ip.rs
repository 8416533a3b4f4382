//! Raw IP sockets (raw(7), ipv6(7)): packets of one protocol in, whole packets out. `CAP_NET_RAW`.

use std::io::{self, IoSlice};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::socket::{self, Plain};
use super::{check, check_len, retry};

/// Memory of a socket (asm-generic/socket.h); libc does not have it.
const SO_MEMINFO: i32 = 55;
/// Numbers that [`SO_MEMINFO`] gives (linux/sock_diag.h); the last one counts drops.
const MEMORY_FIELDS: usize = 9;

/// Receives the packets of one protocol that are addressed to this host: of IPv4 from the IP header
/// on, of IPv6 what follows the IPv6 header and its extension headers. While it is open the
/// kernel does not answer them with "protocol unreachable" (IPv6: "unrecognized next header").
#[derive(Debug)]
pub struct Receiver {
    fd: OwnedFd,
    /// A socket of the same protocol that takes every packet and keeps none. The kernel answers a
    /// packet that no raw socket takes, and a socket whose buffer is full takes none (Linux 6.10);
    /// this one is never full.
    _silencer: OwnedFd,
}

impl Receiver {
    /// Listens for packets of `protocol` (IANA number: IPIP 4, 6in4 41, GRE 47) over IPv6 or IPv4.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`, `EAFNOSUPPORT` without IPv6.
    pub fn open(v6: bool, protocol: u8) -> io::Result<Self> {
        let domain = if v6 { libc::AF_INET6 } else { libc::AF_INET };
        let silencer = socket::open(domain, libc::SOCK_RAW, protocol.into())?;
        keep_nothing(&silencer)?;
        let fd = socket::open(domain, libc::SOCK_RAW, protocol.into())?;
        socket::raise_buffers(fd.as_fd(), 4 << 20)?;
        Ok(Self {
            fd,
            _silencer: silencer,
        })
    }

    /// What to poll, and to receive from ([`super::batch::Batch`]).
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Gives the socket a filter (classic BPF) that drops every packet.
fn keep_nothing(fd: &OwnedFd) -> io::Result<()> {
    let mut filter = [libc::sock_filter {
        code: u16::try_from(libc::BPF_RET | libc::BPF_K).unwrap_or(0),
        jt: 0,
        jf: 0,
        k: 0,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` points to `filter`, which outlives the call and which the kernel only reads.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            socket::socklen::<libc::sock_fprog>(),
        )
    })?;
    Ok(())
}

/// Datagrams that the kernel dropped since the socket was opened, of those meant for it: nearly
/// always because its buffer was full. Counts modulo 2^32.
///
/// # Errors
/// `ENOPROTOOPT` on kernels before 4.12.
pub fn lost(fd: impl AsFd) -> io::Result<u32> {
    let memory: [u32; MEMORY_FIELDS] = socket::option(fd, libc::SOL_SOCKET, SO_MEMINFO)?;
    Ok(memory[MEMORY_FIELDS - 1])
}

/// Lets an IPv6 UDP socket receive datagrams without a checksum, as tunnels may send them (RFC 6935);
/// otherwise the kernel drops them.
///
/// # Errors
/// None for an IPv6 UDP socket.
pub fn accept_unsummed_udp(fd: impl AsFd) -> io::Result<()> {
    // linux/udp.h; libc does not have it.
    const UDP_NO_CHECK6_RX: i32 = 102;
    socket::set_option(fd, libc::IPPROTO_UDP, UDP_NO_CHECK6_RX, &1_i32)
}

/// Sends whole IP packets, header included (`IPPROTO_RAW`), by the host's routing tables.
#[derive(Debug)]
pub struct Injector {
    fd: OwnedFd,
    v6: bool,
}

impl Injector {
    /// Opens an injector for IPv6 or IPv4 packets.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`.
    pub fn open(v6: bool) -> io::Result<Self> {
        let domain = if v6 { libc::AF_INET6 } else { libc::AF_INET };
        let fd = socket::open(domain, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
        socket::raise_buffers(fd.as_fd(), 4 << 20)?;
        Ok(Self { fd, v6 })
    }

    /// Sends the packet that `pieces` are together, whose IP header is as it should arrive (the kernel
    /// fills in a zero IPv4 identification and the IPv4 header checksum), towards `destination`. Never
    /// waits.
    ///
    /// # Errors
    /// `EMSGSIZE` (beyond the route's MTU), `ENETUNREACH`, `EAGAIN`, `ENOBUFS`, `EINVAL` (the family is
    /// not the injector's, or there are more than 1,024 pieces).
    pub fn send(&self, pieces: &[IoSlice<'_>], destination: IpAddr) -> io::Result<()> {
        match destination {
            IpAddr::V4(address) if !self.v6 => self.send_to(pieces, ipv4_address(address)),
            IpAddr::V6(address) if self.v6 => self.send_to(pieces, ipv6_address(address)),
            _ => Err(super::errno(libc::EINVAL)),
        }
    }

    fn send_to<T: Plain>(&self, pieces: &[IoSlice<'_>], mut address: T) -> io::Result<()> {
        // SAFETY: zeros are a valid message header.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = socket::socklen::<T>();
        // An IoSlice is an iovec by contract.
        message.msg_iov = pieces.as_ptr().cast_mut().cast();
        message.msg_iovlen = pieces.len() as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        retry(|| {
            // SAFETY: the header points to the address and the pieces, of the lengths it says, all of it live; the kernel
            // only reads them.
            check_len(unsafe { libc::sendmsg(self.fd.as_raw_fd(), &raw const message, flags) })
        })
        .map(drop)
    }
}

fn ipv4_address(address: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(2),
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.octets()),
        },
        sin_zero: [0; 8],
    }
}

fn ipv6_address(address: Ipv6Addr) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::sa_family_t::try_from(libc::AF_INET6).unwrap_or(10),
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr {
            s6_addr: address.octets(),
        },
        sin6_scope_id: 0,
    }
}

//! Raw IP sockets (raw(7), ipv6(7)): packets of one protocol in, whole packets out. `CAP_NET_RAW`.

use std::io::{self, IoSliceMut};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{check, check_len, retry, socket};

/// Memory of a socket (asm-generic/socket.h); libc does not have it.
const SO_MEMINFO: i32 = 55;
/// Numbers that [`SO_MEMINFO`] gives (linux/sock_diag.h); the last one counts drops.
const MEMORY_FIELDS: usize = 9;

/// Receives the packets of one protocol that are addressed to this host. While it is open the
/// kernel does not answer them with "protocol unreachable" (IPv6: "unrecognized next header").
#[derive(Debug)]
pub struct Receiver {
    fd: OwnedFd,
    v6: bool,
    /// A socket of the same protocol that takes every packet and keeps none. The kernel answers a
    /// packet that no raw socket takes, and a socket whose buffer is full takes none (Linux 6.10);
    /// this one is never full.
    _silencer: OwnedFd,
}

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Octets written to the buffer. IPv4: the packet from its IP header on; IPv6: what follows the
    /// IPv6 header and its extension headers.
    pub len: usize,
    /// Octets the packet had; more than `len` when the buffer was too short.
    pub full_len: usize,
    /// Source address of the packet.
    pub source: IpAddr,
    /// Destination address of the packet; `None` when the kernel did not say.
    pub destination: Option<IpAddr>,
}

/// Octets for the control message with the destination address, and to spare.
#[repr(align(8))]
struct Control([u8; 128]);

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
        if v6 {
            socket::set_option(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1_i32)?;
        } else {
            socket::set_option(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO, &1_i32)?;
        }
        socket::raise_buffers(fd.as_fd(), 4 << 20)?;
        Ok(Self {
            fd,
            v6,
            _silencer: silencer,
        })
    }

    /// The next packet, if there is one. Never waits.
    ///
    /// # Errors
    /// What the kernel says; none in ordinary use.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let (room, mut pieces) = (buffer.len(), [IoSliceMut::new(buffer)]);
        let mut control = Control([0; 128]);
        // SAFETY: zeros are a valid address storage and message header.
        let (mut address, mut message): (libc::sockaddr_in6, libc::msghdr) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = socket::socklen::<libc::sockaddr_in6>();
        // An IoSliceMut is an iovec by contract.
        message.msg_iov = pieces.as_mut_ptr().cast();
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        let result = retry(|| {
            // SAFETY: the header points to memory of the lengths it says, all of it live.
            check_len(unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, flags) })
        });
        let full_len = match result {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let source = if self.v6 {
            IpAddr::from(address.sin6_addr.s6_addr)
        } else {
            // sockaddr_in holds the IPv4 address where sockaddr_in6 holds the flow label.
            IpAddr::from(address.sin6_flowinfo.to_ne_bytes())
        };
        let destination = destination(&message);
        Ok(Some(Received {
            len: full_len.min(room),
            full_len,
            source,
            destination,
        }))
    }

    /// What to poll.
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

/// The address in a packet-info control message.
fn destination(message: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: `message` was filled by recvmsg; the macros walk only what it wrote, and the two
    // kinds of data are read unaligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(entry) = header.as_ref() {
            let data = libc::CMSG_DATA(header);
            match (entry.cmsg_level, entry.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => header = libc::CMSG_NXTHDR(message, header),
            }
        }
    }
    None
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

    /// Sends `packet`, whose IP header is as it should arrive (the kernel fills in a zero IPv4
    /// identification and the IPv4 header checksum), towards `destination`. Never waits.
    ///
    /// # Errors
    /// `EMSGSIZE` (beyond the route's MTU), `ENETUNREACH`, `EAGAIN`, `EINVAL` (the family is not
    /// the injector's).
    pub fn send(&self, packet: &[u8], destination: IpAddr) -> io::Result<()> {
        let (start, len) = (packet.as_ptr().cast(), packet.len());
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let fd = self.fd.as_raw_fd();
        let sent = match destination {
            IpAddr::V4(address) if !self.v6 => {
                let to = ipv4_address(address);
                let (to, to_len) = (
                    (&raw const to).cast(),
                    socket::socklen::<libc::sockaddr_in>(),
                );
                // SAFETY: the kernel reads the packet and the address, of the lengths given.
                retry(|| check_len(unsafe { libc::sendto(fd, start, len, flags, to, to_len) }))
            }
            IpAddr::V6(address) if self.v6 => {
                let to = ipv6_address(address);
                let (to, to_len) = (
                    (&raw const to).cast(),
                    socket::socklen::<libc::sockaddr_in6>(),
                );
                // SAFETY: the kernel reads the packet and the address, of the lengths given.
                retry(|| check_len(unsafe { libc::sendto(fd, start, len, flags, to, to_len) }))
            }
            _ => Err(super::errno(libc::EINVAL)),
        };
        sent.map(drop)
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

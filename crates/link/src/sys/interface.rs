//! Looking up network interfaces.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{check, errno, socket};

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index in this network namespace.
    pub index: u32,
    /// Its Ethernet address; zeros where it has none.
    pub mac: [u8; 6],
    /// Octets of the largest IP packet it carries.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether frames on it begin with an Ethernet header (loopback has one too).
    pub ethernet: bool,
}

/// Looks up an interface of the calling thread's network namespace.
///
/// # Errors
/// `ENODEV` when there is none of that name.
pub fn lookup(name: &str) -> io::Result<Interface> {
    let index = index(name)?;
    let socket = socket::open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mtu = request(&socket, name, Request::Mtu)?;
    // SAFETY: SIOCGIFMTU filled this member.
    let mtu = u32::try_from(unsafe { mtu.ifr_ifru.ifru_mtu }).unwrap_or(0);
    let flags = request(&socket, name, Request::Flags)?;
    // SAFETY: SIOCGIFFLAGS filled this member.
    let flags = i32::from(unsafe { flags.ifr_ifru.ifru_flags });
    let hardware = request(&socket, name, Request::HardwareAddress)?;
    // SAFETY: SIOCGIFHWADDR filled this member.
    let hardware = unsafe { hardware.ifr_ifru.ifru_hwaddr };
    let ethernet = matches!(
        hardware.sa_family,
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK
    );
    let mut mac = [0; 6];
    if ethernet {
        for (octet, seen) in mac.iter_mut().zip(hardware.sa_data) {
            *octet = seen.to_ne_bytes()[0];
        }
    }
    Ok(Interface {
        name: name.to_owned(),
        index,
        mac,
        mtu,
        up: flags & libc::IFF_UP != 0,
        ethernet,
    })
}

/// The index of the interface of that name.
///
/// # Errors
/// `ENODEV` when there is none.
pub fn index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(|_| errno(libc::ENODEV))?;
    // SAFETY: `name` is a C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(errno(libc::ENODEV)),
        index => Ok(index),
    }
}

/// The interface requests whose answers are read here.
#[derive(Clone, Copy)]
enum Request {
    Mtu,
    Flags,
    HardwareAddress,
}

/// An `ifreq` that names the interface.
pub(super) fn named_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: zeros are a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last octet stays 0; a longer name cannot exist.
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(errno(libc::ENODEV));
    }
    for (place, octet) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = libc::c_char::from_ne_bytes([octet]);
    }
    Ok(request)
}

fn request(socket: &OwnedFd, name: &str, kind: Request) -> io::Result<libc::ifreq> {
    let mut request = named_request(name)?;
    let number = match kind {
        Request::Mtu => libc::SIOCGIFMTU,
        Request::Flags => libc::SIOCGIFFLAGS,
        Request::HardwareAddress => libc::SIOCGIFHWADDR,
    };
    // SAFETY: all three requests read the name of an ifreq and fill its union.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), number as _, &raw mut request) })?;
    Ok(request)
}

/// Brings an interface up or down (`CAP_NET_ADMIN`).
///
/// # Errors
/// `EPERM`, `ENODEV`.
pub fn set_up(name: &str, up: bool) -> io::Result<()> {
    let socket = socket::open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut request = request(&socket, name, Request::Flags)?;
    let bit = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: SIOCGIFFLAGS filled this member, which SIOCSIFFLAGS reads.
    unsafe {
        let flags = request.ifr_ifru.ifru_flags;
        request.ifr_ifru.ifru_flags = if up { flags | bit } else { flags & !bit };
    }
    // SAFETY: SIOCSIFFLAGS reads an ifreq.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw mut request,
        )
    })?;
    Ok(())
}

/// Sets how many packets may wait to be sent by an interface (`CAP_NET_ADMIN`); those of a TUN device wait to be read.
///
/// # Errors
/// `EPERM`, `ENODEV`.
pub fn set_queue_len(name: &str, packets: i32) -> io::Result<()> {
    let socket = socket::open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut request = named_request(name)?;
    // ifr_qlen has the place of ifr_ifindex.
    request.ifr_ifru.ifru_ifindex = packets;
    // SAFETY: SIOCSIFTXQLEN reads an ifreq.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFTXQLEN as _,
            &raw mut request,
        )
    })?;
    Ok(())
}

//! bpf(2): maps, programs, and the links that attach them to interfaces.

mod array;

use std::ffi::{CStr, c_long, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::errno;
use super::socket::{Plain, plain, set_option, socklen};
pub(crate) use array::{PerProcessor, SharedArray};

// enum bpf_cmd
const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const MAP_DELETE_ELEM: i32 = 3;
const PROG_LOAD: i32 = 5;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const LINK_CREATE: i32 = 28;

/// `BPF_MAP_TYPE_HASH`.
const MAP_TYPE_HASH: u32 = 1;
/// `BPF_F_NO_PREALLOC`: entries take memory when they are made.
const NO_PREALLOCATION: u32 = 1;
/// `BPF_MAP_TYPE_XSKMAP`.
const MAP_TYPE_XSK: u32 = 17;
/// Octets of verifier text asked for when a program is refused.
const LOG_LEN: usize = 1 << 16;

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `BPF_PROG_TYPE_SOCKET_FILTER`, which chooses the queue of a TUN device too.
    SocketFilter,
    /// `BPF_PROG_TYPE_SCHED_CLS`.
    TrafficControl,
    /// `BPF_PROG_TYPE_XDP`.
    Xdp {
        /// It can do with frames in several pieces, such as super-frames (`BPF_F_XDP_HAS_FRAGS`,
        /// Linux 5.18).
        pieces: bool,
    },
}

impl Kind {
    /// The kernel's number, and flags.
    const fn numbers(self) -> (u32, u32) {
        match self {
            Self::SocketFilter => (1, 0),
            Self::TrafficControl => (3, 0),
            Self::Xdp { pieces: false } => (6, 0),
            Self::Xdp { pieces: true } => (6, 1 << 5),
        }
    }
}

/// Where an interface runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Ahead of the host's own stack (`BPF_TCX_INGRESS`, Linux 6.6).
    TcxIngress,
    /// The same, ahead of the programs that are there already (`BPF_F_BEFORE`).
    TcxIngressFirst,
    /// In the interface's driver (`BPF_XDP` with `XDP_FLAGS_DRV_MODE`, Linux 5.9).
    XdpNative,
    /// Ahead of packet sockets, for any driver (`BPF_XDP` with `XDP_FLAGS_SKB_MODE`, Linux 5.9).
    XdpGeneric,
}

impl Hook {
    /// The kernel's number, and flags.
    const fn numbers(self) -> (u32, u32) {
        match self {
            Self::TcxIngress => (46, 0),
            Self::TcxIngressFirst => (46, 1 << 3),
            Self::XdpNative => (37, 1 << 2),
            Self::XdpGeneric => (37, 1 << 1),
        }
    }

    /// What a refusal to attach means: Linux before 6.6 does not know TCX.
    fn explained(self, error: io::Error) -> io::Error {
        let is_tcx = matches!(self, Self::TcxIngress | Self::TcxIngressFirst);
        match error.raw_os_error() {
            Some(libc::EINVAL) if is_tcx => io::Error::other("needs Linux 6.6"),
            _ => error,
        }
    }
}

/// Calls bpf(2).
///
/// # Safety
/// `attribute` must be the beginning of `union bpf_attr` for `command`, and every address in it
/// valid for what the command does with it.
unsafe fn call<T: Plain>(command: i32, attribute: &mut T) -> io::Result<c_long> {
    let size: c_uint = socklen::<T>();
    // SAFETY: by contract; the kernel reads and writes at most `size` octets of the attribute.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Calls bpf(2) for a new descriptor.
///
/// # Safety
/// As [`call`], with a command that makes a descriptor.
unsafe fn open<T: Plain>(command: i32, attribute: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: by contract.
    let fd = unsafe { call(command, attribute) }?;
    let fd = RawFd::try_from(fd).map_err(|_| errno(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor, nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address<T>(pointer: *const T) -> u64 {
    // Addresses have at most 64 bits.
    u64::try_from(pointer.expose_provenance()).unwrap_or(0)
}

fn number(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// A hash map that a program reads.
#[derive(Debug)]
pub(crate) struct HashMap<const KEY: usize, const VALUE: usize> {
    fd: OwnedFd,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MapElement {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_link_info` up to the part of a TCX link.
#[repr(C)]
#[derive(Clone, Copy)]
struct LinkInfo {
    link_type: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    ifindex: u32,
    attach_type: u32,
}

plain!(MapCreate, MapElement, ProgramLoad, LinkCreate, InfoByFd);

impl<const KEY: usize, const VALUE: usize> HashMap<KEY, VALUE> {
    /// An empty map (`CAP_BPF`).
    pub(crate) fn new(max_entries: u32) -> io::Result<Self> {
        let fd = new_map(MapCreate {
            map_type: MAP_TYPE_HASH,
            key_size: u32::try_from(KEY).unwrap_or(0),
            value_size: u32::try_from(VALUE).unwrap_or(0),
            max_entries,
            map_flags: NO_PREALLOCATION,
        })?;
        Ok(Self { fd })
    }

    /// Sets an entry. Needs no capability.
    pub(crate) fn insert(&self, key: [u8; KEY], value: [u8; VALUE]) -> io::Result<()> {
        element(&self.fd, MAP_UPDATE_ELEM, &key, Some(&value))
    }

    /// Takes an entry out; none there is no error.
    pub(crate) fn remove(&self, key: [u8; KEY]) -> io::Result<()> {
        match element::<KEY, VALUE>(&self.fd, MAP_DELETE_ELEM, &key, None) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result,
        }
    }

    /// The number by which a program's instructions name the map.
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn new_map(mut attribute: MapCreate) -> io::Result<OwnedFd> {
    // SAFETY: the attribute is that of MAP_CREATE and holds no address.
    unsafe { open(MAP_CREATE, &mut attribute) }
}

/// Changes the entry of `key` in a map that was made with keys and values of these lengths.
fn element<const KEY: usize, const VALUE: usize>(
    map: &OwnedFd,
    command: i32,
    key: &[u8; KEY],
    value: Option<&[u8; VALUE]>,
) -> io::Result<()> {
    let mut attribute = MapElement {
        map_fd: number(map),
        pad: 0,
        key: address(key),
        value: value.map_or(0, |value| address(value)),
        flags: 0,
    };
    // SAFETY: by the lengths of the map's keys and values, which the kernel only reads.
    unsafe { call(command, &mut attribute) }.map(drop)
}

/// The AF_XDP sockets of an interface, by receive queue (`BPF_MAP_TYPE_XSKMAP`). A socket leaves it
/// when it is closed.
#[derive(Debug)]
pub(crate) struct SocketMap {
    fd: OwnedFd,
}

impl SocketMap {
    /// A map without sockets for as many queues (`CAP_BPF`).
    pub(crate) fn new(queues: u32) -> io::Result<Self> {
        let fd = new_map(MapCreate {
            map_type: MAP_TYPE_XSK,
            key_size: 4,
            value_size: 4,
            max_entries: queues,
            map_flags: 0,
        })?;
        Ok(Self { fd })
    }

    /// Gives the frames of a queue to a socket.
    pub(crate) fn set(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let value = socket.as_raw_fd().to_ne_bytes();
        element(
            &self.fd,
            MAP_UPDATE_ELEM,
            &queue.to_ne_bytes(),
            Some(&value),
        )
    }

    /// The number by which a program's instructions name the map.
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A program that the kernel has taken.
#[derive(Debug)]
pub(crate) struct Program {
    fd: OwnedFd,
}

impl Program {
    /// Has the kernel check and load a program (`CAP_BPF` and `CAP_NET_ADMIN`). The maps it names
    /// must be open.
    pub(crate) fn load(kind: Kind, instructions: &[[u8; 8]]) -> io::Result<Self> {
        const LICENSE: &CStr = c"GPL";
        let (prog_type, prog_flags) = kind.numbers();
        let mut attribute = ProgramLoad {
            prog_type,
            insn_cnt: u32::try_from(instructions.len()).map_err(|_| errno(libc::E2BIG))?,
            insns: address(instructions.as_ptr()),
            license: address(LICENSE.as_ptr()),
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags,
        };
        // SAFETY: instructions and license outlive the call, and the kernel only reads them.
        let loaded = unsafe { open(PROG_LOAD, &mut attribute) };
        let fd = match loaded {
            // The verifier's refusal of a program: once more, for its words.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL)) => {
                let mut log = vec![0_u8; LOG_LEN];
                attribute.log_level = 1;
                attribute.log_size = u32::try_from(LOG_LEN).unwrap_or(0);
                attribute.log_buf = address(log.as_mut_ptr());
                // SAFETY: as above; the kernel writes at most `log_size` octets to the log.
                match unsafe { open(PROG_LOAD, &mut attribute) } {
                    Ok(fd) => fd,
                    Err(_) if log.first() == Some(&0) => return Err(error),
                    Err(_) => return Err(io::Error::other(last_lines(&log))),
                }
            }
            result => result?,
        };
        Ok(Self { fd })
    }

    /// The number by which an interface is told of the program.
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Attaches the program to what an interface receives, for as long as the link lives
    /// (`CAP_NET_ADMIN`).
    pub(crate) fn attach(&self, interface: u32, hook: Hook) -> io::Result<Attachment> {
        let (attach_type, flags) = hook.numbers();
        let mut attribute = LinkCreate {
            prog_fd: number(&self.fd),
            target_ifindex: interface,
            attach_type,
            flags,
            relative_fd: 0,
            pad: 0,
            expected_revision: 0,
        };
        // SAFETY: the attribute is that of LINK_CREATE and holds no address.
        let opened = unsafe { open(LINK_CREATE, &mut attribute) };
        let fd = opened.map_err(|error| hook.explained(error))?;
        Ok(Attachment { fd })
    }

    /// Filters what a socket receives from now on: what the program returns 0 for does not arrive.
    /// Needs no capability.
    pub(crate) fn filter(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        set_option(
            socket,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            &self.fd.as_raw_fd(),
        )
    }
}

/// The end of the verifier's text, where the reason stands.
fn last_lines(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.trim_end_matches('\0').lines().collect();
    let tail = lines.len().saturating_sub(4);
    format!(
        "the verifier refused the program: {}",
        lines.get(tail..).unwrap_or(&[]).join("; ")
    )
}

/// A program on an interface; dropping it takes the program off, and so does the end of the process.
#[derive(Debug)]
pub(crate) struct Attachment {
    fd: OwnedFd,
}

impl Attachment {
    /// The interface's index, 0 when it was removed. Needs no capability.
    pub(crate) fn interface(&self) -> io::Result<u32> {
        let mut info = LinkInfo {
            link_type: 0,
            id: 0,
            prog_id: 0,
            pad: 0,
            ifindex: 0,
            attach_type: 0,
        };
        let mut attribute = InfoByFd {
            bpf_fd: number(&self.fd),
            info_len: socklen::<LinkInfo>(),
            info: address(&raw mut info),
        };
        // SAFETY: the kernel writes at most `info_len` octets to `info`.
        unsafe { call(OBJ_GET_INFO_BY_FD, &mut attribute) }?;
        Ok(info.ifindex)
    }
}

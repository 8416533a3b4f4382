//! AF_XDP: the packets of services straight from an interface's driver, past the host's stack.
//!
//! An XDP program, written by `program` and run for every frame that the interface receives, gives
//! the ordinary packets of what the guard's rules name to AF_XDP sockets, one for each receive queue,
//! and lets everything else pass. A packet socket on the same interface ([`crate::af_packet`]) gets
//! what passes (ARP, neighbour discovery, ICMP, fragments, frames beyond a socket's chunk) and sends
//! what an AF_XDP socket does not carry (super-frames). So nothing that works by packet socket alone
//! is lost, and the host goes on to see all that is not the director's.
//!
//! The interface's driver decides how much it gains: with zero copy the sockets' memory is the
//! interface's own; in native mode the program runs before the kernel makes a packet of a frame;
//! generic mode works everywhere. The best that the driver has is taken, but for veth: there native
//! mode gained nothing for datagrams, cost latency, and takes the peer's segmentation offload away,
//! which is most of the rate of bulk TCP (docs/PERFORMANCE.md).
//!
//! An AF_XDP socket takes no super-frames and its frames carry no word on checksums. In generic mode
//! TCP comes in super-frames, of senders on this machine or of receive aggregation: there it stays
//! with the packet socket as a whole, as a flow whose packets went two ways would lose their order.
//! What a sender left of a checksum is found by its value.
//!
//! 802.1Q tags that travel beside a frame and not in it (veth with `txvlan` on, NICs with `rxvlan` on)
//! are not seen by XDP programs: turn that off where tagged packets are balanced.
//!
//! The program is held by its link: it leaves the interface with the process, however that ends.
//! Attaching makes many drivers stop for a moment.

mod program;
mod receiver;
mod sender;

use std::fmt;
use std::io;
use std::sync::Arc;

use self::program::Plan;
use self::receiver::Receiver;
use self::sender::Sender;
use crate::af_packet::{self, Group};
use crate::guard::Flows;
use crate::steering::Steering;
use crate::sys::bpf::{Attachment, Hook, Kind, Program, SocketMap};
use crate::sys::xsk::{self, Receiving, Sending, Size, Step};
use crate::sys::{ethtool, interface};
use crate::{Entry, Link, LinkError, Opened, Transmit};

/// This kind of link.
pub const ENTRY: Entry = Entry {
    name: "af_xdp",
    summary: "Packets of services by AF_XDP sockets, everything else by a packet socket.",
    when: "Many small packets on a NIC whose driver has XDP, best with zero copy; not beside another XDP program, and no \
           gain on veth.",
    needs: "CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF; CAP_IPC_LOCK, or 12 MiB of locked memory a worker; Linux 5.9.",
    open: |request| {
        let flows = request.flows.ok_or_else(|| {
            let source = io::Error::other(
                "there is no BPF map of what the director takes: give this program CAP_NET_ADMIN and CAP_BPF, or take \
                 link = \"af-packet\"",
            );
            LinkError::new("redirect frames", request.name, source)
        })?;
        let all = open(
            request.name,
            request.workers,
            request.steering,
            flows,
            Scope::Automatic,
        )?;
        Ok(Opened {
            detail: Some(all.status.to_string()),
            links: all.links,
            group: Some(crate::Group::AfPacket(all.group)),
            unsteered: None,
        })
    },
};

/// Chunks that a worker receives into, all its queues together, and those of a queue at least: at a
/// million frames a second, 4 ms of a worker not looking.
const RECEIVE: u32 = 4096;
const RECEIVE_LEAST: u32 = 512;
/// Chunks that a worker sends from, by one of its queues; the kernel wants some for each.
const TRANSMIT: u32 = 2048;
const TRANSMIT_LEAST: u32 = 64;
/// Octets of a chunk for the ordinary 1500-octet MTU, and for a larger one: the kernel allows no
/// more than a page.
const CHUNKS: [u32; 2] = [2048, 4096];
/// Octets of a frame beyond its IP packet: Ethernet and a tag.
const FRAMING: u32 = 18;
/// Octets of socket memory asked for, for frames on their way out.
const SOCKET_MEMORY: i32 = 8 << 20;
/// The driver whose interfaces lose more by native mode than they gain.
const VETH: &str = "veth";

/// Which packets of the flows go to the AF_XDP sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// UDP, and TCP where no super-frames come.
    Automatic,
    /// UDP and TCP, in native mode where the driver has it. Peers on veth are kept from sending
    /// super-frames.
    All,
}

/// How frames come from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The interface reads and writes the sockets' memory itself.
    ZeroCopy,
    /// The driver runs the program, and the kernel copies each frame.
    Native,
    /// The kernel runs the program for a driver that cannot.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ZeroCopy => "zero copy",
            Self::Native => "native, copied",
            Self::Generic => "generic, copied",
        })
    }
}

/// What was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How frames come.
    pub mode: Mode,
    /// Receive queues, each with a socket.
    pub queues: u32,
    /// Whether TCP goes to the sockets too.
    pub tcp: bool,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocols = if self.tcp { "TCP and UDP" } else { "UDP" };
        let plural = if self.queues == 1 { "" } else { "s" };
        let Self { mode, queues, .. } = self;
        write!(f, "{mode}, {queues} queue{plural}, {protocols}")
    }
}

/// Links on one interface.
#[derive(Debug)]
pub struct Links {
    /// One per worker.
    pub links: Vec<Link>,
    /// The packet sockets' steering.
    pub group: Group,
    /// What was got.
    pub status: Status,
}

/// A program on an interface.
#[derive(Debug)]
struct Attached {
    _attachment: Attachment,
}

/// Opens `workers` links on an interface, in worker order. Receive queues are dealt out among them in
/// turn; a worker without one receives by its packet socket, and whatever the others hand over. The
/// interface may be down.
///
/// # Errors
/// Unknown interface, missing capabilities, too low a limit of locked memory, another XDP program on
/// the interface, Linux before 5.9. Nothing stays open or attached.
pub fn open(
    name: &str,
    workers: usize,
    steering: &Steering,
    flows: &Flows,
    scope: Scope,
) -> Result<Links, LinkError> {
    let failed = |operation| move |source| LinkError::new(operation, name, source);
    let (links, group) = af_packet::open(name, workers, steering)?;
    let interface = interface::lookup(name).map_err(failed("look up the interface"))?;
    // A driver that does not say has one of each.
    let (receive, transmit) = ethtool::queues(name).unwrap_or((1, 1));
    let queues = receive.max(1);
    let share = Share {
        workers: links.len(),
        queues,
        mtu: interface.mtu,
    };
    let sockets = SocketMap::new(queues)
        .map_err(|source| privileged(failed("make a BPF map for AF_XDP")(source)))?;
    let plan = Plan {
        flows: flows.number(),
        sockets: sockets.number(),
        capacity: share.size(0).capacity(),
        tcp: false,
        pieces: false,
    };
    let (attachment, native, tcp) = attach(name, interface.index, plan, scope)?;
    let mut zero_copy = native;
    let mut halves = Vec::new();
    for queue in 0..queues {
        let opened =
            xsk::open(share.size(queue), SOCKET_MEMORY).map_err(|error| refusal(name, error))?;
        let bound = opened.0.bind(interface.index, queue, !native);
        zero_copy &= bound.map_err(failed("bind an AF_XDP socket"))?;
        halves.push(opened);
    }
    for (queue, (receiving, _)) in (0..).zip(&halves) {
        sockets
            .set(queue, receiving.fd())
            .map_err(failed("redirect frames to an AF_XDP socket"))?;
    }
    let mode = match (native, zero_copy) {
        (false, _) => Mode::Generic,
        (true, false) => Mode::Native,
        (true, true) => Mode::ZeroCopy,
    };
    let program = Arc::new(Attached {
        _attachment: attachment,
    });
    let senders = usize::try_from(transmit).unwrap_or(usize::MAX);
    let links = join(links, halves, senders, interface.mtu, &program)
        .map_err(failed("watch an AF_XDP socket"))?;
    Ok(Links {
        links,
        group,
        status: Status { mode, queues, tcp },
    })
}

/// What the sockets of an interface share out.
#[derive(Clone, Copy)]
struct Share {
    workers: usize,
    queues: u32,
    mtu: u32,
}

impl Share {
    /// The memory of a queue's socket.
    fn size(self, queue: u32) -> Size {
        let workers = u32::try_from(self.workers).unwrap_or(u32::MAX).max(1);
        let of_each = self.queues.div_ceil(workers).next_power_of_two();
        let first = queue < workers;
        let size = |chunk| Size {
            chunk,
            receive: (RECEIVE / of_each).max(RECEIVE_LEAST),
            transmit: if first { TRANSMIT } else { TRANSMIT_LEAST },
        };
        let small = size(CHUNKS[0]);
        if self.mtu.saturating_add(FRAMING) <= small.capacity() {
            small
        } else {
            size(CHUNKS[1])
        }
    }
}

/// Gives each worker's packet socket the AF_XDP sockets of its queues. Only the first `senders` have a
/// transmit queue of their own to send by.
fn join(
    links: Vec<Link>,
    halves: Vec<(Receiving, Sending)>,
    senders: usize,
    mtu: u32,
    program: &Arc<Attached>,
) -> io::Result<Vec<Link>> {
    let workers = links.len().max(1);
    let mut shares: Vec<(Vec<Receiving>, Option<Sending>)> = Vec::new();
    shares.resize_with(workers, Default::default);
    for (queue, (receiving, sending)) in halves.into_iter().enumerate() {
        if let Some((queues, sender)) = shares.get_mut(queue % workers) {
            queues.push(receiving);
            if queue < senders && sender.is_none() {
                *sender = Some(sending);
            }
        }
    }
    let joined = links
        .into_iter()
        .zip(shares)
        .map(|(link, (queues, sending))| {
            let passed = link.sender;
            let sender: Arc<dyn Transmit> = match sending {
                Some(sending) => Arc::new(Sender::new(passed, sending, mtu)),
                None => passed,
            };
            let receiver = Receiver::new(link.receiver, queues, Arc::clone(program))?;
            Ok(Link {
                receiver: Box::new(receiver),
                sender,
            })
        });
    joined.collect()
}

/// Attaches a program in the best mode; returns it, whether that is native, and whether TCP goes to
/// the sockets.
fn attach(
    name: &str,
    interface: u32,
    plan: Plan,
    scope: Scope,
) -> Result<(Attachment, bool, bool), LinkError> {
    let failed = |source: io::Error| {
        let source = match source.raw_os_error() {
            // Linux before 5.9 has no such links.
            Some(libc::EINVAL) => io::Error::other("needs Linux 5.9"),
            _ => source,
        };
        privileged(LinkError::new("attach an XDP program", name, source))
    };
    let local = ethtool::driver(name).is_ok_and(|driver| driver == VETH);
    let all = scope == Scope::All;
    let ways = if local && !all {
        [(Hook::XdpGeneric, false), (Hook::XdpNative, false)]
    } else {
        [(Hook::XdpNative, true), (Hook::XdpGeneric, all)]
    };
    let mut last = None;
    for (hook, tcp) in ways {
        // A program for frames in one piece keeps super-frames from being sent at all, which is good
        // where it would have to take them.
        for pieces in [!tcp, tcp] {
            let instructions = program::build(Plan {
                tcp,
                pieces,
                ..plan
            });
            let program = match Program::load(Kind::Xdp { pieces }, &instructions) {
                Ok(program) => program,
                // Linux before 5.18 knows nothing of pieces.
                Err(error) if pieces && !is_permission(&error) => {
                    last = last.or(Some(error));
                    continue;
                }
                Err(error) => {
                    let error = LinkError::new("load the XDP program", name, error);
                    return Err(privileged(error));
                }
            };
            match program.attach(interface, hook) {
                Ok(attachment) => return Ok((attachment, hook == Hook::XdpNative, tcp)),
                Err(error) if is_permission(&error) || is_busy(&error) => {
                    return Err(failed(error));
                }
                Err(error) => last = Some(error),
            }
        }
    }
    Err(failed(last.unwrap_or_else(|| {
        io::Error::from_raw_os_error(libc::EOPNOTSUPP)
    })))
}

fn is_permission(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

fn privileged(error: LinkError) -> LinkError {
    error.needs("CAP_NET_ADMIN and CAP_BPF")
}

/// Why a socket could not be made.
fn refusal(name: &str, (step, source): (Step, io::Error)) -> LinkError {
    match step {
        Step::Open => LinkError::new("open an AF_XDP socket", name, source).needs("CAP_NET_RAW"),
        Step::Memory if source.raw_os_error() == Some(libc::ENOBUFS) => {
            let source = io::Error::other(
                "the limit of locked memory is too low: give this program CAP_IPC_LOCK, or raise the limit \
                 (`ulimit -l unlimited`, LimitMEMLOCK=infinity of systemd, `--ulimit memlock=-1` of a container)",
            );
            LinkError::new("lock memory for AF_XDP", name, source)
        }
        Step::Memory => LinkError::new("lock memory for AF_XDP", name, source),
        Step::Rings => LinkError::new("make the rings of an AF_XDP socket", name, source),
    }
}

//! The kernel sends on the packets of established flows by itself, without waking a worker.
//!
//! Userspace decides everything; a flow that needs no judgement any more is put into a map, and two
//! small BPF programs send its packets on: a filter of the director's packet sockets decides about a
//! frame and keeps it from the socket, a program on the TCX ingress hook, which runs next for the
//! same frame on the same processor, rewrites and redirects it. As one decides for both, no frame is
//! lost or doubled whatever changes in between. Needs `CAP_BPF` and `CAP_NET_ADMIN` to be made and
//! attached (Linux 6.6), nothing after; nothing is left when the process ends, however it ends.
//!
//! Does not work on real-time kernels, where one frame's way through the host may be interrupted by
//! another's.

mod filter_program;
mod flow;
mod flows;
mod layout;
mod redirect_program;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use filter_program::Maps;
pub use flow::Flow;
pub use flows::{FLOWS_MAX, FlowId, Flows, Taken};

use crate::LinkError;
use crate::sys::bpf::{Attachment, Hook, Kind, PerProcessor, Program};
use crate::sys::interface;

/// Where a real-time kernel says so.
const REAL_TIME: &str = "/sys/kernel/realtime";

/// Both programs, loaded, and where they are attached.
#[derive(Debug)]
pub struct Assist {
    flows: Arc<Flows>,
    /// Kept: the programs have it too, but only while they are loaded.
    _cell: PerProcessor,
    filter: Arc<Filter>,
    redirect: Program,
    attachments: Vec<(String, u32, Attachment)>,
}

/// The program that packet sockets are given.
#[derive(Debug)]
pub struct Filter(Program);

impl Filter {
    /// Gives it to a packet socket.
    pub(crate) fn attach(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.0.filter(socket)
    }
}

fn failed<'a>(operation: &'static str, interface: &'a str) -> impl Fn(io::Error) -> LinkError + 'a {
    move |source| {
        let error = LinkError::new(operation, interface, source);
        error.needs("CAP_NET_ADMIN and CAP_BPF")
    }
}

impl Assist {
    /// Loads the programs; they are attached nowhere yet.
    ///
    /// # Errors
    /// Refusal by the kernel, or a real-time one.
    pub fn load() -> Result<Self, LinkError> {
        const ALL: &str = "all interfaces";
        if std::fs::read_to_string(REAL_TIME).is_ok_and(|text| text.trim() == "1") {
            let source = io::Error::other("not on a real-time kernel");
            return Err(LinkError::new("use the kernel assist", ALL, source));
        }
        let map = failed("make a BPF map for the kernel assist", ALL);
        let flows = Flows::new().map_err(&map)?;
        let cell = PerProcessor::new(layout::CELL).map_err(&map)?;
        let (keys, entries) = flows.numbers();
        let maps = Maps {
            keys,
            flows: entries,
            cell: cell.number(),
        };
        let load = failed("load a BPF program of the kernel assist", ALL);
        let filter =
            Program::load(Kind::SocketFilter, &filter_program::build(maps)).map_err(&load)?;
        let redirect =
            Program::load(Kind::TrafficControl, &redirect_program::build(maps)).map_err(&load)?;
        Ok(Self {
            flows: Arc::new(flows),
            _cell: cell,
            filter: Arc::new(Filter(filter)),
            redirect,
            attachments: Vec::new(),
        })
    }

    /// The flows, for the workers.
    #[must_use]
    pub const fn flows(&self) -> &Arc<Flows> {
        &self.flows
    }

    /// What the packet sockets of an interface are given, once it is attached ([`crate::af_packet::Group::assist`]).
    #[must_use]
    pub const fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// Attaches the program that sends on to an interface of the calling thread's network namespace, ahead of others
    /// such as the guard's.
    ///
    /// # Errors
    /// Refusal by the kernel.
    pub fn attach(&mut self, name: &str) -> Result<(), LinkError> {
        let index = interface::index(name).map_err(failed("look up the interface", name))?;
        self.detach(index);
        let attachment = self
            .redirect
            .attach(index, Hook::TcxIngressFirst)
            .map_err(failed("attach a BPF program of the kernel assist", name))?;
        self.flows.attached().insert(index);
        self.attachments.push((name.to_owned(), index, attachment));
        Ok(())
    }

    /// Lets go of an interface, whose sockets must not have the filter any more.
    pub fn detach(&mut self, index: u32) {
        self.flows.attached().remove(&index);
        self.flows.invalidate();
        self.attachments
            .retain(|(_, attached, _)| *attached != index);
    }

    /// The interfaces that it is attached to.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.attachments.iter().map(|(name, _, _)| name.as_str())
    }
}

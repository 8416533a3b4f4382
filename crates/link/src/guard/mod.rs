//! Keeping the host's own stack from answering or forwarding what the director has taken.
//!
//! Packet sockets see a frame and so does the host: for a local virtual address it would answer
//! with RST or "port unreachable", and when it forwards, it would send duplicates and untranslated
//! replies. A guard drops such frames behind the packet sockets and ahead of the stack, on ingress
//! of the interfaces it is attached to. It does not touch anything else, and nothing of it is left
//! when the process ends, however it ends.
//!
//! Two ways: a small BPF program on the TCX hook (Linux 6.6; `CAP_NET_ADMIN` and `CAP_BPF` to
//! attach, nothing after), else an nftables table with an owner (`CAP_NET_ADMIN` throughout). Both
//! do the same; frames that pass are:
//!
//! * everything that no rule names, and ICMP to a local virtual address (the host answers ping);
//! * ICMP errors that the director does not translate, and those that quote a later fragment or (nftables) an IPv6
//!   packet with extension headers;
//! * later fragments to a local virtual address, which the host keeps and forgets, as the first one
//!   never comes;
//! * IPv6 packets with more than six extension headers (TCX).

pub(crate) mod matching;
mod nftables;
mod tcx;
mod tcx_program;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::LinkError;
pub use matching::Flows;

/// What a guard drops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Virtual addresses that are not the host's: all IP packets to them are dropped.
    pub owned: Vec<IpAddr>,
    /// Services on the host's addresses: packets to them are dropped.
    pub services: Vec<Endpoint>,
    /// Real servers whose replies are translated: packets from them are dropped unless they are
    /// to one of `locals`, and so are ICMP errors about packets to them.
    pub real_servers: Vec<Endpoint>,
    /// The host's own addresses.
    pub locals: Vec<IpAddr>,
}

/// A transport endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// TCP 6, UDP 17 or SCTP 132.
    pub protocol: u8,
    /// Address.
    pub address: IpAddr,
    /// Port, 0 for any.
    pub port: u16,
}

/// How a guard does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A BPF program on the TCX ingress hook.
    Tcx,
    /// An nftables netdev table. Changing it needs `CAP_NET_ADMIN` as long as it is used.
    Nftables,
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcx => "TCX",
            Self::Nftables => "nftables",
        })
    }
}

/// ICMP errors (over IPv4) that the director translates: destination unreachable, source quench, time exceeded. The
/// others are routed as they are, as beside the kernel's director.
const TRANSLATED_ERRORS: [u8; 3] = [3, 4, 11];

/// What an entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Service,
    RealServer,
    Local,
    Owned,
}

/// One entry of a guard. IPv4 addresses are mapped (RFC 4291, 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    role: Role,
    address: Ipv6Addr,
    port: u16,
    protocol: u8,
}

impl Rules {
    fn entries(&self) -> BTreeSet<Entry> {
        let endpoints = |role, endpoints: &[Endpoint]| {
            let entry = |endpoint: &Endpoint| Entry {
                role,
                address: mapped(endpoint.address),
                port: endpoint.port,
                protocol: endpoint.protocol,
            };
            endpoints.iter().map(entry).collect::<Vec<_>>()
        };
        let addresses = |role, addresses: &[IpAddr]| {
            let entry = |address: &IpAddr| Entry {
                role,
                address: mapped(*address),
                port: 0,
                protocol: 0,
            };
            addresses.iter().map(entry).collect::<Vec<_>>()
        };
        [
            // Locals come first: a real server's rule must not bite before they are in.
            addresses(Role::Local, &self.locals),
            endpoints(Role::Service, &self.services),
            endpoints(Role::RealServer, &self.real_servers),
            addresses(Role::Owned, &self.owned),
        ]
        .concat()
        .into_iter()
        .collect()
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// A guard on some interfaces. Dropping it lets everything pass again.
#[derive(Debug)]
pub struct Guard {
    backend: Backend,
    entries: BTreeSet<Entry>,
    /// The entries as BPF programs see them; beside nftables only where BPF maps are to be had.
    flows: Option<Flows>,
}

#[derive(Debug)]
enum Backend {
    Tcx(tcx::Tcx),
    Nftables(nftables::Nftables),
}

impl Guard {
    /// Attaches a guard that drops nothing yet to interfaces of the calling thread's network
    /// namespace: by TCX, else by nftables.
    ///
    /// # Errors
    /// Why neither works; nothing stays behind.
    pub fn attach(interfaces: &[&str]) -> Result<Self, GuardError> {
        Self::attach_by(Method::Tcx, interfaces).or_else(|tcx| {
            Self::attach_by(Method::Nftables, interfaces).map_err(|nftables| GuardError {
                tcx: tcx.into(),
                nftables: nftables.into(),
            })
        })
    }

    /// Attaches a guard by the method given.
    ///
    /// # Errors
    /// Refusal by the kernel; nothing stays behind.
    pub fn attach_by(method: Method, interfaces: &[&str]) -> Result<Self, LinkError> {
        let (backend, flows) = match method {
            Method::Tcx => {
                let all = interfaces.join(", ");
                let flows =
                    Flows::new().map_err(tcx::failed("make a BPF map for the guard", &all))?;
                let tcx = tcx::Tcx::attach(interfaces, &flows)?;
                (Backend::Tcx(tcx), Some(flows))
            }
            Method::Nftables => {
                let table = nftables::Nftables::attach(interfaces)?;
                (Backend::Nftables(table), Flows::new().ok())
            }
        };
        Ok(Self {
            backend,
            entries: BTreeSet::new(),
            flows,
        })
    }

    /// What the guard drops, for links that take it from the interface themselves and pass the rest
    /// on; it follows [`Guard::extend`] and [`Guard::update`]. `None` without `CAP_BPF`.
    #[must_use]
    pub fn flows(&self) -> Option<&Flows> {
        self.flows.as_ref()
    }

    fn insert(&mut self, entries: &[Entry]) -> Result<(), LinkError> {
        // The host keeps silent before a link takes anything.
        if let Backend::Nftables(nftables) = &mut self.backend {
            nftables.insert(entries)?;
        }
        let inserted = self
            .flows
            .as_ref()
            .map_or(Ok(()), |flows| flows.insert(entries));
        inserted.map_err(tcx::failed("change the guard's BPF map", "all interfaces"))
    }

    fn remove(&mut self, entries: &[Entry]) -> Result<(), LinkError> {
        let removed = self
            .flows
            .as_ref()
            .map_or(Ok(()), |flows| flows.remove(entries));
        removed.map_err(tcx::failed("change the guard's BPF map", "all interfaces"))?;
        match &mut self.backend {
            Backend::Tcx(_) => Ok(()),
            Backend::Nftables(nftables) => nftables.remove(entries),
        }
    }

    /// How this guard does it.
    #[must_use]
    pub fn method(&self) -> Method {
        match self.backend {
            Backend::Tcx(_) => Method::Tcx,
            Backend::Nftables(_) => Method::Nftables,
        }
    }

    /// Makes the guard drop what `rules` name beside what it drops already. TCX: needs no capability.
    ///
    /// # Errors
    /// Refusal by the kernel, with part of the change made; the next update completes it.
    pub fn extend(&mut self, rules: &Rules) -> Result<(), LinkError> {
        let wanted = rules.entries();
        let new: Vec<Entry> = wanted.difference(&self.entries).copied().collect();
        self.insert(&new)?;
        self.entries.extend(new);
        Ok(())
    }

    /// Makes the guard drop what `rules` name and nothing else. What is in the old and the new rules
    /// is dropped throughout. TCX: needs no capability.
    ///
    /// # Errors
    /// Refusal by the kernel, with part of the change made; calling again completes it.
    pub fn update(&mut self, rules: &Rules) -> Result<(), LinkError> {
        let wanted = rules.entries();
        let new: Vec<Entry> = wanted.difference(&self.entries).copied().collect();
        // Twice is no harm, so on failure all that may be there counts as there.
        self.entries.extend(&new);
        self.insert(&new)?;
        let old: Vec<Entry> = self.entries.difference(&wanted).copied().collect();
        self.remove(&old)?;
        self.entries = wanted;
        Ok(())
    }

    /// Makes sure that the guard is on exactly these interfaces, some of which may have been removed
    /// and made again since. Needs the capabilities of attaching.
    ///
    /// # Errors
    /// Refusal by the kernel.
    pub fn reattach(&mut self, interfaces: &[&str]) -> Result<(), LinkError> {
        match &mut self.backend {
            Backend::Tcx(tcx) => tcx.reattach(interfaces),
            Backend::Nftables(nftables) => {
                let entries: Vec<Entry> = self.entries.iter().copied().collect();
                nftables.recreate(interfaces, &entries)
            }
        }
    }
}

/// Why no guard could be attached.
#[derive(Debug)]
pub struct GuardError {
    /// What the kernel said to TCX.
    pub tcx: Box<LinkError>,
    /// What the kernel said to nftables.
    pub nftables: Box<LinkError>,
}

impl fmt::Display for GuardError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "cannot keep the host's own stack from answering for virtual addresses: neither by TCX \
             ({}) nor by nftables ({}). Give this program CAP_NET_ADMIN (and, for TCX on Linux 6.6 \
             and later, CAP_BPF), or take virtual addresses that the host does not have, with \
             net.ipv4.ip_forward=0",
            self.tcx, self.nftables
        )
    }
}

impl std::error::Error for GuardError {}

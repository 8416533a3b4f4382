//! `ulvs decap`: the real server's end of LVS-TUN without the kernel's ipip, gre and fou modules.
//!
//! Promises: takes tunnelled packets addressed to this host and hands the inner datagram to the host's own stack,
//! but only for the VIPs it was told, each of which must be an address of this host. It is never an injector for
//! anything else. Datagrams are taken in batches, and TCP segments that follow on each other handed on as one. Needs
//! CAP_NET_RAW to start and no capability afterwards.

mod delivery;
pub mod tunnel;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use link::sys::batch::Batch;
use link::sys::poll;
use link::sys::raw_ip::{self, Injector, Receiver};
use link::sys::signal::Signals;
use packet::protocol;

use crate::error::{Result, RuntimeError};
use delivery::Delivery;
use tunnel::{Outer, Refusal};

/// Time between two looks whether the host still has the VIPs.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a VIP may take to become an address of this host: duplicate address detection takes two seconds at most.
const TENTATIVE: Duration = Duration::from_secs(5);

/// What `ulvs decap` was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The virtual addresses that inner datagrams may have.
    pub vips: Vec<IpAddr>,
    /// UDP ports that GUE comes to (`--tun-port` of the director).
    pub gue_ports: Vec<u16>,
}

/// What became of the datagrams that came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Handed to the host.
    pub delivered: u64,
    /// [`Refusal::Unreadable`].
    pub unreadable: u64,
    /// [`Refusal::NotVip`].
    pub not_vip: u64,
    /// Refused by the host's stack.
    pub failed: u64,
    /// Not received: the socket they came to was full.
    pub lost: u64,
}

impl fmt::Display for Counters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            delivered,
            unreadable,
            not_vip,
            failed,
            lost,
        } = self;
        write!(
            formatter,
            "{delivered} delivered, {not_vip} refused (inner destination is no given VIP of this host), \
             {unreadable} unreadable, {failed} refused by the host, {lost} lost because the socket was full"
        )
    }
}

/// Takes tunnelled packets until SIGTERM or SIGINT; returns what became of them.
///
/// # Errors
/// A VIP that is not an address of this host, a missing capability, a port in use: one sentence.
pub fn run(options: &Options) -> Result<Counters> {
    let signals = Signals::take(&[libc::SIGTERM, libc::SIGINT])
        .map_err(|source| RuntimeError::system("cannot take over signals", source))?;
    let mut decap = Decap::open(options)?;
    crate::privilege::confine()?;
    crate::privilege::drop_all_of_this_thread()?;
    tracing::info!("{}", decap.summary(options));
    decap.serve(&signals)?;
    decap.count_lost();
    Ok(decap.counters)
}

enum Source {
    Raw(Receiver, Outer),
    Gue(UdpSocket),
}

impl Source {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Raw(receiver, _) => receiver.fd(),
            Self::Gue(socket) => socket.as_fd(),
        }
    }

    /// What its datagrams begin with.
    fn outer(&self) -> Outer {
        match self {
            Self::Raw(_, outer) => *outer,
            Self::Gue(_) => Outer::Gue,
        }
    }
}

struct Decap {
    sources: Vec<Source>,
    /// What each source had lost when it was last asked, modulo 2^32.
    lost_before: Vec<u32>,
    delivery: Delivery,
    /// The VIPs given, and those of them that the host has now.
    vips: HashSet<IpAddr>,
    local: HashSet<IpAddr>,
    checked: Instant,
    counters: Counters,
}

impl Decap {
    fn open(options: &Options) -> Result<Self> {
        if options.vips.is_empty() {
            return Err(RuntimeError::Refused(
                "no VIP given: say for which with --vip ADDRESS".into(),
            ));
        }
        for vip in &options.vips {
            check_local(*vip)?;
        }
        let v6 = has_v6();
        let mut sources = Vec::new();
        for number in [protocol::IPIP, protocol::IPV6, protocol::GRE] {
            sources.push(raw(false, number, Outer::Ipv4)?);
            if v6 {
                let gre = number == protocol::GRE;
                let outer = if gre { Outer::Ipv6Gre } else { Outer::Ipv6Ipip };
                sources.push(raw(true, number, outer)?);
            }
        }
        for &port in &options.gue_ports {
            sources.push(gue(port, v6)?);
        }
        let injector =
            |v6| Injector::open(v6).map_err(|source| refused("open a raw socket", source));
        Ok(Self {
            lost_before: vec![0; sources.len()],
            sources,
            delivery: Delivery::new(
                injector(false)?,
                if v6 { Some(injector(true)?) } else { None },
            ),
            vips: options.vips.iter().copied().collect(),
            local: options.vips.iter().copied().collect(),
            checked: Instant::now(),
            counters: Counters::default(),
        })
    }

    fn summary(&self, options: &Options) -> String {
        let list = |items: Vec<String>| items.join(", ");
        let mut text = format!(
            "decapsulating ipip and gre for {}",
            list(options.vips.iter().map(ToString::to_string).collect())
        );
        if !options.gue_ports.is_empty() {
            let ports = options.gue_ports.iter().map(ToString::to_string).collect();
            text.push_str(&format!(", gue on UDP port {}", list(ports)));
        }
        if !self.delivery.has_v6() {
            text.push_str(" (this host has no IPv6)");
        }
        text
    }

    fn serve(&mut self, signals: &Signals) -> Result<()> {
        let mut batch = Batch::new();
        loop {
            let fds: Vec<_> = self
                .sources
                .iter()
                .map(Source::fd)
                .chain([signals.fd()])
                .collect();
            let ready = poll::readable(&fds, None)
                .map_err(|source| RuntimeError::system("cannot wait for packets", source))?;
            if signals.next().is_some() {
                return Ok(());
            }
            for (index, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
                self.drain(index, &mut batch);
            }
        }
    }

    /// Takes a batch of what is there of one socket, before the others get their turn. An error of the socket (an ICMP error
    /// that came back for an earlier datagram) is its own end; the socket lives on.
    fn drain(&mut self, index: usize, batch: &mut Batch) {
        self.check();
        let Some(source) = self.sources.get(index) else {
            return;
        };
        if batch.receive(source.fd()).is_err() {
            return;
        }
        for (index, datagram) in batch.datagrams().enumerate() {
            match tunnel::open(datagram, source.outer(), &self.local) {
                Err(Refusal::Unreadable) => self.counters.unreadable += 1,
                Err(Refusal::NotVip) => self.counters.not_vip += 1,
                Ok((range, headers)) => {
                    let inner = datagram.get(range.clone()).unwrap_or_default();
                    self.delivery.add(inner, &headers, index, range);
                }
            }
        }
        self.delivery.flush(batch, &mut self.counters);
    }

    /// Looks, while packets come, whether the host still has the VIPs: what is injected for an address that was taken
    /// off the host would leave by its routes, perhaps back to the director.
    fn check(&mut self) {
        if self.checked.elapsed() < CHECK_INTERVAL {
            return;
        }
        self.checked = Instant::now();
        self.count_lost();
        self.delivery.try_joining();
        let has = |vip: &&IpAddr| UdpSocket::bind((**vip, 0)).is_ok();
        self.local = self.vips.iter().filter(has).copied().collect();
    }

    /// Counts what the sockets lost since the last time.
    fn count_lost(&mut self) {
        for (source, before) in self.sources.iter().zip(&mut self.lost_before) {
            // A kernel that does not say (before 4.12) loses uncounted.
            if let Ok(now) = raw_ip::lost(source.fd()) {
                self.counters.lost += u64::from(now.wrapping_sub(*before));
                *before = now;
            }
        }
    }
}

/// An injected packet for an address that the host does not have would leave by its routes. One that was added a moment
/// ago is waited for.
fn check_local(vip: IpAddr) -> Result<()> {
    let begun = Instant::now();
    let mut bound = UdpSocket::bind((vip, 0));
    while bound.is_err() && is_tentative(vip) && begun.elapsed() < TENTATIVE {
        std::thread::sleep(Duration::from_millis(10));
        bound = UdpSocket::bind((vip, 0));
    }
    match bound {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let len = if vip.is_ipv4() { 32 } else { 128 };
            Err(RuntimeError::Refused(format!(
                "VIP {vip} is not an address of this host: `ip addr add {vip}/{len} dev lo` first"
            )))
        }
        Err(source) => Err(RuntimeError::system(
            format!("cannot check that VIP {vip} is local"),
            source,
        )),
    }
}

/// Whether it is an address of this host that the kernel has yet to make sure of (RFC 4862, 5.4); on `lo` too it does that
/// some time after `ip addr add` has ended.
fn is_tentative(vip: IpAddr) -> bool {
    const TENTATIVE_FLAG: u32 = 0x40;
    let IpAddr::V6(vip) = vip else {
        return false;
    };
    let wanted = format!("{:032x}", vip.to_bits());
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    table.lines().any(|line| {
        // Address, interface's index, prefix length, scope, flags, interface's name.
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = words
            .get(4)
            .and_then(|flags| u32::from_str_radix(flags, 16).ok());
        words.first() == Some(&wanted.as_str())
            && flags.is_some_and(|flags| flags & TENTATIVE_FLAG != 0)
    })
}

fn has_v6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn raw(v6: bool, number: u8, outer: Outer) -> Result<Source> {
    let receiver = Receiver::open(v6, number).map_err(|source| {
        refused(
            &format!("open a raw socket for IP protocol {number}"),
            source,
        )
    })?;
    Ok(Source::Raw(receiver, outer))
}

fn gue(port: u16, v6: bool) -> Result<Source> {
    // Bound to `::` it takes both families.
    let any = if v6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let open = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((any, port))?;
        socket.set_nonblocking(true)?;
        if v6 {
            raw_ip::accept_unsummed_udp(&socket)?;
        }
        Ok(socket)
    };
    let socket = open().map_err(|source| {
        RuntimeError::system(format!("cannot listen on UDP port {port}"), source)
    })?;
    Ok(Source::Gue(socket))
}

fn refused(operation: &str, source: io::Error) -> RuntimeError {
    let advice = if source.kind() == io::ErrorKind::PermissionDenied {
        " (needs CAP_NET_RAW: run as root, or `setcap cap_net_raw+ep` the program)"
    } else {
        ""
    };
    RuntimeError::system(format!("cannot {operation}{advice}"), source)
}

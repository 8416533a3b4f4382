//! Handing inner datagrams to the host's own stack, TCP segments that follow on each other as one.
//!
//! The host takes a datagram of 30,000 octets nearly as fast as one of 1,500. What is joined leaves with its batch:
//! nothing waits for more, and the order within a flow stays.

use std::io::{self, IoSlice};
use std::iter;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use link::sys::batch::{self, Batch};
use link::sys::raw_ip::Injector;
use packet::{Headers, Train, Trains};

use super::Counters;

/// Octets of the longest datagram that is made of several: what the kernel finds room for without looking for many
/// pages in a row.
const LONGEST: usize = 30_000;

/// The way to the host's stack.
pub(super) struct Delivery {
    host: Host,
    trains: Trains,
    inner: Vec<Inner>,
    /// Whether this host's path to itself takes long datagrams.
    join: bool,
}

/// The sockets that reach the host's stack.
struct Host {
    to_v4: Injector,
    /// `None` on a host without IPv6.
    to_v6: Option<Injector>,
}

/// An inner datagram.
struct Inner {
    /// Which of the batch it came in.
    index: usize,
    /// Where it lies in that.
    range: Range<usize>,
    destination: IpAddr,
}

impl Delivery {
    pub(super) fn new(to_v4: Injector, to_v6: Option<Injector>) -> Self {
        Self {
            host: Host { to_v4, to_v6 },
            trains: Trains::new(LONGEST),
            inner: Vec::with_capacity(batch::MOST),
            join: true,
        }
    }

    /// Whether the host has IPv6.
    pub(super) fn has_v6(&self) -> bool {
        self.host.to_v6.is_some()
    }

    /// Joins segments from now on, also where the host found a joined datagram too long before.
    pub(super) fn try_joining(&mut self) {
        self.join = true;
    }

    /// Takes `inner`, which lies at `range` of the batch's datagram `index` and whose headers are `headers`.
    pub(super) fn add(
        &mut self,
        inner: &[u8],
        headers: &Headers,
        index: usize,
        range: Range<usize>,
    ) {
        if self.trains.add(inner, headers) {
            self.inner.push(Inner {
                index,
                range,
                destination: headers.destination,
            });
        }
    }

    /// Hands everything that was added to the host.
    pub(super) fn flush(&mut self, batch: &Batch, counters: &mut Counters) {
        for train in self.trains.finish() {
            if self.join
                && let Some(head) = train.head()
            {
                match self.host.send_joined(train, head, &self.inner, batch) {
                    Ok(count) => {
                        counters.delivered += count;
                        continue;
                    }
                    Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.join = false,
                    // Perhaps for want of memory: one by one they need less.
                    Err(_) => {}
                }
            }
            for inner in train.members().filter_map(|n| self.inner.get(n)) {
                match self.host.send_one(inner, batch) {
                    Ok(()) => counters.delivered += 1,
                    Err(_) => counters.failed += 1,
                }
            }
        }
        self.trains.clear();
        self.inner.clear();
    }
}

impl Host {
    fn send_one(&self, inner: &Inner, batch: &Batch) -> io::Result<()> {
        self.send(&[IoSlice::new(inner.bytes(batch))], inner.destination)
    }

    /// Sends the whole of a train; returns how many datagrams it was.
    fn send_joined(
        &self,
        train: &Train,
        head: &[u8],
        inner: &[Inner],
        batch: &Batch,
    ) -> io::Result<u64> {
        let mut pieces = [IoSlice::new(&[]); batch::MOST + 1];
        let mut destination = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let (mut used, mut count) = (0, 0);
        let members = train.members().filter_map(|n| inner.get(n));
        let payloads = members.map(|member| {
            destination = member.destination;
            count += 1;
            member.bytes(batch).get(head.len()..).unwrap_or_default()
        });
        for (piece, bytes) in pieces.iter_mut().zip(iter::once(head).chain(payloads)) {
            *piece = IoSlice::new(bytes);
            used += 1;
        }
        self.send(pieces.get(..used).unwrap_or_default(), destination)?;
        Ok(count)
    }

    fn send(&self, pieces: &[IoSlice<'_>], destination: IpAddr) -> io::Result<()> {
        let injector = if destination.is_ipv4() {
            Some(&self.to_v4)
        } else {
            self.to_v6.as_ref()
        };
        let missing = || io::Error::from(io::ErrorKind::Unsupported);
        injector.ok_or_else(missing)?.send(pieces, destination)
    }
}

impl Inner {
    fn bytes<'a>(&self, batch: &'a Batch) -> &'a [u8] {
        let range = self.range.clone();
        batch.datagram(self.index).get(range).unwrap_or_default()
    }
}

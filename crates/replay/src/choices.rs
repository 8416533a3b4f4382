//! Which real server each new connection got.
//!
//! Found by what the director counts, so that connections that are not kept (one-packet scheduling) are among them.

use core::net::SocketAddr;

use director::service::{Service, ServiceKey};
use director::shared::Shared;
use packet::{Headers, Packet};

/// One new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Number of the frame that began it, from 1.
    pub(crate) frame: u64,
    /// Nanoseconds from the first frame to this one.
    pub(crate) time: u64,
    /// The client's endpoint; a later fragment has no port, which is 0 then.
    pub(crate) client: SocketAddr,
    /// What it asked for.
    pub(crate) virtual_server: SocketAddr,
    /// IANA protocol number.
    pub(crate) protocol: u8,
    /// Number of the service, in the order of the rules.
    pub(crate) service: usize,
    /// The real server's address and port.
    pub(crate) server: SocketAddr,
}

/// The real servers' counts of connections, as they were after the frame before.
#[derive(Debug)]
pub(crate) struct Watch {
    all: u64,
    services: Vec<Counts>,
}

/// One service's counts.
#[derive(Debug)]
struct Counts {
    key: ServiceKey,
    connections: u64,
    servers: Vec<u64>,
}

impl Watch {
    /// Of a director that has no connections yet.
    pub(crate) fn new(shared: &Shared) -> Self {
        let services = shared.snapshot().in_order();
        let counts = |service: &std::sync::Arc<Service>| Counts {
            key: service.config.key,
            connections: 0,
            servers: vec![0; service.destinations.len()],
        };
        Self {
            all: 0,
            services: services.iter().map(counts).collect(),
        }
    }

    /// Whether a connection was made since the last look.
    pub(crate) fn has_new(&self, shared: &Shared) -> bool {
        shared.stats.current().connections != self.all
    }

    /// Calls `found` with the number of the service and the real server of each connection made since the last look.
    pub(crate) fn look(&mut self, shared: &Shared, mut found: impl FnMut(usize, SocketAddr)) {
        self.all = shared.stats.current().connections;
        let services = shared.snapshot();
        for (number, counts) in self.services.iter_mut().enumerate() {
            let Some(service) = services.get(&counts.key) else {
                continue;
            };
            let connections = service.stats.current().connections;
            if connections == counts.connections {
                continue;
            }
            counts.connections = connections;
            for (server, have) in service.destinations.iter().zip(&mut counts.servers) {
                let now = server.stats.current().connections;
                for _ in *have..now {
                    found(number, SocketAddr::new(server.address, server.port));
                }
                *have = now;
            }
        }
    }
}

/// The client's and the virtual endpoint in a client's frame, and the protocol.
pub(crate) fn endpoints(packet: &Packet<'_>) -> Option<(SocketAddr, SocketAddr, u8)> {
    let headers = Headers::parse(packet).ok()?;
    let (source, destination) = headers.ports();
    Some((
        SocketAddr::new(headers.source, source),
        SocketAddr::new(headers.destination, destination),
        headers.protocol,
    ))
}

/// How many of `theirs` went elsewhere than the same frame's connection in `ours`, and how many of `ours` were not made
/// at all. Both are in the order of their frames.
pub(crate) fn differences(ours: &[Choice], theirs: &[Choice]) -> (u64, u64) {
    let (mut elsewhere, mut missing) = (0, 0);
    let mut theirs = theirs.iter().peekable();
    for choice in ours {
        while theirs.next_if(|other| other.frame < choice.frame).is_some() {}
        match theirs.next_if(|other| other.frame == choice.frame) {
            Some(other) if other.server != choice.server => elsewhere += 1,
            Some(_) => {}
            None => missing += 1,
        }
    }
    (elsewhere, missing)
}

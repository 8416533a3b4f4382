//! A director with services and clients in memory, driven as a worker drives it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use director::destination::{DestinationConfig, Method};
use director::director::{Director, Host};
use director::frame::Output;
use director::service::{FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use director::shared::{Options, Shared};
use director::time::Instant;
use director::verdict::Verdict;
use packet::{Family, Packet};

use crate::gauge::Gauge;
use crate::one_service::{
    self, HEADROOM, ROOM, SERVERS, SYN, client, frame_len, key, network, server, table, vip, write,
};

/// Frames that a worker receives in one go.
pub(crate) const BATCH: u32 = 64;

/// A service, with persistence templates or without.
pub(crate) fn service(key: ServiceKey, scheduler: &str, persistent: bool) -> ServiceConfig {
    ServiceConfig {
        flags: if persistent { FLAG_PERSISTENT } else { 0 },
        timeout: if persistent { 50 } else { 0 },
        ..one_service::service(key, scheduler)
    }
}

/// A real server by NAT.
pub(crate) fn real_server(address: IpAddr, weight: i32) -> DestinationConfig {
    one_service::real_server(address, Method::Masq, weight)
}

/// A director, the memory of a batch, and the time.
pub(crate) struct World {
    pub(crate) director: Director,
    pub(crate) shared: Arc<Shared>,
    pub(crate) now: Instant,
    family: Family,
    buffers: Vec<[u8; ROOM]>,
}

impl World {
    /// One TCP service on port 80 with so many real servers by NAT, at most sixteen.
    pub(crate) fn new(family: Family, persistent: bool, servers: u8) -> Self {
        let shared = Arc::new(Shared::new(Options {
            max_templates: 1 << 21,
            ..Options::default()
        }));
        let key = key(family);
        let config = service(key, "wlc", persistent);
        shared.add_service(config).expect("a new service");
        for last in 1..=servers.min(SERVERS) {
            let server = real_server(server(family, last), 1);
            let added = shared.add_destination(&key, &server);
            added.expect("a new real server");
        }
        let host = Arc::new(Host::default());
        host.network.store(Arc::new(network(family)));
        Self {
            director: Director::new(Arc::clone(&shared), host, 0, &table()),
            shared,
            now: Instant::START.after(Duration::from_secs(1)),
            family,
            buffers: vec![[0; ROOM]; BATCH as usize],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.director.connections().len()
    }

    /// One batch, as a worker handles it: a segment of each of these clients.
    pub(crate) fn batch(&mut self, first: u32, count: u32, flags: u8) -> Verdict {
        let len = self.fill(first, count, flags);
        self.director.refresh();
        let mut output = Output::default();
        let count = usize::try_from(count).unwrap_or_default();
        let mut packets: Vec<Packet<'_>> = (self.buffers.iter_mut().take(count))
            .map(|buffer| Packet::new(buffer, HEADROOM..HEADROOM + len, 14))
            .collect();
        self.director.prefetch(&packets);
        let mut verdict = Verdict::Pass;
        for packet in packets.drain(..) {
            verdict = self.director.handle(self.now, 1, 0, packet, &mut output);
        }
        verdict
    }

    /// Connections of the clients below `count`, all of them half open, in batches that `gauge` measures.
    pub(crate) fn open(&mut self, count: u32, gauge: &mut Gauge) {
        for first in (0..count).step_by(BATCH as usize) {
            let size = BATCH.min(count - first);
            let (verdict, _) = gauge.step(|| self.batch(first, size, SYN));
            assert_eq!(verdict, Verdict::Forwarded);
        }
    }

    /// What a worker does beside its packets, if something is due.
    pub(crate) fn tick(&mut self) {
        if self
            .director
            .next_deadline()
            .is_some_and(|due| due <= self.now)
        {
            self.director.refresh();
            self.director.tick(self.now, &mut Output::default());
        }
    }

    /// Whether a tick has something to do by this time.
    pub(crate) fn is_due(&self) -> bool {
        self.director
            .next_deadline()
            .is_some_and(|due| due <= self.now)
    }

    /// Writes the frames; octets of each.
    fn fill(&mut self, first: u32, count: u32, flags: u8) -> usize {
        let (len, destination) = (frame_len(self.family), (vip(self.family), 80));
        for (number, buffer) in (first..first + count).zip(&mut self.buffers) {
            let frame = &mut buffer[HEADROOM..HEADROOM + len];
            write(frame, client(self.family, number), destination, flags);
        }
        len
    }
}

//! Templates for a dry run: looked at without a trace, and copied.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use super::{Deadline, Template, TemplateKey, Templates, lock};
use crate::destination::Destination;
use crate::time::Instant;

impl Template {
    /// The same template as it is now, of this copy of its real server.
    pub(crate) fn fork(&self, destination: Arc<Destination>) -> Self {
        Self {
            key: self.key.clone(),
            destination,
            port: self.port,
            assured: AtomicBool::new(self.is_assured()),
            invalid: AtomicBool::new(!self.is_valid()),
            ended: AtomicBool::new(false),
            connections: AtomicU32::new(self.connections()),
            timeout: AtomicU64::new(self.timeout.load(Relaxed)),
            expires: AtomicU64::new(self.expires.load(Relaxed)),
            is_synced: self.is_synced,
            packets: AtomicU32::new(self.packets.load(Relaxed)),
            told: AtomicU32::new(self.told.load(Relaxed)),
        }
    }
}

impl Templates {
    /// The template of this key, if a new connection would find it now. Changes nothing.
    pub(crate) fn peek(&self, key: &TemplateKey, now: Instant) -> Option<Arc<Template>> {
        let hash = self.hash(key);
        let shard = lock(self.shard_of(hash));
        let found = shard.by_key.find(hash, |other| other.key == *key)?;
        let lives = found.expires() > now || found.connections() > 0;
        lives.then(|| Arc::clone(found))
    }

    /// None yet, with the secret of these, and room if these have room.
    pub(crate) fn fork(&self) -> Self {
        Self::with_shards(1, self.seed, if self.has_room() { usize::MAX } else { 0 })
    }

    /// Keeps a copied template.
    pub(crate) fn adopt(&self, template: Arc<Template>) {
        let hash = self.hash(&template.key);
        let mut shard = lock(self.shard_of(hash));
        shard.by_time.push(Deadline {
            at: template.expires(),
            template: Arc::clone(&template),
        });
        let rehash = |other: &Arc<Template>| self.hash(&other.key);
        shard.by_key.insert_unique(hash, template, rehash);
    }
}

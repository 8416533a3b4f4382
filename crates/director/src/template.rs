//! Persistence templates: which real server the next connections of a client go to.
//!
//! One map for all workers, in shards; touched only when a connection is made or ends. A template lives for
//! the service's timeout after its client's last new connection; while connections hold it, it is kept for
//! another 60 s at a time (BEHAVIOURS 30).

use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadline::Deadline;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use crate::destination::Destination;
use crate::protocol::Protocol;
use crate::sync::{FLAG_SYNC, FLAG_TEMPLATE, Mark};
use crate::time::Instant;

mod deadline;
mod fork;

/// Why a connection ended that was made from a template; it matters to a template that no other connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its time had come: the template lives on until its own has.
    InTime,
    /// It was thrown out (`drop_entry`): the template goes with it, unless it was ever assured.
    Dropped,
    /// Its real server was deleted (`expire_nodest_conn`): the template goes with it.
    Orphaned,
}

/// For how long an expired template is kept on while connections hold it.
const EXTENSION: Duration = Duration::from_secs(60);
/// Port shown for both ends of a template that was given up.
const INVALID_PORT: u16 = 0xffff;
/// Shards of the map: so many that a shard of a map of sixteen million has some thousand templates, and nothing that is
/// done to all of a shard keeps a worker waiting that wants another of its templates.
const SHARDS: usize = 8192;
/// Templates that [`Templates::expire`] looks at before it lets others into their shard.
const AT_ONCE: usize = 64;

/// What a template answers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TemplateKey {
    /// Transport protocol; `None` for templates of firewall marks.
    pub protocol: Option<Protocol>,
    /// CIP, masked with the service's granularity.
    pub client: IpAddr,
    /// VIP, or the mark as [`mark_address`].
    pub virtual_address: IpAddr,
    /// Virtual port, host order; 0 = any.
    pub virtual_port: u16,
    /// What the persistence engine found in the packet (SIP: the Call-ID).
    pub data: Option<Box<[u8]>>,
}

/// The address that stands for a firewall mark in listings, of the client's family.
#[must_use]
pub fn mark_address(mark: u32, client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => Ipv4Addr::from_bits(mark).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(u128::from(mark) << 96).into(),
    }
}

/// A client's bond to a real server.
#[derive(Debug)]
pub struct Template {
    key: TemplateKey,
    /// Where the client's connections go.
    pub destination: Arc<Destination>,
    port: u16,
    assured: AtomicBool,
    /// Renamed, so that no new connection finds it.
    invalid: AtomicBool,
    ended: AtomicBool,
    /// Connections that were made from it.
    connections: AtomicU32,
    /// Nanoseconds that the next use renews it for.
    timeout: AtomicU64,
    /// [`Instant`] of its end, nanoseconds.
    expires: AtomicU64,
    /// Made by a synchronisation message.
    is_synced: bool,
    /// Packets of its connections while a synchronisation master ran.
    packets: AtomicU32,
    /// Bits of what the synchronisation master told last.
    told: AtomicU32,
}

/// What a template takes over from a synchronisation message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Synced {
    pub(crate) is_assured: bool,
    pub(crate) timeout: Duration,
    pub(crate) packets: u32,
}

impl Template {
    /// What it answers to, or answered to before it was given up.
    #[must_use]
    pub fn key(&self) -> &TemplateKey {
        &self.key
    }

    /// Virtual port as listed, host order: 65535 when it was given up.
    #[must_use]
    pub fn virtual_port(&self) -> u16 {
        if self.is_valid() {
            self.key.virtual_port
        } else {
            INVALID_PORT
        }
    }

    /// Real server's port as listed, host order: 65535 when it was given up.
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        if self.is_valid() {
            self.port
        } else {
            INVALID_PORT
        }
    }

    /// Whether new connections may still find it.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.invalid.load(Relaxed)
    }

    /// Whether one of its connections was established (state ASSURED, else NONE).
    #[must_use]
    pub fn is_assured(&self) -> bool {
        self.assured.load(Relaxed)
    }

    /// Notes that one of its connections was established.
    pub fn assure(&self) {
        // Read first: one of many established connections must not make the line travel between workers.
        if !self.is_assured() {
            self.assured.store(true, Relaxed);
        }
    }

    /// Connections that hold it.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// When it ends, unless it is renewed.
    #[must_use]
    pub fn expires(&self) -> Instant {
        Instant::from_nanos(self.expires.load(Relaxed))
    }

    /// For how long its next use renews it.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout.load(Relaxed))
    }

    /// The kernel's `IP_VS_CONN_F_*` bits that tell a template, and a synchronised one, from the rest.
    #[must_use]
    pub fn flags(&self) -> u32 {
        FLAG_TEMPLATE | if self.is_synced { FLAG_SYNC } else { 0 }
    }

    /// Counts a packet for the synchronisation master; how many there are with it.
    pub(crate) fn count_packet(&self) -> u32 {
        self.packets.fetch_add(1, Relaxed).wrapping_add(1)
    }

    pub(crate) fn told(&self) -> Mark {
        Mark::from_bits(self.told.load(Relaxed))
    }

    pub(crate) fn set_told(&self, told: Mark) {
        self.told.store(told.bits(), Relaxed);
    }

    /// Takes over what a synchronisation message says. Where that shortens its life, it is no longer found behind its
    /// end, but may be listed until its old one.
    pub(crate) fn adopt(&self, synced: &Synced, now: Instant) {
        self.assured.store(synced.is_assured, Relaxed);
        self.timeout.store(nanoseconds(synced.timeout), Relaxed);
        self.packets.store(synced.packets, Relaxed);
        let end = now.after(synced.timeout);
        self.expires.store(end.as_nanos(), Relaxed);
    }

    /// Gains a connection and is renewed.
    pub(crate) fn hold(&self, now: Instant) {
        self.connections.fetch_add(1, Relaxed);
        let end = now.as_nanos().saturating_add(self.timeout.load(Relaxed));
        self.expires.store(end, Relaxed);
    }

    /// Whether it is over at `now`. One that is still held is extended instead.
    fn is_over(&self, now: Instant) -> bool {
        let expires = self.expires();
        if expires > now {
            return false;
        }
        if self.connections() == 0 {
            return true;
        }
        // As often as it takes to be later than now, in one step.
        let past = nanoseconds(now.since(expires));
        let extension = nanoseconds(EXTENSION);
        let longer = (past / extension)
            .saturating_add(1)
            .saturating_mul(extension);
        self.timeout.store(extension, Relaxed);
        let end = expires.as_nanos().saturating_add(longer);
        self.expires.store(end, Relaxed);
        false
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One shard: templates by key, and all of them, the given-up ones too, by the time to look at them.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    by_key: HashTable<Arc<Template>>,
    by_time: BinaryHeap<Deadline>,
}

impl Shard {
    /// The template of this key that is not over.
    pub(crate) fn find(&mut self, key: &HashedKey, now: Instant) -> Option<Arc<Template>> {
        let found = self.by_key.find(key.hash, |other| other.key == key.key)?;
        let found = Arc::clone(found);
        if found.is_over(now) {
            self.end(&found, key.hash);
            return None;
        }
        Some(found)
    }

    /// Lets no new connection find it; it lives on until its time has come.
    pub(crate) fn invalidate(&mut self, template: &Arc<Template>, key: &HashedKey) {
        template.invalid.store(true, Relaxed);
        self.unlink(template, key.hash);
    }

    /// Ends a template at once, so that another can take its place.
    pub(crate) fn replace(&mut self, template: &Arc<Template>, key: &HashedKey) {
        self.end(template, key.hash);
    }

    /// Keeps a new template, bound to its real server by the caller.
    pub(crate) fn insert(
        &mut self,
        key: HashedKey,
        made: NewTemplate,
        templates: &Templates,
        now: Instant,
    ) -> Arc<Template> {
        let expires = now.after(made.timeout);
        let template = Arc::new(Template {
            key: key.key,
            destination: made.destination,
            port: made.port,
            assured: AtomicBool::new(false),
            invalid: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            connections: AtomicU32::new(0),
            timeout: AtomicU64::new(nanoseconds(made.timeout)),
            expires: AtomicU64::new(expires.as_nanos()),
            is_synced: made.is_synced,
            packets: AtomicU32::new(0),
            told: AtomicU32::new(0),
        });
        self.by_key
            .insert_unique(key.hash, Arc::clone(&template), |other| {
                templates.hash(&other.key)
            });
        self.by_time.push(Deadline {
            at: expires,
            template: Arc::clone(&template),
        });
        templates.count.fetch_add(1, Relaxed);
        template
    }

    fn unlink(&mut self, template: &Arc<Template>, hash: u64) {
        let same = |other: &Arc<Template>| Arc::ptr_eq(other, template);
        if let Ok(entry) = self.by_key.find_entry(hash, same) {
            entry.remove();
        }
    }

    /// Ends a template now; its deadline finds it ended.
    fn end(&mut self, template: &Arc<Template>, hash: u64) {
        self.unlink(template, hash);
        if !template.ended.swap(true, Relaxed) {
            template.destination.unbind_template();
        }
    }
}

/// What a new template is made of, beside its key.
#[derive(Debug)]
pub(crate) struct NewTemplate {
    pub(crate) destination: Arc<Destination>,
    pub(crate) port: u16,
    pub(crate) timeout: Duration,
    /// A synchronisation message makes it.
    pub(crate) is_synced: bool,
}

/// A key and its hash.
#[derive(Debug)]
pub(crate) struct HashedKey {
    key: TemplateKey,
    hash: u64,
}

/// All templates.
#[derive(Debug)]
pub(crate) struct Templates {
    shards: Box<[Mutex<Shard>]>,
    /// Key of the hash: clients choose the addresses.
    seed: (u64, u64),
    /// Templates in all shards, those that have ended and wait for their time included.
    count: AtomicUsize,
    max: usize,
}

impl Templates {
    /// None yet, and at most `max` ever; a few more when several workers make their last ones at once.
    pub(crate) fn new(seed: (u64, u64), max: usize) -> Self {
        Self::with_shards(SHARDS, seed, max)
    }

    fn with_shards(count: usize, seed: (u64, u64), max: usize) -> Self {
        Self {
            shards: (0..count).map(|_| Mutex::default()).collect(),
            seed,
            count: AtomicUsize::new(0),
            max,
        }
    }

    /// Whether there may be one more template. Those that were ended count until their time has come, because only then
    /// their memory is given back.
    pub(crate) fn has_room(&self) -> bool {
        self.count.load(Relaxed) < self.max
    }

    fn hash(&self, key: &TemplateKey) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// Locks the shard of `key`.
    pub(crate) fn shard(&self, key: TemplateKey) -> (HashedKey, MutexGuard<'_, Shard>) {
        let hash = self.hash(&key);
        (HashedKey { key, hash }, lock(self.shard_of(hash)))
    }

    /// The shards that may hold something: none where there is nothing at all.
    fn used(&self) -> &[Mutex<Shard>] {
        let there = self.count.load(Relaxed) > 0;
        if there { &self.shards } else { &[] }
    }

    /// Bits in the middle, as the tables use the lowest and the highest.
    fn shard_of(&self, hash: u64) -> &Mutex<Shard> {
        let index = usize::try_from(hash >> 32).unwrap_or(0) % self.shards.len();
        &self.shards[index]
    }

    /// A connection made from `template` ended, and may take the template along ([`Ended`]).
    pub(crate) fn release(&self, template: &Arc<Template>, ended: Ended) {
        let hash = self.hash(&template.key);
        let mut shard = lock(self.shard_of(hash));
        let held = template.connections.load(Relaxed).saturating_sub(1);
        template.connections.store(held, Relaxed);
        let goes = match ended {
            Ended::InTime => false,
            Ended::Dropped => !template.is_assured(),
            Ended::Orphaned => true,
        };
        if held == 0 && goes {
            shard.end(template, hash);
        }
    }

    /// Ends templates whose time has come, at most about `budget`; returns how many it looked at.
    pub(crate) fn expire(&self, now: Instant, budget: usize) -> usize {
        let mut seen = 0;
        for shard in self.used() {
            loop {
                let some = self.expire_some(&mut lock(shard), now, AT_ONCE.min(budget - seen));
                seen += some;
                if some < AT_ONCE {
                    break;
                }
            }
        }
        seen
    }

    /// [`Templates::expire`] for one shard.
    fn expire_some(&self, shard: &mut Shard, now: Instant, budget: usize) -> usize {
        for seen in 0..budget {
            if shard.by_time.peek().is_none_or(|first| first.at > now) {
                return seen;
            }
            let Some(Deadline { template, .. }) = shard.by_time.pop() else {
                return seen;
            };
            if template.ended.load(Relaxed) {
                self.count.fetch_sub(1, Relaxed);
            } else if template.is_over(now) {
                self.count.fetch_sub(1, Relaxed);
                let hash = self.hash(&template.key);
                shard.end(&template, hash);
            } else {
                let at = template.expires();
                shard.by_time.push(Deadline { at, template });
            }
        }
        budget
    }

    /// Ends the templates of deleted real servers that no connection holds.
    pub(crate) fn end_orphans(&self) {
        for shard in self.used() {
            self.end_where(&mut lock(shard), |template| {
                template.connections() == 0 && !template.destination.is_available()
            });
        }
    }

    /// Ends the templates that no connection holds or ever assured, in the shards that random bits choose: one in 32
    /// of all, as the `drop_entry` defence does each second.
    pub(crate) fn sacrifice(&self, random: [u32; SHARDS / 32]) {
        for bits in random {
            let index = usize::try_from(bits).unwrap_or_default() % self.shards.len();
            let mut shard = lock(&self.shards[index]);
            self.end_where(&mut shard, |template| {
                template.connections() == 0 && !template.is_assured()
            });
        }
    }

    fn end_where(&self, shard: &mut Shard, ends: impl Fn(&Template) -> bool) {
        let alive = |template: &&Arc<Template>| !template.ended.load(Relaxed);
        let templates = shard.by_time.iter().map(|deadline| &deadline.template);
        let chosen: Vec<_> = templates
            .filter(alive)
            .filter(|template| ends(template))
            .cloned()
            .collect();
        for template in chosen {
            let hash = self.hash(&template.key);
            shard.end(&template, hash);
        }
    }

    /// Calls `visit` for each template, the given-up ones too, in no particular order.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Arc<Template>)) {
        for shard in self.used() {
            let listed: Vec<_> = {
                let shard = lock(shard);
                let templates = shard.by_time.iter().map(|deadline| &deadline.template);
                let alive = templates.filter(|template| !template.ended.load(Relaxed));
                alive.cloned().collect()
            };
            listed.iter().for_each(&mut visit);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

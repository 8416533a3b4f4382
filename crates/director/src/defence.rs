//! The defences against floods: `drop_entry`, `drop_packet` and `secure_tcp`, each in four modes (kernel:
//! `update_defense_level`; recordings `found.defence_*`).
//!
//! Mode 0 is off, 3 is on. 1 waits until fewer than `amemthresh` pages of memory are free and becomes 2 then; 2 is on
//! and becomes 1 again when there are more. How much is free the driver says ([`crate::shared::Shared::set_free_pages`]).

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use core::time::Duration;

use crate::connection::DropRates;
use crate::director::{Worker, let_go};
use crate::shared::Shared;
use crate::sysctl::{Sysctl, SysctlError, Sysctls};
use crate::template::Ended;
use crate::time::Instant;

/// Time between two looks at the memory, and between two searches for connections to sacrifice.
const PERIOD: Duration = Duration::from_secs(1);
/// One search looks at one in so many places of the table.
const SHARE: u32 = 32;
/// Places of the table that one tick looks at, each of them somewhere else in memory.
const PLACES: u32 = 256;
/// Free pages where nobody has said how many there are.
const PLENTY: i32 = i32::MAX;

/// The settings that are a mode.
const MODES: [Sysctl; 3] = [Sysctl::DropEntry, Sysctl::DropPacket, Sysctl::SecureTcp];

/// What the defences do now.
#[derive(Debug)]
pub(crate) struct Defence {
    free_pages: AtomicI32,
    /// One in so many new connections is dropped; 0 = none.
    drop_rate: AtomicI32,
    /// New connections until the next is dropped, that one included.
    until_drop: AtomicI32,
    drops_entries: AtomicBool,
}

impl Default for Defence {
    fn default() -> Self {
        Self {
            free_pages: AtomicI32::new(PLENTY),
            drop_rate: AtomicI32::new(0),
            until_drop: AtomicI32::new(0),
            drops_entries: AtomicBool::new(false),
        }
    }
}

impl Defence {
    /// The same for a dry run.
    pub(crate) fn fork(&self) -> Self {
        Self {
            free_pages: AtomicI32::new(self.free_pages.load(Relaxed)),
            drop_rate: AtomicI32::new(self.drop_rate.load(Relaxed)),
            until_drop: AtomicI32::new(self.until_drop.load(Relaxed)),
            drops_entries: AtomicBool::new(self.drops_entries()),
        }
    }

    /// Notes how many pages of memory are free.
    pub(crate) fn set_free_pages(&self, pages: i32) {
        self.free_pages.store(pages, Relaxed);
    }

    /// Whether a mode depends on the free memory.
    pub(crate) fn needs_memory(sysctls: &Sysctls) -> bool {
        MODES.iter().any(|&mode| matches!(sysctls.get(mode), 1 | 2))
    }

    /// Writes a setting, and follows a changed mode at once.
    ///
    /// # Errors
    /// As [`Sysctls::write`].
    pub(crate) fn write(
        &self,
        sysctls: &Sysctls,
        name: &str,
        value: &str,
    ) -> Result<(), SysctlError> {
        let modes = || MODES.map(|mode| sysctls.get(mode));
        let before = modes();
        sysctls.write(name, value)?;
        if modes() != before {
            self.update(sysctls);
        }
        Ok(())
    }

    /// Whether connections are being sacrificed.
    pub(crate) fn drops_entries(&self) -> bool {
        self.drops_entries.load(Relaxed)
    }

    /// Looks at the memory and at the settings, and changes the modes that follow from it.
    pub(crate) fn update(&self, sysctls: &Sysctls) {
        if !Self::needs_memory(sysctls) {
            // What was told is out of date when a mode is set that asks again.
            self.free_pages.store(PLENTY, Relaxed);
        }
        let threshold = sysctls.get(Sysctl::Amemthresh);
        let free = self.free_pages.load(Relaxed);
        let is_short = free < threshold;
        for mode in MODES {
            match (sysctls.get(mode), is_short) {
                (1, true) => sysctls.set(mode, 2),
                (2, false) => sysctls.set(mode, 1),
                _ => {}
            }
        }
        let drops_entries = sysctls.get(Sysctl::DropEntry) > 1;
        self.drops_entries.store(drops_entries, Relaxed);
        match sysctls.get(Sysctl::DropPacket) {
            3 => {
                let rate = sysctls.get(Sysctl::AmDroprate);
                self.drop_rate.store(rate, Relaxed);
            }
            2 => {
                let missing = threshold.saturating_sub(free).max(1);
                self.drop_rate.store(threshold / missing, Relaxed);
                self.until_drop.store(threshold / missing, Relaxed);
            }
            _ => self.drop_rate.store(0, Relaxed),
        }
    }

    /// Whether the packet of a new connection is to be dropped: the first, and from then on one in so many. The
    /// counting goes on when the rate changes (BEHAVIOURS 33, 46).
    pub(crate) fn drops_packet(&self) -> bool {
        let rate = self.drop_rate.load(Relaxed);
        if rate == 0 {
            return false;
        }
        let left = |until: i32| until.wrapping_sub(1);
        let count = |until: i32| Some(if left(until) > 0 { left(until) } else { rate });
        let until = self.until_drop.fetch_update(Relaxed, Relaxed, count);
        left(until.unwrap_or_default()) <= 0
    }
}

impl Shared {
    /// Whether a defence asks how much memory is free ([`Shared::set_free_pages`]).
    #[must_use]
    pub fn needs_memory(&self) -> bool {
        Defence::needs_memory(&self.sysctls)
    }

    /// Tells the defences how many pages of memory are free or hold buffers. To be called about once a second while
    /// [`Shared::needs_memory`]; without it there is enough.
    pub fn set_free_pages(&self, pages: i32) {
        self.defence.set_free_pages(pages);
    }

    /// Whether `drop_entry` is ending connections, so that every worker has something to do each second.
    #[must_use]
    pub fn drops_entries(&self) -> bool {
        self.defence.drops_entries()
    }

    /// Looks at the memory, if it is time to.
    pub(crate) fn watch(&self, watch: &mut Watch, now: Instant) {
        let due = watch.due.get_or_insert_with(|| now.after(PERIOD));
        if *due > now {
            return;
        }
        // Kept to its second where the driver is a little late, but never twice at once.
        *due = due.after(PERIOD).max(now.after(PERIOD / 2));
        self.defence.update(&self.sysctls);
        if self.drops_entries() {
            let random = core::array::from_fn(|_| watch.random.next());
            self.templates.sacrifice(random);
        }
    }
}

/// When the defences look at the memory next, and which templates go with it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    due: Option<Instant>,
    random: Random,
}

impl Watch {
    /// Begins at the first tick; `seed` decides over the templates.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            due: None,
            random: Random::new(seed),
        }
    }
}

/// How far one worker is with the connections that are sacrificed.
#[derive(Debug)]
pub(crate) struct Sacrifice {
    rates: DropRates,
    random: Random,
    /// When the next search begins.
    due: Option<Instant>,
    /// Places that the present search has still to look at.
    left: u32,
}

impl Sacrifice {
    /// None yet; `seed` decides which connections it will be.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rates: DropRates::default(),
            random: Random::new(seed),
            due: None,
            left: 0,
        }
    }

    /// When there is something to do.
    pub(crate) fn next_deadline(&self, defence: &Defence) -> Option<Instant> {
        if !defence.drops_entries() {
            return None;
        }
        match self.due {
            Some(due) if self.left == 0 => Some(due),
            _ => Some(Instant::START),
        }
    }
}

/// Marsaglia's xorshift: which places are looked at need be even, not secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Random {
    /// Begins with `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        // All zeros would stay that.
        Self(seed | 1 << 63)
    }

    /// Evenly distributed bits; never the same twice in a row.
    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 32).unwrap_or_default()
    }
}

impl Worker {
    /// Ends connections that memory is worth more than (kernel: `ip_vs_random_dropentry`): each second those of
    /// [`DropRates`] in places picked at random, one in 32 of all, some of them in each call.
    pub(crate) fn sacrifice(&mut self, now: Instant) {
        let Self {
            sacrifice,
            connections,
            shared,
            ..
        } = self;
        if !shared.defence.drops_entries() {
            sacrifice.due = None;
            sacrifice.left = 0;
            return;
        }
        match sacrifice.due {
            Some(due) if due > now => {}
            due => {
                let places = connections.places();
                // What 32 does not divide has its chance of one more.
                let chance = u32::from(sacrifice.random.next() % SHARE < places % SHARE);
                sacrifice.left = if due.is_some() {
                    places / SHARE + chance
                } else {
                    0
                };
                sacrifice.due = Some(now.after(PERIOD));
            }
        }
        for _ in 0..sacrifice.left.min(PLACES) {
            sacrifice.left -= 1;
            let id = connections.at_random(sacrifice.random.next());
            let Some(id) = id.filter(|&id| !connections.is_controlling(id)) else {
                continue;
            };
            let rates = &mut sacrifice.rates;
            let goes = connections
                .get(id)
                .is_some_and(|connection| rates.drops(connection, now));
            if goes && let Some(connection) = connections.remove(id) {
                let_go(shared, &connection, Ended::Dropped);
            }
        }
    }
}

//! From the hash of a flow to its connection: buckets of one cache line that split one at a time.
//!
//! Promises: a lookup reads one bucket, and in the rare case its overflow, before it touches a
//! connection; growth is linear hashing, at most one split with each insertion, so there
//! is never a moment at which everything is rehashed; of several entries with the same key the
//! newest is found. Never shrinks.

use super::chunks::Chunks;

/// Entries in a bucket: what fits into 64 octets.
const WAYS: usize = 12;
/// Buckets of an empty index.
const FIRST: usize = 16;
/// Mean entries in a bucket at which the number of buckets begins to double: 1 bucket in 8
/// overflows then.
const FULL: usize = 9;
/// No overflow bucket.
const NIL: u32 = u32::MAX;

/// A bucket: for each entry an octet of its hash (0 = free) and the entry itself.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Bucket {
    /// Tags of ways 0 to 7, from the lowest octet on. Words, because octets that are written apart
    /// and read together stall the processor.
    low: u64,
    /// Tags of ways 8 to 11.
    high: u32,
    overflow: u32,
    entries: [u32; WAYS],
}

impl Bucket {
    const EMPTY: Self = Self {
        low: 0,
        high: 0,
        overflow: NIL,
        entries: [0; WAYS],
    };

    /// The ways whose tag is this one, in order.
    #[inline(always)]
    fn tagged(&self, tag: u8) -> Ways {
        const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
        const HIGH: u32 = 0x7f7f_7f7f;
        let low = self.low ^ (u64::from(tag) * (LOW / 0x7f));
        let high = self.high ^ (u32::from(tag) * (HIGH / 0x7f));
        // An octet that is 0 is the only one that neither has its top bit nor gets it by the
        // addition.
        let low = !(((low & LOW) + LOW) | low | LOW);
        let high = !(((high & HIGH) + HIGH) | high | HIGH);
        Ways(u128::from(high) << 64 | u128::from(low))
    }

    /// Puts an entry into a way.
    fn put(&mut self, way: usize, tag: u8, entry: u32) {
        self.set_tag(way, tag);
        self.entries[way] = entry;
    }

    fn tag(&self, way: usize) -> u8 {
        let tags = [self.low.to_le_bytes(), u64::from(self.high).to_le_bytes()];
        tags[way / 8][way % 8]
    }

    fn set_tag(&mut self, way: usize, tag: u8) {
        if let Some(way) = way.checked_sub(8) {
            self.high = self.high & !(0xff << (8 * way)) | u32::from(tag) << (8 * way);
        } else {
            self.low = self.low & !(0xff << (8 * way)) | u64::from(tag) << (8 * way);
        }
    }

    /// The first free way from `begin` on.
    fn free(&self, begin: usize) -> Option<usize> {
        self.tagged(0).find(|&way| way >= begin)
    }

    const fn is_empty(&self) -> bool {
        self.low == 0 && self.high == 0
    }

    /// Tags and entries in order.
    fn entries(&self) -> impl Iterator<Item = (u8, u32)> {
        let tags = self
            .low
            .to_le_bytes()
            .into_iter()
            .chain(self.high.to_le_bytes());
        tags.zip(self.entries).filter(|&(tag, _)| tag != 0)
    }
}

/// A choice of ways: the top bit of an octet for each. One word, because a branch between two would
/// be mispredicted every other time, after the wait for the bucket.
#[derive(Clone, Copy)]
struct Ways(u128);

impl Iterator for Ways {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let way = self.0.trailing_zeros() / 8;
        self.0 &= self.0 - 1;
        Some(way as usize)
    }
}

/// Where a bucket lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    Primary(usize),
    Overflow(u32),
}

/// Multimap from 64-bit hashes to 32-bit entries.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Chunks<Bucket>,
    /// Buckets that the present doubling began with; a power of two.
    base: usize,
    growing: bool,
    overflow: Chunks<Bucket>,
    free_overflow: u32,
    len: usize,
    /// Memory for the entries of a bucket that is split: tag, entry, low bits of the hash.
    moved: Vec<(u8, u32, u32)>,
    /// Buckets read and entries rehashed by insertions and removals, ever.
    work: u64,
}

impl Index {
    /// Without entries.
    pub(super) fn new() -> Self {
        let mut buckets = Chunks::new();
        for _ in 0..FIRST {
            buckets.push(Bucket::EMPTY);
        }
        Self {
            buckets,
            base: FIRST,
            growing: false,
            overflow: Chunks::new(),
            free_overflow: NIL,
            len: 0,
            moved: Vec::new(),
            work: 0,
        }
    }

    /// Steps done by insertions and removals so far: buckets read and entries rehashed.
    pub(super) const fn work(&self) -> u64 {
        self.work
    }

    /// What `read` makes of the newest entry under this hash that it does not refuse.
    #[inline(always)]
    pub(super) fn find<T>(&self, hash: u64, read: impl Fn(u32) -> Option<T>) -> Option<T> {
        let tag = tag(hash);
        let mut bucket = &self.buckets[self.home(low_bits(hash))];
        loop {
            for way in bucket.tagged(tag) {
                let found = read(bucket.entries[way]);
                if found.is_some() {
                    return found;
                }
            }
            bucket = self.overflow.get(index(bucket.overflow))?;
        }
    }

    /// The first entry whose tag is that of this hash: very likely the one that [`Index::find`]
    /// will give.
    #[inline]
    pub(super) fn candidate(&self, hash: u64) -> Option<u32> {
        let bucket = &self.buckets[self.home(low_bits(hash))];
        let way = bucket.tagged(tag(hash)).next()?;
        Some(bucket.entries[way])
    }

    /// Reads from the bucket of this hash, so that it is in the cache when it is needed.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u32 {
        self.buckets[self.home(low_bits(hash))].overflow
    }

    /// Adds an entry in front of those that `is_same` says yes to.
    pub(super) fn insert(&mut self, hash: u64, entry: u32, is_same: impl Fn(u32) -> bool) {
        self.len += 1;
        let tag = tag(hash);
        let mut carried = entry;
        let mut free = None;
        let mut spot = Spot::Primary(self.home(low_bits(hash)));
        loop {
            self.work += 1;
            let bucket = self.bucket_mut(spot);
            let mut begin = 0;
            for way in bucket.tagged(tag) {
                if is_same(bucket.entries[way]) {
                    core::mem::swap(&mut bucket.entries[way], &mut carried);
                    begin = way + 1;
                    free = None;
                }
            }
            if free.is_none() {
                free = bucket.free(begin).map(|way| (spot, way));
            }
            if bucket.overflow == NIL {
                break;
            }
            spot = Spot::Overflow(bucket.overflow);
        }
        let (spot, way) = free.unwrap_or_else(|| (self.extend(spot), 0));
        self.bucket_mut(spot).put(way, tag, carried);
    }

    /// Takes out this very entry, inserted under a hash with these low bits; whether it was there.
    pub(super) fn remove(&mut self, low: u32, entry: u32) -> bool {
        let mut before = None;
        let mut spot = Spot::Primary(self.home(low));
        loop {
            self.work += 1;
            let bucket = self.bucket_mut(spot);
            let found = (0..WAYS).find(|&way| bucket.entries[way] == entry && bucket.tag(way) != 0);
            if let Some(way) = found {
                bucket.set_tag(way, 0);
                let (empty, next) = (bucket.is_empty(), bucket.overflow);
                self.len -= 1;
                if let (true, Some(before), Spot::Overflow(number)) = (empty, before, spot) {
                    self.bucket_mut(before).overflow = next;
                    self.release(number);
                }
                return true;
            }
            if bucket.overflow == NIL {
                return false;
            }
            before = Some(spot);
            spot = Spot::Overflow(bucket.overflow);
        }
    }

    /// Does a bounded part of the growth that is due; to be called with each insertion. `low_of`
    /// gives the low bits of the hash that an entry was inserted under.
    ///
    /// One bucket is split: its entries' connections are read, each somewhere else in memory, and a
    /// batch of new connections inserts twice as many entries. Growth ends long before the next one
    /// is due all the same.
    pub(super) fn grow(&mut self, low_of: impl Fn(u32) -> u32) {
        if !self.growing {
            self.growing = self.len > self.buckets.len() * FULL;
        }
        if self.growing {
            self.split(&low_of);
        }
    }

    /// Divides the next bucket in turn between itself and a new one.
    fn split(&mut self, low_of: impl Fn(u32) -> u32) {
        let old = self.buckets.len() - self.base;
        let mut moved = core::mem::take(&mut self.moved);
        let first = core::mem::replace(&mut self.buckets[old], Bucket::EMPTY);
        moved.extend(first.entries().map(|(tag, entry)| (tag, entry, 0)));
        let mut overflow = first.overflow;
        while overflow != NIL {
            let bucket = &self.overflow[index(overflow)];
            moved.extend(bucket.entries().map(|(tag, entry)| (tag, entry, 0)));
            let next = bucket.overflow;
            self.release(overflow);
            overflow = next;
        }
        self.buckets.push(Bucket::EMPTY);
        if self.buckets.len() == 2 * self.base {
            self.base *= 2;
            self.growing = false;
        }
        self.work += 1 + moved.len() as u64;
        // Nothing but these reads, each of a connection somewhere else, so that all of them are under way at once.
        for (_, entry, low) in &mut moved {
            *low = low_of(*entry);
        }
        for (tag, entry, low) in moved.drain(..) {
            self.append(low, tag, entry);
        }
        self.moved = moved;
    }

    /// Adds an entry behind all others of its bucket.
    fn append(&mut self, low: u32, tag: u8, entry: u32) {
        let mut spot = Spot::Primary(self.home(low));
        let mut bucket = self.bucket_mut(spot);
        while bucket.overflow != NIL {
            spot = Spot::Overflow(bucket.overflow);
            bucket = self.bucket_mut(spot);
        }
        let (spot, way) = match bucket.free(0) {
            Some(way) => (spot, way),
            None => (self.extend(spot), 0),
        };
        self.bucket_mut(spot).put(way, tag, entry);
    }

    /// Hangs an empty bucket behind one that has none behind it.
    fn extend(&mut self, spot: Spot) -> Spot {
        let number = if self.free_overflow == NIL {
            let number = u32::try_from(self.overflow.len()).unwrap_or(NIL);
            self.overflow.push(Bucket::EMPTY);
            number
        } else {
            let bucket = &mut self.overflow[index(self.free_overflow)];
            core::mem::replace(
                &mut self.free_overflow,
                core::mem::replace(&mut bucket.overflow, NIL),
            )
        };
        self.bucket_mut(spot).overflow = number;
        Spot::Overflow(number)
    }

    /// Keeps an overflow bucket for the next use.
    fn release(&mut self, number: u32) {
        self.overflow[index(number)] = Bucket {
            overflow: self.free_overflow,
            ..Bucket::EMPTY
        };
        self.free_overflow = number;
    }

    #[inline]
    fn bucket_mut(&mut self, spot: Spot) -> &mut Bucket {
        match spot {
            Spot::Primary(at) => &mut self.buckets[at],
            Spot::Overflow(number) => &mut self.overflow[index(number)],
        }
    }

    /// The bucket of a hash with these low bits: by one more bit where the bucket has been split
    /// already.
    #[inline(always)]
    fn home(&self, low: u32) -> usize {
        let home = index(low) & (2 * self.base - 1);
        if home < self.buckets.len() {
            home
        } else {
            home - self.base
        }
    }
}

/// The octet of a hash that stands beside its entry; never 0.
#[inline(always)]
fn tag(hash: u64) -> u8 {
    hash.to_be_bytes()[0].max(1)
}

/// The part of a hash that chooses the bucket.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits are what is asked for"
)]
pub(super) const fn low_bits(hash: u64) -> u32 {
    hash as u32
}

#[inline]
const fn index(number: u32) -> usize {
    number as usize
}

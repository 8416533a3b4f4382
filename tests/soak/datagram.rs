//! Numbered datagrams: each says which flow it belongs to and which of it it is, and nothing in it can change unseen.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Octets in front of the filling: magic, flow, number, direction.
const HEADER: usize = 13;
/// First octets of every datagram.
const MAGIC: [u8; 4] = *b"SOAK";
/// Octets of the longest datagram.
pub(crate) const LONGEST: usize = 1400;
/// One datagram in so many is a long one.
const LONG_EVERY: u32 = 64;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to a real server.
    Question,
    /// Back.
    Answer,
}

/// Writes datagram `number` of `flow` into `buffer`; its length. Sizes differ from one to the next.
pub(crate) fn write(buffer: &mut [u8; LONGEST], flow: u32, number: u32, way: Way) -> usize {
    let mix = flow
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add(number.wrapping_mul(0x85eb_ca6b));
    let length = if number % LONG_EVERY == LONG_EVERY - 1 {
        LONGEST
    } else {
        usize::from(mix.to_be_bytes()[0] % 80) + HEADER
    };
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[4..8].copy_from_slice(&flow.to_be_bytes());
    buffer[8..12].copy_from_slice(&number.to_be_bytes());
    buffer[12] = u8::from(way == Way::Answer);
    let mut state = mix | 1;
    for octet in &mut buffer[HEADER..length] {
        state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        *octet = state.to_be_bytes()[0];
    }
    length
}

/// Flow and number of a datagram, if it is exactly the one that was sent that way.
pub(crate) fn read(datagram: &[u8], way: Way) -> Option<(u32, u32)> {
    let header = datagram.first_chunk::<HEADER>()?;
    let [_, _, _, _, flow @ .., a, b, c, d, _] = *header;
    let (flow, number) = (u32::from_be_bytes(flow), u32::from_be_bytes([a, b, c, d]));
    let mut expected = [0; LONGEST];
    let length = write(&mut expected, flow, number, way);
    (datagram == &expected[..length]).then_some((flow, number))
}

/// What arrived of one flow in one direction.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    numbers: Vec<AtomicU64>,
    highest: AtomicU32,
}

/// What one arrival says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The first of its number, in order.
    New,
    /// The first of its number, behind one that was sent later.
    Late,
    /// Its number has come before.
    Doubled,
}

impl Seen {
    /// For the numbers below `count`.
    pub(crate) fn new(count: u32) -> Self {
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(0);
        Self {
            numbers: std::iter::repeat_with(AtomicU64::default)
                .take(words)
                .collect(),
            highest: AtomicU32::new(0),
        }
    }

    /// Takes note of `number`; none where it was never sent.
    pub(crate) fn take(&self, number: u32) -> Option<Arrival> {
        let word = self.numbers.get(usize::try_from(number / 64).ok()?)?;
        let bit = 1 << (number % 64);
        if word.fetch_or(bit, Relaxed) & bit != 0 {
            return Some(Arrival::Doubled);
        }
        let before = self.highest.fetch_max(number, Relaxed);
        Some(if before > number {
            Arrival::Late
        } else {
            Arrival::New
        })
    }
}

/// A flow: one address and port of the client.
#[derive(Debug)]
pub(crate) struct Flow {
    /// What reached a server.
    pub(crate) questions: Seen,
    /// What came back.
    pub(crate) answers: Seen,
    /// The real server that has it, counted from 1; 0 = none yet.
    server: AtomicU8,
}

impl Flow {
    /// A flow of `count` datagrams, answered or not.
    pub(crate) fn new(count: u32, answered: bool) -> Self {
        Self {
            questions: Seen::new(count),
            answers: Seen::new(if answered { count } else { 0 }),
            server: AtomicU8::new(0),
        }
    }

    /// Whether `server` (counted from 0) is the one that has had the flow from the beginning.
    pub(crate) fn is_at(&self, server: u8) -> bool {
        let found = self
            .server
            .compare_exchange(0, server + 1, Relaxed, Relaxed);
        found.is_ok_and(|_| true) || found == Err(server + 1)
    }
}

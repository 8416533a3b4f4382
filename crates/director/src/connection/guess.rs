//! What a batch will read of the table, read before, and guessed from it which connection each packet belongs to.
//!
//! Promises: a guess that [`Table`] takes is what [`Table::find`] would give; one that has become wrong costs time only.

use core::hint::black_box;

use packet::plain::Plain;

use super::slab::{NIL, Slot};
use super::table::{Table, direction_of, slot_of};
use super::{Address, FlowKey};
use crate::protocol::Direction;

/// What is guessed about a packet before its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    /// Hash of the packet's flow.
    hash: u64,
    /// The first entry of the index with the hash's tag; else [`NIL`].
    entry: u32,
    /// [`Table::work`] when the entry was read.
    version: u64,
}

impl Table {
    /// Nothing but the hash of the packet's flow.
    #[inline(always)]
    pub(crate) fn guess(&self, key: &FlowKey) -> Guess {
        Guess {
            hash: self.hash(key),
            entry: NIL,
            version: 0,
        }
    }

    /// Brings into the cache what the lookups of a batch will read, and guesses what they will find.
    ///
    /// There is no prefetch instruction in safe Rust, so this reads: first a word of every bucket, then of every connection
    /// that is probably meant. No read waits for another packet's, so the processor overlaps the misses of the whole
    /// batch, which is what a prefetch is for. Each loop does little beside its reads, so that many of them are under way
    /// at once.
    pub(crate) fn prefetch(&self, guesses: &mut [Guess]) {
        let mut sum = 0;
        for guess in &*guesses {
            sum ^= self.index.touch(guess.hash);
        }
        let version = self.work();
        for guess in &mut *guesses {
            guess.entry = self.index.candidate(guess.hash).unwrap_or(NIL);
            guess.version = version;
        }
        for guess in &*guesses {
            sum ^= self.slab.slot(slot_of(guess.entry)).map_or(0, Slot::touch);
        }
        black_box(sum);
    }

    /// The slot of the connection that a packet belongs to, and the packet's direction: as [`Table::find_hashed`].
    ///
    /// `guess` is one about any packet at all: the connection that it names is only taken if it is meant, and nothing
    /// newer can have come since.
    #[inline(always)]
    pub(super) fn find_plain<A: Address>(
        &self,
        packet: &Plain<A>,
        guess: Option<&Guess>,
    ) -> Option<(u32, Direction)> {
        let Some(guess) = guess else {
            return self.search(self.hash(&key_of(packet)), *packet);
        };
        // Of entries with one key, all under one tag of one bucket, the first is the newest.
        if guess.version == self.work()
            && let Some(found) = self.read(guess.entry, packet)
        {
            return Some(found);
        }
        self.search(guess.hash, *packet)
    }

    #[inline(never)]
    fn search<A: Address>(&self, hash: u64, packet: Plain<A>) -> Option<(u32, Direction)> {
        self.index.find(hash, |entry| self.read(entry, &packet))
    }

    /// Slot and direction of an entry, if the packet belongs to it.
    #[inline(always)]
    fn read<A: Address>(&self, entry: u32, packet: &Plain<A>) -> Option<(u32, Direction)> {
        let (index, direction) = (slot_of(entry), direction_of(entry));
        let connection = self.slab.get(index)?;
        connection
            .is_meant(packet, direction)
            .then_some((index, direction))
    }
}

/// The flow of a packet.
#[inline(always)]
fn key_of<A: Address>(packet: &Plain<A>) -> FlowKey {
    FlowKey {
        protocol: packet.upper.protocol(),
        source: (packet.source.into(), packet.source_port),
        destination: (packet.destination.into(), packet.destination_port),
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use packet::plain::Upper;

    use super::*;
    use crate::connection::{Connection, HashKind, NewConnection, TableConfig};
    use crate::destination::Method;
    use crate::protocol::Protocol;
    use crate::time::Instant;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);

    /// A newer connection of the same endpoints gets the packet, however old the guess; and a guess about another packet
    /// leads nowhere else.
    #[test]
    fn a_guess_never_misleads() {
        let mut table = Table::new(&TableConfig {
            max_connections: 10,
            hash: HashKind::default(),
            seed: [1, 2],
        });
        let connection = |port| {
            Connection::new(NewConnection {
                protocol: Protocol::Tcp,
                client: (CLIENT.into(), port),
                virtual_server: (VIP.into(), 80),
                server: (Ipv4Addr::new(10, 2, 0, 11).into(), 80),
                destination: None,
                template: None,
                method: Method::DirectRoute,
                mark: 0,
                client_interface: 1,
                client_vlan: 0,
            })
        };
        let packet = |source_port| Plain {
            source: CLIENT,
            destination: VIP,
            source_port,
            destination_port: 80,
            upper: Upper::Tcp { flags: 0x10 },
            len: 40,
        };
        table.insert(connection(1), Instant::START).unwrap();
        table.insert(connection(2), Instant::START).unwrap();
        let mut guesses = [1, 2].map(|port| table.guess(&key_of(&packet(port))));
        table.prefetch(&mut guesses);
        let slot = |table: &Table, port, guess| table.find_plain(&packet(port), guess);
        let first = Some((0, Direction::ToServer));
        assert_eq!(slot(&table, 1, Some(&guesses[0])), first);
        assert_eq!(slot(&table, 1, None), first);
        assert!(slot(&table, 1, Some(&guesses[1])).is_none_or(|it| Some(it) == first));
        table.insert(connection(1), Instant::START).unwrap();
        let newest = Some((2, Direction::ToServer));
        assert_eq!(slot(&table, 1, Some(&guesses[0])), newest);
    }
}

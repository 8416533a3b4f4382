//! Synchronisation messages: the datagrams in which directors tell each other of connections and templates.
//!
//! Promises: both versions of kernel IPVS, octet for octet as recorded (`sync.*`); no octets make it panic; what
//! it writes it reads. [`Outbox`] gathers entries into datagrams as the kernel's master does, [`Daemons`] holds
//! what `--start-daemon` said. Never opens a socket and never touches a connection: the driver sends and
//! receives, and gives entries to [`director::director::Director::accept`].

mod daemons;
mod outbox;
mod version0;
mod version1;

pub use daemons::{Daemon, Daemons, Role};
pub use outbox::Outbox;

use director::sync::Entry;

/// Octets of the header that both versions have: count (or 0), group identity, size.
const SHORT_HEADER: usize = 4;
/// Largest message, octets: its size field has 16 bits.
const SIZE_MAX: usize = 65_535;

/// Version of the messages (`sync_version`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// IPv4 alone; no lifetimes, marks or persistence engines.
    V0,
    /// Since Linux 2.6.39.
    #[default]
    V1,
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its version.
    pub version: Version,
    /// Identity of the group of directors; a backup whose own is not 0 takes no other.
    pub sync_id: u8,
    /// Entries up to the first that cannot be read.
    pub entries: Vec<Entry>,
    /// Why the rest was dropped.
    pub problem: Option<Problem>,
}

/// Why a message, or the rest of one, says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Shorter than a header.
    #[error("the message is shorter than its header")]
    Short,
    /// The header tells another size than the datagram has.
    #[error("the message is not as long as it says")]
    Size,
    /// An entry reaches beyond the message, or is too short for what it holds.
    #[error("an entry is cut off")]
    Truncated,
    /// An entry of an unknown kind or version.
    #[error("an entry is of an unknown kind")]
    Kind,
    /// An option has a wrong length or stands twice.
    #[error("an option of an entry cannot be read")]
    Option,
}

impl Message {
    /// Whether this backup takes the message: it is of its group, or the backup takes every group's (identity 0).
    #[must_use]
    pub const fn is_for(&self, backup: &Daemon) -> bool {
        backup.sync_id == 0 || backup.sync_id == self.sync_id
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// [`Problem::Short`] and [`Problem::Size`]: nothing of it can be taken.
    pub fn decode(datagram: &[u8]) -> Result<Self, Problem> {
        let &[count, sync_id, high, low] = datagram
            .first_chunk::<SHORT_HEADER>()
            .ok_or(Problem::Short)?;
        if usize::from(u16::from_be_bytes([high, low])) != datagram.len() {
            return Err(Problem::Size);
        }
        let mut entries = Vec::new();
        let (version, result) = match version1::body(datagram) {
            Some((count, body)) => (Version::V1, version1::read(count, body, &mut entries)),
            None => {
                let body = datagram.get(SHORT_HEADER..).unwrap_or(&[]);
                (Version::V0, version0::read(count, body, &mut entries))
            }
        };
        Ok(Self {
            version,
            sync_id,
            entries,
            problem: result.err(),
        })
    }
}

#[cfg(test)]
mod tests;

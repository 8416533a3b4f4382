//! The `drop_entry` defence: which connections may be sacrificed when memory runs short.
//!
//! The kernel looks at a random 1/32 of its table each second; here the caller takes [`super::Table::random_cursor`] and
//! [`super::Table::sweep`]s from there.

use core::time::Duration;

use super::{Connection, State, sctp, tcp};
use crate::time::Instant;

/// A connection that had a packet within this time is let be.
const IDLE: Duration = Duration::from_secs(60);
/// A connection with more packets than this from its client is let be.
const PACKETS: usize = 8;

/// Of connections with n packets from the client, the first candidate and then every n-th is dropped; this counts them.
#[derive(Clone, Debug, Default)]
pub struct DropRates {
    /// By n: candidates until the next is dropped, that one included.
    left: [u32; PACKETS + 1],
}

impl DropRates {
    /// Whether `drop_entry` ends this connection: half-open ones always, established ones and UDP only when they were idle
    /// for a minute and hardly ever used, and not even all of those (kernel: `todrop_entry`).
    pub fn drops(&mut self, connection: &Connection, now: Instant) -> bool {
        match connection.state() {
            State::Tcp(tcp::State::SynRecv | tcp::State::SynAck)
            | State::Sctp(sctp::State::Init1 | sctp::State::Init) => true,
            State::Tcp(tcp::State::Established)
            | State::Sctp(sctp::State::Established)
            | State::Udp => self.drops_idle(connection, now),
            State::Tcp(_) | State::Sctp(_) => false,
        }
    }

    fn drops_idle(&mut self, connection: &Connection, now: Instant) -> bool {
        let idle = Duration::from_secs(connection.timeout().into())
            .saturating_sub(connection.expires_in(now));
        if idle < IDLE {
            return false;
        }
        let packets = connection.packets();
        let counter = usize::try_from(packets)
            .ok()
            .filter(|_| packets != 0)
            .and_then(|packets| self.left.get_mut(packets));
        let Some(left) = counter else {
            return false;
        };
        if *left > 1 {
            *left -= 1;
            return false;
        }
        *left = packets;
        true
    }
}

//! What synchronisation changes about a connection.

use std::sync::Arc;

use super::assisted::FLAG_ASSISTED;
use super::record::{Connection, FLAG_INACTIVE};
use super::state::State;
use super::tracking::{FLAG_NO_CLIENT_PORT, FLAG_TRACKED};
use crate::destination::Destination;
use crate::sync::Mark;

/// What a connection takes over from a synchronisation message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adopted {
    pub(crate) state: State,
    /// All `FLAG_*` bits. Whether the real server counts the connection as active follows
    /// [`FLAG_INACTIVE`], not the state.
    pub(crate) flags: u16,
    pub(crate) packets: u32,
    /// Seconds.
    pub(crate) timeout: u32,
    pub(crate) told: Mark,
}

impl Connection {
    /// What the synchronisation master told last.
    pub(crate) const fn told(&self) -> Mark {
        self.told
    }

    pub(crate) const fn set_told(&mut self, told: Mark) {
        self.told = told;
    }

    /// Takes over what a synchronisation message says.
    pub(crate) fn adopt(&mut self, adopted: Adopted) {
        let Adopted {
            state,
            flags,
            packets,
            timeout,
            told,
        } = adopted;
        if (flags ^ self.flags) & FLAG_INACTIVE != 0
            && let Some(destination) = &self.destination
        {
            destination.set_active(flags & FLAG_INACTIVE == 0);
        }
        self.state = state;
        // What another director says about a client's unknown port does not change what is known here.
        let own = FLAG_TRACKED | FLAG_ASSISTED | FLAG_NO_CLIENT_PORT;
        self.flags = flags & !own | self.flags & own;
        (self.packets, self.timeout, self.told) = (packets, timeout, told);
    }

    /// Gives a connection without a real server one, which counts it from now on. Its flags keep
    /// the method that the packets already take.
    pub(crate) fn bind(&mut self, destination: Arc<Destination>) {
        destination.bind(false);
        if self.flags & FLAG_INACTIVE == 0 {
            destination.set_active(true);
        }
        self.destination = Some(destination);
    }
}

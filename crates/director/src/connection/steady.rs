//! Packets that leave their connection in the state it is in: all but a few of a connection's.
//!
//! Promises: for what [`Table::steady`] gives, [`Steady::stay`] does to connection and timer what [`Table::observe`]
//! would. Nothing is changed before.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::plain::{self, Plain, Upper};

use super::addresses::{AddressSet, Addresses};
use super::record::{Connection, FLAG_NO_OUTPUT};
use super::tcp::{self, Event};
use super::{Guess, State, Table};
use crate::protocol::Direction;
use crate::shared::Timeouts;
use crate::time::Instant;

/// An address, by its family, as connections keep it.
pub(crate) trait Address: plain::Address + PartialEq {
    /// The addresses, if they are of this family.
    fn of(addresses: &Addresses) -> Option<&AddressSet<Self>>;
}

impl Address for Ipv4Addr {
    #[inline(always)]
    fn of(addresses: &Addresses) -> Option<&AddressSet<Self>> {
        match addresses {
            Addresses::V4(set) => Some(set),
            Addresses::V6(_) => None,
        }
    }
}

impl Address for Ipv6Addr {
    #[inline(always)]
    fn of(addresses: &Addresses) -> Option<&AddressSet<Self>> {
        match addresses {
            Addresses::V6(set) => Some(set),
            Addresses::V4(_) => None,
        }
    }
}

/// A connection and the packet that leaves it as it is.
pub(crate) struct Steady<'t> {
    pub(crate) connection: &'t mut Connection,
    pub(crate) direction: Direction,
    /// Lifetime from now on, seconds.
    timeout: u32,
    deadline: Instant,
}

impl Table {
    /// The connection that a packet belongs to, if the packet leaves it in its state and does not shorten its life.
    /// None as well for a connection of FTP, whose packets are followed.
    #[inline(always)]
    pub(crate) fn steady<A: Address>(
        &mut self,
        packet: &Plain<A>,
        guess: Option<&Guess>,
        timeouts: Timeouts,
        now: Instant,
    ) -> Option<Steady<'_>> {
        let (index, direction) = self.find_plain(packet, guess)?;
        let connection = self.connection_mut(index)?;
        let timeout = match (connection.state, packet.upper) {
            (State::Tcp(tcp::State::Established), Upper::Tcp { flags })
                if Event::of(flags) == Event::Ack =>
            {
                timeouts.tcp
            }
            // A server's first answer assures the template.
            (State::Udp, Upper::Udp { .. })
                if direction == Direction::ToServer || connection.template().is_none() =>
            {
                timeouts.udp
            }
            _ => return None,
        };
        let deadline = now.after_seconds(timeout);
        if connection.is_tracked() || deadline < connection.deadline() {
            return None;
        }
        Some(Steady {
            connection,
            direction,
            timeout,
            deadline,
        })
    }
}

impl Connection {
    /// Whether a packet belongs to the connection in this direction: as [`Connection::matches`].
    #[inline(always)]
    pub(super) fn is_meant<A: Address>(&self, packet: &Plain<A>, direction: Direction) -> bool {
        let ports = match direction {
            Direction::ToServer => (self.client_port, self.virtual_port),
            Direction::ToClient => (self.server_port, self.client_port),
        };
        (packet.source_port, packet.destination_port) == ports
            && packet.upper.protocol() == self.protocol().number()
            && A::of(&self.addresses)
                .is_some_and(|set| set.matches(&packet.source, &packet.destination, direction))
    }

    /// RIP and port, if the RIP is of this family.
    #[inline(always)]
    pub(crate) fn server_of<A: Address>(&self) -> Option<(A, u16)> {
        let set = A::of(&self.addresses)?;
        let is_same = |address: IpAddr| address.is_ipv4() == set.server.into().is_ipv4();
        let destination = self.destination.as_ref();
        destination
            .is_none_or(|destination| is_same(destination.address))
            .then_some((set.server, self.server_port))
    }

    /// VIP and port, if the VIP is of this family.
    #[inline(always)]
    pub(crate) fn virtual_server_of<A: Address>(&self) -> Option<(A, u16)> {
        Some((A::of(&self.addresses)?.virtual_server, self.virtual_port))
    }
}

impl Steady<'_> {
    /// Counts the packet for the connection, which lives a whole timeout from now.
    ///
    /// The timer need not hear of it: its place for the connection may be too early, but not too late.
    #[inline(always)]
    pub(crate) fn stay(self) {
        let connection = self.connection;
        match self.direction {
            Direction::ToServer => connection.packets = connection.packets.saturating_add(1),
            Direction::ToClient => connection.flags &= !FLAG_NO_OUTPUT,
        }
        connection.timeout = self.timeout;
        connection.set_deadline(self.deadline);
    }
}

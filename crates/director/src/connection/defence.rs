//! The `drop_entry` defence: which connections may be sacrificed when memory runs short.
//!
//! The kernel looks at a random 1/32 of its table each second; here the caller looks at what
//! [`super::Table::at_random`] gives it.

use core::time::Duration;

use super::{Connection, State, sctp, tcp};
use crate::time::Instant;

/// A connection that had a packet within this time is let be.
const IDLE: Duration = Duration::from_secs(60);
/// A connection with more packets than this from its client is let be.
const PACKETS: usize = 8;

/// Of connections with n packets from the client, the first candidate and then every n-th is
/// dropped; this counts them.
#[derive(Clone, Debug, Default)]
pub struct DropRates {
    /// By n: candidates until the next is dropped, that one included.
    left: [u32; PACKETS + 1],
}

impl DropRates {
    /// Whether `drop_entry` ends this connection: half-open ones always, established ones and UDP
    /// only when they were idle for a minute and hardly ever used, and not even all of those
    /// (kernel: `todrop_entry`).
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

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use packet::Transport;

    use super::*;
    use crate::connection::{
        ConnectionId, Cursor, HashKind, NewConnection, StateRules, Table, TableConfig,
    };
    use crate::destination::Method;
    use crate::protocol::{Direction, Protocol};

    fn seconds(seconds: u64) -> Instant {
        Instant::START.after(Duration::from_secs(seconds))
    }

    fn table() -> Table {
        Table::new(&TableConfig {
            max_connections: 1000,
            hash: HashKind::Fold,
            seed: [0, 0],
        })
    }

    fn insert(table: &mut Table, protocol: Protocol, port: u16, packets: u32) -> ConnectionId {
        let new = NewConnection {
            protocol,
            client: (Ipv4Addr::new(192, 0, 2, 10).into(), port),
            virtual_server: (Ipv4Addr::new(10, 8, 0, 1).into(), 80),
            server: (Ipv4Addr::new(10, 2, 0, 11).into(), 80),
            destination: None,
            template: None,
            method: Method::DirectRoute,
            mark: 0,
            client_interface: 1,
            client_vlan: 0,
        };
        let connection = Connection::new(new);
        let id = table.insert(connection, seconds(0)).unwrap();
        for packet in 0..packets {
            let transport = match protocol {
                Protocol::Udp => Transport::Udp {
                    source: port,
                    destination: 80,
                    checksum: 0,
                },
                _ => Transport::Tcp {
                    source: port,
                    destination: 80,
                    sequence: 0,
                    acknowledgment: 0,
                    flags: if packet == 0 { 2 } else { 16 },
                    header_len: 20,
                },
            };
            let rules = StateRules::default();
            table.observe(id, &transport, Direction::ToServer, rules, seconds(0));
        }
        id
    }

    #[test]
    fn half_open_connections_go_at_once() {
        let mut table = table();
        let id = insert(&mut table, Protocol::Tcp, 1, 1);
        assert!(DropRates::default().drops(table.get(id).unwrap(), seconds(0)));
    }

    #[test]
    fn used_or_busy_connections_stay() {
        let mut table = table();
        let busy = insert(&mut table, Protocol::Tcp, 1, 2);
        let used = insert(&mut table, Protocol::Tcp, 2, 9);
        let mut rates = DropRates::default();
        assert!(!rates.drops(table.get(busy).unwrap(), seconds(59)));
        assert!(rates.drops(table.get(busy).unwrap(), seconds(60)));
        assert!(!rates.drops(table.get(used).unwrap(), seconds(60)));
    }

    #[test]
    fn of_those_with_n_packets_every_nth_goes() {
        let mut table = table();
        for port in 0..12 {
            insert(&mut table, Protocol::Udp, port, 3);
        }
        let mut rates = DropRates::default();
        let mut dropped = Vec::new();
        let rest = table.sweep(
            Cursor::default(),
            1000,
            |connection| rates.drops(connection, seconds(100)),
            |connection| dropped.push(connection.client().1),
        );
        assert_eq!((dropped, rest), (vec![0, 3, 6, 9], None));
    }
}

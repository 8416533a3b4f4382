//! Connections and persistence templates of the director as the entries that lists show.
//!
//! Promises: what `/proc/net/ip_vs_conn` of the kernel shows of the same connection, field by field. Never
//! walks a table: whoever owns the connections does.

use core::time::Duration;

use director::connection::Connection;
use director::template::Template;
use director::time::Instant;

use crate::netlink::ConnectionEntry;

/// The one persistence engine there is.
const ENGINE: &str = "sip";

/// A connection at `now`.
#[must_use]
pub fn connection(connection: &Connection, now: Instant) -> ConnectionEntry {
    let (client, client_port) = connection.client();
    let (virtual_address, virtual_port) = connection.virtual_server();
    let (destination, destination_port) = connection.server();
    ConnectionEntry {
        protocol: u16::from(connection.protocol().number()),
        client,
        client_port,
        virtual_address,
        virtual_port,
        destination,
        destination_port,
        state: connection.state().name().to_owned(),
        expires_ms: milliseconds(connection.expires_in(now)),
        flags: u32::from(connection.flags()),
        engine: None,
    }
}

/// A persistence template at `now`; its client port is 0, its state NONE or ASSURED.
#[must_use]
pub fn template(template: &Template, now: Instant) -> ConnectionEntry {
    let key = template.key();
    ConnectionEntry {
        protocol: key
            .protocol
            .map_or(0, |protocol| u16::from(protocol.number())),
        client: key.client,
        client_port: 0,
        virtual_address: key.virtual_address,
        virtual_port: template.virtual_port(),
        destination: template.destination.address,
        destination_port: template.destination_port(),
        state: if template.is_assured() {
            "ASSURED"
        } else {
            "NONE"
        }
        .to_owned(),
        expires_ms: milliseconds(template.expires().since(now)),
        flags: template.flags(),
        engine: key
            .data
            .as_ref()
            .map(|data| (ENGINE.to_owned(), data.to_vec())),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use director::connection::{HashKind, NewConnection, Table, TableConfig};
    use director::destination::Method;
    use director::protocol::Protocol;

    use super::*;

    #[test]
    fn a_connection_shows_its_endpoints_state_and_time_left() {
        let new = NewConnection {
            protocol: Protocol::Udp,
            client: ("192.0.2.10".parse().unwrap(), 1001),
            virtual_server: ("10.8.0.1".parse().unwrap(), 53),
            server: ("10.2.0.11".parse().unwrap(), 5353),
            destination: None,
            template: None,
            method: Method::DirectRoute,
            mark: 0,
            client_interface: 2,
            client_vlan: 0,
        };
        let mut table = Table::new(&TableConfig {
            max_connections: 8,
            hash: HashKind::default(),
            seed: [1, 2],
        });
        let id = table.insert(Connection::new(new), Instant::START).unwrap();
        let now = Instant::START.after(Duration::from_millis(1500));
        let entry = connection(table.get(id).unwrap(), now);
        assert_eq!(
            crate::proc::connections([&entry]).lines().nth(1),
            Some("UDP C000020A 03E9 0A080001 0035 0A02000B 14E9 UDP               1")
        );
    }
}

//! Which worker owns a data connection: the one that owns its control connection, wherever the sharing out of flows
//! by the client's endpoint would take it.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::connection::Connection;
use crate::services::FTP_DATA_PORT;

/// What is known of a data connection's endpoints before its first packet: the client's address and one of the
/// ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Active: where the client listens.
    Client(IpAddr, u16),
    /// Passive: where the server listens, which is the same port on virtual and real server.
    Server(IpAddr, u16),
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    worker: usize,
    /// Connections with this key.
    connections: usize,
    ends: Ends,
}

/// The servers' ends of a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Address and port that the client knows.
    pub virtual_server: (IpAddr, u16),
    /// Address and port of the real server.
    pub server: (IpAddr, u16),
}

/// The data connections of all workers.
#[derive(Debug, Default)]
pub struct Owners {
    owners: RwLock<HashMap<Key, Owner>>,
    /// How many there are, so that nobody takes the lock where there are none.
    count: AtomicUsize,
    announced: AtomicU64,
}

impl Owners {
    /// The worker that must see a packet between `client` and the server's end at `port`; none for what is no
    /// announced data connection.
    #[must_use]
    pub fn find(&self, client: (IpAddr, u16), port: u16) -> Option<usize> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        [Key::Server(client.0, port), Key::Client(client.0, client.1)]
            .iter()
            .find_map(|key| owners.get(key))
            .map(|owner| owner.worker)
    }

    /// Whether there is no data connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// How many data connections have been announced so far.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.announced.load(Relaxed)
    }

    /// The ends of all passive data connections, those announced and those that are open; one of each key.
    #[must_use]
    pub fn passive(&self) -> Vec<Ends> {
        if self.is_empty() {
            return Vec::new();
        }
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        let passive = owners
            .iter()
            .filter(|(key, _)| matches!(key, Key::Server(..)));
        passive.map(|(_, owner)| owner.ends).collect()
    }

    /// `worker` has a new data connection.
    pub fn add(&self, connection: &Connection, worker: usize) {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        let ends = Ends {
            virtual_server: connection.virtual_server(),
            server: connection.server(),
        };
        let owner = owners.entry(key(connection)).or_insert(Owner {
            worker,
            connections: 0,
            ends,
        });
        owner.worker = worker;
        owner.connections += 1;
        owner.ends = ends;
        self.count.store(owners.len(), Relaxed);
        self.announced.fetch_add(1, Relaxed);
    }

    /// A data connection has ended.
    pub fn remove(&self, connection: &Connection) {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        let key = key(connection);
        if let Some(owner) = owners.get_mut(&key) {
            owner.connections -= 1;
            if owner.connections == 0 {
                owners.remove(&key);
            }
        }
        self.count.store(owners.len(), Relaxed);
    }
}

/// Whether the owner of a data connection is found by its client's port.
pub(crate) fn has_client_port(connection: &Connection) -> bool {
    matches!(key(connection), Key::Client(..))
}

/// The key of a data connection; the same before and after its client's port is known.
fn key(connection: &Connection) -> Key {
    let (client, port) = connection.client();
    match connection.virtual_server().1 {
        FTP_DATA_PORT => Key::Client(client, port),
        listening => Key::Server(client, listening),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::NewConnection;
    use crate::destination::Method;
    use crate::protocol::Protocol;

    fn data(client_port: u16, port: u16) -> Connection {
        Connection::new(NewConnection {
            protocol: Protocol::Tcp,
            client: (IpAddr::from([192, 0, 2, 10]), client_port),
            virtual_server: (IpAddr::from([10, 8, 0, 1]), port),
            server: (IpAddr::from([10, 2, 0, 11]), port),
            destination: None,
            template: None,
            method: Method::Masq,
            mark: 0,
            client_interface: 1,
            client_vlan: 0,
        })
    }

    #[test]
    fn a_data_connection_has_an_owner_until_its_end() {
        let client = IpAddr::from([192, 0, 2, 10]);
        let owners = Owners::default();
        assert_eq!(owners.find((client, 1002), 50000), None);
        owners.add(&data(0, 50000), 3);
        owners.add(&data(51201, 20), 2);
        assert_eq!(owners.find((client, 1002), 50000), Some(3));
        assert_eq!(owners.find((client, 51201), 20), Some(2));
        assert_eq!(owners.find((client, 1002), 50001), None);
        let passive = Ends {
            virtual_server: (IpAddr::from([10, 8, 0, 1]), 50000),
            server: (IpAddr::from([10, 2, 0, 11]), 50000),
        };
        assert_eq!((owners.passive(), owners.announced()), (vec![passive], 2));
        // The port announced again, while the first connection is still there.
        owners.add(&data(0, 50000), 1);
        assert_eq!(owners.find((client, 1003), 50000), Some(1));
        owners.remove(&data(1002, 50000));
        assert_eq!(owners.find((client, 1003), 50000), Some(1));
        owners.remove(&data(1003, 50000));
        owners.remove(&data(51201, 20));
        assert_eq!(owners.find((client, 1003), 50000), None);
        assert_eq!(owners.count.load(Relaxed), 0);
    }
}

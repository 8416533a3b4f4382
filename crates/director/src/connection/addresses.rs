//! The addresses of a connection: client, virtual server, real server.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::NewConnection;
use crate::protocol::Direction;

/// Addresses of a connection; IPv6 ones apart, so that they do not make IPv4 records longer.
#[derive(Debug)]
pub(super) enum Addresses {
    V4(AddressSet<Ipv4Addr>),
    V6(Box<AddressSet<Ipv6Addr>>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct AddressSet<A> {
    pub(super) client: A,
    pub(super) virtual_server: A,
    /// The real server's; the virtual server's where it is of the other family (tunnels), because
    /// then [`Destination::address`] has it and no reply is ever looked up.
    pub(super) server: A,
}

impl Addresses {
    /// None where client and virtual server are of different families, which no packet is.
    pub(super) fn new(new: &NewConnection) -> Self {
        let server = new.server.0;
        match (new.client.0, new.virtual_server.0) {
            (IpAddr::V4(client), IpAddr::V4(virtual_server)) => Self::V4(AddressSet {
                client,
                virtual_server,
                server: match server {
                    IpAddr::V4(server) => server,
                    IpAddr::V6(_) => virtual_server,
                },
            }),
            (client, virtual_server) => {
                let virtual_server = as_v6(virtual_server);
                Self::V6(Box::new(AddressSet {
                    client: as_v6(client),
                    virtual_server,
                    server: match server {
                        IpAddr::V6(server) => server,
                        IpAddr::V4(_) => virtual_server,
                    },
                }))
            }
        }
    }
}

/// The address as an IPv6 one.
const fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

impl<A: PartialEq> AddressSet<A> {
    #[inline]
    pub(super) fn matches(&self, source: &A, destination: &A, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => *source == self.client && *destination == self.virtual_server,
            Direction::ToClient => *source == self.server && *destination == self.client,
        }
    }
}

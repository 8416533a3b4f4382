//! The three addresses of a connection, as short as their family allows.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::Direction;

/// Addresses of a connection; IPv6 ones apart, so that they do not make IPv4 records longer.
#[derive(Clone, Debug)]
pub(crate) enum Addresses {
    V4(AddressSet<Ipv4Addr>),
    V6(Box<AddressSet<Ipv6Addr>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressSet<A> {
    client: A,
    pub(super) virtual_server: A,
    /// The real server's; the virtual server's where it is of the other family (tunnels), because then
    /// [`crate::destination::Destination::address`] has it and no reply is ever looked up.
    pub(super) server: A,
}

impl Addresses {
    /// As IPv6 ones where client and virtual server are of different families, which no packet is.
    pub(super) fn new(client: IpAddr, virtual_server: IpAddr, server: IpAddr) -> Self {
        match (client, virtual_server) {
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

    pub(super) fn client(&self) -> IpAddr {
        match self {
            Self::V4(set) => set.client.into(),
            Self::V6(set) => set.client.into(),
        }
    }

    pub(super) fn virtual_server(&self) -> IpAddr {
        match self {
            Self::V4(set) => set.virtual_server.into(),
            Self::V6(set) => set.virtual_server.into(),
        }
    }

    pub(super) fn server(&self) -> IpAddr {
        match self {
            Self::V4(set) => set.server.into(),
            Self::V6(set) => set.server.into(),
        }
    }

    /// Whether a packet between these addresses belongs to the connection in this direction.
    #[inline]
    pub(super) fn matches(&self, from: &IpAddr, to: &IpAddr, direction: Direction) -> bool {
        match (self, from, to) {
            (Self::V4(set), IpAddr::V4(from), IpAddr::V4(to)) => set.matches(from, to, direction),
            (Self::V6(set), IpAddr::V6(from), IpAddr::V6(to)) => set.matches(from, to, direction),
            _ => false,
        }
    }

    /// Reads an address, wherever it lies.
    #[inline]
    pub(super) fn touch(&self) -> u32 {
        match self {
            Self::V4(set) => set.client.octets()[0].into(),
            // Where they lie, they may be on two cache lines.
            Self::V6(set) => (set.client.octets()[0] ^ set.server.octets()[15]).into(),
        }
    }
}

impl<A: PartialEq> AddressSet<A> {
    #[inline(always)]
    pub(super) fn matches(&self, source: &A, destination: &A, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => *source == self.client && *destination == self.virtual_server,
            Direction::ToClient => *source == self.server && *destination == self.client,
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

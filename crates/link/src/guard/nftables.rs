//! The guard as an nftables table of the netdev family, owned by the socket that made it: the kernel
//! removes it when that socket closes, and nobody else can change it (`NFT_TABLE_F_OWNER`, Linux
//! 5.12). Spoken by netlink, without the `nft` program.

mod message;

use std::io;

use self::message::{Batch, Expression};
use super::{Entry, Role};
use crate::LinkError;
use crate::sys::interface;
use crate::sys::netlink::Netlink;

/// Set elements in one message: an attribute's length has 16 bits.
const ELEMENTS: usize = 1000;

/// A table.
#[derive(Debug)]
pub(super) struct Nftables {
    socket: Netlink,
    /// Named by process, so that several directors can share a network namespace.
    table: String,
    sequence: u32,
}

fn failed(operation: &'static str, interface: &str) -> impl Fn(io::Error) -> LinkError {
    move |source| LinkError::new(operation, interface, source).needs("CAP_NET_ADMIN")
}

/// The parts of a family's rules that differ.
#[derive(Clone, Copy, Debug)]
struct Family {
    /// Suffix of set names.
    suffix: char,
    ether_type: u16,
    /// Offsets of the addresses in the IP header, and their length.
    source: u32,
    destination: u32,
    len: u32,
    /// The type that `nft` prints (`TYPE_IPADDR`, `TYPE_IP6ADDR`).
    address_type: u32,
}

const FAMILIES: [Family; 2] = [
    Family {
        suffix: '4',
        ether_type: 0x0800,
        source: 12,
        destination: 16,
        len: 4,
        address_type: 7,
    },
    Family {
        suffix: '6',
        ether_type: 0x86dd,
        source: 8,
        destination: 24,
        len: 16,
        address_type: 8,
    },
];

const ROLES: [Role; 4] = [Role::Local, Role::Service, Role::RealServer, Role::Owned];

fn set_name(role: Role, family: Family) -> String {
    let name = match role {
        Role::Local => "local",
        Role::Service => "service",
        Role::RealServer => "real",
        Role::Owned => "owned",
    };
    format!("{name}{}", family.suffix)
}

fn has_port(role: Role) -> bool {
    matches!(role, Role::Service | Role::RealServer)
}

impl Nftables {
    pub(super) fn attach(interfaces: &[&str]) -> Result<Self, LinkError> {
        let all = interfaces.join(", ");
        let socket = Netlink::open(libc::NETLINK_NETFILTER)
            .map_err(failed("open an nftables socket for the guard", &all))?;
        let table = format!("ulvs-{}", std::process::id());
        let mut guard = Self {
            socket,
            table,
            sequence: 0,
        };
        guard.create(interfaces, None)?;
        Ok(guard)
    }

    /// Replaces the table by one on other interfaces with these entries, at once.
    pub(super) fn recreate(
        &mut self,
        interfaces: &[&str],
        entries: &[Entry],
    ) -> Result<(), LinkError> {
        self.create(interfaces, Some(entries))
    }

    fn create(
        &mut self,
        interfaces: &[&str],
        replacing: Option<&[Entry]>,
    ) -> Result<(), LinkError> {
        let mut batch = Batch::new(&self.table, self.sequence);
        if replacing.is_some() {
            batch.delete_table();
        }
        batch.new_table();
        for family in FAMILIES {
            for role in ROLES {
                let (len, kind) = if has_port(role) {
                    // Concatenated with inet_proto (12) and inet_service (13), 6 bits each.
                    (family.len + 8, family.address_type << 12 | 12 << 6 | 13)
                } else {
                    (family.len, family.address_type)
                };
                batch.new_set(&set_name(role, family), len, kind);
            }
        }
        for (set, elements) in elements_by_set(replacing.unwrap_or(&[])) {
            for some in elements.chunks(ELEMENTS) {
                batch.add_elements(&set, some);
            }
        }
        batch.new_chain(interfaces);
        for family in FAMILIES {
            for rule in rules(family) {
                batch.new_rule(&rule);
            }
        }
        for name in interfaces {
            // Some kernels accept a name that no interface has.
            interface::index(name).map_err(failed("look up the interface", name))?;
        }
        let all = interfaces.join(", ");
        self.commit(batch)
            .map_err(failed("make an nftables table for the guard", &all))
    }

    pub(super) fn insert(&mut self, entries: &[Entry]) -> Result<(), LinkError> {
        self.change(entries, Batch::add_elements)
    }

    pub(super) fn remove(&mut self, entries: &[Entry]) -> Result<(), LinkError> {
        self.change(entries, Batch::delete_elements)
    }

    fn change(
        &mut self,
        entries: &[Entry],
        change: fn(&mut Batch, &str, &[Vec<u8>]),
    ) -> Result<(), LinkError> {
        let failed = failed("change the guard's nftables table", "all interfaces");
        for (set, elements) in elements_by_set(entries) {
            for some in elements.chunks(ELEMENTS) {
                let mut batch = Batch::new(&self.table, self.sequence);
                change(&mut batch, &set, some);
                self.commit(batch).map_err(&failed)?;
            }
        }
        Ok(())
    }

    /// Has the kernel carry out a batch: all of it or, on an error, none.
    fn commit(&mut self, batch: Batch) -> io::Result<()> {
        let (datagram, sequence) = batch.finish();
        self.sequence = sequence;
        self.socket.send(&datagram)?;
        let mut acknowledged = false;
        let mut refusal = None;
        while let Some(answer) = self.socket.receive()? {
            for errno in message::answers(&answer) {
                acknowledged = true;
                if errno != 0 && refusal.is_none() {
                    refusal = Some(io::Error::from_raw_os_error(errno));
                }
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None if acknowledged => Ok(()),
            None => Err(io::Error::other("the kernel did not answer")),
        }
    }
}

/// The entries as set elements, under the names of their sets.
fn elements_by_set(entries: &[Entry]) -> Vec<(String, Vec<Vec<u8>>)> {
    let mut sets = Vec::new();
    for family in FAMILIES {
        for role in ROLES {
            let elements = entries
                .iter()
                .filter(|entry| entry.role == role)
                .filter(|entry| entry.address.to_ipv4_mapped().is_some() == (family.len == 4))
                .map(element)
                .collect();
            sets.push((set_name(role, family), elements));
        }
    }
    sets
}

/// A set element: address, and for endpoints protocol and port, each filled up to 4 octets.
fn element(entry: &Entry) -> Vec<u8> {
    let mut element = match entry.address.to_ipv4_mapped() {
        Some(address) => address.octets().to_vec(),
        None => entry.address.octets().to_vec(),
    };
    if has_port(entry.role) {
        let [port0, port1] = entry.port.to_be_bytes();
        element.extend([entry.protocol, 0, 0, 0, port0, port1, 0, 0]);
    }
    element
}

/// First of the registers that a set lookup reads: 32 bits each.
const KEY: u32 = 8;
/// Where a second address goes.
const OTHER: u32 = 16;
/// Offsets of the ports in every transport header here.
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;

/// The rules of one family, each a list of expressions that ends in a drop.
fn rules(family: Family) -> Vec<Vec<Expression>> {
    let is_family = [
        Expression::EtherType(KEY),
        Expression::Equal(KEY, family.ether_type.to_be_bytes().to_vec()),
    ];
    let address = |register, offset| Expression::Network(register, offset, family.len);
    let lookup = |role, register, inverted| Expression::Lookup {
        set: set_name(role, family),
        register,
        inverted,
    };
    let (protocol, port) = (KEY + family.len / 4, KEY + family.len / 4 + 1);
    let endpoint = |offset, port_offset, any_port: bool| {
        // The port is read even when any will do: a later fragment has none and must pass.
        let mut steps = vec![
            address(KEY, offset),
            Expression::Protocol(protocol),
            Expression::Transport(port, port_offset, 2),
        ];
        if any_port {
            steps.push(Expression::Constant(port, vec![0; 4]));
        }
        steps
    };
    let mut rules = vec![vec![
        address(KEY, family.destination),
        lookup(Role::Owned, KEY, false),
    ]];
    for any_port in [false, true] {
        let mut service = endpoint(family.destination, DESTINATION_PORT, any_port);
        service.push(lookup(Role::Service, KEY, false));
        let mut reply = endpoint(family.source, SOURCE_PORT, any_port);
        reply.push(lookup(Role::RealServer, KEY, false));
        reply.push(address(OTHER, family.destination));
        reply.push(lookup(Role::Local, OTHER, true));
        rules.extend([service, reply]);
    }
    for rule in &mut rules {
        rule.splice(0..0, is_family.clone());
        rule.extend([Expression::Count, Expression::Drop]);
    }
    rules
}

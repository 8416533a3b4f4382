//! The guard as an nftables table of the netdev family, owned by the socket that made it: the kernel
//! removes it when that socket closes, and nobody else can change it (`NFT_TABLE_F_OWNER`, Linux
//! 5.12). Spoken by netlink, without the `nft` program.

mod message;

use std::io;

use self::message::{Batch, Expression, INGRESS};
use super::{Entry, Role, TRANSLATED_ERRORS};
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
            let errors = errors_chain(family);
            batch.new_inner_chain(&errors);
            for rule in error_rules(family) {
                batch.new_rule(&errors, &rule);
            }
            for rule in rules(family) {
                batch.new_rule(INGRESS, &rule);
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

impl Family {
    /// Registers of protocol and port in the key of an endpoint.
    const fn endpoint_registers(self) -> (u32, u32) {
        (KEY + self.len / 4, KEY + self.len / 4 + 1)
    }

    /// On only where the register is (or, inverted, is not) in the set.
    fn lookup(self, role: Role, register: u32, inverted: bool) -> Expression {
        Expression::Lookup {
            set: set_name(role, self),
            register,
            inverted,
        }
    }

    /// On only where an endpoint's key is a real server's and the packet is not to the host itself; then dropped.
    fn drop_of_real_server(self) -> [Expression; 5] {
        [
            self.lookup(Role::RealServer, KEY, false),
            Expression::Network(OTHER, self.destination, self.len),
            self.lookup(Role::Local, OTHER, true),
            Expression::Count,
            Expression::Drop,
        ]
    }
}

/// The chain for what ICMP errors quote.
fn errors_chain(family: Family) -> String {
    format!("errors{}", family.suffix)
}

/// The rules of that chain: one for each length that the quoted header may have.
fn error_rules(family: Family) -> Vec<Vec<Expression>> {
    /// Offset of the quoted packet in an error.
    const QUOTED: u32 = 8;
    let quoted = |register, offset, len| Expression::Transport(register, QUOTED + offset, len);
    let is_first_octet = |octet| [quoted(KEY, 0, 1), Expression::Equal(KEY, vec![octet])];
    let (protocol, port) = family.endpoint_registers();
    let mut rules = Vec::new();
    let mut add = |first: Vec<Expression>, next_header, header_len| {
        for any_port in [false, true] {
            let mut rule = first.clone();
            rule.extend([
                quoted(KEY, family.destination, family.len),
                quoted(protocol, next_header, 1),
                quoted(port, header_len + DESTINATION_PORT, 2),
            ]);
            if any_port {
                rule.push(Expression::Constant(port, vec![0; 4]));
            }
            rule.extend(family.drop_of_real_server());
            rules.push(rule);
        }
    };
    if family.len == 4 {
        for words in 5..=15_u8 {
            let mut first = is_first_octet(0x40 | words).to_vec();
            // Later fragments have no ports.
            first.extend([
                quoted(KEY, 6, 2),
                Expression::Mask(KEY, vec![0x1f, 0xff]),
                Expression::Equal(KEY, vec![0, 0]),
            ]);
            add(first, 9, 4 * u32::from(words));
        }
    } else {
        add(Vec::new(), 6, 40);
    }
    rules
}

/// The ICMP errors that the director translates, each as what a rule must see.
fn errors(family: Family) -> Vec<Vec<Expression>> {
    let message = |protocol| {
        vec![
            Expression::Protocol(KEY),
            Expression::Equal(KEY, vec![protocol]),
            Expression::Transport(KEY, 0, 1),
        ]
    };
    let end = Expression::Jump(errors_chain(family));
    if family.len == 4 {
        let of_kind = |kind| {
            let is_it = Expression::Equal(KEY, vec![kind]);
            [message(1), vec![is_it, end.clone()]].concat()
        };
        TRANSLATED_ERRORS.map(of_kind).to_vec()
    } else {
        // All others are informational (RFC 4443, section 2.1).
        let is_error = vec![
            Expression::Mask(KEY, vec![0x80]),
            Expression::Equal(KEY, vec![0]),
        ];
        vec![[message(58), is_error, vec![end]].concat()]
    }
}

/// The rules of one family, each a list of expressions that ends in a drop or in the chain for errors.
fn rules(family: Family) -> Vec<Vec<Expression>> {
    let is_family = [
        Expression::EtherType(KEY),
        Expression::Equal(KEY, family.ether_type.to_be_bytes().to_vec()),
    ];
    let address = |register, offset| Expression::Network(register, offset, family.len);
    let (protocol, port) = family.endpoint_registers();
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
        family.lookup(Role::Owned, KEY, false),
        Expression::Count,
        Expression::Drop,
    ]];
    for any_port in [false, true] {
        let mut service = endpoint(family.destination, DESTINATION_PORT, any_port);
        service.push(family.lookup(Role::Service, KEY, false));
        service.extend([Expression::Count, Expression::Drop]);
        let mut reply = endpoint(family.source, SOURCE_PORT, any_port);
        reply.extend(family.drop_of_real_server());
        rules.extend([service, reply]);
    }
    rules.extend(errors(family));
    for rule in &mut rules {
        rule.splice(0..0, is_family.clone());
    }
    rules
}

//! Whether a packet is of a flow that the rules name: the part that BPF programs have in common, and
//! the map that they look into.
//!
//! A program puts the packet's addresses (IPv4 mapped), ports and protocol where the constants here
//! say, and goes through [`flow`].

use std::os::fd::RawFd;
use std::sync::Arc;

use super::{Entry, Role};
use crate::ebpf::{Assembler, BYTE, DOUBLE, FRAME, HALF, Label, MAP_LOOKUP_ELEM, R0, R1, R2};
use crate::sys::bpf::HashMap;

/// Octets of a key: address 16, port 2, protocol 1, role 1.
const KEY: usize = 20;
/// Entries at most; memory is taken as they come.
const ENTRIES: u32 = 1 << 18;
/// A map value is not read, it must only be there.
const VALUE: [u8; 8] = [0; 8];

/// Register of the upper-layer protocol; 0 when there are no ports to look at.
pub(crate) const PROTOCOL: u8 = 7;

// The stack, offsets from its end. Addresses begin on 8-octet boundaries, as the verifier demands.
const KEY_AT: i16 = -24;
pub(crate) const SOURCE_AT: i16 = -40;
pub(crate) const DESTINATION_AT: i16 = -56;
/// Source and destination port, in network order; else a program's own.
pub(crate) const PORTS_AT: i16 = -64;

/// The rules that are in force, as BPF programs see them: one map for all of them, so that what one
/// takes and what another drops is never in between.
#[derive(Clone, Debug)]
pub struct Flows {
    map: Arc<HashMap<KEY, 8>>,
}

impl Flows {
    /// Flows of no rules (`CAP_BPF`).
    pub(super) fn new() -> std::io::Result<Self> {
        let map = Arc::new(HashMap::new(ENTRIES)?);
        Ok(Self { map })
    }

    pub(super) fn insert(&self, entries: &[Entry]) -> std::io::Result<()> {
        let mut keys = entries.iter().map(key);
        keys.try_for_each(|key| self.map.insert(key, VALUE))
    }

    pub(super) fn remove(&self, entries: &[Entry]) -> std::io::Result<()> {
        let mut keys = entries.iter().map(key);
        keys.try_for_each(|key| self.map.remove(key))
    }

    /// The number by which a program's instructions name the map.
    pub(crate) fn number(&self) -> RawFd {
        self.map.number()
    }
}

/// The number that stands for a role in a key.
const fn number(role: Role) -> u8 {
    match role {
        Role::Service => 0,
        Role::RealServer => 1,
        Role::Local => 2,
        Role::Owned => 3,
    }
}

/// The entry as programs look it up.
fn key(entry: &Entry) -> [u8; KEY] {
    let mut key = [0; KEY];
    let (address, rest) = key.split_at_mut(16);
    address.copy_from_slice(&entry.address.octets());
    let [port0, port1] = entry.port.to_be_bytes();
    rest.copy_from_slice(&[port0, port1, entry.protocol, number(entry.role)]);
    key
}

/// Jumps to `found` when the packet is to a virtual address that is not the host's.
pub(crate) fn owned(code: &mut Assembler, map: RawFd, found: Label) {
    let kind = Kind::Address(Role::Owned);
    lookup(code, map, DESTINATION_AT, kind, found);
}

/// Jumps to `miss` unless the packet, which has ports, is to a service, or from a real server and not
/// to the host. `sender` is placed where only the latter is asked.
pub(crate) fn flow(code: &mut Assembler, map: RawFd, sender: Label, hit: Label, miss: Label) {
    let (from, to) = (PORTS_AT, PORTS_AT + 2);
    let reply = code.label();
    for port in [Some(to), None] {
        let kind = Kind::Endpoint(Role::Service, port);
        lookup(code, map, DESTINATION_AT, kind, hit);
    }
    code.place(sender);
    for port in [Some(from), None] {
        let kind = Kind::Endpoint(Role::RealServer, port);
        lookup(code, map, SOURCE_AT, kind, reply);
    }
    code.jump(miss);
    code.place(reply);
    let kind = Kind::Address(Role::Local);
    lookup(code, map, DESTINATION_AT, kind, miss);
    code.jump(hit);
}

/// What a key holds beside the address.
#[derive(Clone, Copy)]
enum Kind {
    Address(Role),
    /// The packet's protocol, and the port at that place of the stack or any.
    Endpoint(Role, Option<i16>),
}

/// Jumps to `found` when the map has such an entry for the address.
fn lookup(code: &mut Assembler, map: RawFd, address: i16, kind: Kind, found: Label) {
    code.move_stack(DOUBLE, address, KEY_AT);
    code.move_stack(DOUBLE, address + 8, KEY_AT + 8);
    match kind {
        Kind::Endpoint(_, Some(port)) => code.move_stack(HALF, port, KEY_AT + 16),
        _ => code.store_constant(HALF, KEY_AT + 16, 0),
    }
    let role = match kind {
        Kind::Endpoint(role, _) => {
            code.store(BYTE, KEY_AT + 18, PROTOCOL);
            role
        }
        Kind::Address(role) => {
            code.store_constant(BYTE, KEY_AT + 18, 0);
            role
        }
    };
    code.store_constant(BYTE, KEY_AT + 19, number(role).into());
    code.load_map(R1, map);
    code.copy(R2, FRAME);
    code.add_constant(R2, KEY_AT.into());
    code.call(MAP_LOOKUP_ELEM);
    code.jump_if_not_equal(R0, 0, found);
}

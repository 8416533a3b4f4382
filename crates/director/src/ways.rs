//! The ways to real servers, looked up once for each snapshot of the host.
//!
//! Promises: what is kept says the same as a new lookup would: everything is forgotten when the snapshot changes, and
//! what changes without one (link addresses that ulvs learned itself, path MTUs) is not kept. Bounded.

use core::net::{IpAddr, Ipv6Addr};

use foldhash::{HashMap, HashMapExt};

use crate::connection::bits;
use crate::director::{Batch, Worker, is_for_us};
use crate::egress::Hop;
use crate::net::{Network, Route};
use crate::verdict::DropReason;

/// Ways kept at once: real servers are few, but bypass goes to the packets' own destinations.
const WAYS_MAX: usize = 16_384;

/// How packets get to a real server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// They do not: it is this host.
    Local,
    /// By this hop, with the path MTU of the route alone; and the source address of a tunnel that goes there.
    Hop(Hop, Option<IpAddr>),
    /// They do not.
    None(DropReason),
}

/// Places for hops by gateways.
const GATEWAYS: usize = 16;
/// Places for those used last; a power of two.
const RECENT: usize = 1024;

/// What one worker keeps.
#[derive(Debug)]
pub(crate) struct Ways {
    ways: Vec<Way>,
    /// Where the way to each address stands.
    numbers: HashMap<u128, usize>,
    /// Those used last: address, and where the way to it stands.
    recent: Box<[(u128, usize)]>,
    /// Hops by gateways: where the route lies in the snapshot, which is kept as long as this.
    gateways: [Option<(usize, Hop)>; GATEWAYS],
    /// The last hop to a neighbour.
    neighbour: Option<Hop>,
}

impl Ways {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            ways: Vec::new(),
            numbers: HashMap::new(),
            recent: vec![(0, usize::MAX); RECENT].into(),
            gateways: [None; GATEWAYS],
            neighbour: None,
        }
    }

    /// Forgets all, because the host has changed.
    pub(crate) fn clear(&mut self) {
        self.ways.clear();
        self.numbers.clear();
        self.recent.fill((0, usize::MAX));
        self.gateways = [None; GATEWAYS];
    }

    /// The hop to a client, with the path MTU of the route alone.
    #[inline(always)]
    pub(crate) fn back(&mut self, network: &Network, client: IpAddr) -> Option<&Hop> {
        let route = network.routes.lookup(client)?;
        if route.gateway.is_none() {
            self.neighbour = network.hop_by(route, client).ok();
            return self.neighbour.as_ref();
        }
        let place = core::ptr::from_ref(route).addr();
        let kept = self
            .gateways
            .get_mut(place / size_of::<Route>() % GATEWAYS)?;
        if kept.is_none_or(|(known, _)| known != place) {
            *kept = Some((place, network.hop_by(route, client).ok()?));
        }
        kept.as_ref().map(|(_, hop)| hop)
    }

    /// The way to real server `address`.
    #[inline(always)]
    pub(crate) fn to(&mut self, network: &Network, address: IpAddr) -> &Way {
        let bits = bits(&address);
        let recent = self.recent.get(place(bits));
        let number = match recent {
            Some(&(kept, number)) if kept == bits && number < self.ways.len() => number,
            _ => self.find(network, bits),
        };
        &self.ways[number]
    }

    /// Where the way to an address stands, from now on.
    #[cold]
    #[inline(never)]
    fn find(&mut self, network: &Network, bits: u128) -> usize {
        if self.ways.len() >= WAYS_MAX {
            self.clear();
        }
        let ways = &mut self.ways;
        let number = *self.numbers.entry(bits).or_insert_with(|| {
            ways.push(look_up(network, Ipv6Addr::from_bits(bits).to_canonical()));
            ways.len() - 1
        });
        if let Some(recent) = self.recent.get_mut(place(bits)) {
            *recent = (bits, number);
        }
        number
    }
}

/// The place of an address among those used last. Neighbouring addresses have places of their own.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "all bits of the address take part"
)]
const fn place(bits: u128) -> usize {
    let folded = (bits >> 64) as u64 ^ bits as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - RECENT.ilog2())) as usize
}

impl Worker {
    /// The way to real server `address`.
    #[inline]
    pub(crate) fn way(&mut self, batch: &Batch<'_>, address: &IpAddr) -> &Way {
        self.ways.to(batch.network, *address)
    }
}

fn look_up(network: &Network, address: IpAddr) -> Way {
    if is_for_us(network, address) {
        return Way::Local;
    }
    match network.hop(address) {
        Ok(hop) => Way::Hop(hop, network.outer_source(&hop, address)),
        Err(reason) => Way::None(reason),
    }
}

//! Who connects: addresses, and ports that are free.

use core::net::{IpAddr, Ipv4Addr};

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use rand_distr::Distribution as _;
use rand_distr::weighted::WeightedAliasIndex;

use crate::random::{self, Stream};
use crate::scenario::Clients;

/// Ports below are servers'.
const FIRST_PORT: u16 = 1024;

/// Hosts of a /24.
const HOSTS: u32 = 254;

/// Clients' addresses are 64.0.0.0/3.
const NETWORK: u32 = 0x4000_0000;

/// A flood's addresses are 128.0.0.0/3, which no client has.
const FLOOD_NETWORK: u32 = 0x8000_0000;

/// Bits of an address that differ among clients.
const BITS: u32 = 29;

/// How often each of the clients comes, as a table.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    clients: Clients,
    zipf: Option<WeightedAliasIndex<f64>>,
}

impl Plan {
    pub(super) fn new(clients: &Clients) -> Self {
        let zipf = match clients {
            Clients::Zipf { count, exponent } => zipf(*count, *exponent),
            _ => None,
        };
        Self {
            clients: clients.clone(),
            zipf,
        }
    }

    pub(super) fn start(&self, seed: u64, repeat: u32) -> Endpoints {
        let mut stream = random::stream(seed, repeat, "clients");
        let salt = random::below(&mut stream, 1 << BITS);
        let (count, few) = match self.clients {
            Clients::Uniform { count } | Clients::Zipf { count, .. } => (count, None),
            Clients::Subnets { count } => (count.saturating_mul(HOSTS), None),
            Clients::PortReuse { count, ports } => (count, Some(u32::from(ports.max(1)))),
            Clients::Nat => (1, None),
        };
        let count = count.max(1);
        let cursors = if few.is_some() { 0 } else { count };
        let cursors = (0..cursors).map(|client| low16(mix(client, salt, BITS) >> 7));
        Endpoints {
            count,
            in_networks: matches!(self.clients, Clients::Subnets { .. }),
            few,
            salt,
            zipf: self.zipf.clone(),
            stream,
            cursors: cursors.collect(),
            live: HashSet::default(),
        }
    }
}

/// The k-th of `count`, from 1, as often as `k^-exponent`; `None` where there are too many for a table, or none.
pub(super) fn zipf(count: u32, exponent: f64) -> Option<WeightedAliasIndex<f64>> {
    let weights = (1..=count).map(|rank| libm::pow(f64::from(rank), -exponent));
    WeightedAliasIndex::new(weights.collect()).ok()
}

/// Which endpoints there are, and which of them are live.
#[derive(Debug)]
pub(super) struct Endpoints {
    count: u32,
    in_networks: bool,
    /// Ports of each client, where it has only so many.
    few: Option<u32>,
    salt: u32,
    zipf: Option<WeightedAliasIndex<f64>>,
    stream: Stream,
    /// The port that each client used last, where it has all of them.
    cursors: Vec<u16>,
    live: HashSet<u64, FixedState>,
}

impl Endpoints {
    /// Who connects next; where clients have few ports, from which endpoint.
    pub(super) fn pick(&mut self) -> u32 {
        match (&self.zipf, self.few) {
            (Some(zipf), None) => u32::try_from(zipf.sample(&mut self.stream)).unwrap_or(0),
            (_, few) => random::below(
                &mut self.stream,
                self.count.saturating_mul(few.unwrap_or(1)),
            ),
        }
    }

    /// A free endpoint of what was picked, or of another one where clients have few ports; `None` while there is none.
    pub(super) fn take(&mut self, picked: u32) -> Option<(IpAddr, u16)> {
        match self.few {
            Some(ports) => self.take_few(picked, ports),
            None => self.take_next(picked),
        }
    }

    /// A client's ports in an order that looks random and has each of them once before it begins again, so that a port
    /// is not used again soon.
    fn take_next(&mut self, client: u32) -> Option<(IpAddr, u16)> {
        let address = self.address(client);
        let cursor = usize::try_from(client)
            .ok()
            .and_then(|client| self.cursors.get_mut(client))?;
        for _ in 0..=u16::MAX {
            // A full period: the factor is 1 more than a multiple of 4, what is added is odd.
            *cursor = cursor.wrapping_mul(25_173).wrapping_add(13_849);
            if *cursor >= FIRST_PORT && self.live.insert(key(address, *cursor)) {
                return Some((IpAddr::V4(address), *cursor));
            }
        }
        None
    }

    fn take_few(&mut self, picked: u32, ports: u32) -> Option<(IpAddr, u16)> {
        let endpoints = self.count.saturating_mul(ports);
        if self.live.len() >= usize::try_from(endpoints).unwrap_or(usize::MAX) {
            return None;
        }
        (0..endpoints).find_map(|step| {
            let endpoint = (picked + step) % endpoints;
            let address = self.address(endpoint / ports);
            let port = FIRST_PORT.saturating_add(low16(endpoint % ports));
            self.live
                .insert(key(address, port))
                .then_some((IpAddr::V4(address), port))
        })
    }

    /// An endpoint is free again.
    pub(super) fn free(&mut self, (address, port): (IpAddr, u16)) {
        if let IpAddr::V4(address) = address {
            self.live.remove(&key(address, port));
        }
    }

    fn address(&self, client: u32) -> Ipv4Addr {
        let bits = if self.in_networks {
            (mix(client / HOSTS, self.salt, BITS - 8) << 8) | (client % HOSTS + 1)
        } else {
            mix(client, self.salt, BITS)
        };
        Ipv4Addr::from_bits(NETWORK | bits)
    }
}

/// An endpoint that no client has: a flood's.
pub(super) fn forged(stream: &mut Stream) -> (IpAddr, u16) {
    let address = FLOOD_NETWORK | random::below(stream, 1 << BITS);
    let port = FIRST_PORT + low16(random::below(stream, u32::from(u16::MAX - FIRST_PORT) + 1));
    (IpAddr::V4(Ipv4Addr::from_bits(address)), port)
}

fn key(address: Ipv4Addr, port: u16) -> u64 {
    u64::from(address.to_bits()) << 16 | u64::from(port)
}

fn low16(value: u32) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or(0)
}

/// Numbers of so many bits onto each other, one to one, so that neighbours are far from each other.
fn mix(value: u32, salt: u32, bits: u32) -> u32 {
    let mask = (1 << bits) - 1;
    let mut value = (value ^ salt) & mask;
    for factor in [0x9e37_79b1_u32, 0x85eb_ca6b] {
        value = value.wrapping_mul(factor) & mask;
        value ^= value >> (bits / 2);
    }
    value
}

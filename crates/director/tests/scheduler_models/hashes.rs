//! `sh`, `dh` and `mh`, with the hashes they use.

use std::net::IpAddr;

use crate::service::{Arrival, Formula, Id, Scene};

/// Buckets of `sh` and `dh`.
const BUCKETS: usize = 256;
/// Places of `mh`.
const PLACES: u32 = 4093;
/// Bits of a weight that `mh` tells apart.
const WEIGHT_BITS: u32 = 6;
/// The two keys of `mh`; each is both halves of a SipHash key.
const KEYS: [u64; 2] = [2_654_435_761, 2_654_446_892];

/// The words of an address, each as a number, XORed.
fn fold(address: IpAddr) -> u32 {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut folded = 0;
    for word in octets.chunks(4) {
        folded ^= word
            .iter()
            .fold(0_u32, |sum, &octet| sum << 8 | u32::from(octet));
    }
    folded
}

/// The highest 8 bits of the product with the golden ratio.
fn bucket(value: u32) -> usize {
    let product = u64::from(value) * 0x61c8_8647;
    usize::try_from(product >> 24 & 0xff).unwrap()
}

/// Each real server of the list takes as many buckets in a row as its weight says, at least one; then again from the
/// first.
#[derive(Default)]
pub(crate) struct SourceHash {
    buckets: Vec<Id>,
}

impl Formula for SourceHash {
    fn changed(&mut self, scene: Scene<'_>) {
        self.buckets.clear();
        while !scene.list.is_empty() && self.buckets.len() < BUCKETS {
            for &id in scene.list {
                let mut count = 0;
                loop {
                    self.buckets.push(id);
                    count += 1;
                    if count >= scene.server(id).weight || self.buckets.len() >= BUCKETS {
                        break;
                    }
                }
            }
        }
        self.buckets.truncate(BUCKETS);
    }

    fn pick(&mut self, scene: Scene<'_>, arrival: Arrival) -> Option<Id> {
        if self.buckets.is_empty() {
            return None;
        }
        let port = if arrival.with_port {
            arrival.client_port
        } else {
            0
        };
        let own = bucket(fold(arrival.client).wrapping_add(port.into()));
        let id = self.buckets[own];
        if scene.server(id).usable() {
            return Some(id);
        }
        if !arrival.with_fallback {
            return None;
        }
        // The own bucket's number counts twice on the way on.
        for offset in 0..BUCKETS {
            let from_own = (own + offset) % BUCKETS;
            let id = self.buckets[(own + from_own) % BUCKETS];
            if scene.server(id).usable() {
                return Some(id);
            }
        }
        None
    }
}

/// The buckets go to the real servers in turn.
#[derive(Default)]
pub(crate) struct DestinationHash {
    buckets: Vec<Id>,
}

impl Formula for DestinationHash {
    fn changed(&mut self, scene: Scene<'_>) {
        self.buckets.clear();
        for number in 0..BUCKETS {
            if !scene.list.is_empty() {
                self.buckets.push(scene.list[number % scene.list.len()]);
            }
        }
    }

    fn pick(&mut self, scene: Scene<'_>, arrival: Arrival) -> Option<Id> {
        let id = *self.buckets.get(bucket(fold(arrival.virtual_address)))?;
        scene.server(id).usable().then_some(id)
    }
}

/// SipHash with one round a word and three at the end, of four octets; its lower half.
fn siphash(value: u32, key: u64) -> u32 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    let round = |v: &mut [u64; 4]| {
        v[0] = v[0].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    };
    let last = 4 << 56 | u64::from(value);
    v[3] ^= last;
    round(&mut v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    let hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    u32::try_from(hash & 0xffff_ffff).unwrap()
}

/// One real server's way through the table of `mh`.
struct Walk {
    id: Id,
    place: u32,
    stride: u32,
    turns: i128,
}

/// Each real server takes free places along its own walk, in turns as its last weight says.
#[derive(Default)]
pub(crate) struct Maglev {
    places: Vec<Option<Id>>,
}

/// What a service makes of a real server's address: an IPv4 service reads the first four octets.
fn server_fold(is_v4: bool, address: IpAddr) -> u32 {
    match address {
        IpAddr::V6(address) if is_v4 => {
            let [a, b, ..] = address.segments();
            u32::from(a) << 16 | u32::from(b)
        }
        address => fold(address),
    }
}

fn walks(scene: Scene<'_>) -> Vec<Walk> {
    let weight = |id: Id| scene.server(id).last_weight;
    let divide = |mut a: i128, mut b: i128| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let divisor = scene
        .list
        .iter()
        .fold(0, |sum, &id| divide(sum, weight(id)));
    if divisor == 0 {
        return Vec::new();
    }
    let heaviest = scene.list.iter().map(|&id| weight(id)).max().unwrap_or(0);
    let bits = 128 - (heaviest / divisor).leading_zeros();
    let shift = bits.saturating_sub(WEIGHT_BITS);
    let mut walks = Vec::new();
    for &id in scene.list {
        let server = scene.server(id);
        let value = server_fold(scene.is_v4, server.address).wrapping_add(server.port.into());
        let turns = match (weight(id) / divisor) >> shift {
            0 if weight(id) > 0 => 1,
            turns => turns,
        };
        walks.push(Walk {
            id,
            place: siphash(value, KEYS[0]) % PLACES,
            stride: siphash(value, KEYS[1]) % (PLACES - 1) + 1,
            turns,
        });
    }
    walks
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap()
}

impl Formula for Maglev {
    fn changed(&mut self, scene: Scene<'_>) {
        let mut walks = walks(scene);
        self.places = vec![None; index(PLACES)];
        let mut taken = 0;
        while !walks.is_empty() && taken < PLACES {
            for walk in &mut walks {
                for _ in 0..walk.turns {
                    if taken == PLACES {
                        break;
                    }
                    while self.places[index(walk.place)].is_some() {
                        walk.place = (walk.place + walk.stride) % PLACES;
                    }
                    self.places[index(walk.place)] = Some(walk.id);
                    taken += 1;
                }
            }
        }
    }

    fn pick(&mut self, scene: Scene<'_>, arrival: Arrival) -> Option<Id> {
        let port = if arrival.with_port {
            u32::from(arrival.client_port)
        } else {
            0
        };
        let value = fold(arrival.client).wrapping_add(port);
        let own = siphash(value, KEYS[0]) % PLACES;
        let id = self.places.get(index(own)).copied().flatten()?;
        if scene.server(id).usable() {
            return Some(id);
        }
        if !arrival.with_fallback {
            return None;
        }
        for step in 0..PLACES {
            let offset = (own + step) % PLACES;
            let place = siphash(value.wrapping_add(offset), KEYS[0]) % PLACES;
            let id = self.places[index(place)]?;
            if scene.server(id).usable() {
                return Some(id);
            }
        }
        None
    }
}

//! Longest-prefix match over the host's routes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::HashMap;

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Sent by an interface, to the gateway or directly.
    Unicast,
    /// An address of the host.
    Local,
    /// Dropped silently.
    Blackhole,
    /// Refused (`unreachable`, `prohibit`, `throw` without another match).
    Unreachable,
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it does.
    pub kind: RouteKind,
    /// Egress interface index; 0 for kinds without one.
    pub interface: u32,
    /// Next hop; `None`: the destination is on the link. May be of the other family (RFC 5549).
    pub gateway: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Path MTU metric, octets, below the interface's.
    pub mtu: Option<u32>,
    /// Priority; the lower one wins among equal prefixes.
    pub metric: u32,
}

/// Routes of both families.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    v4: Prefixes,
    v6: Prefixes,
}

/// Routes of one family: one map for each prefix length in use, longest first.
#[derive(Clone, Debug, Default)]
struct Prefixes(Vec<Prefix>);

/// Routes of one prefix length.
#[derive(Clone, Debug)]
struct Prefix {
    length: u8,
    /// The bits of an address that count.
    mask: u128,
    /// By those bits.
    routes: HashMap<u128, Route>,
}

impl Routes {
    /// Adds a route; among equal prefixes the lower metric stays, and of equal metrics the first.
    pub fn insert(&mut self, destination: IpAddr, length: u8, route: Route) {
        let length = length.min(if destination.is_ipv4() { 32 } else { 128 });
        let prefixes = &mut self.family_mut(destination).0;
        let place = prefixes.binary_search_by(|have| length.cmp(&have.length));
        let place = place.unwrap_or_else(|place| {
            let mask = prefix(
                match destination {
                    IpAddr::V4(_) => Ipv4Addr::BROADCAST.into(),
                    IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX).into(),
                },
                length,
            );
            let new = Prefix {
                length,
                mask: number(mask),
                routes: HashMap::default(),
            };
            prefixes.insert(place, new);
            place
        });
        let Some(Prefix { mask, routes, .. }) = prefixes.get_mut(place) else {
            return;
        };
        let key = number(destination) & *mask;
        match routes.get(&key) {
            Some(have) if have.metric <= route.metric => {}
            _ => {
                routes.insert(key, route);
            }
        }
    }

    /// Removes the route of this prefix, whatever its metric; returns whether there was one.
    pub fn remove(&mut self, destination: IpAddr, length: u8) -> bool {
        let prefixes = self.family_mut(destination).0.iter_mut();
        prefixes
            .filter(|prefix| prefix.length == length)
            .any(|prefix| {
                prefix
                    .routes
                    .remove(&(number(destination) & prefix.mask))
                    .is_some()
            })
    }

    /// The route for `destination`: the longest matching prefix.
    #[inline]
    #[must_use]
    pub fn lookup(&self, destination: IpAddr) -> Option<&Route> {
        let family = match destination {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        let key = number(destination);
        family
            .0
            .iter()
            .find_map(|prefix| prefix.routes.get(&(key & prefix.mask)))
    }

    const fn family_mut(&mut self, of: IpAddr) -> &mut Prefixes {
        match of {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }
}

/// The address as a number of its family.
#[inline(always)]
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// `address` with all but its first `length` bits cleared.
#[must_use]
pub fn prefix(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(length.min(32)))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(length.min(128)))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(interface: u32, metric: u32) -> Route {
        Route {
            kind: RouteKind::Unicast,
            interface,
            gateway: None,
            source: None,
            mtu: None,
            metric,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn longest_prefix_wins_and_default_is_last() {
        let mut routes = Routes::default();
        routes.insert(ip("0.0.0.0"), 0, via(1, 0));
        routes.insert(ip("10.0.0.0"), 8, via(2, 0));
        routes.insert(ip("10.1.0.0"), 16, via(3, 0));
        routes.insert(ip("10.1.2.3"), 32, via(4, 0));
        let by = |a: &str| routes.lookup(ip(a)).unwrap().interface;
        assert_eq!(
            [
                by("9.9.9.9"),
                by("10.9.9.9"),
                by("10.1.9.9"),
                by("10.1.2.3")
            ],
            [1, 2, 3, 4]
        );
        assert!(routes.lookup(ip("fd00::1")).is_none());
    }

    #[test]
    fn lower_metric_wins() {
        let mut routes = Routes::default();
        routes.insert(ip("fd00::"), 64, via(1, 1024));
        routes.insert(ip("fd00::"), 64, via(2, 100));
        routes.insert(ip("fd00::"), 64, via(3, 256));
        assert_eq!(routes.lookup(ip("fd00::9")).unwrap().interface, 2);
        assert!(routes.remove(ip("fd00::"), 64));
        assert!(routes.lookup(ip("fd00::9")).is_none());
    }
}

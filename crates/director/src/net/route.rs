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
struct Prefixes {
    lengths: Vec<u8>,
    routes: HashMap<(u8, IpAddr), Route>,
}

impl Routes {
    /// Adds a route; among equal prefixes the lower metric stays, and of equal metrics the first.
    pub fn insert(&mut self, destination: IpAddr, length: u8, route: Route) {
        let length = length.min(if destination.is_ipv4() { 32 } else { 128 });
        let family = if destination.is_ipv4() {
            &mut self.v4
        } else {
            &mut self.v6
        };
        if let Err(place) = family.lengths.binary_search_by(|have| length.cmp(have)) {
            family.lengths.insert(place, length);
        }
        let key = (length, prefix(destination, length));
        match family.routes.get(&key) {
            Some(have) if have.metric <= route.metric => {}
            _ => {
                family.routes.insert(key, route);
            }
        }
    }

    /// Removes the route of this prefix, whatever its metric; returns whether there was one.
    pub fn remove(&mut self, destination: IpAddr, length: u8) -> bool {
        let family = if destination.is_ipv4() {
            &mut self.v4
        } else {
            &mut self.v6
        };
        family
            .routes
            .remove(&(length, prefix(destination, length)))
            .is_some()
    }

    /// The route for `destination`: the longest matching prefix.
    #[must_use]
    pub fn lookup(&self, destination: IpAddr) -> Option<&Route> {
        let family = if destination.is_ipv4() {
            &self.v4
        } else {
            &self.v6
        };
        family
            .lengths
            .iter()
            .find_map(|&length| family.routes.get(&(length, prefix(destination, length))))
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

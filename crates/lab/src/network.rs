//! The network around the directors: one interface, real servers behind it, a router to the clients.

use core::net::{IpAddr, Ipv4Addr};

use director::net::{Answer, Interface, Network, Route, RouteKind};
use packet::Mac;

use crate::random;

/// Link address of each director.
pub(crate) const OWN: Mac = Mac([2, 0, 0, 0, 1, 1]);
/// Index of the one interface.
pub(crate) const INTERFACE: u32 = 1;
/// Virtual port, and that of real servers.
pub(crate) const PORT: u16 = 80;
/// Real servers and virtual addresses at most, so that their addresses stay in their networks.
pub(crate) const MOST: u32 = 60_000;
/// Addresses that one of their networks has for them: those of the directors and their router are behind.
const ROOM: u32 = 65_000;
/// The directors' own address and their router's.
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 254);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 253);

/// Where virtual services and real servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The address before the first virtual one.
    pub(crate) vips: Ipv4Addr,
    /// The address before the first real server's; all of them are in its /16.
    pub(crate) servers: Ipv4Addr,
}

impl Addresses {
    /// Those of a repeat, in 198.18.0.0/15, which is for benchmarks (RFC 2544 section 12).
    ///
    /// Every repeat has others: some schedulers hash them (`dh`, `mh`), and with the same ones in all repeats the interval
    /// would be that of one table, whichever it is.
    pub(crate) fn drawn(seed: u64, repeat: u32, vips: u32, servers: u32) -> Self {
        let mut stream = random::stream(seed, repeat, "addresses");
        let mut before = |network: [u8; 4], count: u32| {
            let free = ROOM.saturating_sub(count);
            Ipv4Addr::from_bits(u32::from_be_bytes(network) + random::below(&mut stream, free))
        };
        Self {
            vips: before([198, 18, 0, 0], vips),
            servers: before([198, 19, 0, 0], servers),
        }
    }

    /// The virtual address of this number, from 0.
    pub(crate) const fn vip(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.vips.to_bits() + number + 1)
    }

    /// The address of the real server of this number, from 0.
    pub(crate) const fn server(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.servers.to_bits() + number + 1)
    }

    /// The network, as a director sees it, for so many virtual addresses and real servers.
    pub(crate) fn network(self, vips: u32, servers: u32) -> Network {
        let own: IpAddr = OWN_ADDRESS.into();
        let mut network = Network {
            interfaces: vec![Interface {
                index: INTERFACE,
                name: "eth0".to_owned(),
                mac: OWN,
                mtu: 1500,
                link_len: 14,
                addresses: vec![(own, 16)],
                up: true,
            }],
            ..Network::default()
        };
        let route = |gateway| Route {
            kind: RouteKind::Unicast,
            interface: INTERFACE,
            gateway,
            source: None,
            mtu: None,
            metric: 0,
        };
        network.routes.insert(own, 16, route(None));
        network.routes.insert(self.servers.into(), 16, route(None));
        let anywhere = Ipv4Addr::UNSPECIFIED.into();
        network
            .routes
            .insert(anywhere, 0, route(Some(ROUTER.into())));
        let router = (INTERFACE, ROUTER.into());
        network.neighbours.insert(router, Mac([2, 0, 0, 0, 2, 1]));
        for server in 0..servers {
            let place = (INTERFACE, self.server(server).into());
            network.neighbours.insert(place, mac(server));
        }
        for vip in 0..vips {
            network.vips.insert(self.vip(vip).into(), Answer::Owned);
        }
        network
    }
}

/// Link address of a real server.
fn mac(server: u32) -> Mac {
    let [a, b, c, d] = server.to_be_bytes();
    Mac([2, 1, a, b, c, d])
}

/// The real server that a frame is sent to, by its link address.
pub(crate) fn server_at(frame: &[u8]) -> Option<u32> {
    match *frame.first_chunk::<6>()? {
        [2, 1, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

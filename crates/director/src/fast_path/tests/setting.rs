//! What the directors of a test are like: one service, two real servers, two networks.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use packet::Mac;

use crate::connection::{HashKind, TableConfig};
use crate::destination::{DestinationConfig, Method, TunnelConfig};
use crate::director::{Director, Host};
use crate::net::{Answer, Interface, Network, Route, RouteKind};
use crate::protocol::Protocol;
use crate::service::{FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use crate::shared::{Options, Shared};

pub(super) const OWN: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(super) const PEER: Mac = Mac([2, 0, 0, 0, 1, 9]);
pub(super) const PORT: u16 = 80;
pub(super) const SERVERS: u8 = 2;
/// What clients arrive by.
pub(super) const OUTSIDE: u32 = 1;

/// What a test's directors are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) is_v6: bool,
    pub(super) protocol: Protocol,
    pub(super) method: Method,
    pub(super) is_persistent: bool,
    /// Real servers are on the clients' network.
    pub(super) is_one_armed: bool,
    /// Octets.
    pub(super) server_mtu: u32,
    /// The kernel knows the neighbours; else the director has to learn them.
    pub(super) knows_neighbours: bool,
    pub(super) sends_redirects: bool,
    pub(super) tells_backups: bool,
}

impl Setting {
    pub(super) const PLAIN: Self = Self {
        is_v6: false,
        protocol: Protocol::Tcp,
        method: Method::Masq,
        is_persistent: false,
        is_one_armed: false,
        server_mtu: 1500,
        knows_neighbours: true,
        sends_redirects: false,
        tells_backups: false,
    };

    pub(super) fn address(self, network: u8, last: u8) -> IpAddr {
        match self.is_v6 {
            false => Ipv4Addr::new(10, network, 0, last).into(),
            true => Ipv6Addr::new(0xfd00, network.into(), 0, 0, 0, 0, 0, last.into()).into(),
        }
    }

    pub(super) fn vip(self) -> IpAddr {
        self.address(8, 1)
    }

    pub(super) fn server(self, last: u8) -> IpAddr {
        self.address(if self.is_one_armed { 1 } else { 2 }, 10 + last)
    }

    /// The last one is behind a gateway.
    pub(super) fn client(self, number: u8) -> IpAddr {
        self.address(if number == 2 { 9 } else { 1 }, number)
    }

    /// The host's network; which gateway leads elsewhere depends on its `generation`.
    pub(super) fn network(self, generation: u32) -> Network {
        let interface = |index: u32, network: u8, mtu| Interface {
            index,
            name: format!("eth{index}"),
            mac: OWN,
            mtu,
            link_len: 14,
            addresses: vec![(self.address(network, 254), if self.is_v6 { 64 } else { 24 })],
            up: true,
        };
        let mut network = Network {
            interfaces: vec![interface(1, 1, 1500), interface(2, 2, self.server_mtu)],
            route_generation: generation,
            ..Network::default()
        };
        let route = |index, gateway| Route {
            kind: RouteKind::Unicast,
            interface: index,
            gateway,
            source: None,
            mtu: None,
            metric: 0,
        };
        let router = self.address(1, 15 + u8::try_from(generation % 3).unwrap());
        network
            .routes
            .insert(self.address(0, 0), 0, route(1, Some(router)));
        for index in [1, 2] {
            let number = u8::try_from(index).unwrap();
            let len = if self.is_v6 { 64 } else { 24 };
            network
                .routes
                .insert(self.address(number, 0), len, route(index, None));
            for last in 0..20 {
                let address = self.address(number, last);
                if self.knows_neighbours {
                    let mac = Mac([2, 0, 0, 0, number, last]);
                    network.neighbours.insert((index, address), mac);
                }
            }
        }
        if self.sends_redirects {
            network.redirects.extend([1, 2]);
        }
        network.vips.insert(self.vip(), Answer::Owned);
        network
    }

    pub(super) fn director(self) -> Director {
        let shared = Arc::new(Shared::new(Options::default()));
        let key = ServiceKey::Address {
            protocol: self.protocol,
            address: self.vip(),
            port: PORT,
        };
        shared
            .add_service(ServiceConfig {
                key,
                scheduler: "rr".to_owned(),
                flags: if self.is_persistent {
                    FLAG_PERSISTENT
                } else {
                    0
                },
                timeout: if self.is_persistent { 300 } else { 0 },
                netmask: if self.is_v6 { 128 } else { u32::MAX },
                persistence_engine: None,
            })
            .unwrap();
        for last in 0..SERVERS {
            shared
                .add_destination(&key, &self.destination(last))
                .unwrap();
        }
        shared.sync.set_master(self.tells_backups);
        let host = Arc::new(Host::default());
        host.network.store(Arc::new(self.network(1)));
        let table = TableConfig {
            max_connections: 100,
            hash: HashKind::default(),
            seed: [1, 2],
        };
        Director::new(shared, host, 0, &table)
    }

    pub(super) fn destination(self, last: u8) -> DestinationConfig {
        DestinationConfig {
            address: self.server(last),
            port: 8000,
            method: self.method,
            tunnel: TunnelConfig::default(),
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }
}

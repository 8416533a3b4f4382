//! The operator's commands, over few services and real servers so that they meet.

use director::destination::{DestinationConfig, Method, TunnelChecksum, TunnelConfig, TunnelKind};
use director::protocol::Protocol;
use director::scheduler::ENTRIES;
use director::service::{NO_SCHEDULER, ServiceConfig, ServiceKey};
use director::shared::Shared;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use packet::Family;

use crate::host::{server_address, virtual_address};

/// One command.
#[derive(Debug, Arbitrary)]
pub enum Command {
    /// A service with two real servers, as most begin.
    Begin(Service, Server, Server),
    AddService(Service),
    EditService(Service),
    DeleteService(Key, u8),
    AddServer(Key, Server),
    EditServer(Key, Server),
    DeleteServer(Key, Server),
    Flush(u8),
    Zero(Option<Key>),
}

/// Services of every protocol and family, each with a real server of every method, so that a run need not begin with
/// finding commands.
pub fn begin_ordinarily(shared: &Shared) {
    for address in [0, 2, 1, 3].map(virtual_address) {
        let services = [
            (Protocol::Tcp, 80),
            (Protocol::Udp, 53),
            (Protocol::Tcp, 21),
            (Protocol::Sctp, 80),
        ];
        for (protocol, port) in services {
            let key = ServiceKey::Address {
                protocol,
                address,
                port,
            };
            let persistent = u32::from(address == virtual_address(1));
            let _ = shared.add_service(ServiceConfig {
                key,
                scheduler: "rr".to_owned(),
                flags: persistent,
                timeout: 300,
                netmask: if address.is_ipv4() { u32::MAX } else { 128 },
                persistence_engine: None,
            });
            let family = if address.is_ipv4() { 0 } else { 4 };
            for number in 0..4 {
                let server = Server {
                    number: number | family,
                    port: match port {
                        53 => 3,
                        21 => 4,
                        _ => number & 1,
                    },
                    method: if port == 21 { 0 } else { number },
                    tunnel: number + family,
                    weight: 1,
                    upper: 0,
                    lower: 0,
                };
                let _ = shared.add_destination(&key, &server.config());
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Key(u8);

#[derive(Debug, Arbitrary)]
pub struct Service {
    key: Key,
    scheduler: u8,
    flags: u8,
    timeout: u16,
    netmask: u8,
    engine: u8,
}

#[derive(Debug, Arbitrary)]
pub struct Server {
    number: u8,
    port: u8,
    method: u8,
    tunnel: u8,
    weight: u8,
    upper: u8,
    lower: u8,
}

impl Command {
    /// Gives the command. An impossible one is refused; that is an outcome like any other.
    pub fn give(&self, shared: &Shared) {
        let _ = match self {
            Self::Begin(service, first, second) => {
                let config = service.config();
                let key = config.key;
                let _ = shared.add_service(config);
                let _ = shared.add_destination(&key, &first.config());
                shared.add_destination(&key, &second.config())
            }
            Self::AddService(service) => shared.add_service(service.config()),
            Self::EditService(service) => shared.edit_service(service.config()),
            // Seldom done, else hardly anything would live.
            Self::DeleteService(key, 0..=31) => shared.delete_service(&key.key()),
            Self::AddServer(key, server) => shared.add_destination(&key.key(), &server.config()),
            Self::EditServer(key, server) => shared.edit_destination(&key.key(), &server.config()),
            Self::DeleteServer(key, server) => {
                let config = server.config();
                shared.delete_destination(&key.key(), config.address, config.port)
            }
            Self::DeleteService(..) | Self::Flush(8..) => Ok(()),
            Self::Flush(0..=7) => {
                shared.flush();
                Ok(())
            }
            Self::Zero(key) => shared.zero(key.map(|key| key.key()).as_ref()),
        };
    }
}

impl Key {
    fn key(self) -> ServiceKey {
        let choice = self.0;
        if choice & 0xc0 == 0xc0 {
            return ServiceKey::Mark {
                family: if choice & 1 == 0 {
                    Family::V4
                } else {
                    Family::V6
                },
                mark: 1,
            };
        }
        ServiceKey::Address {
            protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(choice & 3) % 3],
            address: virtual_address(choice >> 2),
            port: [80, 0, 21, 53][usize::from(choice >> 4 & 3)],
        }
    }
}

impl Service {
    fn config(&self) -> ServiceConfig {
        let key = self.key.key();
        let scheduler = usize::from(self.scheduler) % (ENTRIES.len() + 1);
        let scheduler = ENTRIES
            .get(scheduler)
            .map_or(NO_SCHEDULER, |entry| entry.name);
        ServiceConfig {
            key,
            scheduler: scheduler.to_owned(),
            flags: u32::from(self.flags & 0x3d),
            timeout: self.timeout.into(),
            netmask: match key.family() {
                Family::V4 => u32::MAX
                    .checked_shl(u32::from(self.netmask % 33))
                    .unwrap_or(0),
                Family::V6 => u32::from(self.netmask % 130),
            },
            persistence_engine: (self.engine & 7 == 7).then(|| "sip".to_owned()),
        }
    }
}

impl Server {
    fn config(&self) -> DestinationConfig {
        DestinationConfig {
            address: server_address(self.number),
            port: [80, 8080, 0, 53, 21][usize::from(self.port) % 5],
            method: [
                Method::Masq,
                Method::Tunnel,
                Method::DirectRoute,
                Method::Local,
                Method::Bypass,
                Method::Masq,
                Method::Tunnel,
                Method::DirectRoute,
            ][usize::from(self.method & 7)],
            tunnel: TunnelConfig {
                kind: [TunnelKind::Ipip, TunnelKind::Gue, TunnelKind::Gre]
                    [usize::from(self.tunnel & 3) % 3],
                port: if self.tunnel & 0x10 == 0 { 6080 } else { 0 },
                checksum: [
                    TunnelChecksum::None,
                    TunnelChecksum::Full,
                    TunnelChecksum::Remote,
                ][usize::from(self.tunnel >> 2 & 3) % 3],
            },
            weight: i32::from(self.weight & 7) - i32::from(self.weight == 0xff),
            upper_threshold: u32::from(self.upper & 7),
            lower_threshold: u32::from(self.lower & 3),
        }
    }
}

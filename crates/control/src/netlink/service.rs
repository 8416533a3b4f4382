//! Virtual services on the wire: the SERVICE nest, its key and its settings.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::{
    Attributes, Writer, array, be16_value, binary, string, u16_value, u32_value,
};
use super::{Errno, Statistics};

/// `IP_VS_SVC_F_PERSISTENT`: the service is persistent.
pub const SERVICE_PERSISTENT: u32 = 0x1;
/// `IP_VS_SVC_F_HASHED`: set in every reply, ignored in requests.
pub const SERVICE_HASHED: u32 = 0x2;
/// `IP_VS_SVC_F_ONEPACKET`: one-packet scheduling.
pub const SERVICE_ONE_PACKET: u32 = 0x4;
/// `IP_VS_SVC_F_SCHED1`: first scheduler flag (`sh-fallback`, `mh-fallback`).
pub const SERVICE_SCHED_1: u32 = 0x8;
/// `IP_VS_SVC_F_SCHED2`: second scheduler flag (`sh-port`, `mh-port`).
pub const SERVICE_SCHED_2: u32 = 0x10;
/// `IP_VS_SVC_F_SCHED3`: third scheduler flag.
pub const SERVICE_SCHED_3: u32 = 0x20;

/// Longest scheduler name, octets.
const SCHEDULER_MAX: usize = 15;
/// Longest persistence engine name, octets.
pub(super) const ENGINE_MAX: usize = 16;

const AF: u16 = 1;
const PROTOCOL: u16 = 2;
const ADDR: u16 = 3;
const PORT: u16 = 4;
const FWMARK: u16 = 5;
const SCHED_NAME: u16 = 6;
const FLAGS: u16 = 7;
const TIMEOUT: u16 = 8;
const NETMASK: u16 = 9;
const STATS: u16 = 10;
const PE_NAME: u16 = 11;
const STATS64: u16 = 12;

/// Address family by its Linux number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressFamily {
    /// `AF_INET`, 2.
    Inet,
    /// `AF_INET6`, 10.
    Inet6,
}

impl AddressFamily {
    /// The Linux number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Inet => 2,
            Self::Inet6 => 10,
        }
    }

    /// The family with a Linux number.
    ///
    /// # Errors
    /// `EAFNOSUPPORT` for anything but 2 and 10.
    pub const fn from_number(number: u16) -> Result<Self, Errno> {
        match number {
            2 => Ok(Self::Inet),
            10 => Ok(Self::Inet6),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Inet,
            IpAddr::V6(_) => Self::Inet6,
        }
    }

    /// An address out of `union nf_inet_addr` (IPv4 in the first four octets).
    pub(super) fn address(self, raw: [u8; 16]) -> IpAddr {
        let [a, b, c, d, ..] = raw;
        match self {
            Self::Inet => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            Self::Inet6 => IpAddr::V6(Ipv6Addr::from(raw)),
        }
    }
}

/// `union nf_inet_addr`: IPv4 in the first four octets, the rest zero.
pub(super) fn raw_address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What a service is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKey {
    /// Protocol, address and port.
    Address {
        /// IP protocol number: 6 TCP, 17 UDP, 132 SCTP.
        protocol: u16,
        /// Virtual IP address.
        address: IpAddr,
        /// Virtual port, host order; 0 = every port.
        port: u16,
    },
    /// Firewall mark.
    Mark {
        /// Family of the clients.
        family: AddressFamily,
        /// The mark.
        mark: u32,
    },
}

impl ServiceKey {
    /// Family of the clients.
    #[must_use]
    pub const fn family(&self) -> AddressFamily {
        match *self {
            Self::Address { address, .. } => AddressFamily::of(address),
            Self::Mark { family, .. } => family,
        }
    }
}

/// Flags with the mask of those that are meant: `new = (old & !mask) | (value & mask)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceFlags {
    /// `SERVICE_*` bits.
    pub value: u32,
    /// Which bits of `value` count; all ones from ipvsadm.
    pub mask: u32,
}

impl ServiceFlags {
    /// Every bit counts, as ipvsadm sends them.
    #[must_use]
    pub const fn exactly(value: u32) -> Self {
        Self {
            value,
            mask: u32::MAX,
        }
    }

    /// The new flags of a service that had `old` (0 for a new service).
    #[must_use]
    pub const fn apply(self, old: u32) -> u32 {
        (old & !self.mask) | (self.value & self.mask)
    }
}

/// Which clients share a persistence template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netmask {
    /// Any bit pattern, network order (255.0.255.0 is accepted).
    V4(Ipv4Addr),
    /// Prefix length as it came; the kernel accepts 1..=128.
    V6(u32),
}

/// A service's settings, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Scheduler name, at most 15 octets; "none" = no scheduler.
    pub scheduler: String,
    /// Flags.
    pub flags: ServiceFlags,
    /// Persistence timeout, seconds.
    pub timeout: u32,
    /// Persistence granularity.
    pub netmask: Netmask,
    /// Persistence engine name, at most 16 octets.
    pub engine: Option<String>,
}

/// The attributes of a SERVICE nest as they came; nothing is checked but each one's size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAttrs {
    /// Linux address family number.
    pub family: Option<u16>,
    /// IP protocol number.
    pub protocol: Option<u16>,
    /// `union nf_inet_addr`.
    pub address: Option<[u8; 16]>,
    /// Port, host order.
    pub port: Option<u16>,
    /// Firewall mark.
    pub mark: Option<u32>,
    /// Scheduler name.
    pub scheduler: Option<String>,
    /// Flags and mask.
    pub flags: Option<ServiceFlags>,
    /// Persistence timeout, seconds.
    pub timeout: Option<u32>,
    /// IPv4: mask in network order; IPv6: prefix length u32 in host order.
    pub netmask: Option<[u8; 4]>,
    /// Persistence engine name.
    pub engine: Option<String>,
}

impl ServiceAttrs {
    /// The attributes that say which service is meant.
    #[must_use]
    pub fn from_key(key: ServiceKey) -> Self {
        let family = Some(key.family().number());
        match key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => Self {
                family,
                protocol: Some(protocol),
                address: Some(raw_address(address)),
                port: Some(port),
                ..Self::default()
            },
            ServiceKey::Mark { mark, .. } => Self {
                family,
                mark: Some(mark),
                ..Self::default()
            },
        }
    }

    /// The attributes of a whole service.
    #[must_use]
    pub fn from_settings(key: ServiceKey, settings: &ServiceSettings) -> Self {
        Self {
            scheduler: Some(settings.scheduler.clone()),
            flags: Some(settings.flags),
            timeout: Some(settings.timeout),
            netmask: Some(match settings.netmask {
                Netmask::V4(mask) => mask.octets(),
                Netmask::V6(prefix) => prefix.to_ne_bytes(),
            }),
            engine: settings.engine.clone(),
            ..Self::from_key(key)
        }
    }

    /// Which service is meant. A mark wins over address and port, even the mark 0.
    ///
    /// # Errors
    /// `EINVAL` if attributes are missing, `EAFNOSUPPORT` for a foreign family (in this order, as
    /// `ip_vs_genl_parse_service`).
    pub fn key(&self) -> Result<ServiceKey, Errno> {
        let family = self.family.ok_or(Errno::EINVAL);
        match (self.mark, self.protocol, self.address, self.port) {
            (Some(mark), ..) => Ok(ServiceKey::Mark {
                family: AddressFamily::from_number(family?)?,
                mark,
            }),
            (None, Some(protocol), Some(raw), Some(port)) => {
                let address = AddressFamily::from_number(family?)?.address(raw);
                Ok(ServiceKey::Address {
                    protocol,
                    address,
                    port,
                })
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// The settings, for commands that need all of them (NEW_SERVICE, SET_SERVICE).
    ///
    /// # Errors
    /// `EINVAL` if attributes are missing, `EAFNOSUPPORT` for a foreign family.
    pub fn settings(&self) -> Result<ServiceSettings, Errno> {
        let family = AddressFamily::from_number(self.family.ok_or(Errno::EINVAL)?)?;
        let netmask = self.netmask.ok_or(Errno::EINVAL)?;
        Ok(ServiceSettings {
            scheduler: self.scheduler.clone().ok_or(Errno::EINVAL)?,
            flags: self.flags.ok_or(Errno::EINVAL)?,
            timeout: self.timeout.ok_or(Errno::EINVAL)?,
            netmask: match family {
                AddressFamily::Inet => Netmask::V4(Ipv4Addr::from(netmask)),
                AddressFamily::Inet6 => Netmask::V6(u32::from_ne_bytes(netmask)),
            },
            engine: self.engine.clone(),
        })
    }

    /// Reads a SERVICE nest.
    ///
    /// # Errors
    /// `EINVAL` if an attribute has the wrong size, as the kernel for any fault inside the nest.
    pub(super) fn decode(nest: &[u8]) -> Result<Self, Errno> {
        let mut attrs = Self::default();
        for (kind, value) in Attributes::new(nest) {
            attrs.read(kind, value).map_err(|_| Errno::EINVAL)?;
        }
        Ok(attrs)
    }

    fn read(&mut self, kind: u16, value: &[u8]) -> Result<(), Errno> {
        match kind {
            AF => self.family = Some(u16_value(value)?),
            PROTOCOL => self.protocol = Some(u16_value(value)?),
            ADDR => self.address = Some(binary(value)?),
            PORT => self.port = Some(be16_value(value)?),
            FWMARK => self.mark = Some(u32_value(value)?),
            SCHED_NAME => self.scheduler = Some(string(value, SCHEDULER_MAX)?),
            FLAGS => {
                let [a, b, c, d, e, f, g, h] = binary(value)?;
                self.flags = Some(ServiceFlags {
                    value: u32::from_ne_bytes([a, b, c, d]),
                    mask: u32::from_ne_bytes([e, f, g, h]),
                });
            }
            TIMEOUT => self.timeout = Some(u32_value(value)?),
            NETMASK => self.netmask = Some(array(value)?),
            PE_NAME => self.engine = Some(string(value, ENGINE_MAX)?),
            _ => {}
        }
        Ok(())
    }

    /// Writes the attributes in the order of `ip_vs_genl_fill_service`.
    pub(super) fn encode(&self, nest: &mut Writer) {
        let Self {
            family,
            protocol,
            address,
            port,
            mark,
            ..
        } = self;
        if let Some(value) = *family {
            nest.put_u16(AF, value);
        }
        if let Some(value) = *mark {
            nest.put_u32(FWMARK, value);
        }
        if let Some(value) = *protocol {
            nest.put_u16(PROTOCOL, value);
        }
        if let Some(value) = *address {
            nest.put(ADDR, &value);
        }
        if let Some(value) = *port {
            nest.put_be16(PORT, value);
        }
        if let Some(name) = &self.scheduler {
            nest.put_string(SCHED_NAME, name, SCHEDULER_MAX);
        }
        if let Some(name) = &self.engine {
            nest.put_string(PE_NAME, name, ENGINE_MAX);
        }
        if let Some(ServiceFlags { value, mask }) = self.flags {
            let [a, b, c, d] = value.to_ne_bytes();
            let [e, f, g, h] = mask.to_ne_bytes();
            nest.put(FLAGS, &[a, b, c, d, e, f, g, h]);
        }
        if let Some(value) = self.timeout {
            nest.put_u32(TIMEOUT, value);
        }
        if let Some(value) = self.netmask {
            nest.put(NETMASK, &value);
        }
    }
}

/// A service as GET_SERVICE tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReply {
    /// Which service.
    pub key: ServiceKey,
    /// Its settings; `flags` are the whole flags with every mask bit set, HASHED included.
    pub settings: ServiceSettings,
    /// Its counters.
    pub statistics: Statistics,
}

impl ServiceReply {
    pub(super) fn encode(&self, nest: &mut Writer) {
        ServiceAttrs::from_settings(self.key, &self.settings).encode(nest);
        self.statistics.encode(nest, STATS, STATS64);
    }

    pub(super) fn decode(nest: &[u8]) -> Result<Self, Errno> {
        let attrs = ServiceAttrs::decode(nest)?;
        let statistics = decode_statistics(nest, STATS, STATS64)?;
        Ok(Self {
            key: attrs.key()?,
            settings: attrs.settings()?,
            statistics,
        })
    }
}

/// The counters of a nest: STATS64 if it is there, else STATS, else zero.
pub(super) fn decode_statistics(nest: &[u8], narrow: u16, wide: u16) -> Result<Statistics, Errno> {
    let mut statistics = (None, None);
    for (kind, value) in Attributes::new(nest) {
        if kind == narrow {
            statistics.0 = Some(Statistics::decode_narrow(value)?);
        } else if kind == wide {
            statistics.1 = Some(Statistics::decode_wide(value)?);
        }
    }
    Ok(statistics.1.or(statistics.0).unwrap_or_default())
}

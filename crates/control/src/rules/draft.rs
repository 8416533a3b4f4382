//! What the options said so far.

use core::net::{IpAddr, Ipv4Addr};

use super::parse::Refusal;
use super::value::{self, endpoint};
use super::{Format, Names};
use crate::netlink::{
    AddressFamily, DaemonAttrs, DestKey, DestSettings, FORWARD_DIRECT, Netmask, SERVICE_SCHED_1,
    SERVICE_SCHED_2, SERVICE_SCHED_3, ServiceFlags, ServiceKey, ServiceSettings, TUNNEL_GRE,
    TUNNEL_GUE, TUNNEL_IPIP, TUNNEL_NOCSUM,
};

/// Protocol numbers.
pub(super) const TCP: u16 = 6;
pub(super) const UDP: u16 = 17;
pub(super) const SCTP: u16 = 132;

/// Longest timeout, seconds: 31 days.
const MAX_TIMEOUT: u32 = 86_400 * 31;
/// Persistence timeout when `-p` has no value, seconds.
const PERSISTENT_TIMEOUT: u32 = 360;
/// Longest scheduler name, octets.
const SCHEDULER_MAX: usize = 15;
/// Longest persistence engine name, octets.
const ENGINE_MAX: usize = 16;
/// Longest interface name, octets.
const INTERFACE_MAX: usize = 15;
/// Longest UDP payload over IPv4, octets.
const SYNC_MAX_LENGTH: u16 = u16::MAX - 20 - 8;

/// Names of scheduler flags, their scheduler ("" = any) and their bit.
const SCHEDULER_FLAGS: &[(&str, &str, u32)] = &[
    ("sh-fallback", "sh", SERVICE_SCHED_1),
    ("sh-port", "sh", SERVICE_SCHED_2),
    ("mh-fallback", "mh", SERVICE_SCHED_1),
    ("mh-port", "mh", SERVICE_SCHED_2),
    ("flag-1", "", SERVICE_SCHED_1),
    ("flag-2", "", SERVICE_SCHED_2),
    ("flag-3", "", SERVICE_SCHED_3),
];

/// Collects values in the order of the command line, which matters: `-M` means a prefix length only
/// behind an IPv6 service, `-r` without a port takes the port of the service given before it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Family as far as it is known; IPv6 decides how `-M` reads.
    pub(super) family: AddressFamily,
    pub(super) protocol: u16,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) mark: u32,
    pub(super) scheduler: String,
    pub(super) scheduler_flags: String,
    pub(super) flags: u32,
    pub(super) timeout: u32,
    pub(super) netmask: Netmask,
    pub(super) engine: String,
    pub(super) server: Option<DestKey>,
    pub(super) settings: DestSettings,
    pub(super) daemon: DaemonAttrs,
    pub(super) format: Format,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            family: AddressFamily::Inet,
            protocol: 0,
            address: None,
            port: 0,
            mark: 0,
            scheduler: String::new(),
            scheduler_flags: String::new(),
            flags: 0,
            timeout: 0,
            netmask: Netmask::V4(Ipv4Addr::BROADCAST),
            engine: String::new(),
            server: None,
            settings: DestSettings {
                forward: FORWARD_DIRECT,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel_type: TUNNEL_IPIP,
                tunnel_port: 0,
                tunnel_flags: TUNNEL_NOCSUM,
            },
            daemon: DaemonAttrs {
                sync_id: Some(0),
                ..DaemonAttrs::default()
            },
            format: Format::default(),
        }
    }
}

/// The refusal of a value that has no other words than which one it is.
fn illegal(what: &str) -> Refusal {
    Refusal::usage(format!("illegal {what} specified"))
}

impl Draft {
    pub(super) fn service(
        &mut self,
        text: &str,
        protocol: u16,
        names: &dyn Names,
    ) -> Result<(), Refusal> {
        self.protocol = protocol;
        let endpoint = endpoint(text, protocol, names)
            .ok_or_else(|| illegal("virtual server address[:port]"))?;
        self.family = AddressFamily::of(endpoint.address);
        if endpoint.address.is_ipv6() {
            self.netmask = Netmask::V6(128);
        }
        self.address = Some(endpoint.address);
        self.port = endpoint.port.unwrap_or_default();
        Ok(())
    }

    pub(super) fn mark(&mut self, text: &str) -> Result<(), Refusal> {
        self.family = AddressFamily::Inet;
        self.protocol = TCP;
        self.mark = value::mark(text)
            .ok_or_else(|| Refusal::usage(format!("invalid fwmark value `{text}' specified")))?;
        Ok(())
    }

    pub(super) fn ipv6(&mut self) -> Result<(), Refusal> {
        if self.mark == 0 {
            // The line feed is the real one's: its message ends in two.
            return Err(Refusal::usage("-6 used before -f\n".to_owned()));
        }
        self.family = AddressFamily::Inet6;
        self.netmask = Netmask::V6(128);
        Ok(())
    }

    pub(super) fn scheduler(&mut self, text: &str) {
        self.scheduler = value::name(text, SCHEDULER_MAX);
    }

    pub(super) fn engine(&mut self, text: &str) {
        self.engine = value::name(text, ENGINE_MAX);
    }

    pub(super) fn persistent(&mut self, text: Option<&str>) -> Result<(), Refusal> {
        self.timeout = match text {
            Some(text) => timeout(text, 1)?,
            None => PERSISTENT_TIMEOUT,
        };
        Ok(())
    }

    pub(super) fn netmask(&mut self, text: &str, names: &dyn Names) -> Result<(), Refusal> {
        self.netmask = match self.family {
            AddressFamily::Inet => Netmask::V4(
                value::ipv4(text, names)
                    .ok_or_else(|| illegal("virtual server persistent mask"))?,
            ),
            AddressFamily::Inet6 => match u32::try_from(value::leading_number(text)) {
                Ok(prefix @ 1..=128) => Netmask::V6(prefix),
                _ => return Err(illegal("ipv6 netmask")),
            },
        };
        Ok(())
    }

    pub(super) fn server(&mut self, text: &str, names: &dyn Names) -> Result<(), Refusal> {
        let endpoint = endpoint(text, self.protocol, names)
            .ok_or_else(|| illegal("real server address[:port]"))?;
        let port = endpoint.port.unwrap_or(self.port);
        self.server = Some(DestKey {
            address: endpoint.address,
            port,
        });
        Ok(())
    }

    pub(super) fn weight(&mut self, text: &str) -> Result<(), Refusal> {
        self.settings.weight = value::number(text, 0, i32::MAX).ok_or_else(|| illegal("weight"))?;
        Ok(())
    }

    pub(super) fn tunnel_type(&mut self, text: &str) -> Result<(), Refusal> {
        self.settings.tunnel_type = match text {
            "ipip" => TUNNEL_IPIP,
            "gue" => TUNNEL_GUE,
            "gre" => TUNNEL_GRE,
            _ => return Err(illegal("tunnel type")),
        };
        Ok(())
    }

    pub(super) fn tunnel_port(&mut self, text: &str) -> Result<(), Refusal> {
        self.settings.tunnel_port =
            value::number(text, 1, u16::MAX).ok_or_else(|| illegal("tunnel port"))?;
        Ok(())
    }

    pub(super) fn sync_id(&mut self, text: &str) -> Result<(), Refusal> {
        let id = value::number(text, 0, 255_u32).ok_or_else(|| illegal("syncid"))?;
        self.daemon.sync_id = Some(id);
        Ok(())
    }

    pub(super) fn interface(&mut self, text: &str) {
        self.daemon.interface = Some(value::name(text, INTERFACE_MAX));
    }

    pub(super) fn group(&mut self, text: &str) -> Result<(), Refusal> {
        // A colon decides for IPv6, and only dotted quads are IPv4.
        let (version, group) = if text.contains(':') {
            ("IPv6", text.parse().ok().map(IpAddr::V6))
        } else {
            ("IPv4", text.parse().ok().map(IpAddr::V4))
        };
        let group = group
            .filter(IpAddr::is_multicast)
            .ok_or_else(|| Refusal::usage(format!("invalid {version} mcast-group `{text}'")))?;
        self.daemon.group = Some(group);
        Ok(())
    }

    pub(super) fn mcast_port(&mut self, text: &str) -> Result<(), Refusal> {
        let port = value::number(text, 1, u16::MAX).ok_or_else(|| illegal("mcast-port"))?;
        self.daemon.port = Some(port);
        Ok(())
    }

    pub(super) fn mcast_ttl(&mut self, text: &str) -> Result<(), Refusal> {
        let ttl = value::number(text, 1, u8::MAX).ok_or_else(|| illegal("mcast-ttl"))?;
        self.daemon.ttl = Some(ttl);
        Ok(())
    }

    pub(super) fn sync_length(&mut self, text: &str) -> Result<(), Refusal> {
        let length =
            value::number(text, 1, SYNC_MAX_LENGTH).ok_or_else(|| illegal("sync-maxlen"))?;
        self.daemon.max_length = Some(length);
        Ok(())
    }

    /// Turns the comma-separated names of `-b` into flags, once the scheduler is known.
    pub(super) fn resolve_scheduler_flags(&mut self) -> Result<(), Refusal> {
        for name in self
            .scheduler_flags
            .split(',')
            .filter(|name| !name.is_empty())
        {
            let (_, scheduler, bit) = SCHEDULER_FLAGS
                .iter()
                .find(|(known, ..)| *known == name)
                .ok_or_else(|| Refusal::usage(format!("invalid scheduler flag `{name}'")))?;
            if !scheduler.is_empty() && *scheduler != self.scheduler {
                return Err(Refusal::usage(format!(
                    "incompatible scheduler flag `{name}'"
                )));
            }
            self.flags |= bit;
        }
        Ok(())
    }

    /// The service's key, once an option gave one.
    pub(super) fn key(&self) -> Option<ServiceKey> {
        match (self.mark, self.address) {
            (0, Some(address)) => Some(ServiceKey::Address {
                protocol: self.protocol,
                address,
                port: self.port,
            }),
            (0, None) => None,
            (mark, _) => Some(ServiceKey::Mark {
                family: self.family,
                mark,
            }),
        }
    }

    /// The service's settings.
    pub(super) fn service_settings(&self) -> ServiceSettings {
        ServiceSettings {
            scheduler: self.scheduler.clone(),
            flags: ServiceFlags::exactly(self.flags),
            timeout: self.timeout,
            netmask: self.netmask,
            engine: Some(self.engine.clone()).filter(|name| !name.is_empty()),
        }
    }
}

/// A connection threshold, 0..=2147483647.
pub(super) fn threshold(text: &str, name: &str) -> Result<u32, Refusal> {
    value::number(text, 0, i32::MAX.unsigned_abs()).ok_or_else(|| illegal(name))
}

/// A timeout in `min..=`31 days, seconds.
pub(super) fn timeout(text: &str, min: u32) -> Result<u32, Refusal> {
    value::number(text, min, MAX_TIMEOUT)
        .ok_or_else(|| Refusal::usage(format!("invalid timeout value `{text}' specified")))
}

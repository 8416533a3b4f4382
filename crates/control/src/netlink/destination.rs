//! Destinations (real servers) on the wire: the DEST nest, its key and its settings.

use core::net::IpAddr;

use super::attribute::{Attributes, Writer, be16_value, binary, u8_value, u16_value, u32_value};
use super::service::{AddressFamily, decode_statistics, raw_address};
use super::{Errno, Statistics};

/// Forwarding method: NAT.
pub const FORWARD_MASQUERADE: u32 = 0;
/// Forwarding method: the director itself (set by the kernel, shown as `Local`).
pub const FORWARD_LOCAL: u32 = 1;
/// Forwarding method: tunnelling.
pub const FORWARD_TUNNEL: u32 = 2;
/// Forwarding method: direct routing.
pub const FORWARD_DIRECT: u32 = 3;
/// Forwarding method: cache bypass.
pub const FORWARD_BYPASS: u32 = 4;
/// Bits of FWD_METHOD that hold the method.
const FORWARD_MASK: u32 = 7;

/// Tunnel type: IP in IP.
pub const TUNNEL_IPIP: u8 = 0;
/// Tunnel type: generic UDP encapsulation.
pub const TUNNEL_GUE: u8 = 1;
/// Tunnel type: GRE.
pub const TUNNEL_GRE: u8 = 2;

/// Tunnel flags: no checksum in the tunnel header.
pub const TUNNEL_NOCSUM: u16 = 0;
/// Tunnel flags: checksum in the tunnel header.
pub const TUNNEL_CSUM: u16 = 1;
/// Tunnel flags: remote checksum offload (GUE).
pub const TUNNEL_REMCSUM: u16 = 2;

const ADDR: u16 = 1;
const PORT: u16 = 2;
const FWD_METHOD: u16 = 3;
const WEIGHT: u16 = 4;
const U_THRESH: u16 = 5;
const L_THRESH: u16 = 6;
const ACTIVE_CONNS: u16 = 7;
const INACT_CONNS: u16 = 8;
const PERSIST_CONNS: u16 = 9;
const STATS: u16 = 10;
const ADDR_FAMILY: u16 = 11;
const STATS64: u16 = 12;
const TUN_TYPE: u16 = 13;
const TUN_PORT: u16 = 14;
const TUN_FLAGS: u16 = 15;

/// What a destination is found by inside its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestKey {
    /// Real server's address.
    pub address: IpAddr,
    /// Real server's port, host order.
    pub port: u16,
}

/// A destination's settings, without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestSettings {
    /// `FORWARD_*`.
    pub forward: u32,
    /// Weight as it came (the kernel refuses negative ones with ERANGE).
    pub weight: i32,
    /// Upper connection threshold; 0 = none.
    pub upper_threshold: u32,
    /// Lower connection threshold; 0 = three quarters of the upper.
    pub lower_threshold: u32,
    /// `TUNNEL_IPIP`, `TUNNEL_GUE`, `TUNNEL_GRE` or what came.
    pub tunnel_type: u8,
    /// UDP port of the tunnel, host order (GUE).
    pub tunnel_port: u16,
    /// `TUNNEL_NOCSUM`, `TUNNEL_CSUM`, `TUNNEL_REMCSUM` bits.
    pub tunnel_flags: u16,
}

/// The attributes of a DEST nest as they came; nothing is checked but each one's size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestAttrs {
    /// Linux address family number; absent or 0 = the service's.
    pub family: Option<u16>,
    /// `union nf_inet_addr`.
    pub address: Option<[u8; 16]>,
    /// Port, host order.
    pub port: Option<u16>,
    /// Forwarding method and other connection flags.
    pub forward: Option<u32>,
    /// Weight.
    pub weight: Option<i32>,
    /// Upper threshold.
    pub upper_threshold: Option<u32>,
    /// Lower threshold.
    pub lower_threshold: Option<u32>,
    /// Tunnel type.
    pub tunnel_type: Option<u8>,
    /// Tunnel port, host order.
    pub tunnel_port: Option<u16>,
    /// Tunnel flags.
    pub tunnel_flags: Option<u16>,
}

impl DestAttrs {
    /// The attributes that say which destination is meant.
    #[must_use]
    pub fn from_key(key: DestKey) -> Self {
        Self {
            family: Some(AddressFamily::of(key.address).number()),
            address: Some(raw_address(key.address)),
            port: Some(key.port),
            ..Self::default()
        }
    }

    /// The attributes of a whole destination.
    #[must_use]
    pub fn from_settings(key: DestKey, settings: &DestSettings) -> Self {
        Self {
            forward: Some(settings.forward),
            weight: Some(settings.weight),
            upper_threshold: Some(settings.upper_threshold),
            lower_threshold: Some(settings.lower_threshold),
            tunnel_type: Some(settings.tunnel_type),
            tunnel_port: Some(settings.tunnel_port),
            tunnel_flags: Some(settings.tunnel_flags),
            ..Self::from_key(key)
        }
    }

    /// Which destination of a service with this family is meant.
    ///
    /// # Errors
    /// `EINVAL` if address or port is missing, `EAFNOSUPPORT` for a foreign family.
    pub fn key(&self, service: AddressFamily) -> Result<DestKey, Errno> {
        let (Some(raw), Some(port)) = (self.address, self.port) else {
            return Err(Errno::EINVAL);
        };
        let family = match self.family {
            None | Some(0) => service,
            Some(number) => AddressFamily::from_number(number)?,
        };
        Ok(DestKey {
            address: family.address(raw),
            port,
        })
    }

    /// The settings, for commands that need all of them (NEW_DEST, SET_DEST). Tunnel attributes may be
    /// absent (0).
    ///
    /// # Errors
    /// `EINVAL` if attributes are missing.
    pub fn settings(&self) -> Result<DestSettings, Errno> {
        Ok(DestSettings {
            forward: self.forward.ok_or(Errno::EINVAL)? & FORWARD_MASK,
            weight: self.weight.ok_or(Errno::EINVAL)?,
            upper_threshold: self.upper_threshold.ok_or(Errno::EINVAL)?,
            lower_threshold: self.lower_threshold.ok_or(Errno::EINVAL)?,
            tunnel_type: self.tunnel_type.unwrap_or_default(),
            tunnel_port: self.tunnel_port.unwrap_or_default(),
            tunnel_flags: self.tunnel_flags.unwrap_or_default(),
        })
    }

    /// Reads a DEST nest.
    ///
    /// # Errors
    /// `EINVAL` if an attribute has the wrong size.
    pub(super) fn decode(nest: &[u8]) -> Result<Self, Errno> {
        let mut attrs = Self::default();
        for (kind, value) in Attributes::new(nest) {
            attrs.read(kind, value).map_err(|_| Errno::EINVAL)?;
        }
        Ok(attrs)
    }

    fn read(&mut self, kind: u16, value: &[u8]) -> Result<(), Errno> {
        match kind {
            ADDR => self.address = Some(binary(value)?),
            PORT => self.port = Some(be16_value(value)?),
            FWD_METHOD => self.forward = Some(u32_value(value)?),
            WEIGHT => self.weight = Some(u32_value(value)?.cast_signed()),
            U_THRESH => self.upper_threshold = Some(u32_value(value)?),
            L_THRESH => self.lower_threshold = Some(u32_value(value)?),
            ADDR_FAMILY => self.family = Some(u16_value(value)?),
            TUN_TYPE => self.tunnel_type = Some(u8_value(value)?),
            TUN_PORT => self.tunnel_port = Some(be16_value(value)?),
            TUN_FLAGS => self.tunnel_flags = Some(u16_value(value)?),
            _ => {}
        }
        Ok(())
    }

    /// Writes the attributes up to the thresholds, in the order of `ip_vs_genl_fill_dest`.
    fn encode_settings(&self, nest: &mut Writer) {
        if let Some(value) = self.address {
            nest.put(ADDR, &value);
        }
        if let Some(value) = self.port {
            nest.put_be16(PORT, value);
        }
        if let Some(value) = self.forward {
            nest.put_u32(FWD_METHOD, value);
        }
        if let Some(value) = self.weight {
            nest.put_u32(WEIGHT, value.cast_unsigned());
        }
        if let Some(value) = self.tunnel_type {
            nest.put_u8(TUN_TYPE, value);
        }
        if let Some(value) = self.tunnel_port {
            nest.put_be16(TUN_PORT, value);
        }
        if let Some(value) = self.tunnel_flags {
            nest.put_u16(TUN_FLAGS, value);
        }
        if let Some(value) = self.upper_threshold {
            nest.put_u32(U_THRESH, value);
        }
        if let Some(value) = self.lower_threshold {
            nest.put_u32(L_THRESH, value);
        }
    }

    fn encode_family(&self, nest: &mut Writer) {
        if let Some(value) = self.family {
            nest.put_u16(ADDR_FAMILY, value);
        }
    }

    pub(super) fn encode(&self, nest: &mut Writer) {
        self.encode_settings(nest);
        self.encode_family(nest);
    }
}

/// A destination as GET_DEST tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestReply {
    /// Which destination.
    pub key: DestKey,
    /// Its settings.
    pub settings: DestSettings,
    /// Active connections.
    pub active_connections: u32,
    /// Inactive connections.
    pub inactive_connections: u32,
    /// Persistence templates.
    pub persistent_connections: u32,
    /// Its counters.
    pub statistics: Statistics,
}

impl DestReply {
    pub(super) fn encode(&self, nest: &mut Writer) {
        let attrs = DestAttrs::from_settings(self.key, &self.settings);
        attrs.encode_settings(nest);
        nest.put_u32(ACTIVE_CONNS, self.active_connections);
        nest.put_u32(INACT_CONNS, self.inactive_connections);
        nest.put_u32(PERSIST_CONNS, self.persistent_connections);
        attrs.encode_family(nest);
        self.statistics.encode(nest, STATS, STATS64);
    }

    pub(super) fn decode(nest: &[u8]) -> Result<Self, Errno> {
        let attrs = DestAttrs::decode(nest)?;
        // A reply of a kernel too old to tell the family is about IPv4.
        let mut reply = Self {
            key: attrs.key(AddressFamily::Inet)?,
            settings: attrs.settings()?,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            statistics: decode_statistics(nest, STATS, STATS64)?,
        };
        for (kind, value) in Attributes::new(nest) {
            match kind {
                ACTIVE_CONNS => reply.active_connections = u32_value(value)?,
                INACT_CONNS => reply.inactive_connections = u32_value(value)?,
                PERSIST_CONNS => reply.persistent_connections = u32_value(value)?,
                _ => {}
            }
        }
        Ok(reply)
    }
}

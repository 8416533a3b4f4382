//! Synchronisation daemons on the wire: the DAEMON nest.

use core::net::{IpAddr, Ipv6Addr};

use super::Errno;
use super::attribute::{Attributes, Writer, array, binary, string, u8_value, u16_value, u32_value};

/// Longest interface name, octets.
const INTERFACE_MAX: usize = 15;

const STATE: u16 = 1;
const MCAST_IFN: u16 = 2;
const SYNC_ID: u16 = 3;
const SYNC_MAXLEN: u16 = 4;
const MCAST_GROUP: u16 = 5;
const MCAST_GROUP6: u16 = 6;
const MCAST_PORT: u16 = 7;
const MCAST_TTL: u16 = 8;

/// Which of the two daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncState {
    /// Sends (1).
    Master,
    /// Receives (2).
    Backup,
}

impl SyncState {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Master => 1,
            Self::Backup => 2,
        }
    }

    /// The daemon with this number on the wire.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Master),
            2 => Some(Self::Backup),
            _ => None,
        }
    }
}

/// The attributes of a DAEMON nest as they came: a command, or what GET_DAEMON tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonAttrs {
    /// [`SyncState`] number.
    pub state: Option<u32>,
    /// Interface that carries the multicasts.
    pub interface: Option<String>,
    /// Identity of the group of directors, 0..=255.
    pub sync_id: Option<u32>,
    /// Longest datagram, octets of UDP payload.
    pub max_length: Option<u16>,
    /// Multicast group.
    pub group: Option<IpAddr>,
    /// UDP port (host order on the wire too).
    pub port: Option<u16>,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
}

impl DaemonAttrs {
    /// Reads a DAEMON nest.
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
            STATE => self.state = Some(u32_value(value)?),
            MCAST_IFN => self.interface = Some(string(value, INTERFACE_MAX)?),
            SYNC_ID => self.sync_id = Some(u32_value(value)?),
            SYNC_MAXLEN => self.max_length = Some(u16_value(value)?),
            MCAST_GROUP => self.group = Some(IpAddr::from(array::<4>(value)?)),
            MCAST_GROUP6 => self.group = Some(IpAddr::V6(Ipv6Addr::from(binary::<16>(value)?))),
            MCAST_PORT => self.port = Some(u16_value(value)?),
            MCAST_TTL => self.ttl = Some(u8_value(value)?),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn encode(&self, nest: &mut Writer) {
        if let Some(value) = self.state {
            nest.put_u32(STATE, value);
        }
        if let Some(name) = &self.interface {
            nest.put_string(MCAST_IFN, name, INTERFACE_MAX);
        }
        if let Some(value) = self.sync_id {
            nest.put_u32(SYNC_ID, value);
        }
        if let Some(value) = self.max_length {
            nest.put_u16(SYNC_MAXLEN, value);
        }
        if let Some(value) = self.port {
            nest.put_u16(MCAST_PORT, value);
        }
        if let Some(value) = self.ttl {
            nest.put_u8(MCAST_TTL, value);
        }
        match self.group {
            Some(IpAddr::V4(group)) => nest.put(MCAST_GROUP, &group.octets()),
            Some(IpAddr::V6(group)) => nest.put(MCAST_GROUP6, &group.octets()),
            None => {}
        }
    }
}

//! Connection entries on the wire: ulvs's own CONNECTION nest, for what the kernel tells only by
//! `/proc/net/ip_vs_conn`.

use core::net::IpAddr;

use super::Errno;
use super::attribute::{
    Attributes, Writer, be16_value, binary, string, u16_value, u32_value, u64_value,
};
use super::service::{AddressFamily, ENGINE_MAX, raw_address};

/// Longest state name, octets.
const STATE_MAX: usize = 31;
/// Longest data of a persistence engine, octets (`IP_VS_PEDATA_MAXLEN`).
const DATA_MAX: usize = 255;

const AF: u16 = 1;
const PROTOCOL: u16 = 2;
const CLIENT_ADDR: u16 = 3;
const CLIENT_PORT: u16 = 4;
const VIRTUAL_ADDR: u16 = 5;
const VIRTUAL_PORT: u16 = 6;
const DEST_FAMILY: u16 = 7;
const DEST_ADDR: u16 = 8;
const DEST_PORT: u16 = 9;
const STATE: u16 = 10;
const EXPIRES: u16 = 11;
const PE_NAME: u16 = 12;
const PE_DATA: u16 = 13;
const FLAGS: u16 = 14;

/// One entry of the connection table, a connection or a persistence template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionEntry {
    /// IP protocol number; 0 for the template of a firewall-mark service.
    pub protocol: u16,
    /// Client's address (masked in a template).
    pub client: IpAddr,
    /// Client's port; 0 in a template.
    pub client_port: u16,
    /// Virtual address, of the client's family; the mark as an address in a firewall-mark template.
    pub virtual_address: IpAddr,
    /// Virtual port.
    pub virtual_port: u16,
    /// Real server's address, of either family.
    pub destination: IpAddr,
    /// Real server's port.
    pub destination_port: u16,
    /// State as `/proc/net/ip_vs_conn` names it: `ESTABLISHED`, `NONE`, `ASSURED`, `UDP`, ...
    pub state: String,
    /// Time until the entry expires, milliseconds.
    pub expires_ms: u64,
    /// Connection flags as the kernel numbers them (`IP_VS_CONN_F_*`, TEMPLATE 0x1000).
    pub flags: u32,
    /// Persistence engine and its data (for sip: the Call-ID).
    pub engine: Option<(String, Vec<u8>)>,
}

impl ConnectionEntry {
    pub(super) fn encode(&self, nest: &mut Writer) {
        nest.put_u16(AF, AddressFamily::of(self.client).number());
        nest.put_u16(PROTOCOL, self.protocol);
        nest.put(CLIENT_ADDR, &raw_address(self.client));
        nest.put_be16(CLIENT_PORT, self.client_port);
        nest.put(VIRTUAL_ADDR, &raw_address(self.virtual_address));
        nest.put_be16(VIRTUAL_PORT, self.virtual_port);
        nest.put_u16(DEST_FAMILY, AddressFamily::of(self.destination).number());
        nest.put(DEST_ADDR, &raw_address(self.destination));
        nest.put_be16(DEST_PORT, self.destination_port);
        nest.put_string(STATE, &self.state, STATE_MAX);
        nest.put_u64(EXPIRES, self.expires_ms);
        nest.put_u32(FLAGS, self.flags);
        if let Some((name, data)) = &self.engine {
            nest.put_string(PE_NAME, name, ENGINE_MAX);
            nest.put(PE_DATA, data.get(..DATA_MAX).unwrap_or(data));
        }
    }

    pub(super) fn decode(nest: &[u8]) -> Result<Self, Errno> {
        let (mut family, mut dest_family) = (None, None);
        let (mut client, mut virtual_address, mut destination) = (None, None, None);
        let (mut protocol, mut client_port, mut virtual_port, mut destination_port) = (0, 0, 0, 0);
        let (mut state, mut expires_ms, mut flags) = (String::new(), 0, 0);
        let (mut name, mut data) = (None, Vec::new());
        for (kind, value) in Attributes::new(nest) {
            match kind {
                AF => family = Some(AddressFamily::from_number(u16_value(value)?)?),
                PROTOCOL => protocol = u16_value(value)?,
                CLIENT_ADDR => client = Some(binary(value)?),
                CLIENT_PORT => client_port = be16_value(value)?,
                VIRTUAL_ADDR => virtual_address = Some(binary(value)?),
                VIRTUAL_PORT => virtual_port = be16_value(value)?,
                DEST_FAMILY => dest_family = Some(AddressFamily::from_number(u16_value(value)?)?),
                DEST_ADDR => destination = Some(binary(value)?),
                DEST_PORT => destination_port = be16_value(value)?,
                STATE => state = string(value, STATE_MAX)?,
                EXPIRES => expires_ms = u64_value(value)?,
                FLAGS => flags = u32_value(value)?,
                PE_NAME => name = Some(string(value, ENGINE_MAX)?),
                PE_DATA => data = value.to_vec(),
                _ => {}
            }
        }
        let family = family.ok_or(Errno::EINVAL)?;
        let dest_family = dest_family.unwrap_or(family);
        Ok(Self {
            protocol,
            client: family.address(client.ok_or(Errno::EINVAL)?),
            client_port,
            virtual_address: family.address(virtual_address.ok_or(Errno::EINVAL)?),
            virtual_port,
            destination: dest_family.address(destination.ok_or(Errno::EINVAL)?),
            destination_port,
            state,
            expires_ms,
            flags,
            engine: name.map(|name| (name, data)),
        })
    }
}

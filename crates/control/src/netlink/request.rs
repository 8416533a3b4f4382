//! Requests: what a client asks for.

use super::attribute::{Attributes, Writer, string, u32_value};
use super::frame::{
    Frame, GENERIC_LENGTH, Header, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, frames, is_request,
};
use super::{DaemonAttrs, DestAttrs, Errno, FAMILY_ID, ServiceAttrs, Setting};

/// Longest name of a text, octets.
const TEXT_NAME_MAX: usize = 20_000;

/// Commands (`enum` of uapi `ip_vs.h`), the same numbers in requests and replies.
pub(super) mod command {
    pub(in super::super) const NEW_SERVICE: u8 = 1;
    pub(in super::super) const SET_SERVICE: u8 = 2;
    pub(in super::super) const DEL_SERVICE: u8 = 3;
    pub(in super::super) const GET_SERVICE: u8 = 4;
    pub(in super::super) const NEW_DEST: u8 = 5;
    pub(in super::super) const SET_DEST: u8 = 6;
    pub(in super::super) const DEL_DEST: u8 = 7;
    pub(in super::super) const GET_DEST: u8 = 8;
    pub(in super::super) const NEW_DAEMON: u8 = 9;
    pub(in super::super) const DEL_DAEMON: u8 = 10;
    pub(in super::super) const GET_DAEMON: u8 = 11;
    pub(in super::super) const SET_CONFIG: u8 = 12;
    pub(in super::super) const GET_CONFIG: u8 = 13;
    pub(in super::super) const SET_INFO: u8 = 14;
    pub(in super::super) const GET_INFO: u8 = 15;
    pub(in super::super) const ZERO: u8 = 16;
    pub(in super::super) const FLUSH: u8 = 17;
    /// ulvs's own: the connection table.
    pub(in super::super) const GET_CONNECTION: u8 = 64;
    /// ulvs's own: the `net.ipv4.vs.*` settings.
    pub(in super::super) const GET_SETTING: u8 = 65;
    /// ulvs's own: changes a setting.
    pub(in super::super) const SET_SETTING: u8 = 66;
    /// ulvs's own: a text of `/proc/net`.
    pub(in super::super) const GET_TEXT: u8 = 67;
}

/// Attributes at the top level of a message.
pub(super) mod top {
    pub(in super::super) const SERVICE: u16 = 1;
    pub(in super::super) const DEST: u16 = 2;
    pub(in super::super) const DAEMON: u16 = 3;
    pub(in super::super) const TIMEOUT_TCP: u16 = 4;
    pub(in super::super) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(in super::super) const TIMEOUT_UDP: u16 = 6;
    /// ulvs's own: a connection entry.
    pub(in super::super) const CONNECTION: u16 = 64;
    /// ulvs's own: a setting.
    pub(in super::super) const SETTING: u16 = 65;
    /// ulvs's own: the name of a text in requests, a piece of it in replies.
    pub(in super::super) const TEXT: u16 = 66;
}

/// Connection timeouts, seconds. In SET_CONFIG an absent or zero one is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP ESTABLISHED.
    pub tcp: Option<u32>,
    /// TCP FIN_WAIT.
    pub tcp_fin: Option<u32>,
    /// UDP.
    pub udp: Option<u32>,
}

impl Timeouts {
    pub(super) fn encode(&self, writer: &mut Writer) {
        if let Some(value) = self.tcp {
            writer.put_u32(top::TIMEOUT_TCP, value);
        }
        if let Some(value) = self.tcp_fin {
            writer.put_u32(top::TIMEOUT_TCP_FIN, value);
        }
        if let Some(value) = self.udp {
            writer.put_u32(top::TIMEOUT_UDP, value);
        }
    }

    pub(super) fn decode(attributes: &[u8]) -> Result<Self, Errno> {
        let mut timeouts = Self::default();
        for (kind, value) in Attributes::new(attributes) {
            match kind {
                top::TIMEOUT_TCP => timeouts.tcp = Some(u32_value(value)?),
                top::TIMEOUT_TCP_FIN => timeouts.tcp_fin = Some(u32_value(value)?),
                top::TIMEOUT_UDP => timeouts.udp = Some(u32_value(value)?),
                _ => {}
            }
        }
        Ok(timeouts)
    }
}

/// What a client asks for. A nest that is missing altogether is the empty one: the checks of
/// [`ServiceAttrs::key`] and its like then say `EINVAL`, in the kernel's order of checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Add a service.
    NewService(ServiceAttrs),
    /// Change a service's settings.
    SetService(ServiceAttrs),
    /// Delete a service.
    DelService(ServiceAttrs),
    /// Tell one service.
    GetService(ServiceAttrs),
    /// List all services.
    DumpServices,
    /// Add a destination to a service.
    NewDest(ServiceAttrs, DestAttrs),
    /// Change a destination's settings.
    SetDest(ServiceAttrs, DestAttrs),
    /// Delete a destination.
    DelDest(ServiceAttrs, DestAttrs),
    /// List a service's destinations; an empty list if there is no such service.
    DumpDests(ServiceAttrs),
    /// Start a synchronisation daemon.
    NewDaemon(DaemonAttrs),
    /// Stop a synchronisation daemon.
    DelDaemon(DaemonAttrs),
    /// List the running synchronisation daemons.
    DumpDaemons,
    /// Change timeouts.
    SetConfig(Timeouts),
    /// Tell the timeouts.
    GetConfig,
    /// Tell version and table size.
    GetInfo,
    /// Zero the counters of one service, or of everything.
    Zero(Option<ServiceAttrs>),
    /// Delete every service.
    Flush,
    /// List the connection table (ulvs's own).
    DumpConnections,
    /// List the `net.ipv4.vs.*` settings (ulvs's own).
    DumpSettings,
    /// Change a setting (ulvs's own).
    SetSetting(Setting),
    /// Tell a text of `/proc/net` in pieces, by its name there (ulvs's own).
    DumpText(String),
}

impl Request {
    /// The message, asking for an acknowledgement (or, for a list, the list).
    #[must_use]
    pub fn encode(&self, sequence: u32, port: u32) -> Vec<u8> {
        let (command, dump) = self.command();
        let flags = NLM_F_REQUEST | if dump { NLM_F_DUMP } else { NLM_F_ACK };
        let header = Header {
            kind: FAMILY_ID,
            flags,
            sequence,
            port,
        };
        header.generic(command, |writer| match self {
            Self::NewService(service)
            | Self::SetService(service)
            | Self::DelService(service)
            | Self::GetService(service)
            | Self::DumpDests(service)
            | Self::Zero(Some(service)) => writer.nest(top::SERVICE, |nest| service.encode(nest)),
            Self::NewDest(service, dest)
            | Self::SetDest(service, dest)
            | Self::DelDest(service, dest) => {
                writer.nest(top::SERVICE, |nest| service.encode(nest));
                writer.nest(top::DEST, |nest| dest.encode(nest));
            }
            Self::NewDaemon(daemon) | Self::DelDaemon(daemon) => {
                writer.nest(top::DAEMON, |nest| daemon.encode(nest));
            }
            Self::SetConfig(timeouts) => timeouts.encode(writer),
            Self::SetSetting(setting) => writer.nest(top::SETTING, |nest| setting.encode(nest)),
            Self::DumpText(name) => writer.put_string(top::TEXT, name, TEXT_NAME_MAX),
            Self::DumpServices
            | Self::DumpDaemons
            | Self::GetConfig
            | Self::GetInfo
            | Self::Zero(None)
            | Self::Flush
            | Self::DumpSettings
            | Self::DumpConnections => {}
        })
    }

    /// Command number, and whether it is a list.
    const fn command(&self) -> (u8, bool) {
        match self {
            Self::NewService(_) => (command::NEW_SERVICE, false),
            Self::SetService(_) => (command::SET_SERVICE, false),
            Self::DelService(_) => (command::DEL_SERVICE, false),
            Self::GetService(_) => (command::GET_SERVICE, false),
            Self::DumpServices => (command::GET_SERVICE, true),
            Self::NewDest(..) => (command::NEW_DEST, false),
            Self::SetDest(..) => (command::SET_DEST, false),
            Self::DelDest(..) => (command::DEL_DEST, false),
            Self::DumpDests(_) => (command::GET_DEST, true),
            Self::NewDaemon(_) => (command::NEW_DAEMON, false),
            Self::DelDaemon(_) => (command::DEL_DAEMON, false),
            Self::DumpDaemons => (command::GET_DAEMON, true),
            Self::SetConfig(_) => (command::SET_CONFIG, false),
            Self::GetConfig => (command::GET_CONFIG, false),
            Self::GetInfo => (command::GET_INFO, false),
            Self::Zero(_) => (command::ZERO, false),
            Self::Flush => (command::FLUSH, false),
            Self::DumpConnections => (command::GET_CONNECTION, true),
            Self::DumpSettings => (command::GET_SETTING, true),
            Self::SetSetting(_) => (command::SET_SETTING, false),
            Self::DumpText(_) => (command::GET_TEXT, true),
        }
    }

    /// Reads what follows the netlink header.
    ///
    /// # Errors
    /// `EINVAL` if the generic header is cut off or a nest cannot be read, `EOPNOTSUPP` for an unknown
    /// command and for a list of what is none (and the reverse), `ERANGE` if an attribute is too short.
    fn decode(header: &Header, payload: &[u8]) -> Result<Self, Errno> {
        let &[command, _version, _, _] = payload
            .first_chunk::<GENERIC_LENGTH>()
            .ok_or(Errno::EINVAL)?;
        let attributes = payload.get(GENERIC_LENGTH..).unwrap_or(&[]);
        let service = || nest(attributes, top::SERVICE, ServiceAttrs::decode);
        let dest = || nest(attributes, top::DEST, DestAttrs::decode);
        let daemon = || nest(attributes, top::DAEMON, DaemonAttrs::decode);
        let last = |kind| {
            let found = Attributes::new(attributes).filter(|(found, _)| *found == kind);
            found.last().map(|(_, value)| value)
        };
        let has = |kind| last(kind).is_some();
        Ok(match (command, header.is_dump()) {
            (command::NEW_SERVICE, false) => Self::NewService(service()?),
            (command::SET_SERVICE, false) => Self::SetService(service()?),
            (command::DEL_SERVICE, false) => Self::DelService(service()?),
            (command::GET_SERVICE, false) => Self::GetService(service()?),
            (command::GET_SERVICE, true) => Self::DumpServices,
            (command::NEW_DEST, false) => Self::NewDest(service()?, dest()?),
            (command::SET_DEST, false) => Self::SetDest(service()?, dest()?),
            (command::DEL_DEST, false) => Self::DelDest(service()?, dest()?),
            // What cannot be read is as good as an unknown service: an empty list.
            (command::GET_DEST, true) => Self::DumpDests(service().unwrap_or_default()),
            (command::NEW_DAEMON, false) => Self::NewDaemon(daemon()?),
            (command::DEL_DAEMON, false) => Self::DelDaemon(daemon()?),
            (command::GET_DAEMON, true) => Self::DumpDaemons,
            (command::SET_CONFIG, false) => Self::SetConfig(Timeouts::decode(attributes)?),
            (command::GET_CONFIG, false) => Self::GetConfig,
            (command::GET_INFO, false) => Self::GetInfo,
            (command::ZERO, false) if has(top::SERVICE) => Self::Zero(Some(service()?)),
            (command::ZERO, false) => Self::Zero(None),
            (command::FLUSH, false) => Self::Flush,
            (command::GET_CONNECTION, true) => Self::DumpConnections,
            (command::GET_SETTING, true) => Self::DumpSettings,
            (command::SET_SETTING, false) => {
                Self::SetSetting(Setting::decode(last(top::SETTING).ok_or(Errno::EINVAL)?)?)
            }
            (command::GET_TEXT, true) => {
                let name = last(top::TEXT).ok_or(Errno::EINVAL)?;
                Self::DumpText(string(name, TEXT_NAME_MAX)?)
            }
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }
}

/// The last nest of this type, or the empty one.
fn nest<T: Default>(
    attributes: &[u8],
    kind: u16,
    decode: impl Fn(&[u8]) -> Result<T, Errno>,
) -> Result<T, Errno> {
    Attributes::new(attributes)
        .filter(|(found, _)| *found == kind)
        .last()
        .map_or_else(|| Ok(T::default()), |(_, value)| decode(value))
}

/// One request of a datagram, as it came.
#[derive(Clone, Debug)]
pub struct RequestFrame<'a> {
    /// Its netlink header.
    pub header: Header,
    /// What is asked, or the error that answers it whatever the table holds.
    pub request: Result<Request, Errno>,
    /// The whole message: an error reply repeats it.
    pub(super) bytes: &'a [u8],
}

/// The requests of a datagram, in order. Messages that are not requests are passed over; a cut-off tail
/// ends the walk.
pub fn requests(datagram: &[u8]) -> impl Iterator<Item = RequestFrame<'_>> {
    frames(datagram)
        .filter(|frame| is_request(&frame.header))
        .map(
            |Frame {
                 header,
                 bytes,
                 payload,
             }| {
                let request = if header.kind == FAMILY_ID {
                    Request::decode(&header, payload)
                } else {
                    Err(Errno::ENOENT)
                };
                RequestFrame {
                    header,
                    request,
                    bytes,
                }
            },
        )
}

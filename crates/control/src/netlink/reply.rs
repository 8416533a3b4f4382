//! Replies: what a server tells, and how answers are framed.

use super::attribute::{Attributes, Writer, string, u32_value};
use super::frame::{
    Frame, GENERIC_LENGTH, HEADER_LENGTH, Header, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED,
    NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR, frames,
};
use super::request::{RequestFrame, command, top};
use super::{
    CONNECTION_TABLE_SIZE, ConnectionEntry, DaemonAttrs, DestReply, Errno, FAMILY_ID, IPVS_VERSION,
    ServiceReply, Setting, Timeouts,
};

/// Lists are sent in datagrams of at most this many octets, as the kernel's dumps are.
const DATAGRAM_MAX: usize = 16 * 1024;

const INFO_VERSION: u16 = 1;
const INFO_TABLE_SIZE: u16 = 2;

/// `NLMSGERR_ATTR_MSG`, and the octets of a sentence at most.
const EXPLANATION: u16 = 1;
const EXPLANATION_MAX: usize = 2000;

/// What GET_INFO tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// IPVS version: major, minor, patch in the three low octets.
    pub version: u32,
    /// Size of the connection table, buckets.
    pub table_size: u32,
}

impl Default for Info {
    fn default() -> Self {
        Self {
            version: IPVS_VERSION,
            table_size: CONNECTION_TABLE_SIZE,
        }
    }
}

/// A message with data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A service.
    Service(ServiceReply),
    /// A destination.
    Dest(DestReply),
    /// A running synchronisation daemon.
    Daemon(DaemonAttrs),
    /// The timeouts.
    Config(Timeouts),
    /// Version and table size.
    Info(Info),
    /// A connection entry.
    Connection(ConnectionEntry),
    /// A setting.
    Setting(Setting),
    /// A piece of a text, at most [`Reply::PIECE_MAX`] octets.
    Text(Vec<u8>),
}

impl Reply {
    /// Octets of a piece of a text, so that two go into a datagram.
    pub const PIECE_MAX: usize = 8000;

    fn encode(&self, header: &Header) -> Vec<u8> {
        header.generic(self.command(), |writer| match self {
            Self::Service(service) => writer.nest(top::SERVICE, |nest| service.encode(nest)),
            Self::Dest(dest) => writer.nest(top::DEST, |nest| dest.encode(nest)),
            Self::Daemon(daemon) => writer.nest(top::DAEMON, |nest| daemon.encode(nest)),
            Self::Config(timeouts) => timeouts.encode(writer),
            Self::Info(info) => info.encode(writer),
            Self::Connection(entry) => writer.nest(top::CONNECTION, |nest| entry.encode(nest)),
            Self::Setting(setting) => writer.nest(top::SETTING, |nest| setting.encode(nest)),
            Self::Text(piece) => writer.put(top::TEXT, piece),
        })
    }

    /// The kernel answers with the NEW/SET command, not with the GET it was asked.
    const fn command(&self) -> u8 {
        match self {
            Self::Service(_) => command::NEW_SERVICE,
            Self::Dest(_) => command::NEW_DEST,
            Self::Daemon(_) => command::NEW_DAEMON,
            Self::Config(_) => command::SET_CONFIG,
            Self::Info(_) => command::SET_INFO,
            Self::Connection(_) => command::GET_CONNECTION,
            Self::Setting(_) => command::SET_SETTING,
            Self::Text(_) => command::GET_TEXT,
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, Errno> {
        let &[command, ..] = payload
            .first_chunk::<GENERIC_LENGTH>()
            .ok_or(Errno::EINVAL)?;
        let attributes = payload.get(GENERIC_LENGTH..).unwrap_or(&[]);
        let nest = |kind| {
            Attributes::new(attributes)
                .filter(|(found, _)| *found == kind)
                .last()
                .map(|(_, value)| value)
                .ok_or(Errno::EINVAL)
        };
        Ok(match command {
            command::NEW_SERVICE => Self::Service(ServiceReply::decode(nest(top::SERVICE)?)?),
            command::NEW_DEST => Self::Dest(DestReply::decode(nest(top::DEST)?)?),
            command::NEW_DAEMON => Self::Daemon(DaemonAttrs::decode(nest(top::DAEMON)?)?),
            command::SET_CONFIG => Self::Config(Timeouts::decode(attributes)?),
            command::SET_INFO => Self::Info(Info::decode(attributes)?),
            command::GET_CONNECTION => {
                Self::Connection(ConnectionEntry::decode(nest(top::CONNECTION)?)?)
            }
            command::SET_SETTING => Self::Setting(Setting::decode(nest(top::SETTING)?)?),
            command::GET_TEXT => Self::Text(nest(top::TEXT)?.to_vec()),
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }
}

impl Info {
    fn encode(self, writer: &mut Writer) {
        writer.put_u32(INFO_VERSION, self.version);
        writer.put_u32(INFO_TABLE_SIZE, self.table_size);
    }

    fn decode(attributes: &[u8]) -> Result<Self, Errno> {
        let mut info = Self {
            version: 0,
            table_size: 0,
        };
        for (kind, value) in Attributes::new(attributes) {
            match kind {
                INFO_VERSION => info.version = u32_value(value)?,
                INFO_TABLE_SIZE => info.table_size = u32_value(value)?,
                _ => {}
            }
        }
        Ok(info)
    }
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, nothing to tell.
    Done,
    /// One thing to tell.
    One(Reply),
    /// A list.
    List(Vec<Reply>),
}

/// Frames the answer to one request: the datagrams to send, in order.
///
/// `port` is the client's port id. As the kernel: an error is sent whether or not an acknowledgement
/// was asked for and repeats the whole request; an acknowledgement is sent if asked for and repeats its
/// header only; a list ends in `NLMSG_DONE` and has no acknowledgement.
#[must_use]
pub fn respond(
    request: &RequestFrame<'_>,
    port: u32,
    answer: &Result<Answer, Errno>,
) -> Vec<Vec<u8>> {
    let header = Header {
        kind: FAMILY_ID,
        flags: 0,
        sequence: request.header.sequence,
        port,
    };
    let acknowledgement = || {
        let header = Header {
            kind: NLMSG_ERROR,
            flags: NLM_F_CAPPED,
            ..header
        };
        let original = request.bytes.get(..HEADER_LENGTH).unwrap_or(request.bytes);
        (request.header.flags & NLM_F_ACK != 0)
            .then(|| header.message(&[&0_i32.to_ne_bytes(), original].concat()))
    };
    match answer {
        Err(errno) => {
            let code = -errno.number();
            let header = Header {
                kind: NLMSG_ERROR,
                ..header
            };
            vec![header.message(&[&code.to_ne_bytes(), request.bytes].concat())]
        }
        Ok(Answer::Done) => acknowledgement().into_iter().collect(),
        Ok(Answer::One(reply)) => core::iter::once(reply.encode(&header))
            .chain(acknowledgement())
            .collect(),
        Ok(Answer::List(list)) => {
            let header = Header {
                flags: NLM_F_MULTI,
                ..header
            };
            let mut datagrams = pack(list.iter().map(|reply| reply.encode(&header)));
            let done = Header {
                kind: NLMSG_DONE,
                ..header
            };
            datagrams.push(done.message(&0_i32.to_ne_bytes()));
            datagrams
        }
    }
}

/// Frames a refusal with a sentence, as an extended acknowledgement (`NLMSGERR_ATTR_MSG`): for what ulvs refuses and
/// no kernel would, so that no error number says why.
#[must_use]
pub fn refuse(request: &RequestFrame<'_>, port: u32, errno: Errno, sentence: &str) -> Vec<u8> {
    let header = Header {
        kind: NLMSG_ERROR,
        flags: NLM_F_ACK_TLVS,
        sequence: request.header.sequence,
        port,
    };
    let mut attributes = Writer::default();
    attributes.put_string(EXPLANATION, sentence, EXPLANATION_MAX);
    let code = (-errno.number()).to_ne_bytes();
    let mut payload = [&code, request.bytes].concat();
    payload.resize(payload.len().next_multiple_of(4), 0);
    payload.extend(attributes.into_bytes());
    header.message(&payload)
}

/// The sentence behind the request that an error repeats.
fn explanation(header: &Header, payload: &[u8]) -> Option<String> {
    if header.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let original = payload.get(4..)?;
    let length = usize::try_from(u32::from_ne_bytes(*original.first_chunk()?)).ok()?;
    let attributes = original.get(length.next_multiple_of(4)..)?;
    Attributes::new(attributes)
        .filter(|(kind, _)| *kind == EXPLANATION)
        .find_map(|(_, value)| string(value, EXPLANATION_MAX).ok())
}

/// Joins messages (each a multiple of four octets) to datagrams of at most [`DATAGRAM_MAX`] octets.
fn pack(messages: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    for message in messages {
        match datagrams.last_mut() {
            Some(last) if last.len() + message.len() <= DATAGRAM_MAX => last.extend(message),
            _ => datagrams.push(message),
        }
    }
    datagrams
}

/// A message as a client receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyFrame {
    /// Data.
    Data(Reply),
    /// The request was carried out.
    Acknowledged,
    /// The list is at its end.
    Done,
    /// The request was refused.
    Error(Errno),
    /// The request was refused, and why.
    Refused(Errno, String),
}

/// The messages of a reply datagram with their headers.
///
/// # Errors
/// What made a message unreadable.
pub fn replies(datagram: &[u8]) -> impl Iterator<Item = Result<(Header, ReplyFrame), Errno>> {
    frames(datagram).map(
        |Frame {
             header, payload, ..
         }| {
            let frame = match header.kind {
                NLMSG_DONE => ReplyFrame::Done,
                NLMSG_ERROR => match i32::from_ne_bytes(super::attribute::array(payload)?) {
                    0 => ReplyFrame::Acknowledged,
                    code => {
                        let errno = code.checked_neg().and_then(Errno::from_number);
                        let errno = errno.ok_or(Errno::EINVAL)?;
                        match explanation(&header, payload) {
                            Some(sentence) => ReplyFrame::Refused(errno, sentence),
                            None => ReplyFrame::Error(errno),
                        }
                    }
                },
                _ => ReplyFrame::Data(Reply::decode(payload)?),
            };
            Ok((header, frame))
        },
    )
}

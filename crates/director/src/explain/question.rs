//! What is asked about: a frame, or a client that wants to connect.

use core::fmt::{self, Display, Formatter};
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use packet::{Mac, ethernet};

use super::probe::Probe;
use crate::net::{Interface, Network};
use crate::protocol::Protocol;

/// Index of the loopback interface, which no client comes by (Linux: always the first).
const LOOPBACK: u32 = 1;

/// A packet that nobody has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The packet.
    pub about: About,
    /// Its firewall mark, 0 = none; `None` = what the rules give it.
    pub mark: Option<u32>,
    /// Name of the interface it arrives on; `None` = found out.
    pub interface: Option<String>,
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A whole frame.
    Frame(Vec<u8>),
    /// A packet of a client: the first of a connection, or a further one of the connection that it has.
    Tuple(Probe),
}

impl Question {
    /// The interface that the packet arrives on: the one that is named, the one that the frame is addressed to, or the one
    /// that the client's answers leave by; else any.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn arrival<'n>(&self, network: &'n Network) -> Result<&'n Interface, QuestionError> {
        let interfaces = &network.interfaces;
        if let Some(name) = &self.interface {
            let named = interfaces.iter().find(|interface| interface.name == *name);
            return named.ok_or_else(|| {
                let names: Vec<&str> = interfaces.iter().map(|it| it.name.as_str()).collect();
                QuestionError::NoInterface(name.clone(), names.join(", "))
            });
        }
        let found = match &self.about {
            About::Frame(octets) => {
                let to = octets.first_chunk::<6>().map(|mac| Mac(*mac));
                let mut ethernets = interfaces.iter().filter(|it| it.link_len == ethernet::LEN);
                ethernets.find(|interface| Some(interface.mac) == to)
            }
            About::Tuple(probe) => {
                let route = network.routes.lookup(probe.source.0);
                route.and_then(|route| network.interface(route.interface))
            }
        };
        let first = || {
            interfaces
                .iter()
                .find(|interface| interface.index != LOOPBACK)
        };
        let found = found.or_else(first).or_else(|| interfaces.first());
        found.ok_or(QuestionError::NoInterfaces)
    }

    /// The frame as it arrives on `interface`; a client's next packet is of a connection that `is_known`, or begins one.
    #[must_use]
    pub fn frame(&self, interface: &Interface, is_known: impl FnOnce(&Probe) -> bool) -> Vec<u8> {
        match &self.about {
            About::Frame(octets) => octets.clone(),
            About::Tuple(probe) => {
                let mac = (interface.link_len > 0).then_some(interface.mac);
                probe.frame(mac, is_known(probe))
            }
        }
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Neither a tuple nor a frame.
    #[error("{0:?} is no question: write tcp, udp or sctp, then CLIENT:PORT, then VIP:PORT")]
    NoQuestion(String),
    /// Not an address with a port.
    #[error("{0:?} is not an address and port: write 192.0.2.7:1234 or [fd00::7]:1234")]
    Endpoint(String),
    /// The two endpoints are of different families.
    #[error("{0} and {1} are not of one address family")]
    Families(SocketAddr, SocketAddr),
    /// Not a frame in hexadecimal.
    #[error("the frame is not written in hexadecimal: two digits an octet")]
    Hexadecimal,
    /// Not a mark.
    #[error("{0:?} is not a firewall mark: a number from 0 to 4294967295")]
    Mark(String),
    /// No such interface.
    #[error("the director has no interface {0}, only {1}")]
    NoInterface(String, String),
    /// No interface at all.
    #[error("the director works on no interface")]
    NoInterfaces,
}

/// As one line, which [`Question::from_str`] reads.
impl Display for Question {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.about {
            About::Frame(octets) => {
                f.write_str("frame ")?;
                octets
                    .iter()
                    .try_for_each(|octet| write!(f, "{octet:02x}"))?;
            }
            About::Tuple(probe) => {
                let endpoint = |(address, port): (IpAddr, u16)| SocketAddr::new(address, port);
                write!(
                    f,
                    "{} {} {}",
                    probe.protocol.name().to_ascii_lowercase(),
                    endpoint(probe.source),
                    endpoint(probe.destination)
                )?;
            }
        }
        if let Some(mark) = self.mark {
            write!(f, " mark={mark}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " interface={interface}")?;
        }
        Ok(())
    }
}

impl FromStr for Question {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let none = || QuestionError::NoQuestion(text.chars().take(80).collect());
        let (about, rest) = match words.as_slice() {
            ["frame", hex, rest @ ..] => (About::Frame(octets(hex)?), rest),
            [protocol, source, destination, rest @ ..] => {
                let protocol = protocol_named(protocol).ok_or_else(none)?;
                let probe = probe(protocol, source, destination)?;
                (About::Tuple(probe), rest)
            }
            _ => return Err(none()),
        };
        let mut question = Self {
            about,
            mark: None,
            interface: None,
        };
        for word in rest {
            match word.split_once('=') {
                Some(("mark", mark)) => {
                    let fault = |_| QuestionError::Mark(mark.to_owned());
                    question.mark = Some(mark.parse().map_err(fault)?);
                }
                Some(("interface", name)) => question.interface = Some(name.to_owned()),
                _ => return Err(none()),
            }
        }
        Ok(question)
    }
}

fn protocol_named(name: &str) -> Option<Protocol> {
    let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    known
        .into_iter()
        .find(|known| known.name().eq_ignore_ascii_case(name))
}

fn probe(protocol: Protocol, source: &str, destination: &str) -> Result<Probe, QuestionError> {
    let endpoint = |text: &str| {
        let read = text.parse::<SocketAddr>();
        read.map_err(|_| QuestionError::Endpoint(text.to_owned()))
    };
    let (source, destination) = (endpoint(source)?, endpoint(destination)?);
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(QuestionError::Families(source, destination));
    }
    Ok(Probe {
        protocol,
        source: (source.ip(), source.port()),
        destination: (destination.ip(), destination.port()),
    })
}

/// The octets of a hexadecimal text; colons may stand between them.
fn octets(text: &str) -> Result<Vec<u8>, QuestionError> {
    let digits: Vec<char> = text.chars().filter(|letter| *letter != ':').collect();
    let octet = |pair: &[char]| match pair {
        [high, low] => {
            let (high, low) = (high.to_digit(16)?, low.to_digit(16)?);
            u8::try_from(high << 4 | low).ok()
        }
        _ => None,
    };
    let octets: Option<Vec<u8>> = digits.chunks(2).map(octet).collect();
    octets
        .filter(|octets| !octets.is_empty())
        .ok_or(QuestionError::Hexadecimal)
}

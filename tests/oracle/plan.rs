//! What a case is to do, written down before any kernel runs: the same seed gives the same plan. Where a packet depends
//! on what the kernel chose (a reply comes from the server that was chosen), the plan names the flow, and the
//! recorder fills in the rest.

use std::net::IpAddr;

use crate::recording::Port;

/// One case.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Clients and what they talk to.
    pub(crate) flows: Vec<Flow>,
    /// In order.
    pub(crate) steps: Vec<Step>,
    /// Real seconds after which the recorder leaves the rest out: the shortest timer of the kernel that the plan
    /// starts without meaning to see its end.
    pub(crate) limit: f64,
}

/// An address and a port.
pub(crate) type Endpoint = (IpAddr, u16);

/// A client endpoint and the virtual endpoint it talks to.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// IP protocol number.
    pub(crate) protocol: u8,
    /// The client.
    pub(crate) client: Endpoint,
    /// What it talks to.
    pub(crate) virtual_end: Endpoint,
}

impl Flow {
    /// Whether both have the same endpoints.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.protocol, self.client, self.virtual_end)
            == (other.protocol, other.client, other.virtual_end)
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A command line, and what it reads from standard input.
    Command(Vec<String>, Option<String>),
    /// A setting below `net.ipv4.vs`, and its value.
    Sysctl(&'static str, u32),
    /// A packet.
    Send(Box<Sending>),
    /// Seconds without a packet.
    Sleep(f64),
    /// The texts of these names.
    Show(&'static [&'static str]),
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The flow's client, to the virtual endpoint.
    Client,
    /// The real server that the flow was translated to, to the client; nothing is sent where it was not.
    Server,
    /// The real server from a port of its own choice to a port of the client: FTP's active data connection.
    ServerFrom(u16, u16),
    /// A router on the client side, about the last thing that the client was told.
    ClientRouter,
    /// A router (or the server itself) on the server side, about the last thing that came out there for the flow.
    ServerRouter,
}

/// One packet.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    /// Index of its flow.
    pub(crate) flow: usize,
    /// Who sends it.
    pub(crate) speaker: Speaker,
    /// The header around it.
    pub(crate) outer: Outer,
    /// What is in it.
    pub(crate) body: Body,
    /// What happens to the finished frame.
    pub(crate) spoil: Vec<Spoil>,
    /// Octets of payload of the first fragments; whole when `None`.
    pub(crate) fragments: Option<usize>,
    /// Wait a little after it: the kernel ends a connection that a new one replaces within a tick.
    pub(crate) settle: bool,
}

impl Sending {
    /// Nothing special.
    pub(crate) fn new(flow: usize, speaker: Speaker, id: u16, body: Body) -> Self {
        let outer = Outer {
            id,
            ..Outer::default()
        };
        let spoil = Vec::new();
        Self {
            flow,
            speaker,
            outer,
            body,
            spoil,
            fragments: None,
            settle: false,
        }
    }

    /// Which side it comes in on.
    pub(crate) fn port(&self) -> Port {
        match self.speaker {
            Speaker::Client | Speaker::ClientRouter => Port::Client,
            _ => Port::Server,
        }
    }
}

/// Fields of the IP header.
#[derive(Clone, Debug)]
pub(crate) struct Outer {
    /// Hop limit.
    pub(crate) ttl: u8,
    /// Traffic class.
    pub(crate) tos: u8,
    /// Identification; of IPv6, of its fragments.
    pub(crate) id: u16,
    /// Don't fragment; IPv4 alone.
    pub(crate) df: bool,
    /// IPv4 options, a multiple of four octets.
    pub(crate) options: Vec<u8>,
    /// Extension headers of IPv6 without content: 0 (hop by hop) or 60 (destination).
    pub(crate) extension: Option<u8>,
}

impl Default for Outer {
    fn default() -> Self {
        Self {
            ttl: 64,
            tos: 0,
            id: 0,
            df: false,
            options: Vec::new(),
            extension: None,
        }
    }
}

/// What a packet carries.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// A TCP segment.
    Tcp {
        /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
        flags: u8,
        /// Payload.
        data: Data,
        /// Sequence numbers go on with the flow, as a stack would count; otherwise they are fixed.
        stream: bool,
    },
    /// A UDP datagram.
    Udp {
        /// Payload.
        data: Data,
        /// A checksum other than the right one.
        checksum: Option<u16>,
    },
    /// An SCTP packet of one chunk, from its type on.
    Sctp(Vec<u8>),
    /// Another protocol.
    Other(u8, Vec<u8>),
    /// An ICMP or ICMPv6 error.
    Error {
        /// Type and code.
        kind: (u8, u8),
        /// The word behind the checksum.
        word: u32,
        /// Octets quoted at most.
        quote: usize,
        /// The checksum is wrong.
        bad: bool,
    },
    /// An ICMP or ICMPv6 echo request.
    Echo,
}

/// Payload.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// As it is.
    Octets(Vec<u8>),
    /// A text in which `{server}` stands for the real server's address, with commas for dots where it is IPv4.
    Text(String),
}

/// What happens to a finished frame.
#[derive(Clone, Debug)]
pub(crate) enum Spoil {
    /// Octets of zero behind the packet.
    Pad(usize),
    /// All but so many thousandths of the packet are cut off.
    Cut(usize),
    /// A bit of the packet (place in thousandths, bit) is turned over.
    Flip(usize, u8),
    /// Another destination MAC.
    Mac([u8; 6]),
}

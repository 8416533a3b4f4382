//! One request, its answer.

use std::io;

use control::netlink::{Errno, Reply, ReplyFrame, Request, replies};
use control::server::{ConnectionSource, Server};
use director::time::Instant;

/// Carries requests to a director.
pub trait Transport {
    /// Sends a datagram of netlink requests and returns the datagrams that answer it, whole: see
    /// [`control::netlink::expected`] and [`control::netlink::answered`].
    ///
    /// # Errors
    /// The director cannot be reached, or went away; the text should name the socket.
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<Vec<u8>>>;
}

/// A control server in this process, without a socket.
#[derive(Debug)]
pub struct InProcess<'a, S> {
    /// What answers.
    pub server: &'a Server,
    /// Where it finds connections.
    pub source: &'a S,
    /// When it is asked.
    pub now: Instant,
}

impl<S: ConnectionSource> Transport for InProcess<'_, S> {
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.server.handle(request, 0, self.now, self.source))
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The director refused.
    Refused(Errno),
    /// The director refused and said why: what no kernel would refuse.
    Explained(String),
    /// There is no director to ask.
    Unreachable(io::Error),
}

impl Failure {
    /// As one sentence; `refused` says what a bare errno means here.
    pub(crate) fn sentence(self, refused: impl FnOnce(Errno) -> String) -> String {
        match self {
            Self::Refused(errno) => refused(errno),
            Self::Explained(sentence) => sentence,
            Self::Unreachable(error) => error.to_string(),
        }
    }
}

/// Numbers the requests and reads the answers.
pub(crate) struct Client<'a> {
    transport: &'a mut dyn Transport,
    sequence: u32,
}

impl<'a> Client<'a> {
    pub(crate) fn new(transport: &'a mut dyn Transport) -> Self {
        Self {
            transport,
            sequence: 0,
        }
    }

    /// The data of the answer; empty where there is only an acknowledgement.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Vec<Reply>, Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let datagrams = self
            .transport
            .exchange(&request.encode(self.sequence, 0))
            .map_err(Failure::Unreachable)?;
        let mut data = Vec::new();
        for datagram in &datagrams {
            for reply in replies(datagram) {
                let (header, frame) = reply.map_err(|errno| {
                    let text = format!("the director's answer cannot be read ({errno})");
                    Failure::Unreachable(io::Error::new(io::ErrorKind::InvalidData, text))
                })?;
                match frame {
                    _ if header.sequence != self.sequence => {}
                    ReplyFrame::Data(reply) => data.push(reply),
                    ReplyFrame::Error(errno) => return Err(Failure::Refused(errno)),
                    ReplyFrame::Refused(_, sentence) => return Err(Failure::Explained(sentence)),
                    ReplyFrame::Acknowledged | ReplyFrame::Done => {}
                }
            }
        }
        Ok(data)
    }
}

/// The text that an answer's pieces make.
pub(crate) fn text(replies: &[Reply]) -> String {
    let pieces = replies.iter().filter_map(|reply| match reply {
        Reply::Text(piece) => Some(piece.as_slice()),
        _ => None,
    });
    String::from_utf8_lossy(&pieces.collect::<Vec<_>>().concat()).into_owned()
}

//! The other end of the control socket: how commands reach the daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::netlink::{answered, expected};
use link::sys::seqpacket::Connection;

use crate::control_socket::DEFAULT_PATH;

/// Environment variable with the path of the control socket.
pub const PATH_VARIABLE: &str = "ULVS_CONTROL";
/// Longest wait for the next datagram of an answer. The daemon answers within milliseconds; a long list comes in pieces.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest datagram of an answer, octets: several times what the daemon packs into one.
const REPLY_MAX: usize = 1 << 18;

/// The path of the control socket: what the environment says, else the default.
#[must_use]
pub fn path() -> PathBuf {
    std::env::var_os(PATH_VARIABLE).map_or_else(|| DEFAULT_PATH.into(), PathBuf::from)
}

/// A connection to the daemon, made with the first request.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    connection: Option<Connection>,
}

impl Client {
    /// A client of the daemon whose control socket is at `path`.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path,
            connection: None,
        }
    }

    /// Sends a datagram of requests and returns the datagrams that answer it, whole.
    ///
    /// # Errors
    /// The daemon does not run, may not be spoken to, or went away; the text names the socket.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let Self { path, connection } = self;
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("ulvs on {} went away: {error}", path.display()),
            )
        };
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(connect(path)?),
        };
        connection.send(request, PATIENCE).map_err(named)?;
        let mut left = expected(request);
        let mut answer = Vec::new();
        while left > 0 {
            let datagram = connection.receive(REPLY_MAX, PATIENCE).map_err(named)?;
            let datagram = datagram.ok_or_else(|| named(io::ErrorKind::ConnectionReset.into()))?;
            left = left.saturating_sub(answered(&datagram));
            answer.push(datagram);
        }
        Ok(answer)
    }
}

fn connect(path: &Path) -> io::Result<Connection> {
    Connection::open(path).map_err(|error| {
        let text = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                "ulvs is not running on {}: start it with `ulvs run`, or set {PATH_VARIABLE} to its control socket",
                path.display()
            ),
            io::ErrorKind::PermissionDenied => format!(
                "the control socket {} is for root and its group only: run this as root or as one of the group",
                path.display()
            ),
            _ => format!("cannot connect to {}: {error}", path.display()),
        };
        io::Error::new(error.kind(), text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let error = Client::new(path.clone()).exchange(&[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("ulvs is not running on {}", path.display())),
            "{text}"
        );
    }
}

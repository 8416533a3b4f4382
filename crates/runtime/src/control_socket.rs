//! The control socket: who may connect, datagrams in, datagrams out.
//!
//! Promises: a client that does not read slows nobody down but itself; what a request means is the caller's matter.
//! Who may connect is who may write to the socket file: the daemon's user and its group (mode 0660), root.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use control::config::Control;
use link::sys::seqpacket::{Connection, Listener};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::error::{Result, RuntimeError};

/// Where the control socket is by default.
pub const DEFAULT_PATH: &str = "/run/ulvs/control.sock";
/// Clients at once; a further one waits to be accepted.
const CLIENTS_MAX: usize = 256;
/// Longest request, octets. A batch of IPVS messages is far below.
const REQUEST_MAX: usize = 1 << 16;
/// Requests of one client in a row before the others get their turn.
const REQUESTS_IN_A_ROW: usize = 64;

/// The daemon's end of the control socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: Listener,
    clients: BTreeMap<usize, Client>,
    next: usize,
    /// There may be connections that were not accepted for lack of room.
    full: bool,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    /// Answers that the client has no room for yet.
    backlog: VecDeque<Vec<u8>>,
}

/// What a client's turn came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing left to do until the socket says so.
    Idle,
    /// Its turn ended with more to do.
    More,
    /// It is gone.
    Gone,
}

impl ControlSocket {
    /// Makes the socket; its folder is made when it is missing. `token` is the listener's; tokens above it are the
    /// clients'.
    ///
    /// # Errors
    /// Another daemon listens there (with its process id), an unknown group, or the system refused.
    pub fn open(control: &Control, registry: &Registry, token: Token) -> Result<Self> {
        let path = control.socket.as_path();
        let failed = |source: io::Error| {
            let path = path.display();
            let operation =
                format!("cannot make the control socket {path} (another place: --control PATH)");
            RuntimeError::system(operation, source)
        };
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let group = control.group.as_deref().map(group_number).transpose()?;
        let listener = Listener::bind(path, control.mode).map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                RuntimeError::Refused(taken(path))
            } else {
                failed(error)
            }
        })?;
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group).map_err(failed)?;
        }
        let fd = listener.fd().as_raw_fd();
        registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .map_err(failed)?;
        Ok(Self {
            listener,
            clients: BTreeMap::new(),
            next: token.0 + 1,
            full: false,
        })
    }

    /// Takes in clients that wait.
    pub fn accept(&mut self, registry: &Registry) {
        self.full = false;
        loop {
            if self.clients.len() >= CLIENTS_MAX {
                self.full = true;
                return;
            }
            let connection = match self.listener.accept() {
                Ok(Some(connection)) => connection,
                Ok(None) => return,
                Err(error) => {
                    // A shortage: tried again when a client leaves.
                    tracing::warn!("cannot accept a control connection: {error}");
                    self.full = true;
                    return;
                }
            };
            let fd = connection.fd().as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = registry.register(&mut SourceFd(&fd), Token(self.next), interest) {
                tracing::warn!("cannot watch a control connection: {error}");
                continue;
            }
            self.clients.insert(
                self.next,
                Client {
                    connection,
                    backlog: VecDeque::new(),
                },
            );
            self.next += 1;
        }
    }

    /// Gives the client `token` its turn: `answer` makes the reply datagrams of a request datagram. Returns whether
    /// it wants another turn at once.
    pub fn serve(
        &mut self,
        token: Token,
        registry: &Registry,
        mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&token.0) else {
            return false;
        };
        match client.turn(&mut answer) {
            Turn::Idle => false,
            Turn::More => true,
            Turn::Gone => {
                // Closing the descriptor ends its registration.
                self.clients.remove(&token.0);
                if self.full {
                    self.accept(registry);
                }
                false
            }
        }
    }
}

impl Client {
    fn turn(&mut self, answer: &mut impl FnMut(&[u8]) -> Vec<Vec<u8>>) -> Turn {
        for _ in 0..REQUESTS_IN_A_ROW {
            match self.flush() {
                Turn::More => {}
                other => return other,
            }
            match self.connection.receive(REQUEST_MAX, Duration::ZERO) {
                Ok(Some(request)) => self.backlog.extend(answer(&request)),
                Ok(None) => return Turn::Gone,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Idle,
                Err(_) => return Turn::Gone,
            }
        }
        Turn::More
    }

    /// Sends what waits: `More` = all is sent, `Idle` = the client has no room now.
    fn flush(&mut self) -> Turn {
        while let Some(datagram) = self.backlog.front() {
            match self.connection.send(datagram, Duration::ZERO) {
                Ok(()) => {
                    self.backlog.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Idle,
                Err(_) => return Turn::Gone,
            }
        }
        Turn::More
    }
}

/// The number of a group, given by name or number.
fn group_number(group: &str) -> Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let known = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let entry = known
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let number = entry
        .filter(|fields| fields.first() == Some(&group))
        .find_map(|fields| fields.get(2)?.parse().ok());
    number.ok_or_else(|| {
        RuntimeError::Refused(format!(
            "there is no group {group}: correct `group` of [control] in the configuration, or `groupadd {group}`"
        ))
    })
}

fn taken(path: &Path) -> String {
    let process = Connection::open(path)
        .and_then(|connection| connection.peer())
        .map_or_else(
            |_| "pid unknown".into(),
            |peer| format!("pid {}", peer.process),
        );
    format!(
        "another ulvs is running ({process}) on {}: stop it first, or give this one another --control PATH",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Server {
        poll: mio::Poll,
        socket: ControlSocket,
        path: std::path::PathBuf,
        _folder: tempfile::TempDir,
    }

    fn control(path: &Path) -> Control {
        Control {
            socket: path.to_owned(),
            group: None,
            mode: 0o660,
        }
    }

    #[test]
    fn groups_by_name_and_number() {
        assert_eq!(group_number("1234").unwrap(), 1234);
        assert_eq!(group_number("root").unwrap(), 0);
        assert!(
            group_number("nosuch")
                .unwrap_err()
                .to_string()
                .contains("nosuch")
        );
    }

    fn server() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/control.sock");
        let poll = mio::Poll::new().unwrap();
        let socket = ControlSocket::open(&control(&path), poll.registry(), Token(9)).unwrap();
        Server {
            poll,
            socket,
            path,
            _folder: folder,
        }
    }

    impl Server {
        /// Serves until nothing happens for a moment; every request is answered `times` times by itself.
        fn run(&mut self, times: usize) {
            let mut events = mio::Events::with_capacity(16);
            loop {
                match self.poll.poll(&mut events, Some(Duration::from_millis(5))) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => result.unwrap(),
                }
                if events.is_empty() {
                    return;
                }
                for event in &events {
                    if event.token() == Token(9) {
                        self.socket.accept(self.poll.registry());
                    } else {
                        let answer = |request: &[u8]| vec![request.to_vec(); times];
                        while self
                            .socket
                            .serve(event.token(), self.poll.registry(), answer)
                        {
                        }
                    }
                }
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn requests_are_answered_in_order() {
        let mut server = server();
        let clients = [(); 2].map(|()| Connection::open(&server.path).unwrap());
        for number in 0..100_u8 {
            for client in &clients {
                client.send(&[number; 5], SECOND).unwrap();
            }
            server.run(1);
        }
        for client in &clients {
            for number in 0..100_u8 {
                assert_eq!(client.receive(9, SECOND).unwrap(), Some(vec![number; 5]));
            }
        }
        drop(clients);
        server.run(1);
        assert!(server.socket.clients.is_empty());
    }

    #[test]
    fn a_slow_reader_gets_everything_later() {
        let mut server = server();
        let client = Connection::open(&server.path).unwrap();
        client.send(&[7; 10_000], SECOND).unwrap();
        server.run(200);
        let mut count = 0;
        while count < 200 {
            match client.receive(REQUEST_MAX, Duration::ZERO) {
                Ok(Some(reply)) => {
                    assert_eq!(reply.len(), 10_000);
                    count += 1;
                }
                _ => server.run(200),
            }
        }
    }

    #[test]
    fn a_second_daemon_is_told_who_is_there() {
        let server = server();
        let poll = mio::Poll::new().unwrap();
        let error =
            ControlSocket::open(&control(&server.path), poll.registry(), Token(9)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("(pid {})", std::process::id())),
            "{text}"
        );
        assert!(text.contains("another ulvs is running"), "{text}");
    }
}

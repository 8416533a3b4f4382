//! The FTP helper (kernel: `ip_vs_ftp`): data connections of a control connection through NAT.
//!
//! Follows what client and server say on connections to the virtual port 21, forwarded by NAT. Where one of them
//! announces a data connection, an entry is made for it, in state LISTEN, and the address in the server's answer
//! becomes the virtual server's. Only established control connections are looked at, and only answers to the command
//! seen last. Recordings: `ftp.*`.

use core::net::IpAddr;
use core::ops::Range;
use std::sync::Arc;

use packet::{Transport, checksum, refit, renumber};

use crate::connection::{
    Connection, ConnectionId, FlowKey, NewConnection, Outcome, Segment, State, tcp,
};
use crate::cut::Pieces;
use crate::destination::Method;
use crate::director::{Batch, Datagram, Worker};
use crate::frame::{Frame, OwnedFrame};
use crate::owners;
use crate::protocol::{Direction, Protocol};
use crate::services::FTP_PORT;
use crate::verdict::DropReason;

mod parse;

pub use parse::{Command, Endpoint, extended_passive_text, passive_text};

/// What a client asked for last, on its control connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The server connects to the client, or nothing was asked for yet.
    #[default]
    Active,
    /// PASV: the server's answer 227 is awaited.
    Passive,
    /// EPSV: the server's answer 229 is awaited.
    ExtendedPassive,
}

/// A data connection that was announced.
struct Announced {
    client: (IpAddr, u16),
    /// The client did not say its port, which stands as 0.
    awaits_client_port: bool,
    virtual_server: (IpAddr, u16),
    server: (IpAddr, u16),
}

/// Whether the helper follows the connection: control connections only.
fn is_control(connection: &Connection) -> bool {
    connection.protocol() == Protocol::Tcp
        && connection.method() == Method::Masq
        && connection.virtual_server().1 == FTP_PORT
}

/// Whether it is a data connection that was announced.
pub(crate) fn is_data(connection: &Connection) -> bool {
    connection.is_tracked() && !is_control(connection)
}

impl Worker {
    /// Begins to follow a new connection, if it is one of FTP.
    pub(crate) fn follow(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        if is_data(connection) {
            self.shared.owners.add(connection, self.index);
        } else if is_control(connection) {
            self.connections.track(id);
        }
    }

    /// A client's packet of a tracked connection, already observed, before it is translated.
    ///
    /// # Errors
    /// Why the packet must be dropped.
    pub(crate) fn follow_request(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &mut Datagram<'_, '_>,
    ) -> Result<(), DropReason> {
        self.learn_client_port(id, datagram.headers.ports().0);
        let outcome = self.outcome(id);
        if self.connections.get(id).is_some_and(is_control) {
            datagram.verify()?;
            self.command(batch, id, datagram)?;
        }
        if outcome == Outcome::Clash {
            return Err(DropReason::Handshake);
        }
        let shift = self.connections.tracking(id).map(|it| it.shift);
        let shift = shift.filter(|it| !it.is_none() && outcome.is_tracked());
        if let Some(shift) = shift {
            datagram.renumber(|sequence| sequence, |number| shift.to_server(number));
        }
        Ok(())
    }

    /// The client's port, if it is not known yet; the owner is found by it where the server listens on the port that
    /// active data connections come from.
    fn learn_client_port(&mut self, id: ConnectionId, port: u16) {
        let awaits = |it: &&Connection| it.awaits_client_port() && is_data(it);
        if let Some(connection) = self.connections.get(id).filter(awaits) {
            // Others must not see that it is gone for a moment.
            let moves = owners::has_client_port(connection);
            if moves {
                self.shared.owners.remove(connection);
            }
            self.connections.set_client_port(id, port);
            if let Some(connection) = self.connections.get(id).filter(|_| moves) {
                self.shared.owners.add(connection, self.index);
            }
        }
    }

    /// A real server's packet of a tracked connection, before it is observed and translated.
    ///
    /// # Errors
    /// Why the packet must be dropped.
    pub(crate) fn follow_reply(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &mut Datagram<'_, '_>,
    ) -> Result<(), DropReason> {
        let tracked = self.outcome(id).is_tracked();
        if self.connections.get(id).is_some_and(is_control) {
            datagram.verify()?;
            self.answer_of(batch, id, datagram)?;
        }
        let shift = self.connections.tracking(id).map(|it| it.shift);
        if let Some(shift) = shift.filter(|it| !it.is_none() && tracked) {
            datagram.renumber(|sequence| shift.to_client(sequence), |number| number);
        }
        Ok(())
    }

    /// Lets connection tracking see a packet of a followed connection. Once for each packet, before anything is
    /// decided about it.
    pub(crate) fn track(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &mut Datagram<'_, '_>,
        direction: Direction,
    ) {
        if !self.is_followed(id) {
            return;
        }
        let is_valid = datagram.verify().is_ok();
        let is_on = self.shared.trackers.are_on(datagram.headers.family);
        let Some(tracking) = self.connections.tracking_mut(id) else {
            return;
        };
        tracking.outcome = match datagram.segment() {
            Some(segment) if is_on && is_valid => {
                let offset = match direction {
                    Direction::ToServer => tracking.shift.offset(segment.acknowledgment()),
                    Direction::ToClient => 0,
                };
                let conntrack = &mut tracking.conntrack;
                conntrack.takes(direction, &segment, offset, batch.now)
            }
            _ => Outcome::Untracked,
        };
    }

    fn is_followed(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        connection.is_some_and(Connection::is_tracked)
    }

    /// What tracking said of the packet at hand.
    pub(crate) fn outcome(&self, id: ConnectionId) -> Outcome {
        self.connections
            .tracking(id)
            .map_or(Outcome::Untracked, |tracking| tracking.outcome)
    }

    /// Looks for a command in a client's segment.
    fn command(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &Datagram<'_, '_>,
    ) -> Result<(), DropReason> {
        let Some(connection) = self.established(id) else {
            return Ok(());
        };
        let ((vip, port), (server, server_port)) =
            (connection.virtual_server(), connection.server());
        let payload = datagram.payload().unwrap_or_default();
        let Some(command) = Command::parse(datagram.headers.family, payload) else {
            return Ok(());
        };
        let mode = match command {
            Command::Passive => Mode::Passive,
            Command::ExtendedPassive => Mode::ExtendedPassive,
            Command::Active(..) => Mode::Active,
        };
        self.set_mode(id, mode);
        let Command::Active(address, client_port) = command else {
            return Ok(());
        };
        let announced = Announced {
            client: (address, client_port),
            awaits_client_port: false,
            virtual_server: (vip, port.wrapping_sub(1)),
            server: (server, server_port.wrapping_sub(1)),
        };
        let key = FlowKey {
            protocol: Protocol::Tcp.number(),
            source: announced.client,
            destination: announced.virtual_server,
        };
        let known = self.connections.find(&key);
        let known = known.filter(|found| found.1 == Direction::ToServer);
        self.expect(batch, id, known.map(|found| found.0), announced, datagram)?;
        Ok(())
    }

    /// Looks for the answer to the last command in a server's segment, and puts the virtual server in it.
    ///
    /// The mode ends with it: a retransmission of the answer passes as the server sent it, as through the kernel.
    fn answer_of(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &mut Datagram<'_, '_>,
    ) -> Result<(), DropReason> {
        let (Some(mode), Some(connection)) = (
            self.connections.tracking(id).map(|it| it.mode),
            self.established(id),
        ) else {
            return Ok(());
        };
        let (client, vip) = (connection.client().0, connection.virtual_server().0);
        let payload = datagram.payload().unwrap_or_default();
        let found = match mode {
            Mode::Active => None,
            Mode::Passive => Endpoint::of_passive(payload),
            Mode::ExtendedPassive => Endpoint::of_extended_passive(payload, connection.server().0),
        };
        let Some(found) = found else {
            return Ok(());
        };
        let announced = Announced {
            client: (client, 0),
            awaits_client_port: true,
            virtual_server: (vip, found.port),
            server: (found.address, found.port),
        };
        let key = FlowKey {
            protocol: Protocol::Tcp.number(),
            source: announced.server,
            destination: announced.client,
        };
        let known = self.connections.find(&key);
        let known = known.filter(|found| found.1 == Direction::ToClient);
        let data = self.expect(batch, id, known.map(|found| found.0), announced, datagram)?;
        self.set_mode(id, Mode::Active);
        let named = self.connections.get(data).map(Connection::virtual_server);
        let text = match (mode, named) {
            (Mode::Passive, Some((IpAddr::V4(address), port))) => passive_text(address, port),
            (Mode::ExtendedPassive, Some((_, port))) => extended_passive_text(port),
            _ => return Ok(()),
        };
        // Only what is tracked can be changed.
        if !self.outcome(id).is_tracked() {
            return Err(DropReason::Handshake);
        }
        let sequence = datagram.sequence();
        let change = datagram.replace(found.place, text.as_bytes())?;
        if let Some(tracking) = self.connections.tracking_mut(id) {
            tracking.shift.add(sequence, change);
        }
        Ok(())
    }

    fn set_mode(&mut self, id: ConnectionId, mode: Mode) {
        if let Some(tracking) = self.connections.tracking_mut(id) {
            tracking.mode = mode;
        }
    }

    /// The connection, if it is established.
    fn established(&self, id: ConnectionId) -> Option<&Connection> {
        let connection = self.connections.get(id)?;
        (connection.state() == State::Tcp(tcp::State::Established)).then_some(connection)
    }

    /// The entry of an announced data connection, `known` or new, in state LISTEN.
    fn expect(
        &mut self,
        batch: &Batch<'_>,
        control: ConnectionId,
        known: Option<ConnectionId>,
        announced: Announced,
        datagram: &Datagram<'_, '_>,
    ) -> Result<ConnectionId, DropReason> {
        let id = if let Some(id) = known {
            id
        } else {
            let Some(controlling) = self.connections.get(control) else {
                return Err(DropReason::TableFull);
            };
            let destination = controlling.destination().map(Arc::clone);
            if let Some(destination) = &destination {
                destination.bind(false);
            }
            let connection = Connection::new(NewConnection {
                protocol: Protocol::Tcp,
                client: announced.client,
                virtual_server: announced.virtual_server,
                server: announced.server,
                destination,
                template: None,
                method: controlling.method(),
                mark: datagram.ingress.mark,
                client_interface: controlling.client_interface(),
                client_vlan: controlling.client_vlan(),
            });
            let id = self
                .connections
                .insert_controlled(connection, control, announced.awaits_client_port, batch.now)
                .map_err(|_| DropReason::TableFull)?;
            self.connections.tell_made(id, true, batch.now);
            self.follow(id);
            id
        };
        self.connections.listen(id, self.timeouts, batch.now);
        Ok(id)
    }
}

impl Datagram<'_, '_> {
    /// What a TCP segment carries.
    fn payload(&self) -> Option<&[u8]> {
        self.frame.bytes().get(self.payload_range()?)
    }

    fn payload_range(&self) -> Option<Range<usize>> {
        match self.headers.transport {
            Transport::Tcp { header_len, .. } => {
                let start = self.headers.transport_offset + usize::from(header_len);
                Some(start..self.headers.end)
            }
            _ => None,
        }
    }

    /// What tracking reads.
    fn segment(&self) -> Option<Segment<'_>> {
        let payload = self.payload_range()?;
        let header = self
            .frame
            .bytes()
            .get(self.headers.transport_offset..payload.start)?;
        Segment::parse(header, payload.len())
    }

    fn sequence(&self) -> u32 {
        match self.headers.transport {
            Transport::Tcp { sequence, .. } => sequence,
            _ => 0,
        }
    }

    /// A segment that the helper reads must carry the right checksum.
    fn verify(&mut self) -> Result<(), DropReason> {
        let headers = &self.headers;
        if self
            .frame
            .edit(|packet| checksum::is_valid(packet, headers))
        {
            Ok(())
        } else {
            Err(DropReason::BadChecksum)
        }
    }

    /// Replaces the octets at `place` of the payload, and gives by how much the segment grew (modulo 2^32).
    fn replace(&mut self, place: Range<usize>, text: &[u8]) -> Result<u32, DropReason> {
        const WRONG: DropReason = DropReason::Malformed(packet::Malformed::BadLength);
        let start = self.payload_range().ok_or(WRONG)?.start;
        let place = start + place.start..start + place.end;
        if self.frame.bytes().get(place.clone()) == Some(text) {
            return Ok(0);
        }
        let (old, headers) = (self.headers.end, &self.headers);
        let mut frame = self.frame.edit(|packet| OwnedFrame::copy_of(packet));
        frame.splice(place, text);
        if !frame.edit(|packet| refit(packet, headers)) {
            return Err(WRONG);
        }
        *self.headers = frame.headers().map_err(DropReason::Malformed)?;
        self.frame = Frame::Owned(frame);
        // The fragments that it came in do not fit any more.
        self.pieces = Pieces::Whole;
        let wide = |len: usize| u32::try_from(len).unwrap_or(0);
        Ok(wide(self.headers.end).wrapping_sub(wide(old)))
    }

    fn renumber(&mut self, sequence: impl Fn(u32) -> u32, acknowledgment: impl Fn(u32) -> u32) {
        let headers = &self.headers;
        // What is not TCP has no numbers.
        let _ = self
            .frame
            .edit(|packet| renumber(packet, headers, sequence, acknowledgment));
    }
}

//! A client's packet: it belongs to a connection, begins a new one, or is none of the director's business.

use core::net::IpAddr;
use std::sync::Arc;

use packet::{Headers, Malformed, Transport, tcp};

use crate::assign::{Assignment, Scheduled};
use crate::connection::{Connection, ConnectionId, NewConnection, Outcome};
use crate::destination::Method;
use crate::director::{Batch, Datagram, Worker, is_for_us};
use crate::forward::Target;
use crate::frame::Output;
use crate::net::Network;
use crate::persistence;
use crate::protocol::{Direction, Protocol};
use crate::refuse::Refusal;
use crate::scheduler::Flow;
use crate::service::Service;
use crate::sysctl::Sysctl;
use crate::template::{Ended, Template};
use crate::verdict::{DropReason, Verdict};

/// SCTP chunk type INIT (RFC 9260 section 3.3.2).
const SCTP_INIT: u8 = 1;
/// SCTP chunk type ABORT (RFC 9260 section 3.3.7).
pub(crate) const SCTP_ABORT: u8 = 6;
/// Octets of a UDP header.
const UDP_HEADER_LEN: usize = 8;

/// What a packet finds where its connection should be.
enum Found {
    /// A connection that takes it.
    Usable(ConnectionId),
    /// None, or one that has just been given up: perhaps it begins a new one.
    Nothing,
    /// A connection whose real server was deleted.
    Unavailable,
}

impl Worker {
    /// A packet towards a virtual service; `id` is its connection if there is one.
    pub(crate) fn request<'a>(
        &mut self,
        batch: &Batch<'_>,
        protocol: Protocol,
        id: Option<ConnectionId>,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        if let Some(id) = id {
            self.track(batch, id, datagram, Direction::ToServer);
        }
        if id.is_some()
            && let Some(fault) = datagram.headers.options.fault
        {
            return self.refuse_options(batch, fault, datagram, output);
        }
        match id.map_or(Found::Nothing, |id| self.usable(batch, id, datagram)) {
            Found::Usable(id) => self.forward_on(batch, id, datagram, output),
            Found::Unavailable => Verdict::Drop(DropReason::DestinationUnavailable),
            Found::Nothing => {
                let abandoned = id.filter(|&id| self.sees_answers(id));
                self.perhaps_new(batch, protocol, abandoned, datagram, output)
            }
        }
    }

    /// Whether what the stack answers to a client is seen by the client's connection `id`, which was given up, as long
    /// as it is there: not with NAT, where answers come from the real server's address.
    fn sees_answers(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        connection.is_some_and(|connection| connection.method() != Method::Masq)
    }

    /// Whether connection `id` takes the packet: not if a SYN reuses its ports for a new connection
    /// (`conn_reuse_mode`), nor if its real server is gone (`expire_nodest_conn`) (BEHAVIOURS 28, 29).
    fn usable(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &Datagram<'_, '_>,
    ) -> Found {
        let Some(connection) = self.connections.get(id) else {
            return Found::Nothing;
        };
        let sysctls = &self.shared.sysctls;
        let expire_nodest = sysctls.is_on(Sysctl::ExpireNodestConn);
        let reuse_mode = sysctls.get(Sysctl::ConnReuseMode);
        let orphaned = connection.is_orphaned();
        let begins = begins_connection(&datagram.headers.transport);
        let given_up = if begins {
            let server = connection.destination();
            let quiesced = server.is_some_and(|server| server.weight() == 0);
            let reused = reuse_mode != 0
                && connection.is_reusable(reuse_mode)
                && !self.connections.is_controlled(id);
            (expire_nodest && quiesced) || reused
        } else {
            false
        };
        if given_up || (orphaned && expire_nodest) {
            // The control connection of a data connection stays, behind the new one.
            if orphaned || !self.connections.is_controlling(id) {
                self.retract(id);
                self.connections.expire_now(id, batch.now);
            }
            // A packet of what is tracked already cannot begin another one.
            return if self.outcome(id) == Outcome::Known {
                Found::Unavailable
            } else {
                Found::Nothing
            };
        }
        if orphaned {
            Found::Unavailable
        } else {
            Found::Usable(id)
        }
    }

    /// Counts the packet, advances the connection's state and sends the packet on.
    fn forward_on<'a>(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let Some(connection) = self.connections.get(id) else {
            return Verdict::Pass;
        };
        let (target, tracked) = (
            Target::of(connection, batch.network),
            connection.is_tracked(),
        );
        self.observe(batch, id, datagram, Direction::ToServer);
        if tracked
            && datagram.headers.ttl > 1
            && let Err(reason) = self.follow_request(batch, id, datagram)
        {
            return Verdict::Drop(reason);
        }
        self.tell(batch, id, output);
        self.forward(batch, &target, Some(id), datagram, output)
    }

    /// A packet without a connection: schedules it if a service wants it; else it is the stack's, and what that
    /// answers is seen by the connection that was `abandoned`.
    fn perhaps_new<'a>(
        &mut self,
        batch: &Batch<'_>,
        protocol: Protocol,
        abandoned: Option<ConnectionId>,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let headers = &datagram.headers;
        if !is_for_us(batch.network, headers.destination) {
            return match headers.options.fault {
                Some(_) => Verdict::Pass,
                None => self.stray(batch, protocol, datagram, output),
            };
        }
        if !may_be_client(batch.network, headers.source) {
            return Verdict::Pass;
        }
        if is_cut_off(&headers.transport) {
            return Verdict::Drop(DropReason::Malformed(Malformed::TransportTruncated));
        }
        let (source_port, destination_port) = headers.ports();
        let flow = Flow {
            protocol,
            source: headers.source,
            source_port,
            destination: headers.destination,
            destination_port,
        };
        let mark = datagram.ingress.mark;
        let service = batch
            .services
            .lookup(protocol, flow.destination, destination_port, mark);
        match (service, headers.options.fault) {
            (Some(_), Some(fault)) => self.refuse_options(batch, fault, datagram, output),
            (Some(service), None) if self.may_begin(&headers.transport) => {
                self.schedule(batch, service, &flow, datagram, output)
            }
            _ => self.deliver(batch, abandoned, datagram, output),
        }
    }

    fn schedule<'a>(
        &mut self,
        batch: &Batch<'_>,
        service: &Service,
        flow: &Flow,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        if self.shared.defence.drops_packet() {
            return Verdict::Drop(DropReason::Defence);
        }
        // Looked at first: what cannot be kept must move neither the scheduler nor a template.
        let one_packet = service.config.is_one_packet(flow.protocol);
        if self.connections.is_full() && !one_packet {
            return Verdict::Drop(DropReason::TableFull);
        }
        let data = persistence_data(service, datagram);
        match self.shared.schedule(service, flow, data, batch.now) {
            Scheduled::Assigned(assignment) => {
                self.begin(batch, assignment, flow, datagram, output)
            }
            Scheduled::NoDestination => {
                let mark = datagram.ingress.mark;
                self.tell_refused(flow, mark, data, batch.now);
                self.refuse(batch, datagram, Refusal::NoDestination, output)
            }
            Scheduled::Pass => self.stack(batch, datagram, output),
            Scheduled::Drop => Verdict::Drop(DropReason::PersistenceData),
            Scheduled::Full => Verdict::Drop(DropReason::TableFull),
        }
    }

    /// Makes the connection and sends its first packet.
    fn begin<'a>(
        &mut self,
        batch: &Batch<'_>,
        assignment: Assignment,
        flow: &Flow,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let connection = self.connection(&assignment, flow, datagram);
        let Assignment {
            destination,
            one_packet,
            template,
            ..
        } = assignment;
        if one_packet {
            let octets = u64::try_from(datagram.len()).unwrap_or(u64::MAX);
            self.shared.count_in(self.index, &destination, octets);
            let target = Target::of(&connection, batch.network);
            self.connections.tell_once(&connection, batch.now);
            drop(connection);
            self.tell_one_packet(batch, template.as_ref(), datagram.ingress.mark, output);
            self.release(template.as_ref());
            return self.forward(batch, &target, None, datagram, output);
        }
        self.retract_same(&connection);
        if let Ok(id) = self.connections.insert(connection, batch.now) {
            self.connections.tell_made(id, false, batch.now);
            self.follow(id);
            self.track(batch, id, datagram, Direction::ToServer);
            return self.forward_on(batch, id, datagram, output);
        }
        self.release(template.as_ref());
        Verdict::Drop(DropReason::TableFull)
    }

    /// The connection of an assignment, counted as one more.
    pub(crate) fn connection(
        &self,
        assignment: &Assignment,
        flow: &Flow,
        datagram: &Datagram<'_, '_>,
    ) -> Connection {
        let destination = &assignment.destination;
        self.shared.count_connection(self.index, destination);
        let ingress = &datagram.ingress;
        let connection = NewConnection {
            protocol: flow.protocol,
            client: (flow.source, flow.source_port),
            virtual_server: (flow.destination, flow.destination_port),
            server: (destination.address, assignment.port),
            destination: Some(Arc::clone(destination)),
            template: assignment.template.clone(),
            method: assignment.method,
            mark: ingress.mark,
            client_interface: ingress.interface.index,
            client_vlan: ingress.vlan.map_or(0, |vlan| vlan.tci),
        };
        Connection::new(connection)
    }

    /// Tells the template of a connection that is not kept; the template lives on.
    pub(crate) fn release(&self, template: Option<&Arc<Template>>) {
        if let Some(template) = template {
            self.shared.release_template(template, Ended::InTime);
        }
    }

    /// Whether a packet without a connection may begin one (BEHAVIOURS 27, 33).
    pub(crate) fn may_begin(&self, transport: &Transport) -> bool {
        let sysctls = &self.shared.sysctls;
        match *transport {
            Transport::Tcp { flags, .. } => {
                flags & tcp::RST == 0 && (flags & tcp::SYN != 0 || sysctls.is_on(Sysctl::SloppyTcp))
            }
            Transport::Sctp {
                chunk: Some(chunk), ..
            } => chunk == SCTP_INIT || (chunk != SCTP_ABORT && sysctls.is_on(Sysctl::SloppySctp)),
            Transport::Udp { .. } => true,
            _ => false,
        }
    }
}

/// Whether a packet that came in may be from `source`. A host's own IPv4 stack drops the others as "martians"; in IPv6
/// only multicast and loopback addresses are dropped.
pub(crate) fn may_be_client(network: &Network, source: IpAddr) -> bool {
    if source.is_multicast() || source.is_loopback() {
        return false;
    }
    match source {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_broadcast() && !is_for_us(network, source),
        IpAddr::V6(_) => true,
    }
}

/// Whether too little of the upper-layer header is there to schedule by: the kernel drops such a packet before it asks
/// for a service. SCTP needs its first chunk's header as well.
pub(crate) fn is_cut_off(transport: &Transport) -> bool {
    matches!(
        transport,
        Transport::Truncated { .. } | Transport::Sctp { chunk: None, .. }
    )
}

/// Whether the packet asks for a new connection: a SYN, an INIT.
fn begins_connection(transport: &Transport) -> bool {
    match *transport {
        Transport::Tcp { flags, .. } => flags & tcp::SYN != 0,
        Transport::Sctp { chunk, .. } => chunk == Some(SCTP_INIT),
        _ => false,
    }
}

/// What the service's persistence engine finds in a datagram.
pub(crate) fn persistence_data<'a>(
    service: &Service,
    datagram: &'a Datagram<'_, '_>,
) -> Option<&'a [u8]> {
    persistence_data_of(service, datagram.headers, datagram.frame.bytes())
}

/// [`persistence_data`] of a frame with these headers.
pub(crate) fn persistence_data_of<'a>(
    service: &Service,
    headers: &Headers,
    frame: &'a [u8],
) -> Option<&'a [u8]> {
    let engine = persistence::find(service.config.persistence_engine.as_deref()?)?;
    let protocol = Protocol::from_number(headers.protocol)?;
    let header_len = match headers.transport {
        Transport::Tcp { header_len, .. } => usize::from(header_len),
        Transport::Udp { .. } => UDP_HEADER_LEN,
        _ => return None,
    };
    let payload = headers.transport_offset + header_len..headers.end;
    engine.find(protocol, frame.get(payload)?)
}

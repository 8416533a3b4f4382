//! ICMP: errors that belong to a connection go where its packets go, with what they quote translated
//! (BEHAVIOURS 15, 34); neighbour discovery is served; all else is the stack's.

use core::net::IpAddr;

use packet::{
    ErrorTranslation, Family, Headers, IcmpError, Quoted, Translation, Transport, checksum, icmp,
    icmpv6, translate_error,
};

use crate::assign::Scheduled;
use crate::connection::{Connection, ConnectionId, FlowKey};
use crate::destination::Method;
use crate::director::{Batch, Datagram, Worker, is_for_us};
use crate::forward::Target;
use crate::frame::Output;
use crate::protocol::{Direction, Protocol};
use crate::refuse::Refusal;
use crate::scheduler::Flow;
use crate::sysctl::Sysctl;
use crate::verdict::{DropReason, Verdict};

impl Worker {
    /// An ICMP or ICMPv6 message.
    pub(crate) fn icmp<'a>(
        &mut self,
        batch: &Batch<'_>,
        mut datagram: Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let headers = datagram.headers;
        let Transport::Icmp { kind, .. } = headers.transport else {
            return Verdict::Pass;
        };
        if headers.family == Family::V6
            && matches!(
                kind,
                icmpv6::NEIGHBOR_SOLICITATION | icmpv6::NEIGHBOR_ADVERTISEMENT
            )
        {
            return self.receive_ndp(batch, datagram, output);
        }
        if !batch.services.serves(headers.family) {
            return self.stack(batch, datagram, output);
        }
        let quoted = datagram.frame.edit(|packet| Quoted::of(packet, &headers));
        let Some(quoted) = quoted.filter(|_| is_related(headers.family, kind)) else {
            return self.stack(batch, datagram, output);
        };
        let inner = datagram.frame.edit(|packet| quoted.tunnelled(packet));
        if let Some(inner) = inner
            && batch.network.is_local(headers.destination)
            && let Some(id) = self.tunnel_of(&quoted, &inner)
        {
            return self.tunnel_error(batch, id, &quoted, &inner, datagram, output);
        }
        match self.connection_of(&quoted) {
            Some((id, Direction::ToServer)) if is_for_us(batch.network, headers.destination) => {
                self.error_to_server(batch, id, &quoted, datagram, output)
            }
            Some((id, Direction::ToClient)) => {
                self.error_to_client(batch, id, &quoted, datagram, output)
            }
            None if is_for_us(batch.network, headers.destination) => {
                self.error_without_connection(batch, &quoted, datagram, output)
            }
            _ => self.stack(batch, datagram, output),
        }
    }

    /// An error about a packet of no known connection: with `schedule_icmp` it makes one, as if the client had sent
    /// its first packet, so that the error finds a real server (BEHAVIOURS 34).
    fn error_without_connection<'a>(
        &mut self,
        batch: &Batch<'_>,
        quoted: &Quoted,
        datagram: Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let flow = flow_of(quoted).map(|key| key.reversed());
        let (Some(key), Some(protocol), true) = (
            flow,
            Protocol::from_number(quoted.protocol),
            self.shared.sysctls.is_on(Sysctl::ScheduleIcmp),
        ) else {
            return self.stack(batch, datagram, output);
        };
        let (address, port) = key.destination;
        let mark = datagram.ingress.mark;
        let Some(service) = batch.services.lookup(protocol, address, port, mark) else {
            return self.stack(batch, datagram, output);
        };
        let flow = Flow {
            protocol,
            source: key.source.0,
            source_port: key.source.1,
            destination: address,
            destination_port: port,
        };
        if self.connections.is_full() {
            return Verdict::Drop(DropReason::TableFull);
        }
        let Scheduled::Assigned(assignment) = self.shared.schedule(service, &flow, None, batch.now)
        else {
            return self.stack(batch, datagram, output);
        };
        let connection = self.connection(&assignment, &flow, &datagram);
        match self.connections.insert(connection, batch.now) {
            Ok(id) => {
                self.follow(id);
                self.error_to_server(batch, id, quoted, datagram, output)
            }
            Err(_) => {
                self.release(assignment.template.as_ref());
                Verdict::Drop(DropReason::TableFull)
            }
        }
    }

    /// The connection that the quoted packet belonged to, and the direction in which the error goes on: back to
    /// where the quoted packet came from.
    fn connection_of(&self, quoted: &Quoted) -> Option<(ConnectionId, Direction)> {
        Protocol::from_number(quoted.protocol)?;
        let key = flow_of(quoted)?.reversed();
        self.connections.find(&key)
    }

    /// The connection whose packet travelled in the quoted tunnel packet.
    fn tunnel_of(&self, quoted: &Quoted, inner: &Quoted) -> Option<ConnectionId> {
        let (id, direction) = self.connections.find(&flow_of(inner)?)?;
        let connection = self.connections.get(id)?;
        let ours = direction == Direction::ToServer
            && connection.method() == Method::Tunnel
            && connection.server().0 == quoted.destination;
        ours.then_some(id)
    }

    /// An error from the client's side about a packet that the real server sent.
    fn error_to_server<'a>(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        quoted: &Quoted,
        datagram: Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let Some(connection) = self.connections.get(id) else {
            return Verdict::Pass;
        };
        let target = Target::of(connection, batch.network);
        self.count(id, &datagram, Direction::ToServer);
        if target.method != Method::Masq {
            return self.forward(batch, &target, None, datagram, output);
        }
        let translation = ErrorTranslation {
            source: None,
            destination: Some(target.address),
            quoted: Translation {
                source: Some((target.address, target.port)),
                destination: None,
            },
        };
        self.send_translated(
            batch,
            target.address,
            quoted,
            &translation,
            datagram,
            output,
        )
    }

    /// An error from the servers' side about a packet that the client sent: it leaves as the VIP's, whoever on
    /// that side it came from.
    fn error_to_client<'a>(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        quoted: &Quoted,
        datagram: Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let Some(virtual_server) = self.connections.get(id).map(Connection::virtual_server) else {
            return Verdict::Pass;
        };
        self.count(id, &datagram, Direction::ToClient);
        let translation = ErrorTranslation {
            source: Some(virtual_server.0),
            destination: None,
            quoted: Translation {
                source: None,
                destination: Some(virtual_server),
            },
        };
        let client = datagram.headers.destination;
        self.send_translated(batch, client, quoted, &translation, datagram, output)
    }

    /// Sends an error on towards `destination`, translated for NAT with the packet that it quotes.
    fn send_translated<'a>(
        &mut self,
        batch: &Batch<'_>,
        destination: IpAddr,
        quoted: &Quoted,
        translation: &ErrorTranslation,
        mut datagram: Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let hop = match self.hop(batch, destination) {
            Ok(hop) => hop,
            Err(reason) => return Verdict::Drop(reason),
        };
        if datagram.headers.ttl <= 1 {
            return self.refuse(batch, &mut datagram, Refusal::TimeExceeded, output);
        }
        if datagram.headers.family == Family::V6 && datagram.is_too_big(hop.mtu) {
            return self.refuse(
                batch,
                &mut datagram,
                Refusal::TooBig { mtu: hop.mtu },
                output,
            );
        }
        let headers = datagram.headers;
        if !datagram
            .frame
            .edit(|packet| checksum::is_valid(packet, &headers))
        {
            return Verdict::Drop(DropReason::BadIcmp);
        }
        datagram.decrement_ttl();
        let translated = datagram
            .frame
            .edit(|packet| translate_error(packet, &headers, quoted, translation));
        match translated {
            Ok(()) => self.emit(batch, &hop, datagram, output),
            Err(_) => Verdict::Drop(DropReason::BadIcmp),
        }
    }

    /// An error about a tunnel packet, from the path to the real server: the director remembers a smaller path
    /// MTU, and the client gets the error about the packet that it sent (IPv4 only, as the kernel).
    fn tunnel_error(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        quoted: &Quoted,
        inner: &Quoted,
        mut datagram: Datagram<'_, '_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        self.count(id, &datagram, Direction::ToServer);
        let Some((error, headers)) = datagram.frame.edit(|packet| {
            let message = packet.bytes().get(datagram.headers.transport_offset..)?;
            let &[kind, code, _, _, _, _, high, low] = message.first_chunk()?;
            let headers = quoted_headers(packet.bytes(), inner)?;
            let mtu = u32::from(u16::from_be_bytes([high, low]));
            Some((
                client_error(datagram.headers.family, kind, code, mtu)?,
                headers,
            ))
        }) else {
            return self.stack(batch, datagram, output);
        };
        let error = match error {
            IcmpError::TooBig { mtu } => {
                let overhead = inner.network_offset - quoted.network_offset;
                self.host
                    .path_mtus
                    .learn(quoted.destination, mtu, batch.now);
                if !headers.dont_fragment {
                    return Verdict::Answered;
                }
                let path = self.hop(batch, quoted.destination).map_or(0, |hop| hop.mtu);
                IcmpError::TooBig {
                    mtu: u32::try_from(path.saturating_sub(overhead)).unwrap_or(u32::MAX),
                }
            }
            other => other,
        };
        self.send_error(batch, &mut datagram.frame, &headers, error, output);
        Verdict::Answered
    }
}

/// Whether the kernel's director looks at errors of this type (BEHAVIOURS 34).
fn is_related(family: Family, kind: u8) -> bool {
    match family {
        Family::V4 => {
            matches!(
                kind,
                icmp::UNREACHABLE | icmp::SOURCE_QUENCH | icmp::TIME_EXCEEDED
            )
        }
        Family::V6 => matches!(
            kind,
            icmpv6::UNREACHABLE | icmpv6::PACKET_TOO_BIG | icmpv6::TIME_EXCEEDED
        ),
    }
}

/// The error that tells a client what befell its packet in the tunnel.
fn client_error(family: Family, kind: u8, code: u8, mtu: u32) -> Option<IcmpError> {
    use icmp::unreachable;
    if family == Family::V6 {
        return None;
    }
    match (kind, code) {
        (icmp::UNREACHABLE, unreachable::NETWORK) => Some(IcmpError::NetworkUnreachable),
        (icmp::UNREACHABLE, unreachable::HOST) => Some(IcmpError::HostUnreachable),
        (icmp::UNREACHABLE, unreachable::PROTOCOL) => Some(IcmpError::ProtocolUnreachable),
        (icmp::UNREACHABLE, unreachable::PORT) => Some(IcmpError::PortUnreachable),
        (icmp::UNREACHABLE, unreachable::FRAGMENTATION_NEEDED) => Some(IcmpError::TooBig { mtu }),
        (icmp::TIME_EXCEEDED, 0) => Some(IcmpError::TimeExceeded),
        _ => None,
    }
}

/// Headers of a quoted IPv4 packet, as far as an error about it needs them.
fn quoted_headers(frame: &[u8], quoted: &Quoted) -> Option<Headers> {
    let header: &[u8; 20] = frame.get(quoted.network_offset..)?.first_chunk()?;
    let [_, tos, _, _, id_high, id_low, flags, _, ttl, ..] = *header;
    Some(Headers {
        family: quoted.family,
        source: quoted.source,
        destination: quoted.destination,
        protocol: quoted.protocol,
        tos,
        ttl,
        dont_fragment: flags & 0x40 != 0,
        id: u16::from_be_bytes([id_high, id_low]),
        network_offset: quoted.network_offset,
        transport_offset: quoted.transport_offset,
        end: quoted.end,
        has_options: false,
        fragment: None,
        transport: Transport::Other,
    })
}

fn flow_of(quoted: &Quoted) -> Option<FlowKey> {
    let (source, destination) = quoted.ports?;
    Some(FlowKey {
        protocol: quoted.protocol,
        source: (quoted.source, source),
        destination: (quoted.destination, destination),
    })
}

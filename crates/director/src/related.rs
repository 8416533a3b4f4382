//! ICMP: errors that belong to a connection go where its packets go, with what they quote translated
//! (BEHAVIOURS 15, 34); neighbour discovery is served; all else is the stack's.

use core::net::IpAddr;

use packet::{
    ErrorTranslation, Family, Headers, IcmpError, Packet, Quoted, Translation, Transport, checksum,
    icmp, icmpv6, protocol, translate_error,
};

use crate::assign::Scheduled;
use crate::connection::{Connection, ConnectionId, FlowKey};
use crate::destination::{Method, TunnelKind};
use crate::director::{Batch, Datagram, Worker, is_for_us};
use crate::forward::Target;
use crate::frame::Output;
use crate::protocol::{Direction, Protocol};
use crate::refuse::Refusal;
use crate::scheduler::Flow;
use crate::sysctl::Sysctl;
use crate::verdict::{DropReason, Verdict};

/// Octets of an IPv4 header without options.
const OUTER_HEADER: u32 = 20;

impl Worker {
    /// An ICMP or ICMPv6 message.
    pub(crate) fn icmp<'a>(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let headers = *datagram.headers;
        let Transport::Icmp { kind, .. } = headers.transport else {
            return Verdict::Pass;
        };
        if headers.options.fault.is_some() {
            return self.stack(batch, datagram, output);
        }
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
        let (inner, port) = datagram
            .frame
            .edit(|packet| (quoted.tunnelled(packet), quoted.udp_destination(packet)));
        if let Some(inner) = inner
            && batch.network.is_local(headers.destination)
            && let Some(id) = self.tunnel_of(&quoted, &inner)
            && is_known_tunnel(batch, &quoted, port, &inner)
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
            None if self.cannot_schedule(&quoted) => Verdict::Drop(DropReason::BadIcmp),
            None if is_for_us(batch.network, headers.destination) => {
                self.error_without_connection(batch, &quoted, datagram, output)
            }
            _ => self.stack(batch, datagram, output),
        }
    }

    /// Whether an error about a packet of no known connection is dropped for want of the packet's ports: with
    /// `schedule_icmp` the kernel looks for them, also in errors that the host forwards (recording
    /// `found.icmp_without_ports`).
    fn cannot_schedule(&self, quoted: &Quoted) -> bool {
        const PORTS: usize = 4;
        quoted.end < quoted.transport_offset + PORTS
            && Protocol::from_number(quoted.protocol).is_some()
            && self.shared.sysctls.is_on(Sysctl::ScheduleIcmp)
    }

    /// An error about a packet of no known connection: with `schedule_icmp` it makes one, as if the client had sent
    /// its first packet, so that the error finds a real server (BEHAVIOURS 34).
    fn error_without_connection<'a>(
        &mut self,
        batch: &Batch<'_>,
        quoted: &Quoted,
        datagram: &mut Datagram<'a, '_>,
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
        if self.shared.defence.drops_packet() {
            return Verdict::Drop(DropReason::Defence);
        }
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
        let assignment = match self.shared.schedule(service, &flow, None, batch.now) {
            Scheduled::Assigned(assignment) => assignment,
            scheduled => {
                if matches!(scheduled, Scheduled::NoDestination) {
                    self.tell_refused(&flow, mark, None, batch.now);
                }
                return self.stack(batch, datagram, output);
            }
        };
        let connection = self.connection(&assignment, &flow, datagram);
        self.retract_same(&connection);
        match self.connections.insert(connection, batch.now) {
            Ok(id) => {
                self.connections.tell_made(id, false, batch.now);
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

    /// The virtual server of a packet that NAT has translated on its way to a real server.
    pub(crate) fn translated_from(&self, packet: &Quoted) -> Option<(IpAddr, u16)> {
        let (id, direction) = self.connection_of(packet)?;
        let connection = self.connections.get(id)?;
        let translated = direction == Direction::ToClient && connection.method() == Method::Masq;
        translated.then(|| connection.virtual_server())
    }

    /// The headers of the client's packet in a tunnel packet of a known connection (IPv4 only, as the kernel).
    pub(crate) fn tunnelled(&self, packet: &Packet<'_>, outer: &Quoted) -> Option<Headers> {
        let inner = outer.tunnelled(packet)?;
        let known = outer.family == Family::V4 && inner.family == Family::V4;
        known.then(|| self.tunnel_of(outer, &inner)).flatten()?;
        quoted_headers(packet.bytes(), &inner)
    }

    /// An error from the client's side about a packet that the real server sent.
    fn error_to_server<'a>(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        quoted: &Quoted,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let Some(connection) = self.connections.get(id) else {
            return Verdict::Pass;
        };
        let target = Target::of(connection, batch.network);
        self.count(id, datagram, Direction::ToServer);
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
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let Some(virtual_server) = self.connections.get(id).map(Connection::virtual_server) else {
            return Verdict::Pass;
        };
        self.count(id, datagram, Direction::ToClient);
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
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        let hop = match self.hop(batch, destination) {
            Ok(hop) => hop,
            Err(reason) => return Verdict::Drop(reason),
        };
        if datagram.headers.ttl <= 1 {
            return self.refuse(batch, datagram, Refusal::TimeExceeded, output);
        }
        if datagram.headers.family == Family::V6 && datagram.is_too_big(hop.mtu) {
            return self.refuse(batch, datagram, Refusal::TooBig { mtu: hop.mtu }, output);
        }
        let headers = *datagram.headers;
        if !datagram
            .frame
            .edit(|packet| checksum::is_valid(packet, &headers))
        {
            return Verdict::Drop(DropReason::BadIcmp);
        }
        datagram.decrement_ttl();
        datagram.seal_options();
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
        datagram: &mut Datagram<'_, '_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        self.count(id, datagram, Direction::ToServer);
        let Some((error, headers)) = datagram.frame.edit(|packet| {
            let message = packet.bytes().get(datagram.headers.transport_offset..)?;
            let &[kind, code, _, _, rest @ ..] = message.first_chunk::<8>()?;
            let headers = quoted_headers(packet.bytes(), inner)?;
            let rest = u32::from_be_bytes(rest);
            let error = client_error(datagram.headers.family, kind, code, rest)?;
            Some((error, headers))
        }) else {
            return self.stack(batch, datagram, output);
        };
        let error = match error {
            IcmpError::TooBig { mtu } => {
                let path_mtus = &self.host.path_mtus;
                let learned = path_mtus.learn(quoted.destination, mtu, batch.now);
                if let Some(assist) = &self.assist {
                    assist.invalidate();
                }
                if !headers.dont_fragment {
                    return Verdict::Answered;
                }
                let path = learned.unwrap_or_else(|| link_mtu(batch, quoted.destination));
                // Whatever the tunnel's headers take, the kernel counts the outer IP header alone.
                let mtu = path.saturating_sub(OUTER_HEADER);
                IcmpError::TooBig { mtu }
            }
            other => other,
        };
        self.send_error(batch, &mut datagram.frame, &headers, error, output);
        Verdict::Answered
    }
}

/// Whether a real server at the quoted packet's destination has a tunnel of its kind now (`port` is GUE's): the kernel
/// knows its tunnels by that, and IPv4 in IPv4 alone.
fn is_known_tunnel(batch: &Batch<'_>, quoted: &Quoted, port: Option<u16>, inner: &Quoted) -> bool {
    if (quoted.family, inner.family) != (Family::V4, Family::V4) {
        return false;
    }
    let kind = match quoted.protocol {
        protocol::IPIP => TunnelKind::Ipip,
        protocol::GRE => TunnelKind::Gre,
        protocol::UDP => TunnelKind::Gue,
        _ => return false,
    };
    let servers = batch
        .services
        .iter()
        .flat_map(|service| service.destinations.iter());
    let mut there = servers.filter(|server| server.address == quoted.destination);
    there.any(|server| {
        let tunnel = server.tunnel();
        let same_port = kind != TunnelKind::Gue || port == Some(tunnel.port);
        server.method() == Method::Tunnel && tunnel.kind == kind && same_port
    })
}

/// Largest datagram that the link towards `destination` takes, octets, whatever its path was learned to take.
fn link_mtu(batch: &Batch<'_>, destination: IpAddr) -> u32 {
    let route = batch.network.routes.lookup(destination);
    let interface = route.and_then(|route| batch.network.interface(route.interface));
    let of_link = interface.map_or(0, |interface| interface.mtu);
    let of_route = route.and_then(|route| route.mtu);
    of_route.map_or(of_link, |mtu| mtu.min(of_link))
}

/// Whether the kernel's director looks at errors of this type: three of IPv4 (BEHAVIOURS 34), every one of IPv6.
fn is_related(family: Family, kind: u8) -> bool {
    match family {
        Family::V4 => {
            matches!(
                kind,
                icmp::UNREACHABLE | icmp::SOURCE_QUENCH | icmp::TIME_EXCEEDED
            )
        }
        Family::V6 => icmpv6::is_error(kind),
    }
}

/// The error that tells a client what befell its packet in the tunnel: whatever a router said of it (the kernel
/// asks only for the type, in [`is_related`]); none in IPv6.
fn client_error(family: Family, kind: u8, code: u8, rest: u32) -> Option<IcmpError> {
    let too_big = (icmp::UNREACHABLE, icmp::unreachable::FRAGMENTATION_NEEDED);
    match family {
        Family::V6 => None,
        Family::V4 if (kind, code) == too_big => Some(IcmpError::TooBig { mtu: rest & 0xffff }),
        Family::V4 => Some(IcmpError::Relayed { kind, code, rest }),
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
        options: packet::Options::default(),
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

//! Packets of connections that are there, and ICMP errors about them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use director::connection::Connection;
use director::destination::Method;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use packet::Offload;

use crate::bytes::{self, ICMP, ICMPV6, Ip, UDP, datagram, transport};
use crate::host::{client_address, server_address};
use crate::wire::{Fields, Wire};

/// What FTP clients and servers say.
const SAID: [&str; 12] = [
    "PASV\r\n",
    "EPSV\r\n",
    "PORT 192,0,2,10,3,233\r\n",
    "EPRT |1|192.0.2.10|1001|\r\n",
    "EPRT |2|2001:db8:c::10|1001|\r\n",
    "227 Entering Passive Mode (10,2,0,11,195,80).\r\n",
    "227 1,1,1,1,3,234.\r\n",
    "229 Entering Extended Passive Mode (|||50001|)\r\n",
    "229 (!1!10.2.0.12!20!)\r\n",
    "227 Entering Passive Mode (10,8,0,1,0,21).\r\n",
    "EPRT |1|10.8.0.1|80|\r\n",
    "229 (|||20|)\r\n",
];

/// A packet of a connection that is there.
#[derive(Debug, Arbitrary)]
pub struct Follow {
    from_server: bool,
    kind: u8,
    fields: Fields,
    length: u16,
    /// An ICMP error about such a packet instead, from the other side, and of which kind.
    error: Option<u8>,
    /// The quoted packet is the tunnel's.
    tunnelled: bool,
}

impl Follow {
    /// A small packet with data, or with what FTP says (by number).
    #[must_use]
    pub fn ordinary(from_server: bool, said: u8) -> Self {
        Self {
            from_server,
            kind: if from_server { 0x12 } else { 0x10 },
            fields: Fields {
                ttl: 64,
                tos: 0,
                id: 0,
                bits: 0,
            },
            length: match said {
                0..=127 => 0x8000 | u16::from(said) << 8 & 0x0f00,
                _ => 40,
            },
            error: None,
            tunnelled: false,
        }
    }

    /// The datagram; none where the connection has no such packets.
    #[must_use]
    pub fn wire(&self, connection: &Connection) -> Option<Wire> {
        let (addresses, ports) = endpoints(connection, self.from_server)?;
        let protocol = connection.protocol().number();
        let said = SAID.get(usize::from(self.length >> 8 & 15));
        let data = match said.filter(|_| self.length & 0x8000 != 0) {
            Some(said) => said.as_bytes().to_vec(),
            None => vec![0xaa; usize::from(self.length % 3000)],
        };
        let payload = transport(protocol, addresses, ports, self.kind, &data);
        let ip = self.fields.ip();
        let bytes = datagram(addresses.0, addresses.1, protocol, &ip, &payload);
        let mut wire = Wire {
            server_side: self.from_server,
            bytes,
            offload: Offload::default(),
            is_right: true,
        };
        if let Some(kind) = self.error {
            self.quote(connection, kind, &mut wire);
        }
        Some(wire)
    }

    /// Makes of the packet the ICMP error about it.
    fn quote(&self, connection: &Connection, choice: u8, wire: &mut Wire) {
        let (mut quoted, mut v6) = (
            std::mem::take(&mut wire.bytes),
            connection.client().0.is_ipv6(),
        );
        let (client, _) = connection.client();
        let (server, _) = connection.server();
        let mut about = if self.from_server { server } else { client };
        let mut reporter = match (self.from_server, choice & 8 == 0) {
            // The error comes from the side that the quoted packet went to.
            (false, true) => server,
            (true, true) => client,
            (false, false) => server_address(if v6 { 7 } else { 3 }),
            (true, false) => client_address(v6, 1),
        };
        if self.from_server {
            // What the client saw came from the virtual service.
            about = connection.virtual_server().0;
            let Some((addresses, ports)) = endpoints(connection, true) else {
                return;
            };
            let seen = (about, addresses.1);
            let ports = (connection.virtual_server().1, ports.1);
            let protocol = connection.protocol().number();
            let payload = transport(protocol, seen, ports, self.kind, &[0xaa; 40]);
            quoted = datagram(seen.0, seen.1, protocol, &self.fields.ip(), &payload);
        } else if self.tunnelled && connection.method() == Method::Tunnel {
            let own: IpAddr = if server.is_ipv4() {
                Ipv4Addr::new(10, 2, 0, 1).into()
            } else {
                Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1).into()
            };
            quoted = in_tunnel(own, server, v6, choice, &quoted);
            v6 = server.is_ipv6();
            (about, reporter) = (own, server);
        } else if connection.method() == Method::Masq {
            let protocol = connection.protocol().number();
            let (from, to) = (connection.client(), connection.server());
            let payload = transport(
                protocol,
                (from.0, to.0),
                (from.1, to.1),
                self.kind,
                &[0xaa; 40],
            );
            quoted = datagram(from.0, to.0, protocol, &self.fields.ip(), &payload);
        }
        quoted.truncate([28, 48, 576, 1232][usize::from(choice >> 4 & 3)]);
        let (protocol, kind) = if v6 {
            (ICMPV6, [2, 1, 3, 4][usize::from(choice & 3)])
        } else {
            (ICMP, [3, 11, 4, 12][usize::from(choice & 3)])
        };
        // Code 4 is "fragmentation needed" where there is such a code; the MTU stands in the last octets.
        let code = choice & 4;
        let message = bytes::icmp(
            protocol,
            (reporter, about),
            (kind, code),
            self.length,
            &quoted,
        );
        let ip = self.fields.ip();
        wire.bytes = datagram(reporter, about, protocol, &ip, &message);
        wire.server_side = !self.from_server;
    }
}

/// Addresses and ports of a connection's packets, as they arrive at the director.
fn endpoints(connection: &Connection, from_server: bool) -> Option<((IpAddr, IpAddr), (u16, u16))> {
    let client = connection.client();
    if !from_server {
        let vip = connection.virtual_server();
        return Some(((client.0, vip.0), (client.1, vip.1)));
    }
    let server = connection.server();
    let masq = connection.method() == Method::Masq && server.0.is_ipv4() == client.0.is_ipv4();
    masq.then_some(((server.0, client.0), (server.1, client.1)))
}

/// A tunnel packet as ulvs makes them, to quote.
fn in_tunnel(own: IpAddr, server: IpAddr, v6: bool, choice: u8, inner: &[u8]) -> Vec<u8> {
    let ip = Ip {
        ttl: 64,
        dont_fragment: true,
        ..Ip::default()
    };
    let ether_type: [u8; 2] = if v6 { [0x86, 0xdd] } else { [8, 0] };
    let carried = if v6 { 41 } else { 4 };
    match choice >> 6 {
        0 | 1 => datagram(own, server, carried, &ip, inner),
        2 => datagram(
            own,
            server,
            47,
            &ip,
            &[&[0, 0], &ether_type[..], inner].concat(),
        ),
        _ => {
            let gue = [&[0, carried, 0, 0][..], inner].concat();
            let payload = transport(UDP, (own, server), (40_000, 6080), 0, &gue);
            datagram(own, server, UDP, &ip, &payload)
        }
    }
}

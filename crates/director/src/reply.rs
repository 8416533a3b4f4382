//! A real server's answer on its way back to the client (NAT): the source becomes the virtual service.

use packet::{Translation, Vlan};

use crate::connection::ConnectionId;
use crate::director::{Batch, Datagram, Worker};
use crate::frame::Output;
use crate::protocol::Direction;
use crate::refuse::Refusal;
use crate::verdict::Verdict;

impl Worker {
    /// A packet of connection `id` from its real server.
    pub(crate) fn reply<'a>(
        &mut self,
        batch: &Batch<'_>,
        id: ConnectionId,
        datagram: &mut Datagram<'a, '_>,
        output: &mut Output<'a>,
    ) -> Verdict {
        self.track(batch, id, datagram, Direction::ToClient);
        if let Some(fault) = datagram.headers.options.fault {
            return self.refuse_options(batch, fault, datagram, output);
        }
        // The kernel forwards the packet before its director translates it: TTL and MTU come first, and what is
        // refused is refused to the real server, untranslated (BEHAVIOURS 11).
        let hop = match self.hop(batch, datagram.headers.destination) {
            Ok(hop) => hop,
            Err(reason) => return Verdict::Drop(reason),
        };
        if datagram.headers.ttl <= 1 {
            return self.refuse(batch, datagram, Refusal::TimeExceeded, output);
        }
        if datagram.is_too_big(hop.mtu) {
            return self.refuse(batch, datagram, Refusal::TooBig { mtu: hop.mtu }, output);
        }
        let Some(connection) = self.connections.get(id) else {
            return Verdict::Pass;
        };
        let (virtual_server, tracked) = (connection.virtual_server(), connection.is_tracked());
        if hop.interface == connection.client_interface() {
            datagram.set_vlan(connection.client_vlan());
        }
        datagram.decrement_ttl();
        self.redirect(batch, &hop, datagram, output);
        self.record_reply(batch, virtual_server.0, datagram);
        datagram.seal_options();
        if tracked && let Err(reason) = self.follow_reply(batch, id, datagram) {
            return Verdict::Drop(reason);
        }
        self.observe(batch, id, datagram, Direction::ToClient);
        match datagram.translate(Translation {
            source: Some(virtual_server),
            destination: None,
        }) {
            Ok(()) => self.emit(batch, &hop, datagram, output),
            Err(reason) => Verdict::Drop(reason),
        }
    }
}

impl Datagram<'_, '_> {
    /// Gives the frame the client's 802.1Q tag (tag control information; 0 = none).
    fn set_vlan(&mut self, tci: u16) {
        let vlan = (tci != 0).then_some(Vlan {
            tpid: packet::ethernet::VLAN,
            tci,
        });
        self.frame.edit(|packet| packet.vlan = vlan);
    }
}

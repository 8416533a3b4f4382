//! ARP and NDP: asking for next hops, answering for owned VIPs, learning from what others say.

use core::net::IpAddr;

use packet::Packet;

use crate::director::{Batch, Datagram, Ingress, Worker};
use crate::frame::{Outgoing, Output};
use crate::net::{Interface, Network};
use crate::verdict::Verdict;

pub(crate) fn request(_: &Network, _: &Interface, _: IpAddr) -> Option<Outgoing<'static>> {
    None
}

impl Worker {
    pub(crate) fn receive_arp(
        &mut self,
        _: &Batch<'_>,
        _: &Ingress<'_>,
        _: &Packet<'_>,
        _: &mut Output<'_>,
    ) -> Verdict {
        Verdict::Pass
    }
    pub(crate) fn receive_multicast(
        &mut self,
        _: &Batch<'_>,
        _: &Ingress<'_>,
        _: &Packet<'_>,
        _: &mut Output<'_>,
    ) -> Verdict {
        Verdict::Pass
    }
    pub(crate) fn receive_ndp(
        &mut self,
        _: &Batch<'_>,
        _: Datagram<'_, '_>,
        _: &mut Output<'_>,
    ) -> Verdict {
        Verdict::Pass
    }
}

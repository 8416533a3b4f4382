//! IPv4 options of what passes through or is refused (BEHAVIOURS 17; recordings `found.options_*`).

use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::Ordering::Relaxed;

use packet::{
    Family, IcmpError, OptionFault, OptionHost, process_options, record_route, seal_options,
};

use crate::director::{Batch, Datagram, Host, Worker, is_for_us};
use crate::frame::Output;
use crate::net::Network;
use crate::sysctl::Sysctl;
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};

impl Host {
    /// Milliseconds since midnight UTC.
    fn time_of_day(&self, now: Instant) -> u32 {
        const DAY: u64 = 86_400_000;
        let since_start = now.as_nanos() / 1_000_000;
        let time = self.midnight_ms.load(Relaxed).wrapping_add(since_start) % DAY;
        u32::try_from(time).unwrap_or_default()
    }
}

impl Worker {
    /// Reads the options of an IPv4 packet, before anything else is decided, as a host does on receive.
    pub(crate) fn process_options(&self, batch: &Batch<'_>, datagram: &mut Datagram<'_, '_>) {
        let headers = &mut datagram.headers;
        if !headers.has_options || headers.family != Family::V4 {
            return;
        }
        let network = batch.network;
        let address = if is_for_us(network, headers.destination) {
            Some(headers.destination)
        } else {
            network.source_for(headers.source)
        };
        let Some(IpAddr::V4(address)) = address else {
            return;
        };
        let host = OptionHost {
            address,
            time: self.host.time_of_day(batch.now),
            is_elsewhere: |address| is_elsewhere(network, address),
        };
        datagram
            .frame
            .edit(|packet| process_options(packet, headers, &host));
    }

    /// Drops a packet whose options forbid to forward it, and tells the sender of one that is impossible.
    pub(crate) fn refuse_options(
        &mut self,
        batch: &Batch<'_>,
        fault: OptionFault,
        datagram: &mut Datagram<'_, '_>,
        output: &mut Output<'_>,
    ) -> Verdict {
        if let OptionFault::Malformed { at } = fault {
            let Datagram { frame, headers, .. } = datagram;
            let error = IcmpError::ParameterProblem { at };
            self.send_error(batch, frame, headers, error, output);
        }
        Verdict::Drop(DropReason::IpOptions)
    }

    /// The route that a reply records is the VIP's, because the kernel routes it anew as from there (`snat_reroute`);
    /// else that of the way to the client.
    pub(crate) fn record_reply(
        &self,
        batch: &Batch<'_>,
        vip: IpAddr,
        datagram: &mut Datagram<'_, '_>,
    ) {
        if !datagram.headers.has_options {
            return;
        }
        let address = if self.shared.sysctls.is_on(Sysctl::SnatReroute) {
            Some(vip)
        } else {
            batch.network.source_for(datagram.headers.destination)
        };
        if let Some(IpAddr::V4(address)) = address {
            datagram.record_route(address);
        }
    }
}

impl Datagram<'_, '_> {
    /// Makes the header's checksum right after its options were processed.
    pub(crate) fn seal_options(&mut self) {
        if self.headers.has_options {
            let headers = &mut self.headers;
            self.frame.edit(|packet| seal_options(packet, headers));
        }
    }

    /// Records `address` in place of what was recorded of the route.
    pub(crate) fn record_route(&mut self, address: Ipv4Addr) {
        let headers = &mut self.headers;
        self.frame
            .edit(|packet| record_route(packet, headers, address));
    }
}

/// Whether `address` is another host's, as a kernel's table of local addresses has it: not this one's, and no broadcast
/// or multicast address.
fn is_elsewhere(network: &Network, address: Ipv4Addr) -> bool {
    let is_broadcast = |&(own, len): &(IpAddr, u8)| {
        let host = u32::MAX.checked_shr(len.into()).unwrap_or(0);
        matches!(own, IpAddr::V4(own) if len < 31 && own.to_bits() | host == address.to_bits())
    };
    let mut addresses = network.interfaces.iter().flat_map(|it| &it.addresses);
    address.octets()[0] != 0
        && !address.is_multicast()
        && !address.is_broadcast()
        && !is_for_us(network, address.into())
        && !addresses.any(is_broadcast)
}

//! The sockets of the synchronisation daemons on the modelled host: datagrams of the master as frames, and frames
//! for the backup as datagrams.

use std::net::{IpAddr, Ipv4Addr};

use control::sync::{Daemon, Daemons, Message, Outbox, Version};
use director::net::{Interface, Network};
use director::sync::Entry;
use director::sysctl::{Sysctl, Sysctls};
use director::time::Instant;

use crate::decode::be16;
use crate::host::port;
use crate::recording::{Frame, Port};

/// Source port of the master's socket; the kernel takes a random one.
const SOURCE_PORT: u16 = 40_000;
/// Octets of Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 14 + 20 + 8;

/// The daemons' sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    daemons: Daemons,
    outbox: Option<Outbox>,
}

impl Sockets {
    /// Opens and closes sockets as the commands say.
    pub(crate) fn follow(&mut self, daemons: Daemons) {
        if daemons.master != self.daemons.master {
            let outbox = |master: &Daemon| Outbox::new(master.sync_id, master.max_length);
            self.outbox = daemons.master.as_ref().map(outbox);
        }
        self.daemons = daemons;
    }

    /// Takes what the director tells.
    pub(crate) fn take(&mut self, told: &[Entry], sysctls: &Sysctls, now: Instant) {
        let Some(outbox) = &mut self.outbox else {
            return;
        };
        let version = if sysctls.is_on(Sysctl::SyncVersion) {
            Version::V1
        } else {
            Version::V0
        };
        let queue_max = usize::try_from(sysctls.queue_max()).unwrap_or(0);
        for entry in told {
            outbox.push(entry, version, queue_max, now);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.outbox.as_ref().and_then(Outbox::next_deadline)
    }

    /// Frames to send now.
    pub(crate) fn send(&mut self, network: &Network, now: Instant) -> Vec<(Port, Frame)> {
        let Some((outbox, master)) = self.outbox.as_mut().zip(self.daemons.master.as_ref()) else {
            return Vec::new();
        };
        std::iter::from_fn(|| outbox.poll(now))
            .filter_map(|datagram| frame(network, master, &datagram))
            .collect()
    }

    /// The entries of a frame that the backup's socket receives.
    pub(crate) fn receive(&self, network: &Network, interface: u32, frame: &[u8]) -> Vec<Entry> {
        let Some(backup) = &self.daemons.backup else {
            return Vec::new();
        };
        let own = interface_of(network, backup).map(|own| own.index);
        if own != Some(interface) || !is_for(backup, frame) {
            return Vec::new();
        }
        let message = frame.get(HEADERS..).map(Message::decode);
        match message {
            Some(Ok(message)) if message.is_for(backup) => message.entries,
            _ => Vec::new(),
        }
    }
}

fn interface_of<'n>(network: &'n Network, daemon: &Daemon) -> Option<&'n Interface> {
    let mut interfaces = network.interfaces.iter();
    interfaces.find(|interface| interface.name == daemon.interface)
}

/// Whether it is an IPv4 UDP frame without options for the backup's group and port.
fn is_for(backup: &Daemon, frame: &[u8]) -> bool {
    let IpAddr::V4(group) = backup.group else {
        return false;
    };
    frame.get(12..15) == Some(&[8, 0, 0x45])
        && frame.get(23) == Some(&17)
        && frame.get(30..34) == Some(&group.octets())
        && be16(frame, 36) == Some(backup.port)
}

/// The frame of the master's datagram.
fn frame(network: &Network, master: &Daemon, datagram: &[u8]) -> Option<(Port, Frame)> {
    let interface = interface_of(network, master)?;
    let IpAddr::V4(group) = master.group else {
        return None;
    };
    let source = interface
        .addresses
        .iter()
        .find_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })?;
    let [_, b, c, d] = group.octets();
    let mut bytes = vec![1, 0, 0x5e, b & 0x7f, c, d];
    bytes.extend(interface.mac.0);
    bytes.extend([8, 0]);
    bytes.extend(packet(source, group, master, datagram)?);
    Some((port(interface.index)?, Frame(bytes)))
}

/// An IPv4 packet with the datagram.
fn packet(source: Ipv4Addr, group: Ipv4Addr, master: &Daemon, datagram: &[u8]) -> Option<Vec<u8>> {
    let udp_len = u16::try_from(8 + datagram.len()).ok()?;
    let mut ip = vec![0x45, 0];
    ip.extend(udp_len.checked_add(20)?.to_be_bytes());
    ip.extend([0, 1, 0, 0, master.ttl, 17, 0, 0]);
    ip.extend(source.octets());
    ip.extend(group.octets());
    let sum = checksum(&ip).to_be_bytes();
    ip.splice(10..12, sum);
    let mut udp = Vec::new();
    udp.extend(SOURCE_PORT.to_be_bytes());
    udp.extend(master.port.to_be_bytes());
    udp.extend(udp_len.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(datagram);
    let mut pseudo = [source.octets(), group.octets()].concat();
    pseudo.extend([0, 17]);
    pseudo.extend(udp_len.to_be_bytes());
    pseudo.extend(&udp);
    let sum = match checksum(&pseudo) {
        0 => u16::MAX,
        sum => sum,
    };
    udp.splice(6..8, sum.to_be_bytes());
    ip.extend(udp);
    Some(ip)
}

/// Internet checksum (RFC 1071), a last odd octet padded with 0.
fn checksum(octets: &[u8]) -> u16 {
    let sum: u32 = octets
        .chunks(2)
        .map(|pair| {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            u32::from(u16::from_be_bytes([high, low]))
        })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(0)
}

//! One connection: who talks to whom, by which real server, in which state, until when.
//!
//! Promises: 72 octets for IPv4 (IPv6 keeps its addresses in a further 48), so that ten million
//! fit. Follows the protocol state and keeps the real server's counts of active and inactive
//! connections; that happens here and nowhere else. Never decides what becomes of a packet.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use packet::Transport;

use super::addresses::Addresses;
use super::assisted::FLAG_ASSISTED;
use super::tracking::FLAG_TRACKED;
use super::{FlowKey, State, sctp, tcp};
use crate::destination::{Destination, Method};
use crate::protocol::{Direction, Protocol};
use crate::shared::Timeouts;
use crate::sync::Mark;
use crate::template::Template;
use crate::time::Instant;

/// IP_VS_CONN_F_NOOUTPUT: the server's packets have not been seen; the states follow the client's
/// alone.
pub const FLAG_NO_OUTPUT: u16 = 0x0080;
/// IP_VS_CONN_F_INACTIVE: counted as inactive for the real server.
pub const FLAG_INACTIVE: u16 = 0x0100;
/// Lifetime of a connection before its first packet, seconds (kernel: `ip_vs_conn_new`).
const UNUSED_TIMEOUT: u32 = 3;
/// IP_VS_CONN_F_FWD_MASK: the forwarding method's number.
pub(crate) const METHOD_MASK: u16 = 0x0007;

/// What a new connection is made of.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// Transport protocol.
    pub protocol: Protocol,
    /// CIP and the client's port, host order.
    pub client: (IpAddr, u16),
    /// VIP and port as the client addressed them (the packet's own, also with firewall marks and
    /// any-port services).
    pub virtual_server: (IpAddr, u16),
    /// RIP and the port on the real server; with a service of any port, the packet's own.
    pub server: (IpAddr, u16),
    /// The real server, which has been told ([`Destination::bind`]); none when the packet goes to
    /// its original destination (bypass).
    pub destination: Option<Arc<Destination>>,
    /// The persistence template that made the choice.
    pub template: Option<Arc<Template>>,
    /// Forwarding method; stays when the real server's is changed later.
    pub method: Method,
    /// Firewall mark of the first packet; 0 = none.
    pub mark: u32,
    /// Index of the interface on which the client's packets arrive.
    pub client_interface: u32,
    /// 802.1Q tag control information of the client's frames; 0 = untagged.
    pub client_vlan: u16,
}

/// The settings that decide over states and lifetimes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateRules {
    /// Lifetimes that the operator may change.
    pub timeouts: Timeouts,
    /// The `secure_tcp` defence is on.
    pub secure_tcp: bool,
}

/// A connection.
///
/// Counted by its real server ([`Destination::bind`]) from the moment the server was picked until
/// the connection is dropped. Whoever drops it tells the template
/// ([`crate::shared::Shared::release_template`]).
///
/// The fields that every packet needs stand first, within the record's first cache line.
#[derive(Debug)]
#[repr(C)]
pub struct Connection {
    pub(super) addresses: Addresses,
    pub(super) client_port: u16,
    pub(super) virtual_port: u16,
    pub(super) server_port: u16,
    pub(super) state: State,
    pub(super) destination: Option<Arc<Destination>>,
    deadline: Instant,
    pub(super) timeout: u32,
    pub(super) packets: u32,
    pub(super) flags: u16,
    client_vlan: u16,
    client_interface: u32,
    mark: u32,
    pub(super) told: Mark,
    template: Option<Arc<Template>>,
}

impl Connection {
    /// A connection before its first packet, inactive, with a lifetime of 3 s.
    #[must_use]
    pub fn new(new: NewConnection) -> Self {
        let state = State::first(new.protocol);
        let no_output = if new.method == Method::Masq {
            0
        } else {
            FLAG_NO_OUTPUT
        };
        Self {
            addresses: Addresses::new(new.client.0, new.virtual_server.0, new.server.0),
            client_port: new.client.1,
            virtual_port: new.virtual_server.1,
            server_port: new.server.1,
            state,
            destination: new.destination,
            deadline: Instant::START,
            timeout: UNUSED_TIMEOUT,
            packets: 0,
            flags: new.method as u16 | no_output | FLAG_INACTIVE,
            client_vlan: new.client_vlan,
            client_interface: new.client_interface,
            mark: new.mark,
            told: Mark::default(),
            template: new.template,
        }
    }

    /// Transport protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.state.protocol()
    }

    /// CIP and the client's port, host order.
    #[must_use]
    pub fn client(&self) -> (IpAddr, u16) {
        (self.addresses.client(), self.client_port)
    }

    /// VIP and port as the client addressed them, host order.
    #[must_use]
    pub fn virtual_server(&self) -> (IpAddr, u16) {
        (self.addresses.virtual_server(), self.virtual_port)
    }

    /// RIP and the port on the real server, host order. In tunnels the RIP may be of the other
    /// family.
    #[must_use]
    pub fn server(&self) -> (IpAddr, u16) {
        let address = self.addresses.server();
        match &self.destination {
            Some(destination) if destination.address.is_ipv4() != address.is_ipv4() => {
                (destination.address, self.server_port)
            }
            _ => (address, self.server_port),
        }
    }

    /// The real server; none when the packets go to their original destination.
    #[must_use]
    pub const fn destination(&self) -> Option<&Arc<Destination>> {
        self.destination.as_ref()
    }

    /// The persistence template that made the choice.
    #[must_use]
    pub const fn template(&self) -> Option<&Arc<Template>> {
        self.template.as_ref()
    }

    /// Forwarding method at creation.
    #[must_use]
    pub fn method(&self) -> Method {
        Method::from_number(u32::from(self.flags & METHOD_MASK)).unwrap_or(Method::Masq)
    }

    /// State now.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether it counts as active for the real server.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.flags & FLAG_INACTIVE == 0
    }

    /// Method and `FLAG_*` bits, numbered as the kernel's `IP_VS_CONN_F_*`.
    #[must_use]
    pub const fn flags(&self) -> u16 {
        self.flags & !(FLAG_TRACKED | FLAG_ASSISTED)
    }

    /// Firewall mark of the first packet; 0 = none.
    #[must_use]
    pub const fn mark(&self) -> u32 {
        self.mark
    }

    /// Index of the interface on which the client's packets arrive.
    #[must_use]
    pub const fn client_interface(&self) -> u32 {
        self.client_interface
    }

    /// 802.1Q tag control information of the client's frames; 0 = untagged.
    #[must_use]
    pub const fn client_vlan(&self) -> u16 {
        self.client_vlan
    }

    /// Notes where the client's frames arrive now.
    pub fn set_client_link(&mut self, interface: u32, vlan: u16) {
        self.client_interface = interface;
        self.client_vlan = vlan;
    }

    /// Packets from the client; stays at the largest number it can hold.
    #[must_use]
    pub const fn packets(&self) -> u32 {
        self.packets
    }

    /// Lifetime without a packet in the present state, seconds.
    #[must_use]
    pub const fn timeout(&self) -> u32 {
        self.timeout
    }

    /// When it expires, unless a packet comes before.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Time left to live (`ipvsadm -Lcn` shows whole seconds of it).
    #[must_use]
    pub const fn expires_in(&self, now: Instant) -> Duration {
        self.deadline.since(now)
    }

    /// Key of the client's packets.
    #[must_use]
    pub fn client_key(&self) -> FlowKey {
        FlowKey {
            protocol: self.protocol().number(),
            source: self.client(),
            destination: self.virtual_server(),
        }
    }

    /// Key of the server's packets, with NAT; no other method sees them.
    #[must_use]
    pub fn reply_key(&self) -> Option<FlowKey> {
        if self.method() != Method::Masq {
            return None;
        }
        Some(FlowKey {
            protocol: self.protocol().number(),
            source: (self.addresses.server(), self.server_port),
            destination: self.client(),
        })
    }

    /// Whether a packet with this key belongs to the connection in this direction. The method is
    /// not asked.
    #[inline]
    pub(super) fn matches(&self, key: &FlowKey, direction: Direction) -> bool {
        let ports = match direction {
            Direction::ToServer => (self.client_port, self.virtual_port),
            Direction::ToClient => (self.server_port, self.client_port),
        };
        if (key.source.1, key.destination.1) != ports || key.protocol != self.protocol().number() {
            return false;
        }
        self.addresses
            .matches(&key.source.0, &key.destination.0, direction)
    }

    /// Whether a SYN (TCP) or INIT (SCTP) on it means that the client began anew, so that the
    /// packet path gives the connection up and schedules again (kernel: `is_new_conn_expected`;
    /// BEHAVIOURS 28).
    ///
    /// `reuse_mode` is `conn_reuse_mode`: with bit 2 set also in FIN_WAIT, where only the client is
    /// seen. The caller asks for a mode other than 0, and for the bit 0 cases of
    /// `expire_nodest_conn`.
    #[must_use]
    pub fn is_reusable(&self, reuse_mode: i32) -> bool {
        if reuse_mode == 0 || self.template.is_some() {
            return false;
        }
        match self.state {
            State::Tcp(tcp::State::TimeWait | tcp::State::Close) => true,
            State::Tcp(tcp::State::FinWait) => {
                reuse_mode & 2 != 0 && self.flags & FLAG_NO_OUTPUT != 0
            }
            State::Sctp(state) => state == sctp::State::Closed,
            State::Tcp(_) | State::Udp => false,
        }
    }

    /// Whether the real server was deleted from its service (BEHAVIOURS 29).
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.destination
            .as_ref()
            .is_some_and(|destination| !destination.is_available())
    }

    /// Advances the state by one packet and sets the lifetime that goes with it. The deadline is
    /// the table's to move ([`super::Table::observe`]).
    pub(super) fn observe(
        &mut self,
        transport: &Transport,
        direction: Direction,
        rules: StateRules,
    ) {
        match direction {
            Direction::ToServer => self.packets = self.packets.saturating_add(1),
            // A reply was seen after all: from now on both directions count.
            Direction::ToClient => self.flags &= !FLAG_NO_OUTPUT,
        }
        let one_directional = self.flags & FLAG_NO_OUTPUT != 0;
        let next = match (self.state, transport) {
            (State::Tcp(state), Transport::Tcp { flags, .. }) => {
                let event = tcp::Event::of(*flags);
                State::Tcp(tcp::next(
                    state,
                    event,
                    direction,
                    one_directional,
                    rules.secure_tcp,
                ))
            }
            (
                State::Sctp(state),
                Transport::Sctp {
                    chunk: Some(chunk),
                    second_chunk,
                    ..
                },
            ) => {
                let event = sctp::Event::of(*chunk, *second_chunk);
                State::Sctp(sctp::next(state, event, direction, one_directional))
            }
            (State::Udp, Transport::Udp { .. }) => State::Udp,
            _ => return,
        };
        let proved = match next {
            State::Tcp(tcp::State::Established) | State::Sctp(sctp::State::Established) => {
                next != self.state
            }
            State::Udp => direction == Direction::ToClient,
            State::Tcp(_) | State::Sctp(_) => false,
        };
        if proved && let Some(template) = &self.template {
            template.assure();
        }
        self.enter(next);
        self.timeout = next.timeout(rules.timeouts);
    }

    /// Takes on a state and moves the connection between the real server's counts where that
    /// changes its being active.
    fn enter(&mut self, next: State) {
        if next == self.state {
            return;
        }
        self.state = next;
        let was_active = self.is_active();
        if next.is_active() != was_active {
            self.flags ^= FLAG_INACTIVE;
            if let Some(destination) = &self.destination {
                destination.set_active(next.is_active());
            }
        }
    }

    /// Reads from both ends of what a packet's way reads.
    #[inline(always)]
    pub(super) fn touch(&self) -> u32 {
        self.addresses.touch() ^ self.client_interface
    }

    /// Gives it a whole timeout from `now`.
    #[inline]
    pub(super) fn prolong(&mut self, now: Instant) {
        self.deadline = now.after_seconds(self.timeout);
    }

    /// The same connection for a dry run, without real server and template.
    pub(super) fn unbound(&self) -> Self {
        Self {
            addresses: self.addresses.clone(),
            destination: None,
            template: None,
            ..*self
        }
    }

    /// Binds such a copy to copies, without telling them.
    pub(super) fn bind_copies(
        &mut self,
        destination: Option<Arc<Destination>>,
        template: Option<Arc<Template>>,
    ) {
        self.destination = destination;
        self.template = template;
    }

    /// Moves the end of life.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(destination) = &self.destination {
            destination.unbind(self.is_active());
        }
    }
}

//! The state of a connection of any protocol.

use super::{sctp, tcp, udp};
use crate::protocol::Protocol;
use crate::shared::Timeouts;

/// Protocol and state in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A TCP connection.
    Tcp(tcp::State),
    /// UDP datagrams between the same endpoints.
    Udp,
    /// An SCTP association.
    Sctp(sctp::State),
}

impl State {
    /// Where a connection of this protocol begins.
    #[must_use]
    pub const fn first(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(tcp::State::None),
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp(sctp::State::None),
        }
    }

    /// The protocol's state with this number; `None` when it has none.
    #[must_use]
    pub fn from_number(protocol: Protocol, number: u8) -> Option<Self> {
        match protocol {
            Protocol::Tcp => tcp::State::from_number(number).map(Self::Tcp),
            Protocol::Udp => (number == 0).then_some(Self::Udp),
            Protocol::Sctp => sctp::State::from_number(number).map(Self::Sctp),
        }
    }

    /// The protocol.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
            Self::Sctp(_) => Protocol::Sctp,
        }
    }

    /// Number of the state as in the kernel (`/proc`, synchronisation messages); UDP has only 0.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp(state) => state as u8,
            Self::Udp => 0,
            Self::Sctp(state) => state as u8,
        }
    }

    /// Name as in `ipvsadm -Lcn` and `/proc/net/ip_vs_conn`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp(state) => state.name(),
            Self::Udp => udp::STATE_NAME,
            Self::Sctp(state) => state.name(),
        }
    }

    /// Whether the connection counts as active (`ActiveConn`) for its real server; UDP never does
    /// (BEHAVIOURS 2).
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_active(),
            Self::Udp => false,
            Self::Sctp(state) => state.is_active(),
        }
    }

    /// Lifetime without a packet, seconds.
    #[must_use]
    pub const fn timeout(self, timeouts: Timeouts) -> u32 {
        match self {
            Self::Tcp(state) => state.timeout(timeouts),
            Self::Udp => timeouts.udp,
            Self::Sctp(state) => state.timeout(),
        }
    }
}

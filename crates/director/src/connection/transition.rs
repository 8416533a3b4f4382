//! The states of a tracked connection, and where each kind of segment leads (kernel: `tcp_conntracks`).

use packet::tcp;

use super::segment::Segment;

/// States of a tracked connection, in the kernel's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    None,
    SynSent,
    SynReceived,
    Established,
    FinWait,
    CloseWait,
    LastAck,
    TimeWait,
    Close,
    /// Both ends sent a SYN.
    SynSent2,
}

/// What a segment is, in the order of the transition tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Reset,
    Other,
}

/// Where a segment leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    To(State),
    /// Out of place, but perhaps the ends know better.
    Ignored,
    Invalid,
}

/// The state that a connection begins in with this segment, if it may begin one.
pub(super) fn begins(segment: &Segment<'_>) -> Option<State> {
    match Kind::of(segment) {
        Kind::Syn => Some(State::SynSent),
        Kind::Ack => Some(State::Established),
        _ => None,
    }
}

impl Kind {
    pub(super) fn of(segment: &Segment<'_>) -> Self {
        match segment.flags {
            flags if flags & tcp::RST != 0 => Self::Reset,
            flags if flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK => Self::SynAck,
            flags if flags & tcp::SYN != 0 => Self::Syn,
            flags if flags & tcp::FIN != 0 => Self::Fin,
            flags if flags & tcp::ACK != 0 => Self::Ack,
            _ => Self::Other,
        }
    }
}

/// Where a segment of the first one's sender leads.
pub(super) fn next_of_original(state: State, kind: Kind) -> Next {
    use State::{
        Close, CloseWait, Established, FinWait, None, SynReceived, SynSent, SynSent2, TimeWait,
    };
    match (kind, state) {
        (Kind::Syn, None | SynSent | TimeWait | Close) => Next::To(SynSent),
        (Kind::Syn, SynSent2) => Next::To(SynSent2),
        (Kind::Syn, _) => Next::Ignored,
        (Kind::SynAck, SynReceived | SynSent2) => Next::To(SynReceived),
        (Kind::Ack, None | SynReceived | Established) => Next::To(Established),
        (Kind::Ack, FinWait | CloseWait) => Next::To(CloseWait),
        _ => next_of_both(state, kind),
    }
}

/// Where a segment of the other one leads.
pub(super) fn next_of_reply(state: State, kind: Kind) -> Next {
    use State::{CloseWait, Established, FinWait, SynReceived, SynSent, SynSent2, TimeWait};
    match (kind, state) {
        (Kind::Syn, SynSent | SynSent2) => Next::To(SynSent2),
        (Kind::Syn, TimeWait) => Next::To(SynSent),
        (Kind::SynAck, SynSent | SynSent2) => Next::To(SynReceived),
        (Kind::SynAck, State::None) => Next::Invalid,
        (Kind::SynAck, _) | (Kind::Ack, SynSent | SynSent2) => Next::Ignored,
        (Kind::Ack, SynReceived) => Next::To(SynReceived),
        (Kind::Ack, Established) => Next::To(Established),
        (Kind::Ack, FinWait | CloseWait) => Next::To(CloseWait),
        _ => next_of_both(state, kind),
    }
}

/// Where FIN, RST and the last acknowledgments lead, whoever sends them.
fn next_of_both(state: State, kind: Kind) -> Next {
    use State::{Close, CloseWait, Established, FinWait, LastAck, SynReceived, TimeWait};
    match (kind, state) {
        (Kind::Fin, SynReceived | Established) => Next::To(FinWait),
        (Kind::Fin, FinWait | CloseWait | LastAck) => Next::To(LastAck),
        (Kind::Fin | Kind::Ack, TimeWait) | (Kind::Ack, LastAck) => Next::To(TimeWait),
        (Kind::Fin | Kind::Ack, Close) => Next::To(Close),
        (Kind::Reset, state) if state != State::None => Next::To(Close),
        _ => Next::Invalid,
    }
}

impl State {
    /// For how long it lasts without a segment, seconds.
    pub(super) const fn timeout(self) -> u64 {
        match self {
            Self::None | Self::Close => 10,
            Self::LastAck => 30,
            Self::SynReceived | Self::CloseWait => 60,
            Self::SynSent | Self::SynSent2 | Self::FinWait | Self::TimeWait => 120,
            Self::Established => 432_000,
        }
    }
}

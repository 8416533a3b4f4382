//! The TCP states that the director follows: not those of an endpoint, but what can be told from
//! the segments that pass (both directions with NAT, the client's alone otherwise).
//!
//! Recordings: `tcp_states.*` (NAT: 15 kinds of segment in every state; DR: the client's
//! sequences), `timeouts.*`.

use crate::protocol::Direction;
use crate::shared::Timeouts;

/// How many states there are.
const STATES: usize = 11;

/// State; the numbers are the kernel's (`IP_VS_TCP_S_*`), as the synchronisation protocol carries
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Before the first segment.
    None = 0,
    /// Data may flow.
    Established = 1,
    /// The server began to connect.
    SynSent = 2,
    /// The client began to connect.
    SynRecv = 3,
    /// The server closed its side (or, where only the client is seen, the client did).
    FinWait = 4,
    /// Both closed.
    TimeWait = 5,
    /// Reset.
    Close = 6,
    /// The client closed its side.
    CloseWait = 7,
    /// The last acknowledgment is awaited.
    LastAck = 8,
    /// Expected by an application protocol (FTP data).
    Listen = 9,
    /// `secure_tcp`: the server answered, the client has not proved itself yet.
    SynAck = 10,
}

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    None as NO, SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

/// States in the order of their numbers.
const ALL: [State; STATES] = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];

impl State {
    /// The state with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        ALL.get(usize::from(number)).copied()
    }

    /// Name as in `ipvsadm -Lcn` and `/proc/net/ip_vs_conn`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            ES => "ESTABLISHED",
            SS => "SYN_SENT",
            SR => "SYN_RECV",
            FW => "FIN_WAIT",
            TW => "TIME_WAIT",
            CL => "CLOSE",
            CW => "CLOSE_WAIT",
            LA => "LAST_ACK",
            LI => "LISTEN",
            SA => "SYNACK",
        }
    }

    /// Lifetime without a segment, seconds (BEHAVIOURS 25). `--set` changes ESTABLISHED and
    /// FIN_WAIT, not TIME_WAIT and CLOSE_WAIT.
    #[must_use]
    pub const fn timeout(self, timeouts: Timeouts) -> u32 {
        match self {
            ES => timeouts.tcp,
            FW => timeouts.tcp_fin,
            SS | TW | LI | SA => 120,
            SR | CW => 60,
            LA => 30,
            CL => 10,
            NO => 2,
        }
    }

    /// Whether the connection counts as active (`ActiveConn`) for its real server.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, ES | SS | SR | SA)
    }
}

/// What a segment means to the state machine: the first of these flags that is set decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// RST is set.
    Rst,
    /// SYN is set.
    Syn,
    /// FIN is set.
    Fin,
    /// ACK is set.
    Ack,
    /// None of them: closes the connection.
    Other,
}

impl Event {
    /// The event of a segment with these flags (the TCP header's flags octet).
    #[must_use]
    pub const fn of(flags: u8) -> Self {
        if flags & 0x04 != 0 {
            Self::Rst
        } else if flags & 0x02 != 0 {
            Self::Syn
        } else if flags & 0x01 != 0 {
            Self::Fin
        } else if flags & 0x10 != 0 {
            Self::Ack
        } else {
            Self::Other
        }
    }
}

/// Next states, by state number, in the columns RST, SYN, FIN, ACK.
type Transitions = [[State; 4]; STATES];

/// Segments of the client where the server's are seen too.
const TO_SERVER: Transitions = [
    /* NONE        */ [CL, SR, CL, ES],
    /* ESTABLISHED */ [CL, ES, CW, ES],
    /* SYN_SENT    */ [CL, ES, SS, SS],
    /* SYN_RECV    */ [SR, SR, TW, ES],
    /* FIN_WAIT    */ [CL, SR, TW, FW],
    /* TIME_WAIT   */ [CL, SR, TW, TW],
    /* CLOSE       */ [CL, SR, CL, CL],
    /* CLOSE_WAIT  */ [CL, SR, CW, CW],
    /* LAST_ACK    */ [LA, SR, LA, CL],
    /* LISTEN      */ [LI, SR, LI, LI],
    /* SYNACK      */ [SR, SR, TW, ES],
];

/// Segments of the server.
const TO_CLIENT: Transitions = [
    /* NONE        */ [CL, SS, TW, ES],
    /* ESTABLISHED */ [CL, ES, FW, ES],
    /* SYN_SENT    */ [SS, SS, SS, SS],
    /* SYN_RECV    */ [CL, SR, TW, ES],
    /* FIN_WAIT    */ [CL, SS, FW, FW],
    /* TIME_WAIT   */ [TW, SS, TW, TW],
    /* CLOSE       */ [CL, SS, CL, CL],
    /* CLOSE_WAIT  */ [CL, SS, TW, CW],
    /* LAST_ACK    */ [CL, SS, LA, LA],
    /* LISTEN      */ [CL, LI, LI, ES],
    /* SYNACK      */ [CL, SR, TW, ES],
];

/// Segments of the client where the server's are never seen.
const ONE_DIRECTIONAL: Transitions = [
    /* NONE        */ [CL, SR, CL, ES],
    /* ESTABLISHED */ [CL, ES, FW, ES],
    /* SYN_SENT    */ [CL, ES, SS, SS],
    /* SYN_RECV    */ [SR, SR, TW, ES],
    /* FIN_WAIT    */ [CL, SR, FW, FW],
    /* TIME_WAIT   */ [CL, SR, TW, TW],
    /* CLOSE       */ [CL, SR, CL, CL],
    /* CLOSE_WAIT  */ [CL, SR, CW, CW],
    /* LAST_ACK    */ [LA, SR, LA, CL],
    /* LISTEN      */ [LI, SR, LI, LI],
    /* SYNACK      */ [CL, SR, TW, ES],
];

/// Where the `secure_tcp` defence differs: the client's word alone does not establish a connection.
const fn secure(
    state: State,
    event: Event,
    direction: Direction,
    one_directional: bool,
) -> Option<State> {
    match (direction, one_directional, state, event) {
        (Direction::ToClient, _, SR | SA, Event::Syn) => Some(SA),
        (Direction::ToClient, ..) => None,
        (Direction::ToServer, false, SR, Event::Ack) => Some(SR),
        (Direction::ToServer, false, SA, Event::Syn | Event::Fin | Event::Ack) => Some(SA),
        (Direction::ToServer, false, SA, Event::Rst) => Some(CL),
        (Direction::ToServer, true, NO | FW | TW | CL | CW | LA | LI | SA, Event::Syn) => Some(SA),
        (Direction::ToServer, ..) => None,
    }
}

/// The state after a segment.
///
/// `one_directional`: the server's segments do not pass the director (every method but NAT), so the
/// client's must stand for both. `secure_tcp`: the defence of that name is on.
#[must_use]
pub fn next(
    state: State,
    event: Event,
    direction: Direction,
    one_directional: bool,
    secure_tcp: bool,
) -> State {
    let column = match event {
        Event::Rst => 0,
        Event::Syn => 1,
        Event::Fin => 2,
        Event::Ack => 3,
        Event::Other => return CL,
    };
    if secure_tcp && let Some(next) = secure(state, event, direction, one_directional) {
        return next;
    }
    let transitions = match (direction, one_directional) {
        (Direction::ToClient, _) => &TO_CLIENT,
        (Direction::ToServer, true) => &ONE_DIRECTIONAL,
        (Direction::ToServer, false) => &TO_SERVER,
    };
    transitions[state as usize][column]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_belong_together() {
        for (number, state) in (0..).zip(ALL) {
            assert_eq!(State::from_number(number), Some(state));
            assert_eq!(state as u8, number);
        }
        assert_eq!(State::from_number(11), None);
        assert_eq!(State::SynAck.name(), "SYNACK");
    }

    #[test]
    fn rst_goes_before_syn_before_fin_before_ack() {
        assert_eq!(Event::of(0xff), Event::Rst);
        assert_eq!(Event::of(0x1b), Event::Syn);
        assert_eq!(Event::of(0x11), Event::Fin);
        assert_eq!(Event::of(0x18), Event::Ack);
        assert_eq!(Event::of(0xe8), Event::Other);
    }
}

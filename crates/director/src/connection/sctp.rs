//! The SCTP states that the director follows, by the first chunk of each packet.
//!
//! Recordings: `sctp_states.*` (12 states, 23 chunks). RFC 9260 names the chunks.

use crate::protocol::Direction;

/// How many states there are.
const STATES: usize = 14;

/// State; the numbers are the kernel's (`IP_VS_SCTP_S_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Before the first packet.
    None = 0,
    /// The client sent its first INIT.
    Init1 = 1,
    /// The client sent INIT again.
    Init = 2,
    /// The server sent its cookie (INIT ACK).
    CookieSent = 3,
    /// The client gave the cookie back.
    CookieReplied = 4,
    /// The server began an association; the client's cookie is awaited.
    CookieWait = 5,
    /// The client sent its cookie.
    Cookie = 6,
    /// The server gave the cookie back.
    CookieEchoed = 7,
    /// Data may flow.
    Established = 8,
    /// The server began to shut down.
    ShutdownSent = 9,
    /// The client began to shut down.
    ShutdownReceived = 10,
    /// The server acknowledged the shutdown.
    ShutdownAckSent = 11,
    /// Aborted during the handshake.
    Rejected = 12,
    /// Ended.
    Closed = 13,
}

use State::{
    Closed, Cookie, CookieEchoed, CookieReplied, CookieSent, CookieWait, Established, Init, Init1,
    None as Start, Rejected, ShutdownAckSent, ShutdownReceived, ShutdownSent,
};

/// States in the order of their numbers.
const ALL: [State; STATES] = [
    Start,
    Init1,
    Init,
    CookieSent,
    CookieReplied,
    CookieWait,
    Cookie,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    Rejected,
    Closed,
];

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
            Start => "NONE",
            Init1 => "INIT1",
            Init => "INIT",
            CookieSent => "C-SENT",
            CookieReplied => "C-REPLIED",
            CookieWait => "C-WAIT",
            Cookie => "COOKIE",
            CookieEchoed => "C-ECHOED",
            Established => "ESTABLISHED",
            ShutdownSent => "S-SENT",
            ShutdownReceived => "S-RECEIVED",
            ShutdownAckSent => "S-ACK-SENT",
            Rejected => "REJECTED",
            Closed => "CLOSED",
        }
    }

    /// Lifetime without a packet, seconds (BEHAVIOURS 25); `--set` changes none.
    #[must_use]
    pub const fn timeout(self) -> u32 {
        match self {
            Start => 2,
            Init1 | Rejected => 4,
            Established => 900,
            Init | CookieSent | CookieReplied | CookieWait | Cookie | CookieEchoed
            | ShutdownSent | ShutdownReceived | ShutdownAckSent | Closed => 61,
        }
    }

    /// Whether the association counts as active (`ActiveConn`) for its real server.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Established)
    }
}

/// What a packet means to the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// DATA, SACK, HEARTBEAT and its answer, and every chunk type that is none of the others.
    Data,
    /// INIT.
    Init,
    /// INIT ACK.
    InitAck,
    /// COOKIE ECHO.
    CookieEcho,
    /// COOKIE ACK.
    CookieAck,
    /// SHUTDOWN.
    Shutdown,
    /// SHUTDOWN ACK.
    ShutdownAck,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete,
    /// ERROR.
    Error,
    /// ABORT.
    Abort,
}

impl Event {
    /// The event of a packet whose first two chunks are of these types. Only an ABORT bundled
    /// behind COOKIE ECHO or COOKIE ACK makes the second one count.
    #[must_use]
    pub const fn of(chunk: u8, second_chunk: Option<u8>) -> Self {
        match (chunk, second_chunk) {
            (10 | 11, Some(6)) | (6, _) => Self::Abort,
            (1, _) => Self::Init,
            (2, _) => Self::InitAck,
            (7, _) => Self::Shutdown,
            (8, _) => Self::ShutdownAck,
            (9, _) => Self::Error,
            (10, _) => Self::CookieEcho,
            (11, _) => Self::CookieAck,
            (14, _) => Self::ShutdownComplete,
            _ => Self::Data,
        }
    }
}

/// The state after a packet.
///
/// `one_directional`: the server's packets do not pass the director (every method but NAT).
#[must_use]
pub const fn next(
    state: State,
    event: Event,
    direction: Direction,
    one_directional: bool,
) -> State {
    match (direction, one_directional) {
        (Direction::ToClient, _) => from_server(state, event),
        (Direction::ToServer, false) => from_client(state, event),
        (Direction::ToServer, true) => from_client_alone(state, event),
    }
}

/// The client's packets where the server's are seen too.
const fn from_client(state: State, event: Event) -> State {
    match (event, state) {
        (Event::Data | Event::CookieAck, Start) | (Event::CookieAck, CookieEchoed) => Established,
        (Event::Init, Start) => Init1,
        (Event::Init, Init1 | Rejected | Closed) => Init,
        (Event::InitAck, Start | Init1 | Init) => CookieWait,
        (Event::InitAck, CookieWait) => Cookie,
        (Event::CookieEcho, Start | CookieSent) => CookieReplied,
        (Event::CookieEcho | Event::ShutdownAck, Init1) => Init,
        (Event::Shutdown, Start | Established) => ShutdownReceived,
        (Event::ShutdownAck, Start | ShutdownSent | ShutdownAckSent) => Closed,
        (Event::ShutdownComplete, Start | Init1 | Init | ShutdownAckSent) => Closed,
        (Event::Error, Start | CookieEchoed) => Closed,
        (Event::Abort, CookieWait) => Rejected,
        (Event::Abort, _) => Closed,
        _ => state,
    }
}

/// The server's packets.
const fn from_server(state: State, event: Event) -> State {
    let number = state as u8;
    match (event, state) {
        (Event::Data, Start) => Established,
        (Event::Init, Established) => Established,
        (Event::Init, _) => CookieWait,
        (Event::InitAck, Start | Init1 | Init) => CookieSent,
        (Event::CookieEcho, _) if number < Established as u8 => CookieEchoed,
        (Event::CookieAck, _) if number < Established as u8 => Established,
        (Event::Shutdown, _) if number <= Established as u8 => ShutdownSent,
        (Event::ShutdownAck, Start | Init1 | Init | CookieSent | CookieReplied) => ShutdownAckSent,
        (Event::ShutdownAck, ShutdownSent | ShutdownReceived) => ShutdownAckSent,
        (Event::ShutdownComplete, Start) => Closed,
        (Event::Error, Start | Init1 | Init | CookieSent | CookieReplied) => Closed,
        (Event::Abort, Init1) => Rejected,
        (Event::Abort, _) => Closed,
        _ => state,
    }
}

/// The client's packets where the server's are never seen.
const fn from_client_alone(state: State, event: Event) -> State {
    match (event, state) {
        (Event::Data, Start | CookieWait) => Established,
        (Event::Init, Start) => Init1,
        (Event::Init, Init1 | Init | CookieSent | CookieReplied | CookieWait) => Init,
        (Event::Init, Rejected | Closed) => Init,
        (Event::InitAck, _) if (state as u8) <= CookieWait as u8 => CookieEchoed,
        (Event::CookieEcho, _) if (state as u8) <= CookieWait as u8 => Established,
        (Event::CookieAck, Start | CookieSent | CookieReplied | Cookie | CookieEchoed) => {
            Established
        }
        (Event::Shutdown, Start | Established) => ShutdownReceived,
        (Event::ShutdownAck, Init1) => Init,
        (Event::ShutdownAck, Start | Established | ShutdownSent | ShutdownAckSent) => Closed,
        (Event::ShutdownComplete, Start | Init1 | Init | CookieSent | CookieReplied) => Closed,
        (Event::ShutdownComplete, ShutdownReceived | ShutdownAckSent) => Closed,
        (Event::Error, Start) => Closed,
        (Event::Abort, CookieWait) => Rejected,
        (Event::Abort, _) => Closed,
        _ => state,
    }
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
        assert_eq!(State::from_number(14), None);
    }

    #[test]
    fn an_abort_behind_a_cookie_counts() {
        assert_eq!(Event::of(10, Some(6)), Event::Abort);
        assert_eq!(Event::of(11, Some(6)), Event::Abort);
        assert_eq!(Event::of(0, Some(6)), Event::Data);
        assert_eq!(Event::of(10, Some(0)), Event::CookieEcho);
        assert_eq!(Event::of(200, None), Event::Data);
    }
}

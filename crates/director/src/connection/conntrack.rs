//! The kernel's connection tracking of TCP, as far as FTP through NAT shows it (Linux 6.1, `nf_conntrack_proto_tcp`):
//! which segments belong to a connection whose both ends are in agreement. What does not is not renumbered, and what
//! would begin another connection on the same ports is not forwarded.
//!
//! Promises: pure; time is an argument. All arithmetic on sequence numbers is modulo 2^32.

use core::time::Duration;

use packet::tcp;

use super::segment::{Segment, is_after};
use super::transition::{Kind, Next, State, begins, next_of_original, next_of_reply};
use super::window::{End, Fit};
use crate::protocol::Direction;
use crate::time::Instant;

/// Longest life of a connection that one end alone was seen of, seconds.
const UNANSWERED_TIMEOUT: u64 = 300;

/// What became of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It belongs to no tracked connection; alone it would not begin one either.
    #[default]
    Untracked,
    /// It belongs to none, but would begin one on ports that are in use.
    Clash,
    /// It begins one.
    New,
    /// It belongs to one.
    Known,
}

impl Outcome {
    /// Whether the packet has a tracked connection.
    #[must_use]
    pub const fn is_tracked(self) -> bool {
        matches!(self, Self::New | Self::Known)
    }
}

/// The last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    kind: Kind,
    from_original: bool,
    end: u32,
    acknowledgment: u32,
    window: u32,
    scale: Option<u8>,
    permits_sack: bool,
    /// A SYN while the last acknowledgment is awaited: what answers it acknowledges nothing (RFC 5961).
    challenges: bool,
}

/// A tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// The direction of its first segment.
    original: Direction,
    state: State,
    /// Of the first segment's sender, and the other one.
    ends: [End; 2],
    last: Option<Last>,
    is_answered: bool,
    /// Segments of both ends, behind the handshake.
    is_assured: bool,
    is_simultaneous: bool,
    expires: Instant,
}

/// What tracking knows of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conntrack(Option<Entry>);

/// What becomes of a segment of a tracked connection.
enum Step {
    Accepted,
    Invalid,
    /// The connection is over, the segment belongs to the next one.
    Reopens,
    /// Accepted, and the connection is over.
    Ends,
}

impl Conntrack {
    /// Takes note of a segment. `offset` is what was added to the numbers that it acknowledges, modulo 2^32.
    pub(crate) fn takes(
        &mut self,
        direction: Direction,
        segment: &Segment<'_>,
        offset: u32,
        now: Instant,
    ) -> Outcome {
        if !segment.is_valid() {
            return Outcome::Untracked;
        }
        if let Some(entry) = &mut self.0
            && entry.expires > now
        {
            let step = entry.step(direction, segment, offset, now);
            match step {
                Step::Invalid if begins(segment).is_some() => return Outcome::Clash,
                Step::Invalid => return Outcome::Untracked,
                Step::Ends => {
                    self.0 = None;
                    return Outcome::Known;
                }
                Step::Accepted => {
                    entry.is_answered |= direction != entry.original;
                    return Outcome::Known;
                }
                Step::Reopens => {}
            }
        }
        self.0 = Entry::new(direction, segment, now);
        if self.0.is_some() {
            Outcome::New
        } else {
            Outcome::Untracked
        }
    }
}

impl Entry {
    /// The connection that a segment begins.
    fn new(original: Direction, segment: &Segment<'_>, now: Instant) -> Option<Self> {
        let state = begins(segment)?;
        let window = segment.window.max(1);
        let end = segment.end();
        let mut ends = [End::default(); 2];
        ends[0].end = end;
        ends[0].max_window = window;
        if state == State::SynSent {
            ends[0].max_end = end;
            ends[0].take_options(segment);
        } else {
            ends[0].max_end = end.wrapping_add(window);
            for end in &mut ends {
                end.permits_sack = true;
                end.is_liberal = true;
            }
        }
        let mut entry = Self {
            original,
            state: State::None,
            ends,
            last: None,
            is_answered: false,
            is_assured: false,
            is_simultaneous: false,
            expires: now,
        };
        entry.fit(0, segment, 0);
        entry.enter(state, 0, segment, now);
        Some(entry)
    }

    fn step(
        &mut self,
        direction: Direction,
        segment: &Segment<'_>,
        offset: u32,
        now: Instant,
    ) -> Step {
        let from = usize::from(direction != self.original);
        let kind = Kind::of(segment);
        let next = match from {
            0 => next_of_original(self.state, kind),
            _ => next_of_reply(self.state, kind),
        };
        let mut next = match next {
            Next::Invalid => return Step::Invalid,
            Next::Ignored => return self.ignore(from, kind, segment, offset, now),
            Next::To(State::SynSent) if matches!(self.state, State::TimeWait | State::Close) => {
                let was_reset = self.last.is_some_and(|last| {
                    last.kind == Kind::Reset && last.from_original == (from == 0)
                });
                if was_reset || self.ends.iter().any(|end| end.closes) {
                    return Step::Reopens;
                }
                return self.ignore(from, kind, segment, offset, now);
            }
            Next::To(next) => next,
        };
        match next {
            State::TimeWait if self.is_challenged(from, kind) => return Step::Accepted,
            State::SynSent2 => self.is_simultaneous = true,
            State::SynReceived if from == 1 && kind == Kind::Ack && self.is_simultaneous => {
                next = State::Established;
            }
            State::Close if kind == Kind::Reset => match self.reset(from, segment) {
                Reset::Invalid => return Step::Invalid,
                Reset::Certain => return self.enter(next, from, segment, now),
                Reset::Doubtful => next = self.state,
                Reset::Plausible => {}
            },
            _ => {}
        }
        match self.fit(from, segment, offset) {
            Fit::Yes => self.enter(next, from, segment, now),
            Fit::Late => Step::Accepted,
            Fit::No => Step::Invalid,
        }
    }

    /// The segment counts.
    fn enter(&mut self, next: State, from: usize, segment: &Segment<'_>, now: Instant) -> Step {
        let mut last = Last::of(segment, from);
        last.challenges = self.last.is_some_and(|last| last.challenges);
        self.last = Some(last);
        if next == State::FinWait && self.state != next {
            self.ends[from].closes = true;
        }
        let is_answered = self.is_answered;
        let was_agreed = matches!(self.state, State::SynReceived | State::Established);
        self.is_assured |= is_answered && was_agreed && next == State::Established;
        self.state = next;
        if !is_answered && segment.has(tcp::RST) {
            return Step::Ends;
        }
        let mut timeout = next.timeout();
        if !is_answered && next == State::Established {
            timeout = timeout.min(UNANSWERED_TIMEOUT);
        }
        self.expires = now.after(Duration::from_secs(timeout));
        Step::Accepted
    }

    /// A segment that is out of place passes, and is remembered in case that its answer fits it.
    fn ignore(
        &mut self,
        from: usize,
        kind: Kind,
        segment: &Segment<'_>,
        offset: u32,
        now: Instant,
    ) -> Step {
        if kind == Kind::SynAck
            && let Some(last) = self.last
            && last.kind == Kind::Syn
            && last.from_original != (from == 0)
            && segment.acknowledgment == last.end
        {
            self.state = State::SynSent;
            self.ends[1 - from] = End {
                end: last.end,
                max_end: last.end,
                max_window: last.window.max(1),
                scale: last.scale,
                permits_sack: last.permits_sack,
                ..End::default()
            };
            self.ends[from] = End::default();
            return match self.fit(from, segment, offset) {
                Fit::Yes => self.enter(State::SynReceived, from, segment, now),
                Fit::Late => Step::Accepted,
                Fit::No => Step::Invalid,
            };
        }
        let mut last = Last::of(segment, from);
        last.challenges = kind == Kind::Syn && from == 0 && self.state == State::LastAck;
        self.last = Some(last);
        Step::Accepted
    }

    /// Whether the segment answers a SYN that came while the last acknowledgment was awaited.
    fn is_challenged(&mut self, from: usize, kind: Kind) -> bool {
        let Some(last) = &mut self.last else {
            return false;
        };
        let challenged = self.state == State::LastAck
            && kind == Kind::Ack
            && last.from_original != (from == 0)
            && last.kind == Kind::Syn
            && last.challenges;
        last.challenges &= !challenged;
        challenged
    }
}

/// What a reset is worth.
enum Reset {
    Invalid,
    /// The windows do not matter.
    Certain,
    /// In the windows it changes nothing.
    Doubtful,
    /// In the windows it ends the connection.
    Plausible,
}

impl Entry {
    fn reset(&self, from: usize, segment: &Segment<'_>) -> Reset {
        let is_established = self.state == State::Established;
        if matches!(
            self.state,
            State::FinWait | State::LastAck | State::TimeWait | State::Close | State::CloseWait
        ) {
            return Reset::Certain;
        }
        let mut worth = Reset::Plausible;
        let from_original = from == 0;
        if let Some(acknowledged) = self.ends[1 - from].max_acknowledgment {
            let sequence = segment.sequence;
            if sequence == 0 && !is_established {
                return Reset::Plausible;
            }
            if is_after(acknowledged, sequence) {
                return Reset::Invalid;
            }
            let follows = self.last.is_some_and(|last| {
                last.kind == Kind::Ack
                    && last.from_original == from_original
                    && last.end == sequence
            });
            if !is_established || sequence == acknowledged || follows {
                return Reset::Plausible;
            }
            worth = Reset::Doubtful;
        }
        let Some(last) = self.last else {
            return worth;
        };
        let answers = (self.is_answered && last.kind == Kind::Syn)
            || (!self.is_assured && last.kind == Kind::Ack);
        let challenged = self.state == State::SynSent
            && last.kind == Kind::Ack
            && !last.from_original
            && segment.sequence == last.acknowledgment;
        if (answers && segment.acknowledgment == last.end) || challenged {
            return Reset::Certain;
        }
        worth
    }

    /// Whether the segment fits what the ends have sent and may send; what it tells of them is noted.
    fn fit(&mut self, from: usize, segment: &Segment<'_>, offset: u32) -> Fit {
        let [first, second] = &mut self.ends;
        let (sender, receiver) = if from == 0 {
            (first, second)
        } else {
            (second, first)
        };
        let end = segment.end();
        let is_syn = segment.has(tcp::SYN);
        let acknowledges = segment.has(tcp::ACK);
        let mut acknowledgment = segment.acknowledgment;
        let mut sack = acknowledgment;
        if receiver.permits_sack {
            for edge in segment.sack_ends() {
                if is_after(edge, sack) {
                    sack = edge;
                }
            }
        }
        acknowledgment = acknowledgment.wrapping_sub(offset);
        sack = sack.wrapping_sub(offset);
        let begins = sender.max_window == 0;
        let again = is_syn
            && matches!(self.state, State::SynSent | State::SynReceived)
            && (is_after(end, sender.end) || (from == 1 && self.state == State::SynSent));
        if is_syn && (begins || again) {
            sender.begin(receiver, segment, from);
            if !acknowledges && from == 1 {
                return Fit::Yes;
            }
        } else if begins {
            sender.pick_up(receiver, segment, sack);
        }
        let broken_reset = segment.has(tcp::RST) && acknowledges && segment.acknowledgment == 0;
        if !acknowledges || broken_reset {
            acknowledgment = receiver.end;
            sack = receiver.end;
        }
        let answers_syn =
            segment.has(tcp::RST) && segment.sequence == 0 && self.state == State::SynSent;
        let (sequence, end) = if answers_syn {
            (sender.end, sender.end)
        } else {
            (segment.sequence, end)
        };
        match sender.judge(receiver, sequence, end, sack) {
            Fit::Yes => {}
            _ if sender.is_liberal => return Fit::Yes,
            misfit => return misfit,
        }
        sender.advance(receiver, segment, end, acknowledgment, sack);
        Fit::Yes
    }
}

impl Last {
    fn of(segment: &Segment<'_>, from: usize) -> Self {
        Self {
            kind: Kind::of(segment),
            from_original: from == 0,
            end: segment.end(),
            acknowledgment: segment.acknowledgment,
            window: segment.window,
            scale: segment.scale(),
            permits_sack: segment.permits_sack(),
            challenges: false,
        }
    }
}

#[cfg(test)]
mod tests;

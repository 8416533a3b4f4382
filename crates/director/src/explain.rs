//! What the director would do with a packet, and why: `ulvs explain`.
//!
//! Promises: nothing changes, and what is said to become of the packet is what [`Director::handle`] does with it: the
//! packet goes through it in a copy of the director that has everything this packet can meet (its connection, its
//! client's template, the services of its addresses with their schedulers, the host). What is said before, of services,
//! template and scheduler, is read from the same copy. Costs the ordinary way nothing: there is no trace in it. The worker
//! gives out what is its own ([`Director::excerpt`]), some microseconds' work, and any thread can do the rest
//! ([`Excerpt::explain`]).
//!
//! Not copied: how many ICMP errors a peer may still get.

pub mod describe;
mod excerpt;
mod fork;
mod notes;
mod outcome;
mod probe;
mod question;
mod waiting;

use core::fmt::{self, Display, Formatter};
use packet::Packet;

use crate::director::Director;
use crate::frame::Output;
use crate::reassembly::Datagram;
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};

pub use excerpt::Excerpt;
pub(crate) use fork::Copied;
use fork::Dry;
pub use probe::Probe;
pub use question::{About, Question, QuestionError};
use waiting::NextHop;

/// Octets in front of a frame that is asked about, as a link leaves them.
const HEADROOM: usize = 128;

/// One thing that matters: what it is about, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `frame`, `arrival`, `connection`, `service`, `not`, `template`, `scheduler`, `server`, `rewrite` or `output`, `neighbour`.
    pub topic: &'static str,
    /// What there is to say.
    pub text: String,
}

/// What the director would do.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What [`Director::handle`] would say of the packet.
    pub at_once: Verdict,
    /// What becomes of it: the same, but that a packet which would be held for a next hop that did not answer the last
    /// time is dropped in the end.
    pub verdict: Verdict,
    /// What that means, in words.
    pub meaning: &'static str,
    /// What led there, in order.
    pub notes: Vec<Note>,
}

/// A line a note: topic, tabulator, sentence. The first lines are the `verdict` and, of a drop, the `reason`'s name.
impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "verdict\t{}", self.verdict.name())?;
        if let Verdict::Drop(reason) = self.verdict {
            writeln!(f, "reason\t{}", reason.name())?;
        }
        writeln!(f, "meaning\t{}", self.meaning)?;
        for note in &self.notes {
            writeln!(f, "{}\t{}", note.topic, note.text)?;
        }
        Ok(())
    }
}

/// What is said, in order.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

impl Notes {
    pub(crate) fn say(&mut self, topic: &'static str, text: impl Into<String>) {
        // A line is a line.
        let text = text.into().replace(['\n', '\t'], " ");
        self.0.push(Note { topic, text });
    }
}

impl Director {
    /// What [`Director::handle`] would do at `now` with the packet that is asked about: [`Director::excerpt`] and
    /// [`Excerpt::explain`] in one.
    ///
    /// # Errors
    /// As [`Director::excerpt`].
    pub fn explain(
        &self,
        now: Instant,
        question: &Question,
        marks: impl Fn(u32, &Packet<'_>) -> u32,
    ) -> Result<Explanation, QuestionError> {
        Ok(self.excerpt(now, question, marks)?.explain())
    }
}

impl Excerpt {
    /// What the worker's director would do with the packet.
    #[must_use]
    pub fn explain(mut self) -> Explanation {
        let mut buffer = core::mem::take(&mut self.buffer);
        let frame = buffer.get(HEADROOM..).unwrap_or_default().to_vec();
        let (now, interface, mark, link_len) = (self.now, self.interface, self.mark, self.link_len);
        let end = buffer.len();
        let packet = Packet::new(&mut buffer, HEADROOM..end, link_len);
        let mut notes = Notes::default();
        notes.say("frame", describe::frame(&packet));
        let mut dry = match self.whole.take() {
            Some(Datagram {
                mut frame, mark, ..
            }) => frame.edit(|whole| {
                let text = format!("the last of {}", describe::frame(whole));
                notes.say("frame", text);
                self.mark = mark;
                self.prepare(whole, &mut notes)
            }),
            None => self.prepare(&packet, &mut notes),
        };
        let mut output = Output::default();
        let director = &mut dry.director;
        let at_once = director.long_way(now, interface, mark, packet, &mut output);
        dry.note_after(&frame, link_len, at_once, &output, &mut notes);
        let is_held = at_once == Verdict::Held;
        let next_hop = is_held.then(|| dry.note_waiting(now, &mut notes)).flatten();
        let verdict = match next_hop {
            Some(NextHop::Unanswered) => Verdict::Drop(DropReason::NeighbourUnreachable),
            Some(NextHop::Asked) | None => at_once,
        };
        Explanation {
            at_once,
            verdict,
            meaning: outcome::meaning(verdict, next_hop.is_some()),
            notes: notes.0,
        }
    }

    /// A copy for what this packet, or the datagram that it completes, can meet; with what there is to say before it
    /// goes its way.
    fn prepare(self, packet: &Packet<'_>, notes: &mut Notes) -> Dry {
        let (now, mark, interface) = (self.now, self.mark, self.interface);
        let dry = self.dry_run(packet);
        dry.note_before(now, mark, interface, packet, notes);
        dry
    }
}

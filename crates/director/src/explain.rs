//! What the director would do with a packet, and why: `ulvs explain`.
//!
//! Promises: nothing changes, and what is said to become of the packet is what [`Director::handle`] does with it: the
//! packet goes through it in a copy of the director that has everything this packet can meet (its connection, its
//! client's template, the services of its addresses with their schedulers, the host). What is said before, of services,
//! template and scheduler, is read from the same copy. Costs the ordinary way nothing: there is no trace in it.
//!
//! Not copied: how many ICMP errors a peer may still get, and FTP data connections that other workers own.

pub mod describe;
mod fork;
mod notes;
mod outcome;
mod probe;
mod question;

use core::fmt::{self, Display, Formatter};
use core::net::IpAddr;

use packet::{Mac, Packet};

use crate::director::Director;
use crate::frame::Output;
use crate::time::Instant;
use crate::verdict::Verdict;

pub(crate) use fork::Copied;
pub use probe::Probe;
pub use question::{About, Question, QuestionError};

/// Octets in front of a frame that is asked about, as a link leaves them.
const HEADROOM: usize = 128;
/// Octets of an Ethernet header.
const ETHERNET: usize = 14;

/// One thing that matters: what it is about, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `frame`, `arrival`, `connection`, `service`, `not`, `template`, `scheduler`, `server`, `rewrite` or `output`.
    pub topic: &'static str,
    /// What there is to say.
    pub text: String,
}

/// What the director would do.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// What led there, in order.
    pub notes: Vec<Note>,
}

/// A line a note: topic, tabulator, sentence. The first lines are the `verdict` and, of a drop, the `reason`'s name.
impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "verdict\t{}", self.verdict.name())?;
        if let Verdict::Drop(reason) = self.verdict {
            writeln!(f, "reason\t{}", reason.name())?;
            writeln!(f, "meaning\t{}", outcome::meaning(reason))?;
        } else {
            writeln!(f, "meaning\t{}", outcome::meaning_of_verdict(self.verdict))?;
        }
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
    /// What [`Director::handle`] would do at `now` with the packet that is asked about. `marks` gives a packet on an
    /// interface of this index its firewall mark, where the question does not.
    ///
    /// # Errors
    /// A sentence: there is no such interface, or the endpoints are of two families.
    pub fn explain(
        &self,
        now: Instant,
        question: &Question,
        marks: impl Fn(u32, &Packet<'_>) -> u32,
    ) -> Result<Explanation, QuestionError> {
        let interface = self.arrival(question)?;
        let mut buffer = vec![0; HEADROOM];
        let is_known = |probe: &Probe| {
            let key = probe.key();
            self.connections().find(&key).is_some()
        };
        let frame = match &question.about {
            About::Frame(octets) => octets.clone(),
            About::Tuple(probe) => {
                let mac = (interface.link_len > 0).then_some(interface.mac);
                probe.frame(mac, is_known(probe))
            }
        };
        buffer.extend_from_slice(&frame);
        let end = buffer.len();
        let link_len = interface.link_len;
        let mut notes = Notes::default();
        let packet = Packet::new(&mut buffer, HEADROOM..end, link_len);
        let mark = (question.mark).unwrap_or_else(|| marks(interface.index, &packet));
        let mut dry = self.dry_run(now, mark, &packet);
        self.note_before(&dry, now, mark, &interface, &packet, &mut notes);
        let mut output = Output::default();
        let verdict = dry
            .director
            .long_way(now, interface.index, mark, packet, &mut output);
        dry.note_after(&frame, link_len, &output, &mut notes);
        Ok(Explanation {
            verdict,
            notes: notes.0,
        })
    }

    /// Whether this director has a connection that the packet belongs to, so that it is the one to ask.
    #[must_use]
    pub fn knows(&self, question: &Question) -> bool {
        let Ok(interface) = self.arrival(question) else {
            return false;
        };
        let mut frame = match &question.about {
            About::Frame(octets) => octets.clone(),
            About::Tuple(probe) => return self.connections().find(&probe.key()).is_some(),
        };
        let end = frame.len();
        let packet = Packet::new(&mut frame, 0..end, interface.link_len);
        !self.ids_of(&packet).is_empty()
    }

    /// The interface that the packet arrives on: the one that is named, the one that the frame is addressed to, or the one
    /// that the client's answers leave by.
    fn arrival(&self, question: &Question) -> Result<crate::net::Interface, QuestionError> {
        let interfaces = &self.network.interfaces;
        if let Some(name) = &question.interface {
            let named = interfaces.iter().find(|interface| interface.name == *name);
            return named.cloned().ok_or_else(|| {
                let names: Vec<&str> = interfaces.iter().map(|it| it.name.as_str()).collect();
                QuestionError::NoInterface(name.clone(), names.join(", "))
            });
        }
        let found = match &question.about {
            About::Frame(octets) => {
                let to = octets.first_chunk::<6>().map(|mac| Mac(*mac));
                interfaces
                    .iter()
                    .find(|interface| interface.link_len == ETHERNET && Some(interface.mac) == to)
            }
            About::Tuple(probe) => self.towards(probe.source.0),
        };
        let first = || interfaces.iter().find(|interface| interface.index != 1);
        let found = found.or_else(first).or_else(|| interfaces.first());
        found.cloned().ok_or(QuestionError::NoInterfaces)
    }

    fn towards(&self, client: IpAddr) -> Option<&crate::net::Interface> {
        let route = self.network.routes.lookup(client)?;
        self.network.interface(route.interface)
    }
}

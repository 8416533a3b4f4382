//! What becomes of a packet that waits for a link address, and nobody answers: the copy's time runs on, and tells.

use core::time::Duration;

use packet::{Headers, Quoted};

use super::Notes;
use super::fork::Dry;
use super::outcome::with_packet;
use crate::frame::{Frame, Output};
use crate::net::neighbour::{SOLICITATION_INTERVAL, SOLICITATIONS_MAX};
use crate::time::Instant;
use crate::verdict::DropReason;

/// What is known of the next hop that a packet waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextHop {
    /// It may answer.
    Asked,
    /// It did not, the last time.
    Unanswered,
}

impl Dry {
    /// Says whose link address the packet waits for, and what becomes of it without one. `None`: it does not wait.
    pub(super) fn note_waiting(&mut self, now: Instant, notes: &mut Notes) -> Option<NextHop> {
        let host = &self.director.worker.host;
        let (interface, address) = host.waiting.hop()?;
        let unanswered = host.neighbours.unanswered(interface, address, now);
        let known = unanswered.map_or_else(
            || "its link address is asked for".to_owned(),
            |age| {
                let seconds = age.as_secs();
                format!("nobody answered {seconds} s ago, and its link address is asked for again")
            },
        );
        let name = self.interface_name(interface);
        notes.say("neighbour", format!("{address} by {name}: {known}"));
        self.note_unanswered(now, notes);
        Some(unanswered.map_or(NextHop::Asked, |_| NextHop::Unanswered))
    }

    fn note_unanswered(&mut self, now: Instant, notes: &mut Notes) {
        for asked in 1..=u32::from(SOLICITATIONS_MAX) {
            let spent: Duration = SOLICITATION_INTERVAL * asked;
            let mut output = Output::default();
            self.director.tick(now.after(spent), &mut output);
            let counters = self.director.counters();
            if counters.dropped(DropReason::NeighbourUnreachable) == 0 {
                continue;
            }
            let reason = DropReason::NeighbourUnreachable.name();
            let seconds = spent.as_secs();
            let text = format!("without an answer: dropped after {seconds} s as {reason}");
            notes.say("neighbour", text);
            for outgoing in output.frames.iter().filter(|it| is_refusal(&it.frame)) {
                let text = format!("then {}", self.frame_text(outgoing));
                notes.say("neighbour", text);
            }
            return;
        }
    }
}

/// Whether a frame says that its receiver's packet did not get through, and is no further request.
fn is_refusal(frame: &Frame<'_>) -> bool {
    with_packet(frame, |packet| {
        let headers = Headers::parse(packet);
        headers.is_ok_and(|headers| Quoted::of(packet, &headers).is_some())
    })
}

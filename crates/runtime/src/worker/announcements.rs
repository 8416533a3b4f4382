//! Frames that announce FTP data connections wait until the guard knows of these: the client's first packet, or the
//! real server's, could be quicker than the control thread, and the host's stack would answer or forward it.
//!
//! A worker does not wait for the control thread; the frames do.

use std::collections::VecDeque;

use director::frame::{Frame, Outgoing, OwnedFrame};

/// Frames of a worker that wait.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// Not told to the control thread yet.
    new: Vec<Outgoing<'static>>,
    /// Told, the oldest first: one group for each answer to come.
    told: VecDeque<Vec<Outgoing<'static>>>,
}

impl Announcements {
    /// Takes the frames that one packet made.
    pub(super) fn hold<'a>(&mut self, frames: impl Iterator<Item = Outgoing<'a>>) {
        self.new.extend(frames.map(|outgoing| Outgoing {
            interface: outgoing.interface,
            frame: Frame::Owned(match outgoing.frame {
                Frame::InPlace(packet) => OwnedFrame::copy_of(&packet),
                Frame::Owned(frame) => frame,
            }),
        }));
    }

    /// Whether there are frames to tell the control thread of; each time it says so, one answer is to come.
    pub(super) fn tell(&mut self) -> bool {
        let is_new = !self.new.is_empty();
        if is_new {
            self.told.push_back(std::mem::take(&mut self.new));
        }
        is_new
    }

    /// The frames that the oldest answer to come is about.
    pub(super) fn release(&mut self) -> Vec<Outgoing<'static>> {
        self.told.pop_front().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(interface: u32) -> Outgoing<'static> {
        Outgoing {
            interface,
            frame: Frame::Owned(OwnedFrame::zeroed(60)),
        }
    }

    #[test]
    fn frames_go_in_the_order_in_which_they_were_told() {
        let mut held = Announcements::default();
        assert!(!held.tell());
        held.hold([frame(1), frame(2)].into_iter());
        held.hold([frame(3)].into_iter());
        assert!(held.tell() && !held.tell());
        held.hold([frame(4)].into_iter());
        assert!(held.tell());
        let interfaces = |frames: Vec<Outgoing<'_>>| -> Vec<u32> {
            frames.iter().map(|frame| frame.interface).collect()
        };
        assert_eq!(interfaces(held.release()), [1, 2, 3]);
        assert_eq!(interfaces(held.release()), [4]);
        assert_eq!(interfaces(held.release()), [0; 0]);
    }
}

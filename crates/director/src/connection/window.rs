//! The windows of a tracked connection's ends (kernel: `tcp_in_window`).

use packet::tcp;

use super::segment::{Segment, is_after};

/// How far behind the newest octet an acknowledgment may be at least (kernel: `MAXACKWINCONST`).
const OLDEST_ACKNOWLEDGMENT: u32 = 66_000;

/// Whether a segment fits the windows.
pub(super) enum Fit {
    Yes,
    /// Too old to matter.
    Late,
    No,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Behind the last octet that it sent.
    pub(super) end: u32,
    /// Behind the last octet that it may send.
    pub(super) max_end: u32,
    /// The largest window that it offered; 0 = nothing was seen of it.
    pub(super) max_window: u32,
    /// The largest acknowledgment that it sent.
    pub(super) max_acknowledgment: Option<u32>,
    /// Its window's shift, if it offered one.
    pub(super) scale: Option<u8>,
    pub(super) permits_sack: bool,
    /// It closed first.
    pub(super) closes: bool,
    /// Its beginning was not seen: windows are not looked at.
    pub(super) is_liberal: bool,
}

impl End {
    /// Reads the options of a SYN.
    pub(super) fn take_options(&mut self, segment: &Segment<'_>) {
        self.scale = segment.scale();
        self.permits_sack = segment.permits_sack();
    }

    /// A SYN tells everything.
    pub(super) fn begin(&mut self, receiver: &mut Self, segment: &Segment<'_>, from: usize) {
        let end = segment.end();
        self.end = end;
        self.max_end = end;
        self.max_window = segment.window.max(1);
        self.take_options(segment);
        if from == 1 && (self.scale.is_none() || receiver.scale.is_none()) {
            self.scale = self.scale.map(|_| 0);
            receiver.scale = receiver.scale.map(|_| 0);
        }
    }

    /// The sender's beginning was not seen.
    pub(super) fn pick_up(&mut self, receiver: &mut Self, segment: &Segment<'_>, sack: u32) {
        let end = segment.end();
        self.end = end;
        self.max_window = (segment.window << self.shift()).max(1);
        self.max_end = end.wrapping_add(self.max_window);
        if receiver.max_window == 0 {
            receiver.end = sack;
            receiver.max_end = sack;
        } else if sack == receiver.end.wrapping_add(1) {
            receiver.end = sack;
        }
    }

    fn shift(&self) -> u8 {
        self.scale.unwrap_or(0)
    }

    /// Whether octets from `sequence` to `end` and an acknowledgment up to `sack` fit.
    pub(super) fn judge(&mut self, receiver: &Self, sequence: u32, end: u32, sack: u32) -> Fit {
        let oldest = receiver
            .end
            .wrapping_sub(self.max_window.max(OLDEST_ACKNOWLEDGMENT))
            .wrapping_sub(1);
        let is_recent = is_after(sack, oldest);
        let oldest_end = self.end.wrapping_sub(receiver.max_window).wrapping_sub(1);
        let is_in_window = is_after(end, oldest_end);
        let is_known = !is_after(sack, receiver.end);
        if is_after(sequence, self.max_end) {
            let over = end.wrapping_sub(self.max_end).wrapping_add(1);
            if receiver.max_window != 0
                && is_in_window
                && is_recent
                && over <= receiver.max_window
                && is_known
            {
                // More than the window allows; the acknowledgment of it must not seem one of what was never sent.
                self.end = end;
            }
            return Fit::No;
        }
        if !is_known {
            return Fit::No;
        }
        if receiver.max_window != 0 && !is_in_window || !is_recent {
            return Fit::Late;
        }
        Fit::Yes
    }

    /// Notes what a segment that fits tells of both ends.
    pub(super) fn advance(
        &mut self,
        receiver: &mut Self,
        segment: &Segment<'_>,
        end: u32,
        acknowledgment: u32,
        sack: u32,
    ) {
        let mut window = segment.window;
        if !segment.has(tcp::SYN) {
            window <<= self.shift();
        }
        let reach = window.wrapping_add(sack.wrapping_sub(acknowledgment));
        self.max_window = self.max_window.max(reach);
        if is_after(end, self.end) {
            self.end = end;
        }
        if segment.has(tcp::ACK)
            && self
                .max_acknowledgment
                .is_none_or(|max| is_after(acknowledgment, max))
        {
            self.max_acknowledgment = Some(acknowledgment);
        }
        if receiver.max_window != 0 && is_after(end, self.max_end) {
            let more = end.wrapping_sub(self.max_end);
            receiver.max_window = receiver.max_window.wrapping_add(more);
        }
        let limit = sack.wrapping_add(window);
        if is_after(limit, receiver.max_end.wrapping_sub(1)) {
            receiver.max_end = limit.wrapping_add(u32::from(window == 0));
        }
    }
}

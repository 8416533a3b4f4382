//! What this daemon uses, for `ulvs doctor`.

use director::net::Answer;

use super::control::Control;
use crate::status::Status;

impl Control {
    /// What is used.
    pub(super) fn status(&self) -> Status {
        let mut vips: Vec<_> = self.presence.answers().into_iter().collect();
        vips.sort_unstable_by_key(|(vip, _)| *vip);
        Status {
            workers: self.workers.len(),
            busy_poll: u64::try_from(self.settings.busy_poll.as_micros()).unwrap_or(u64::MAX),
            guard: self.shield.method().map(|method| method.to_string()),
            interfaces: self
                .links
                .kinds()
                .map(|(name, kind)| (name.to_owned(), kind.name().to_owned()))
                .collect(),
            details: self
                .links
                .details()
                .map(|(name, detail)| (name.to_owned(), detail.to_owned()))
                .collect(),
            gro: self.aggregation.turned_on(),
            assist: self.links.assisted(),
            vips: vips
                .into_iter()
                .map(|(vip, answer)| (vip, answer == Answer::Local))
                .collect(),
        }
    }
}

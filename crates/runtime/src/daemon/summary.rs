//! A worker's counters as one line of the log.

use director::verdict::DropReason;

use crate::links::Links;
use crate::worker::Report;

/// The counters that are not 0.
pub(super) fn of(report: &Report, links: &Links) -> String {
    let counters = &report.counters;
    let mut parts = vec![format!("{} received", counters.received)];
    let mut part = |count: u64, text: &str| {
        if count > 0 {
            parts.push(format!("{count} {text}"));
        }
    };
    part(counters.forwarded, "forwarded");
    part(counters.answered, "answered");
    part(counters.passed, "left to the host");
    part(counters.held, "held");
    for reason in DropReason::ALL {
        part(
            counters.dropped(reason),
            &format!("dropped: {}", reason.name()),
        );
    }
    part(counters.assisted, "sent on by the kernel");
    let tally = &report.tally;
    let count = |frames: usize| u64::try_from(frames).unwrap_or(u64::MAX);
    part(count(tally.transmitted.sent), "sent");
    part(
        count(tally.transmitted.too_big),
        "not sent: too big for the interface",
    );
    part(count(tally.transmitted.queue_full), "not sent: queue full");
    part(count(tally.transmitted.down), "not sent: interface down");
    part(
        count(tally.transmitted.refused),
        "not sent: refused by the system",
    );
    part(tally.no_sender, "not sent: no such interface here");
    part(tally.handed_over, "handed to another worker");
    part(tally.inbox_full, "lost: another worker's inbox full");
    for (index, statistics) in &report.links {
        let name = links
            .iter()
            .find(|(open, _)| open == index)
            .map_or("?", |(_, name)| name);
        part(statistics.overrun, &format!("lost on {name}: ring full"));
        part(statistics.truncated, &format!("lost on {name}: truncated"));
        part(
            statistics.unknown_offload,
            &format!("lost on {name}: unknown offload"),
        );
    }
    parts.join(", ")
}

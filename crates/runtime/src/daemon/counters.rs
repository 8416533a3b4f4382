//! Everything that is counted, for `ulvs stats`.
//!
//! The names make equations, exact for each worker at every moment:
//!
//! * what came is what went to the director, or to another worker: `shared_out/from_links + taken_over =
//!   frames/received + handed_over + inbox_full + unclaimed_fragments + waiting_fragments`;
//! * every frame has one verdict: `frames/received + fragments/dropped + neighbours/dropped = forwarded + answered +
//!   left_to_host + held + all of dropped`;
//! * `connections/made = ended + live`, and `fragments/kept = released + dropped + waiting`.
//!
//! What the kernel sends on by itself (`assisted/forwarded`) comes by none of these.
//!
//! Packets wait for a link address in one queue for all workers: `neighbours/kept = released + dropped + waiting` is
//! true of the sums.

use control::counters::Counters;
use director::verdict::DropReason;

use super::ask::reports;
use super::control::Control;
use crate::links::Links;
use crate::worker::Report;

impl Control {
    /// What was counted, for `ulvs stats`.
    pub(super) fn counters(&self) -> Counters {
        let waiting = self.host.waiting_packets();
        let mut counters = of(&reports(&self.workers), &self.links, waiting);
        self.count_shadows(&mut counters);
        counters
    }
}

/// The counters of all workers, and how many packets wait for a link address. A worker without an answer is left out.
fn of(reports: &[Report], links: &Links, waiting_packets: usize) -> Counters {
    let mut counters = Counters::default();
    for (worker, report) in reports.iter().enumerate() {
        let mut add = |group: &str, name: &str, value: u64| {
            counters.add(Some(worker), group, name, value);
        };
        links_of(report, links, &mut add);
        shared_out(report, &mut add);
        verdicts(report, &mut add);
        kept(report, &mut add);
        connections(report, &mut add);
        sent(report, &mut add);
    }
    counters.add(None, "neighbours", "waiting", number(waiting_packets));
    if let Some(octets) = crate::memory::resident() {
        counters.add(None, "memory", "resident", octets);
    }
    counters
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn links_of(report: &Report, links: &Links, add: &mut impl FnMut(&str, &str, u64)) {
    for (index, statistics) in &report.links {
        let name = links.iter().find(|(open, _)| open == index);
        let group = format!("link/{}", name.map_or("?", |(_, name)| name));
        add(&group, "received", statistics.received);
        add(&group, "ring_full", statistics.overrun);
        add(&group, "truncated", statistics.truncated);
        add(&group, "unknown_offload", statistics.unknown_offload);
    }
}

fn shared_out(report: &Report, add: &mut impl FnMut(&str, &str, u64)) {
    let group = "shared_out";
    add(group, "from_links", report.tally.received);
    add(group, "taken_over", report.tally.taken_over);
    add(group, "handed_over", report.tally.handed_over);
    add(group, "inbox_full", report.tally.inbox_full);
    add(group, "unclaimed_fragments", report.unclaimed_fragments);
    let waiting = number(report.unassigned_fragments);
    add(group, "waiting_fragments", waiting);
}

fn verdicts(report: &Report, add: &mut impl FnMut(&str, &str, u64)) {
    let counted = &report.counters;
    add("assisted", "forwarded", counted.assisted);
    add("frames", "received", counted.received);
    add("frames", "forwarded", counted.forwarded);
    add("frames", "answered", counted.answered);
    add("frames", "left_to_host", counted.passed);
    add("frames", "held", counted.held);
    for reason in DropReason::ALL {
        add("dropped", reason.name(), counted.dropped(reason));
    }
}

fn kept(report: &Report, add: &mut impl FnMut(&str, &str, u64)) {
    for (group, kept) in [
        ("fragments", report.counters.fragments),
        ("neighbours", report.counters.neighbours),
    ] {
        add(group, "kept", kept.taken);
        add(group, "released", kept.released);
        add(group, "dropped", kept.dropped);
    }
    add("fragments", "waiting", report.waiting_fragments);
}

fn connections(report: &Report, add: &mut impl FnMut(&str, &str, u64)) {
    add("connections", "made", report.connections_made);
    add("connections", "ended", report.connections_ended);
    add("connections", "live", number(report.connections_live));
}

fn sent(report: &Report, add: &mut impl FnMut(&str, &str, u64)) {
    let sent = &report.tally.transmitted;
    add("sent", "sent", number(sent.sent));
    add("not_sent", "too_big", number(sent.too_big));
    add("not_sent", "queue_full", number(sent.queue_full));
    add("not_sent", "interface_down", number(sent.down));
    add("not_sent", "refused", number(sent.refused));
    add("not_sent", "no_interface", report.tally.no_sender);
}

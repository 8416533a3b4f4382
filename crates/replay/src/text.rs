//! A report as text that lines up.

use core::fmt::Write as _;

use cli::columns::columns;

use crate::report::{FrameReport, Outcome, Report, ServiceReport};

/// What may become of a frame; the reasons of drops stand below the last.
const VERDICTS: [&str; 5] = ["forwarded", "held", "answered", "passed", "dropped"];

/// One frame as a line, and what was sent for it as further ones.
pub(crate) fn frame(report: &FrameReport) -> String {
    let what = match (report.reason, &report.server) {
        (Some(reason), _) => format!("{}: {reason}", report.verdict),
        (None, Some(server)) => format!("{}, new: {server}", report.verdict),
        (None, None) => report.verdict.to_owned(),
    };
    let mut text = format!(
        "{:>7} {:>14}  {}  {what}\n",
        report.number,
        seconds(report.time_ns),
        report.frame
    );
    for sent in &report.sent {
        let _ = writeln!(text, "{:24}-> {sent}", "");
    }
    text
}

/// The summary: what was replayed, what became of it, what each real server got.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: {} in {} s, with the rules of {}",
        report.capture,
        several(report.frames, "frame"),
        seconds(report.duration_ns),
        report.rules
    );
    for interface in &report.interfaces {
        let _ = writeln!(
            text,
            "  {} {} mtu {} ({}), made up",
            interface.name,
            interface.mac,
            interface.mtu,
            interface.addresses.join(", ")
        );
    }
    notes(report, &mut text);
    text.push('\n');
    for verdict in VERDICTS {
        match report.verdicts.get(verdict) {
            None | Some(0) => {}
            Some(count) => {
                let _ = writeln!(text, "{count:>10} {verdict}");
            }
        }
    }
    for (reason, count) in &report.drops {
        let _ = writeln!(text, "{count:>10}   dropped: {reason}");
    }
    if report.own > 0 {
        let _ = writeln!(
            text,
            "{:>10} sent by the recorded director itself, not replayed",
            report.own
        );
    }
    let _ = writeln!(text, "{:>10} sent", report.sent);
    let _ = writeln!(text, "{:>10} new connections", report.connections.len());
    if let [own] = report.schedulers.as_slice() {
        own.services
            .iter()
            .for_each(|service| servers(service, &mut text));
    } else {
        compared(&report.schedulers, &mut text);
    }
    text
}

fn notes(report: &Report, text: &mut String) {
    for note in &report.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    if report.cut_short > 0 {
        let _ = writeln!(
            text,
            "  note: the capture holds only the beginning of {}; the rest was taken as zeros",
            several(report.cut_short, "frame")
        );
    }
    if report.out_of_order > 0 {
        let _ = writeln!(
            text,
            "  note: {} with a time before that of the frame before counted as of that time",
            several(report.out_of_order, "frame")
        );
    }
}

/// One service with what each real server got.
fn servers(service: &ServiceReport, text: &mut String) {
    let _ = writeln!(
        text,
        "\n{} -s {}{}",
        service.service,
        service.scheduler,
        ratio(service).map_or_else(String::new, |ratio| format!("   max/mean {ratio}"))
    );
    let mut rows = vec![
        [
            "server",
            "weight",
            "connections",
            "active",
            "inactive",
            "packets in",
            "packets out",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(service.servers.iter().map(|server| {
        vec![
            server.server.clone(),
            server.weight.to_string(),
            server.connections.to_string(),
            server.active.to_string(),
            server.inactive.to_string(),
            server.in_packets.to_string(),
            server.out_packets.to_string(),
        ]
    }));
    text.push_str(&columns(&rows));
}

/// Each service with a column a scheduler.
fn compared(outcomes: &[Outcome], text: &mut String) {
    let Some(own) = outcomes.first() else {
        return;
    };
    for (number, service) in own.services.iter().enumerate() {
        let _ = writeln!(
            text,
            "\n{} (connections / packets from clients)",
            service.service
        );
        let row = |first: &str, cell: &dyn Fn(&str, &ServiceReport) -> String| {
            let cells = outcomes.iter().filter_map(|outcome| {
                let service = outcome.services.get(number)?;
                Some(cell(&outcome.scheduler, service))
            });
            core::iter::once(first.to_owned())
                .chain(cells)
                .collect::<Vec<_>>()
        };
        let mut rows = vec![row("server", &|name, service| match name {
            "rules" => format!("{} (rules)", service.scheduler),
            name => name.to_owned(),
        })];
        for (place, server) in service.servers.iter().enumerate() {
            let name = format!("{} weight {}", server.server, server.weight);
            rows.push(row(&name, &|_, service| {
                let server = service.servers.get(place);
                server.map_or_else(String::new, |server| {
                    format!("{} / {}", server.connections, server.in_packets)
                })
            }));
        }
        rows.push(row("max/mean", &|_, service| {
            ratio(service).unwrap_or_else(|| "-".to_owned())
        }));
        rows.push(row("went elsewhere", &|_, service| {
            service.elsewhere.to_string()
        }));
        rows.push(row("not made", &|_, service| service.not_made.to_string()));
        text.push_str(&columns(&rows));
    }
}

fn ratio(service: &ServiceReport) -> Option<String> {
    let shares = service.shares.as_ref();
    shares.map(|shares| format!("{:.3}", shares.max))
}

/// `1 frame`, `7 frames`.
fn several(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Nanoseconds as seconds with six places.
fn seconds(nanoseconds: u64) -> String {
    let microseconds = nanoseconds / 1000;
    format!(
        "{}.{:06}",
        microseconds / 1_000_000,
        microseconds % 1_000_000
    )
}

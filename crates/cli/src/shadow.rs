//! `ulvs shadow`: what shadow schedulers would have done, as a table or as JSON.

use std::io::Write;

use control::imbalance::Imbalance;
use control::netlink::{Errno, Request};
use control::shadow::{NAME, Report, Scheduler};

use crate::Transport;
use crate::client::{Client, text};
use crate::columns::columns;

/// Prints the report: a table for each service, or all of it as JSON. Returns the exit code.
pub fn run(
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
    transport: &mut dyn Transport,
) -> i32 {
    match ask(transport) {
        Ok(report) => {
            // Whoever closed the output does not want the rest.
            let _ = if json {
                writeln!(out, "{:#}", serde_json::json!(report))
            } else {
                out.write_all(tables(&report).as_bytes())
            };
            0
        }
        Err(sentence) => {
            let _ = writeln!(err, "ulvs: {sentence}");
            1
        }
    }
}

/// # Errors
/// Why there is no report: one sentence.
fn ask(transport: &mut dyn Transport) -> Result<Report, String> {
    let asked = Client::new(transport).ask(&Request::DumpText(NAME.to_owned()));
    let replies = asked.map_err(|failure| {
        failure.sentence(|errno| match errno {
            Errno::ENOENT => {
                "this director has no shadow schedulers: name some in [shadow] of its configuration, \
                 `schedulers = [\"mh\", \"p2c\"]`, and have it read again by SIGHUP"
                    .to_owned()
            }
            errno => format!("the report cannot be read: {errno}"),
        })
    })?;
    let read: Result<Result<Report, String>, _> = serde_json::from_str(&text(&replies));
    read.map_err(|error| format!("the director's report cannot be read: {error}"))?
}

/// Heads of the columns behind the scheduler's name, in two lines.
const HEADS: [(&str, &str); 9] = [
    ("", "connections"),
    ("", "refused"),
    ("else-", "where"),
    ("load", "max/mean"),
    ("", "CV"),
    ("", "Jain"),
    ("clients", "moved"),
    ("after a", "change"),
    ("of which", "forced"),
];

fn tables(report: &Report) -> String {
    let mut text = String::new();
    if report.sample > 1 {
        text += &format!("One in {} connections was looked at.\n", report.sample);
    }
    if report.lost > 0 {
        text += &format!(
            "{} events were lost because the shadows were behind; they began anew {} times.\n",
            report.lost, report.restarts
        );
    }
    if report.services.is_empty() {
        text += "There are no services.\n";
    }
    for service in &report.services {
        let times = match service.changes {
            1 => "1 change".to_owned(),
            changes => format!("{changes} changes"),
        };
        text += &format!("{}, {times} of its real servers\n", service.service);
        let mut rows = vec![
            row(String::new(), HEADS.map(|(first, _)| first.to_owned())),
            row(
                "scheduler".to_owned(),
                HEADS.map(|(_, second)| second.to_owned()),
            ),
        ];
        rows.extend(service.schedulers.iter().map(cells));
        text += &columns(&rows);
    }
    text
}

/// A line's cells, the scheduler's name first.
type Cells = Vec<String>;

fn row(name: String, cells: [String; 9]) -> Cells {
    core::iter::once(name).chain(cells).collect()
}

fn cells(scheduler: &Scheduler) -> Cells {
    let (name, elsewhere) = if scheduler.live {
        (format!("{} (live)", scheduler.scheduler), "-".to_owned())
    } else {
        let asked = scheduler.connections + scheduler.refused;
        (
            scheduler.scheduler.clone(),
            share(scheduler.elsewhere, asked),
        )
    };
    let of_load = |part: fn(&Imbalance) -> f64| {
        let load = scheduler.load.as_ref();
        load.map_or_else(|| "-".to_owned(), |load| format!("{:.3}", part(load)))
    };
    let change = &scheduler.after_change;
    row(
        name,
        [
            scheduler.connections.to_string(),
            scheduler.refused.to_string(),
            elsewhere,
            of_load(|load| load.max),
            of_load(|load| load.cv),
            of_load(|load| load.jain),
            share(scheduler.moved, scheduler.returning),
            share(change.moved, change.returning),
            share(change.forced, change.returning),
        ],
    )
}

/// A share in per cent; `-` of nothing.
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    // In thousandths, rounded.
    let parts = (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}.{} %", parts / 10, parts % 10)
}

#[cfg(test)]
mod tests {
    use control::netlink::{Answer, Reply, requests, respond};
    use control::shadow::{AfterChange, Service};

    use super::*;

    /// A director that answers with this text, or has none.
    struct Director(Option<String>);

    impl Transport for Director {
        fn exchange(&mut self, request: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
            let frame = requests(request).next().expect("a request");
            let answer = match (&self.0, frame.request.clone()) {
                (Some(text), Ok(Request::DumpText(name))) if name == NAME => {
                    let pieces = text.as_bytes().chunks(50);
                    let pieces = pieces.map(|piece| Reply::Text(piece.to_vec()));
                    Ok(Answer::List(pieces.collect()))
                }
                _ => Err(Errno::ENOENT),
            };
            Ok(respond(&frame, 0, &answer))
        }
    }

    fn report() -> Report {
        let live = Scheduler {
            scheduler: "wlc".to_owned(),
            live: true,
            connections: 1000,
            returning: 400,
            moved: 300,
            ..Scheduler::default()
        };
        let shadow = Scheduler {
            scheduler: "mh -b mh-port".to_owned(),
            live: false,
            connections: 998,
            refused: 2,
            elsewhere: 755,
            returning: 400,
            moved: 1,
            after_change: AfterChange {
                returning: 16,
                moved: 3,
                forced: 1,
            },
            load: Some(Imbalance {
                max: 1.25,
                cv: 0.125,
                jain: 0.9876,
            }),
            ..Scheduler::default()
        };
        Report {
            sample: 1,
            services: vec![Service {
                service: "TCP 10.8.0.1:80".to_owned(),
                changes: 1,
                schedulers: vec![live, shadow],
            }],
            ..Report::default()
        }
    }

    fn said(json: bool, text: Option<String>) -> (i32, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(json, &mut out, &mut err, &mut Director(text));
        let text = |octets| String::from_utf8(octets).unwrap();
        (code, text(out), text(err))
    }

    fn answer(report: Result<Report, &str>) -> Option<String> {
        serde_json::to_string(&report).ok()
    }

    #[test]
    fn columns_line_up() {
        let expected = "\
TCP 10.8.0.1:80, 1 change of its real servers
                                        else-      load                clients  after a  of which
  scheduler      connections  refused   where  max/mean     CV   Jain    moved   change    forced
  wlc (live)            1000        0       -         -      -      -   75.0 %        -         -
  mh -b mh-port          998        2  75.5 %     1.250  0.125  0.988    0.3 %   18.8 %     6.3 %
";
        let (code, out, err) = said(false, answer(Ok(report())));
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(out, expected, "{out}");
    }

    #[test]
    fn json_is_the_report() {
        let (_, out, _) = said(true, answer(Ok(report())));
        assert_eq!(serde_json::from_str::<Report>(&out).unwrap(), report());
    }

    #[test]
    fn whatever_is_missing_is_said_in_a_sentence() {
        for (text, expected) in [
            (None, "this director has no shadow schedulers"),
            (answer(Err("too far behind")), "too far behind"),
            (
                Some("nonsense".to_owned()),
                "the director's report cannot be read",
            ),
        ] {
            let (code, out, err) = said(false, text);
            assert_eq!((code, out.as_str()), (1, ""));
            assert!(err.starts_with(&format!("ulvs: {expected}")), "{err}");
            assert_eq!(err.lines().count(), 1, "{err}");
        }
    }
}

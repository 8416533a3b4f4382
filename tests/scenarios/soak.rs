//! Short runs of `scripts/soak`, and what its judgement rests on.

use std::time::Duration;

use crate::soak::counters::Counters;
use crate::soak::datagram::{Arrival, Flow, LONGEST, Seen, Way, read, write};
use crate::soak::report::Report;
use crate::soak::world::Assist;
use crate::soak::{churn, count};

#[test]
fn no_datagram_is_lost_doubled_or_out_of_place() {
    let report = count::run(&count::Plan {
        frames: 200_000,
        rate: 50_000,
        flows: 16,
        workers: vec![1, 2],
        assist: Assist::All,
    });
    assert!(report.wrong().is_empty(), "{}", report.text());
}

#[test]
fn counters_add_up_while_connections_come_and_go() {
    let report = churn::run(&churn::Plan {
        time: Duration::from_secs(20),
        period: Duration::from_secs(4),
        rate: 200,
        workers: 2,
        assist: Assist::All,
        seed: 3,
    });
    assert!(report.wrong().is_empty(), "{}", report.text());
}

fn one_worker(left_to_host: u64) -> Counters {
    let worker = serde_json::json!({
        "shared_out": { "from_links": 9, "taken_over": 1, "handed_over": 2 },
        "frames": { "received": 8, "forwarded": 5, "left_to_host": left_to_host, "held": 1 },
        "dropped": { "too_big": 1, "reassembly": 1 },
        "fragments": { "kept": 1, "dropped": 1 },
        "neighbours": { "kept": 3, "released": 1, "dropped": 1, "waiting": 1 },
        "connections": { "made": 3, "ended": 1, "live": 2 },
    });
    Counters::of(serde_json::json!({ "total": worker, "workers": [worker] }))
}

#[test]
fn equations_hold_or_are_named() {
    // 8 came and one fragment was dropped later: 5 forwarded, 2 left, 1 held, 2 dropped would be one too many.
    let broken = one_worker(2).broken(false);
    assert_eq!(broken, Vec::<String>::new());
    let broken = one_worker(3).broken(false);
    assert!(broken[0].contains("= 10, but "), "{broken:?}");
    // Handed over and not taken over: not quiet.
    assert_eq!(one_worker(2).broken(true).len(), 1);
}

#[test]
fn columns_line_up_and_failures_show() {
    let mut report = Report::new(&["way", "sent", "lost"]);
    report.row(&["dr IPv4", "1000000", "0"].map(str::to_owned));
    report.row(&["nat", "7", "12"].map(str::to_owned));
    report.note("one note");
    assert!(report.text().ends_with("verdict: as it must be\n"));
    report.check(false, || "12 were lost".to_owned());
    let expected = "way         sent  lost
dr IPv4  1000000     0
nat            7    12
one note
WRONG: 12 were lost
verdict: FAILED
";
    assert_eq!(report.text(), expected);
    assert_eq!(report.json()["rows"][1]["lost"], 12);
    assert_eq!(report.json()["ok"], false);
}

#[test]
fn what_is_written_is_read_and_every_change_shows() {
    let mut buffer = [0; LONGEST];
    for number in 0..200 {
        let length = write(&mut buffer, 5, number, Way::Question);
        let datagram = &mut buffer[..length];
        assert_eq!(read(datagram, Way::Question), Some((5, number)));
        assert_eq!(read(datagram, Way::Answer), None);
        assert_eq!(read(&datagram[..length - 1], Way::Question), None);
        for at in [0, 5, 11, 12, length - 1] {
            datagram[at] ^= 4;
            assert_eq!(read(datagram, Way::Question), None, "{number} {at}");
            datagram[at] ^= 4;
        }
    }
}

#[test]
fn doubled_late_and_impossible_numbers_are_told_apart() {
    let seen = Seen::new(100);
    let taken = [0, 1, 64, 63, 64, 127, 128].map(|number| seen.take(number));
    use Arrival::{Doubled, Late, New};
    let expected = [New, New, New, Late, Doubled, New].map(Some);
    assert_eq!(taken[..6], expected);
    assert_eq!(taken[6], None);
}

#[test]
fn a_flow_stays_where_it_was_first() {
    let flow = Flow::new(1, false);
    assert_eq!(
        [1, 1, 0].map(|server| flow.is_at(server)),
        [true, true, false]
    );
}

//! The check of docs/SCHEDULERS.md finds what it must: a number that is bound to nothing, one that was changed by hand,
//! a claim that does not hold. `cargo test --test schedulers_laws`.

mod check;
mod document;
mod figures;
mod found;
mod pictures;

use check::Outcome;
use figures::Figures;
use lab::results::{Estimate, Point, Results, ScenarioResults, SchedulerResults};

const TEXT: &str = "# Title 1\n\nAt load 0.7 `rr 5 s` has [p99](a-7.md) 1.40\ns, `wlc` 544 ms.\n\n```sh\nx 12 ms\n```\n\n\
                    **1. First.** It moves 1,878, so 97 % more than wlc1 (2.5 times).\n";

const LIST: &str = r#"
given = ["load 0.7"]
plot = [{ file = "x.svg", family = "b's", figures = [["standard", "sojourn"]] }]

[[section]]
title = "Title 1"
numbers = [
    ["1.40 s", "standard", "sojourn_p99", "rr"],
    ["544 ms", "standard", "sojourn_p99", "wlc"],
    ["1,878", "sweep 2", "remapped", "rr"],
    ["97 %", "standard", "refused", "rr"],
    ["2.50 times", "standard", "connections_max", "wlc"],
]
claims = [
    ["wlc < rr", "standard", "sojourn_p99"],
]
"#;

fn results() -> Results {
    let scheduler = |name: &str, metrics: &[(&str, f64)]| SchedulerResults {
        name: name.to_owned(),
        metrics: metrics
            .iter()
            .map(|(name, mean)| {
                let estimate = Estimate {
                    mean: *mean,
                    half: Some(0.1),
                    ..Estimate::default()
                };
                ((*name).to_owned(), estimate)
            })
            .collect(),
        ..SchedulerResults::default()
    };
    let standard = ScenarioResults {
        name: "standard".to_owned(),
        schedulers: vec![
            scheduler("rr", &[("sojourn_p99", 1.4), ("refused", 0.97)]),
            scheduler("wlc", &[("sojourn_p99", 0.544), ("connections_max", 2.5)]),
        ],
        ..ScenarioResults::default()
    };
    let sweep = ScenarioResults {
        name: "sweep".to_owned(),
        point: Some(Point {
            axis: "removed".to_owned(),
            value: 2.0,
        }),
        schedulers: vec![scheduler("rr", &[("remapped", 1877.7)])],
        ..ScenarioResults::default()
    };
    Results {
        scenarios: vec![standard, sweep],
        ..Results::default()
    }
}

fn looked(text: &str, list: &str) -> Outcome {
    let figures: Figures = toml::from_str(list).expect("it is a list");
    check::check(text, &figures, &results())
}

#[test]
fn numbers_of_prose_are_found_with_their_units() {
    let found = document::numbers(TEXT);
    let texts: Vec<&str> = found.iter().map(|number| number.text.as_str()).collect();
    assert_eq!(
        texts,
        ["0.7", "1.40 s", "544 ms", "1,878", "97 %", "2.5 times"]
    );
    assert_eq!((found[1].line, &*found[1].section), (3, "Title 1"));
}

#[test]
fn what_reads_as_it_was_found_passes_and_what_was_changed_by_hand_does_not() {
    let text = TEXT.replace("2.5 times", "2.50 times");
    let outcome = looked(&text, LIST);
    assert_eq!((outcome.bound, outcome.sure), (5, 1), "{outcome:?}");
    assert!(outcome.changes.is_empty() && outcome.faults.is_empty());
    let wrong = text
        .replace("544 ms", "545 ms")
        .replace("1.40\ns", "1.41\ns");
    let outcome = looked(&wrong, LIST);
    assert_eq!(outcome.changes.len(), 2, "{outcome:?}");
    assert!(
        outcome.changes[1]
            .told()
            .contains("545 ms (the list has 544 ms) is 544 ms now")
    );
    assert_eq!(check::mended(&wrong, &outcome.changes), text);
    let stale = LIST.replace("97 %", "96 %");
    let outcome = looked(&text, &stale);
    assert_eq!(check::listed(&stale, &outcome.changes), LIST);
}

#[test]
fn a_number_that_is_bound_to_nothing_is_a_fault() {
    let text = TEXT.replace("2.5 times", "2.50 times");
    let faults = |text: &str, list: &str| looked(text, list).faults.join("; ");
    let more = faults(&(text.clone() + "\nAnd 3.2 s.\n"), LIST);
    assert!(
        more.contains("line 12: 3.2 s is bound to nothing"),
        "{more}"
    );
    let inside = faults(&text.replace("`wlc` 544", "`wlc` 9 s or 544"), LIST);
    assert!(
        inside.contains("line 4: 9 s stands where figures.toml has 544 ms"),
        "{inside}"
    );
    let less = faults(&text.replace(" (2.50 times)", ""), LIST);
    assert!(less.contains("has no number 2.50 times any more"), "{less}");
    let other = faults(&(text.clone() + "\n## New\n\n5 s\n"), LIST);
    assert!(other.contains("has no section \"New\""), "{other}");
    let given = faults(&text.replace("load 0.7", "load 0.8"), LIST);
    assert!(
        given.contains("given: \"load 0.7\" is not in the document"),
        "{given}"
    );
    let absent = faults(&text, &LIST.replace("\"wlc\"]", "\"wlx\"]"));
    assert!(absent.contains("standard has no scheduler wlx"), "{absent}");
}

#[test]
fn a_claim_that_does_not_hold_is_a_fault() {
    let text = TEXT.replace("2.5 times", "2.50 times");
    let outcome = looked(&text, &LIST.replace("wlc < rr", "rr < wlc"));
    assert!(
        outcome
            .faults
            .join("; ")
            .contains("does not hold: rr < wlc"),
        "{outcome:?}"
    );
    let outcome = looked(&text, &LIST.replace("wlc < rr", "rr = wlc"));
    assert_eq!(outcome.faults.len(), 1, "{outcome:?}");
}

#[test]
fn a_plot_is_cut_out_of_the_page_with_the_lines_behind_it() {
    let page = "svg .line{fill:none}\n<h2 id='s7'>standard</h2>\n<figure id='s7-sojourn'>\
                <svg viewBox='0 0 10 20' aria-label='T: a'><g id='s7-sojourn-all' x><path d='M1'/></g></svg>\
                <svg viewBox='0 0 10 30' aria-label='T: b&#39;s'><use href='#s7-sojourn-all'/>B</svg></figure>";
    let figures: Figures = toml::from_str(LIST).expect("it is a list");
    let svg = pictures::svg(page, &figures.plot[0]).expect("it is there");
    assert!(svg.contains("<g x><path d='M1'/></g>B</svg>"), "{svg}");
    assert!(
        svg.contains("height='30'") && svg.contains("svg .line{fill:none}"),
        "{svg}"
    );
    let other = page.replace("T: b", "T: c");
    assert!(pictures::svg(&other, &figures.plot[0]).is_err());
}

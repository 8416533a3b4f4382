//! What every plot of a page must have, looked for in the page itself: a title, axes with units, a legend, and texts
//! that neither lie on each other nor leave the picture.

use super::html;
use super::plot::CHARACTER;
use crate::cost::Costs;
use crate::made_up;
use crate::results::Cost;

/// A text of an SVG and the box that it fills.
#[derive(Debug)]
struct Text {
    class: String,
    content: String,
    /// Left, top, right, bottom.
    area: [f64; 4],
}

/// An SVG element: width, height, and its texts.
struct Picture {
    label: String,
    size: (f64, f64),
    texts: Vec<Text>,
    source: String,
}

/// The value of an attribute in a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!(" {name}='"))?;
    rest.split_once('\'').map(|(value, _)| value)
}

fn number(tag: &str, name: &str) -> f64 {
    let value = attribute(tag, name).unwrap_or_else(|| panic!("{name} of {tag}"));
    value.parse().expect("it is a number")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

fn text_of(element: &str) -> Text {
    let (tag, content) = element.split_once('>').expect("a tag ends");
    let content = unescaped(content);
    let size = number(tag, "font-size");
    let long = content.chars().map(|_| CHARACTER * size).sum::<f64>();
    // From the top of capitals to below the base line.
    let (above, below) = (0.78 * size, 0.22 * size);
    let area = if let Some(turned) = attribute(tag, "transform") {
        let numbers = turned.split(['(', ' ', ')']);
        let numbers: Vec<f64> = numbers.filter_map(|part| part.parse().ok()).collect();
        assert_eq!(numbers[2], -90.0, "{turned}");
        let (x, y) = (numbers[0], numbers[1]);
        [x - above, y - long, x + below, y]
    } else {
        let (x, y) = (number(tag, "x"), number(tag, "y"));
        let left = match attribute(tag, "text-anchor") {
            Some("middle") => x - long / 2.0,
            Some("end") => x - long,
            _ => x,
        };
        [left, y - above, left + long, y + below]
    };
    Text {
        class: attribute(tag, "class").unwrap_or_default().to_owned(),
        content,
        area,
    }
}

fn pictures(page: &str) -> Vec<Picture> {
    let svgs = page.split("<svg ").skip(1);
    svgs.map(|rest| {
        let (svg, _) = rest.split_once("</svg>").expect("an svg ends");
        let svg = format!(" {svg}");
        let sizes = attribute(&svg, "viewBox").expect("it has a size");
        let sizes: Vec<f64> = sizes.split(' ').flat_map(str::parse).collect();
        let texts = svg.split("<text").skip(1);
        let texts = texts.map(|text| text.split_once("</text>").expect("a text ends").0);
        Picture {
            label: attribute(&svg, "aria-label").unwrap_or_default().to_owned(),
            size: (sizes[2], sizes[3]),
            texts: texts.map(text_of).collect(),
            source: svg.clone(),
        }
    })
    .collect()
}

fn overlap(a: &Text, b: &Text) -> bool {
    a.area[0] < b.area[2] && b.area[0] < a.area[2] && a.area[1] < b.area[3] && b.area[1] < a.area[3]
}

fn check(page: &str) -> usize {
    let (again, pictures): (Vec<Picture>, Vec<Picture>) = pictures(page)
        .into_iter()
        .partition(|picture| picture.source.contains("class='heat labels'"));
    for picture in &again {
        let (_, rest) = picture
            .source
            .split_once("<use href='#")
            .expect("it shows something");
        let shown = rest.split('\'').next().unwrap_or_default();
        assert!(page.contains(&format!("<g id='{shown}'>")), "{shown}");
    }
    check_print(page);
    for picture in &pictures {
        let Picture {
            label,
            size,
            texts,
            source,
        } = picture;
        for class in ["title", "x", "y", "key"] {
            let found = texts.iter().any(|text| text.class == class);
            assert!(found, "{label}: no {class}");
        }
        let ticks = texts.iter().filter(|text| text.class == "tick").count();
        assert!(ticks >= 4, "{label}: {ticks} ticks");
        let is_heat = source.contains("class='heat'");
        for text in texts
            .iter()
            .filter(|text| matches!(&*text.class, "x" | "y"))
        {
            let has_unit = text.content.contains('(');
            assert!(is_heat || has_unit, "{label}: {} has no unit", text.content);
        }
        for (number, one) in texts.iter().enumerate() {
            for other in &texts[number + 1..] {
                assert!(!overlap(one, other), "{label}: {one:?} on {other:?}");
            }
            let [left, top, right, bottom] = one.area;
            let is_inside = left >= 0.0 && top >= 0.0 && right <= size.0 && bottom <= size.1;
            assert!(is_inside, "{label}: {one:?} leaves {size:?}");
        }
    }
    pictures.len()
}

/// Height of an A4 page in landscape within its margins, and what the style gives plots of it: millimetres.
const PAPER: f64 = 186.0;
const COLUMNS: usize = 3;
const PLOT: f64 = 76.0;
const GAP: f64 = 2.0;
/// Room that the caption takes at most, three lines, and the heading of a scenario with its two sentences.
const CAPTION: f64 = 15.0;
const HEADING: f64 = 20.0;

/// A figure is not cut by the end of a page: each fits on one.
fn check_print(page: &str) {
    for rule in [
        "figure{break-inside:avoid",
        "max-width:76mm",
        "max-height:146mm",
    ] {
        assert!(page.contains(rule), "{rule}");
    }
    for figure in page.split("<figure ").skip(1) {
        let plots = pictures(figure.split("</figure>").next().unwrap_or_default());
        if plots.iter().any(|plot| plot.source.contains("class='heat")) {
            continue;
        }
        let rows = plots.chunks(COLUMNS).map(|row| {
            let high = row.iter().map(|plot| plot.size.1 / plot.size.0);
            high.fold(0.0, f64::max) * PLOT + GAP
        });
        // A page that cannot hold all may end between rows.
        let tall: Vec<f64> = rows.collect();
        assert!(
            tall.iter().take(2).sum::<f64>() + CAPTION + HEADING <= PAPER,
            "{tall:?}: {:.60}",
            figure
        );
    }
}

/// The widest that the page's content gets on a screen.
const WIDEST: f64 = 1240.0 - 32.0;

#[test]
fn the_shipped_workloads_by_all_schedulers_fit_on_a_screen() {
    let mut results = made_up::results(24);
    let names = crate::schedulers::all()
        .into_iter()
        .map(|choice| choice.label);
    let names: Vec<String> = names.collect();
    let like = results.scenarios[0].clone();
    results.scenarios = crate::scenario::SHIPPED
        .iter()
        .map(|(file, _)| {
            let mut scenario = like.clone();
            scenario.name = file.trim_end_matches(".toml").to_owned();
            for (scheduler, name) in scenario.schedulers.iter_mut().zip(&names) {
                scheduler.name.clone_from(name);
            }
            scenario
        })
        .collect();
    let page = html(&results, &Costs::default());
    assert!(check(&page) > 100);
    let maps = pictures(&page)
        .into_iter()
        .filter(|one| one.source.contains("class='heat'"));
    for map in maps {
        assert!(map.size.0 <= WIDEST, "{}: {}", map.label, map.size.0);
    }
}

fn costs(schedulers: u32) -> Costs {
    let sizes = [(2, 1000), (64, 1000), (1024, 1000), (4096, 1000)];
    let more = [(1024, 10_000), (1024, 1_000_000)];
    let cost = |number: u32, (servers, connections): (u32, u32)| Cost {
        scheduler: format!("scheduler-{number}"),
        servers,
        connections,
        decision_ns: 20.0 + f64::from(number * servers) / 10.0,
        state_octets: u64::from(8 + number * servers),
        build_us: 0.5 + f64::from(number * servers) / 100.0,
    };
    let all = sizes.into_iter().chain(more);
    let costs = (0..schedulers).flat_map(|number| all.clone().map(move |size| cost(number, size)));
    Costs {
        version: crate::json::VERSION,
        machine: "a processor & more".to_owned(),
        costs: costs.collect(),
    }
}

#[test]
fn every_plot_is_complete_and_no_text_lies_on_another() {
    let mut drawn = 0;
    for schedulers in [1, 2, 6, 7, 18, 24] {
        let results = made_up::results(schedulers);
        drawn += check(&html(
            &results,
            &costs(u32::try_from(schedulers).unwrap_or(1)),
        ));
    }
    assert!(drawn > 300, "{drawn}");
}

#[test]
fn plots_of_odd_values_are_complete_too() {
    for (factor, digits) in [(0.0, 1e-9), (1.0, 1.0), (1e9, 1e6)] {
        let mut results = made_up::results(8);
        for scenario in &mut results.scenarios {
            scenario.name = format!("{}-with-a-rather-long-name-{digits}", scenario.name);
            for scheduler in &mut scenario.schedulers {
                for point in &mut scheduler.sojourn {
                    point.0 *= factor;
                }
                for estimate in scheduler.metrics.values_mut() {
                    estimate.mean *= factor;
                }
                for point in &mut scheduler.imbalance {
                    point.1 *= factor;
                }
            }
        }
        assert!(check(&html(&results, &Costs::default())) > 20);
    }
}

#[test]
fn the_page_needs_nothing_else_and_tells_the_command() {
    let results = made_up::results(18);
    let page = html(&results, &costs(18));
    assert_eq!(page, html(&results, &costs(18)));
    for outside in ["<script", "http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let plain = page.replace("<span>", "").replace("</span>", "");
    assert!(plain.contains("<pre>ulvs lab run --all --seed 1</pre>"));
    assert!(page.contains("rs1 drained &amp; &lt;gone&gt;"));
    for wanted in [
        "Sojourn time: least load",
        "sojourn p99 against load",
        "remapped flows against servers removed",
        "Imbalance over time: client&#39;s hash",
        "slowdown p99, scheduler by workload",
        "Fairness at first: round robin",
        "Cost of a decision: not in kernel IPVS",
        "one machine (a processor &amp; more)",
        "least possible",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
}

#[test]
fn the_page_of_one_repeat_speaks_of_no_interval() {
    let page = html(&made_up::once(6), &Costs::default());
    assert!(!page.contains('±'));
    for wanted in [
        "Each workload was run once with each scheduler",
        "One repeat has no interval",
        "Bold is best of the one repeat.",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    let page = html(&made_up::results(6), &Costs::default());
    assert!(page.contains("run 30 times with") && page.contains("light blue is not told apart"));
    assert!(page.contains("<small>±") && !page.contains("One repeat has no interval"));
}

#[test]
fn a_line_has_a_style_of_its_own_in_its_plot() {
    let page = html(&made_up::results(24), &Costs::default());
    for picture in pictures(&page) {
        let drawn = picture.source.split("<g stroke='").skip(1);
        let styles = drawn.map(|rest| {
            let dashes = attribute(rest, "stroke-dasharray").unwrap_or_default();
            let colour = rest.split('\'').next().unwrap_or_default();
            (colour.to_owned(), dashes.to_owned())
        });
        let mut count: std::collections::BTreeMap<(String, String), usize> = [].into();
        for style in styles {
            *count.entry(style).or_default() += 1;
        }
        // Once in the legend, once in the plot.
        assert!(count.values().all(|times| *times == 2), "{count:?}");
    }
}

#[test]
fn a_line_far_beyond_all_others_does_not_squeeze_them() {
    let mut results = made_up::results(12);
    for scheduler in results
        .scenarios
        .iter_mut()
        .map(|one| &mut one.schedulers[3])
    {
        scheduler
            .sojourn
            .iter_mut()
            .for_each(|point| point.0 *= 1e6);
        let estimate = scheduler.metrics.get_mut("sojourn_p99");
        estimate.expect("it has that").mean *= 1e6;
    }
    let page = html(&results, &Costs::default());
    assert!(page.contains("sojourn_p99") && check(&page) > 20);
    let told = " Beyond the end of the axis goes wlc.";
    // Four curves of sojourn times, and p99 against load.
    assert!(
        page.matches(told).count() >= 5,
        "{}",
        page.matches(told).count()
    );
}

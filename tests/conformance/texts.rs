//! Whether two texts say the same: exactly, but for what the kernel itself does not fix (hash order
//! of connections and services, a second of remaining time).

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Byte for byte.
    Exact,
    /// Connection lines in any order; the column of the remaining time is given.
    Connections(Column),
    /// Services in any order, each with its real servers in order.
    Services,
}

/// Where a connection line has its remaining time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// `ipvsadm -Lc`: `MM:SS` in the second word.
    Clock,
    /// `/proc`: seconds in this word, counted from 0.
    Seconds(usize),
}

/// How far two texts may be apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    /// Seconds between remaining times.
    pub(crate) seconds: u64,
    /// Connections that the kernel has not removed yet, so that they still count for their real servers.
    pub(crate) late: u64,
}

/// The first difference between the recorded text and ours, in two or three lines; `None` when they
/// say the same. `name` is the text's name in a `show` record, or the command line.
pub(crate) fn difference(
    name: &str,
    recorded: &str,
    ours: &str,
    tolerance: Tolerance,
) -> Option<String> {
    let (recorded, ours) = match rule(name, recorded) {
        Rule::Connections(column) => {
            return connections_differ(column, recorded, ours, tolerance.seconds);
        }
        Rule::Services => (blocks(recorded), blocks(ours)),
        Rule::Exact => (lines(recorded), lines(ours)),
    };
    let detail = lines_differ(&recorded, &ours)?;
    let close = |(kernel, ulvs): (&String, &String)| {
        kernel == ulvs
            || kernel.lines().count() == ulvs.lines().count()
                && kernel
                    .lines()
                    .zip(ulvs.lines())
                    .all(|(kernel, ulvs)| kernel == ulvs || close(kernel, ulvs, tolerance.late))
    };
    let all_close = recorded.len() == ours.len() && recorded.iter().zip(&ours).all(close);
    (!all_close).then_some(detail)
}

fn lines(text: &str) -> Vec<String> {
    text.split('\n').map(str::to_owned).collect()
}

/// How many connections of a recorded list have no time left: the kernel has not got to them yet, so that they still
/// count for their real servers.
pub(crate) fn late(name: &str, recorded: &str) -> u64 {
    let Rule::Connections(column) = rule(name, recorded) else {
        return 0;
    };
    let late = entries(column, recorded, 1)
        .iter()
        .filter(|entry| entry.seconds == Some(0))
        .count();
    u64::try_from(late).unwrap_or(0)
}

/// Whether both are the line of one real server with counts at most `late` apart.
fn close(kernel: &str, ulvs: &str, late: u64) -> bool {
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (kernel, ulvs) = (words(kernel), words(ulvs));
    let near = |kernel: &String, ulvs: &String| match (kernel.parse(), ulvs.parse()) {
        (Ok(kernel), Ok(ulvs)) => u64::abs_diff(kernel, ulvs) <= late,
        _ => kernel == ulvs,
    };
    kernel.first().is_some_and(|word| word == "->")
        && kernel.len() == ulvs.len()
        && kernel
            .iter()
            .zip(&ulvs)
            .all(|(kernel, ulvs)| near(kernel, ulvs))
}

/// Texts that no rule fixes: rates and counters depend on the phase of the kernel's two-second
/// estimator, except where a scenario is about them.
pub(crate) fn is_compared(topic: &str, name: &str) -> bool {
    match name {
        "rate" | "/proc/net/ip_vs_stats_percpu" | "/proc/net/ip_vs_stats" => false,
        _ => !name.starts_with("stats") || topic == "stats",
    }
}

fn rule(name: &str, recorded: &str) -> Rule {
    if name.ends_with("ip_vs_conn") {
        Rule::Connections(Column::Seconds(8))
    } else if name.ends_with("ip_vs_conn_sync") {
        Rule::Connections(Column::Seconds(9))
    } else if recorded.starts_with("IPVS connection entries") {
        Rule::Connections(Column::Clock)
    } else if name == "Ln_nosort" || name == "/proc/net/ip_vs" || name.contains("--nosort") {
        Rule::Services
    } else {
        Rule::Exact
    }
}

/// The three header lines, then one string for each service with its real servers, sorted.
fn blocks(text: &str) -> Vec<String> {
    let mut lines = text.lines();
    let header: Vec<String> = lines.by_ref().take(3).map(str::to_owned).collect();
    let mut blocks: Vec<String> = Vec::new();
    for line in lines {
        match blocks.last_mut() {
            Some(block) if line.starts_with("  ->") => {
                block.push('\n');
                block.push_str(line);
            }
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks.sort();
    header.into_iter().chain(blocks).collect()
}

/// The first pair of lines that differ.
fn lines_differ(recorded: &[String], ours: &[String]) -> Option<String> {
    let count = recorded.len().max(ours.len());
    (0..count).find_map(|index| {
        let (kernel, ulvs) = (recorded.get(index), ours.get(index));
        (kernel != ulvs).then(|| {
            format!(
                "kernel: {}\nulvs:   {}",
                kernel.map_or_else(|| "(no line)".to_owned(), |line| show(line)),
                ulvs.map_or_else(|| "(no line)".to_owned(), |line| show(line))
            )
        })
    })
}

/// A line or block, trailing spaces made visible.
fn show(line: &str) -> String {
    line.split('\n')
        .map(|part| format!("{part}|"))
        .collect::<Vec<_>>()
        .join("\n        ")
}

/// Connection lines as a multiset; remaining times within the tolerance. A line with no time left may be
/// missing on either side, or be renewed already: the kernel gets to it up to 12.5 % late.
fn connections_differ(column: Column, recorded: &str, ours: &str, seconds: u64) -> Option<String> {
    let header = match column {
        Column::Clock => 2,
        Column::Seconds(_) => 1,
    };
    let heads = |text: &str| {
        text.lines()
            .take(header)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if heads(recorded) != heads(ours) {
        return Some(format!(
            "kernel: {}\nulvs:   {}",
            heads(recorded).join("\n        "),
            heads(ours).join("\n        ")
        ));
    }
    let kernel = entries(column, recorded, header);
    let mut ulvs = entries(column, ours, header);
    for entry in &kernel {
        let place = ulvs
            .iter()
            .position(|other| {
                other.text == entry.text && near(entry.seconds, other.seconds, seconds)
            })
            .or_else(|| {
                let late = entry.seconds == Some(0);
                ulvs.iter()
                    .position(|other| late && other.text == entry.text)
            });
        match place {
            Some(place) => {
                ulvs.remove(place);
            }
            None if entry.seconds == Some(0) => {}
            None => {
                let similar: Vec<&str> = ulvs
                    .iter()
                    .filter(|other| other.key() == entry.key())
                    .map(|other| other.line.as_str())
                    .collect();
                return Some(format!(
                    "kernel: {}\nulvs:   {}",
                    entry.line,
                    if similar.is_empty() {
                        "(no such connection)".to_owned()
                    } else {
                        similar.join("\n        ")
                    }
                ));
            }
        }
    }
    ulvs.iter()
        .find(|entry| entry.seconds != Some(0))
        .map(|entry| format!("kernel: (no such connection)\nulvs:   {}", entry.line))
}

/// A connection line, its remaining time taken out.
struct Entry {
    line: String,
    text: String,
    seconds: Option<u64>,
}

impl Entry {
    /// Protocol and client endpoint.
    fn key(&self) -> Vec<&str> {
        self.text
            .split(' ')
            .filter(|word| *word != "T")
            .filter(|word| {
                !word
                    .chars()
                    .all(|letter| letter.is_ascii_uppercase() || letter == '_')
            })
            .take(2)
            .collect()
    }
}

/// Connection lines behind the header; spaces count as one, but a line's own columns stay.
fn entries(column: Column, text: &str, header: usize) -> Vec<Entry> {
    text.lines()
        .skip(header)
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let place = match column {
                Column::Clock => 1,
                Column::Seconds(place) => place,
            };
            let seconds = words.get(place).and_then(|word| seconds(column, word));
            if let (Some(_), Some(word)) = (seconds, words.get_mut(place)) {
                "T".clone_into(word);
            }
            Entry {
                line: line.to_owned(),
                text: words.join(" "),
                seconds,
            }
        })
        .collect()
}

/// Remaining seconds of a word.
fn seconds(column: Column, word: &str) -> Option<u64> {
    match column {
        Column::Seconds(_) => word.parse().ok(),
        Column::Clock => {
            let (minutes, seconds) = word.split_once(':')?;
            Some(minutes.parse::<u64>().ok()? * 60 + seconds.parse::<u64>().ok()?)
        }
    }
}

/// Within so many seconds.
fn near(recorded: Option<u64>, ours: Option<u64>, seconds: u64) -> bool {
    match (recorded, ours) {
        (Some(recorded), Some(ours)) => recorded.abs_diff(ours) <= seconds,
        (recorded, ours) => recorded == ours,
    }
}

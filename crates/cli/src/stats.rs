//! `ulvs stats`: what a running director has counted, as a table or as JSON.

use std::collections::BTreeMap;
use std::io::Write;

use control::counters::{Counters, NAME};
use control::netlink::Request;
use serde_json::{Map, Value};

use crate::Transport;
use crate::client::{Client, text};

/// Prints the counters: a table without those that are 0 everywhere, or all of them as JSON. Returns the exit code.
pub fn run(
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
    transport: &mut dyn Transport,
) -> i32 {
    let sentence = match Client::new(transport).ask(&Request::DumpText(NAME.to_owned())) {
        Ok(replies) => {
            let counters = Counters::parse(&text(&replies));
            // Whoever closed the output does not want the rest.
            let _ = if json {
                writeln!(out, "{:#}", tree(&counters))
            } else {
                out.write_all(table(&counters).as_bytes())
            };
            return 0;
        }
        Err(failure) => failure.sentence(|errno| format!("the counters cannot be read: {errno}")),
    };
    let _ = writeln!(err, "ulvs: {sentence}");
    1
}

/// A counter's numbers.
#[derive(Clone, Debug, Default)]
struct Row {
    total: u64,
    workers: BTreeMap<usize, u64>,
}

/// Groups with their rows, in the order in which they came.
type Groups<'a> = Vec<(&'a str, Vec<(&'a str, Row)>)>;

fn groups(counters: &Counters) -> Groups<'_> {
    let mut groups: Groups<'_> = Vec::new();
    for counter in counters.iter() {
        let rows = place(&mut groups, &counter.group);
        let row = place(rows, &counter.name);
        row.total = row.total.saturating_add(counter.value);
        row.workers
            .extend(counter.worker.map(|worker| (worker, counter.value)));
    }
    groups
}

/// The value under `key`, made at the end where there is none.
fn place<'a, 'l, T: Default>(list: &'l mut Vec<(&'a str, T)>, key: &'a str) -> &'l mut T {
    let at = list.iter().position(|(name, _)| *name == key);
    let at = at.unwrap_or_else(|| {
        list.push((key, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}

/// Lines in columns: the total, and each worker where there are several.
fn table(counters: &Counters) -> String {
    let groups = groups(counters);
    let workers = counters.iter().filter_map(|counter| counter.worker);
    let workers = workers.max().map_or(0, |last| last + 1);
    let mut text = format!("{:<26}{:>20}", "", "total");
    for worker in 0..if workers > 1 { workers } else { 0 } {
        text += &format!("{:>20}", format!("worker {worker}"));
    }
    text += "\n";
    for (group, rows) in &groups {
        let mut shown = rows.iter().filter(|(_, row)| row.total > 0).peekable();
        if shown.peek().is_none() {
            continue;
        }
        text += &format!("{group}\n");
        for (name, row) in shown {
            text += &format!("  {name:<24}{:>20}", row.total);
            for worker in 0..if workers > 1 { workers } else { 0 } {
                let value = row.workers.get(&worker).map(u64::to_string);
                text += &format!("{:>20}", value.unwrap_or_default());
            }
            text = text.trim_end().to_owned() + "\n";
        }
    }
    text
}

/// `total` and, for each worker, `workers`: objects of groups; `link/eth0` is `link.eth0`.
fn tree(counters: &Counters) -> Value {
    let mut total = Value::Object(Map::new());
    let mut workers: Vec<Value> = Vec::new();
    for (group, rows) in groups(counters) {
        for (name, row) in rows {
            put(&mut total, group, name, row.total);
            for (worker, value) in row.workers {
                while workers.len() <= worker {
                    workers.push(Value::Object(Map::new()));
                }
                put(&mut workers[worker], group, name, value);
            }
        }
    }
    serde_json::json!({ "total": total, "workers": workers })
}

fn put(tree: &mut Value, group: &str, name: &str, value: u64) {
    let mut place = tree;
    for part in group.split('/').chain([name]) {
        place = &mut place[part];
    }
    *place = value.into();
}

#[cfg(test)]
mod tests {
    use control::netlink::{Answer, Errno, Reply, requests, respond};

    use super::*;

    /// A director with two workers.
    struct Director;

    impl Transport for Director {
        fn exchange(&mut self, request: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
            let mut counters = Counters::default();
            counters.add(Some(0), "link/eth0", "received", 5);
            counters.add(Some(0), "dropped", "too_big", 0);
            counters.add(Some(1), "link/eth0", "received", 7);
            counters.add(None, "memory", "resident", 4096);
            let text = counters.to_string().into_bytes();
            let frame = requests(request).next().expect("a request");
            let answer = match frame.request.clone() {
                Ok(Request::DumpText(name)) if name == NAME => {
                    let pieces = text.chunks(9).map(|piece| Reply::Text(piece.to_vec()));
                    Ok(Answer::List(pieces.collect()))
                }
                _ => Err(Errno::ENOENT),
            };
            Ok(respond(&frame, 0, &answer))
        }
    }

    fn said(json: bool) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(json, &mut out, &mut err, &mut Director), 0);
        assert!(err.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_and_zeros_are_left_out() {
        let expected =
            "                                         total            worker 0            worker 1
link/eth0
  received                                  12                   5                   7
memory
  resident                                4096
";
        assert_eq!(said(false), expected);
    }

    #[test]
    fn json_has_all_numbers() {
        let tree: Value = serde_json::from_str(&said(true)).unwrap();
        assert_eq!(tree["total"]["link"]["eth0"]["received"], 12);
        assert_eq!(tree["total"]["memory"]["resident"], 4096);
        assert_eq!(tree["workers"][0]["dropped"]["too_big"], 0);
        assert_eq!(tree["workers"][1]["link"]["eth0"]["received"], 7);
        assert_eq!(tree["workers"].as_array().map(Vec::len), Some(2));
    }
}

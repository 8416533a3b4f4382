//! `ulvs explain`: what a director would do with a packet, as a table or as JSON.

use std::io::Write;

pub use control::explain::FRAME_MAX;
use control::explain::{FAULT, request_name};
use control::netlink::Request;
use serde_json::{Map, Value, json};

use crate::Transport;
use crate::client::{Client, text};

/// Columns of the left side of the table.
const WIDTH: usize = 12;

/// Asks a running director and prints the answer. Returns the exit code.
pub fn run(
    question: &str,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
    transport: &mut dyn Transport,
) -> i32 {
    let request = Request::DumpText(request_name(question));
    let sentence = match Client::new(transport).ask(&request) {
        Ok(replies) => return print(&text(&replies), json, out, err),
        Err(failure) => failure.sentence(|errno| format!("the director does not answer: {errno}")),
    };
    let _ = writeln!(err, "ulvs: {sentence}");
    1
}

/// Prints an answer: lines of a topic, a tabulator and a sentence. Returns the exit code: 1 where the sentence is about a
/// fault of the question.
pub fn print(answer: &str, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let lines: Vec<(&str, &str)> = answer
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect();
    if let Some((_, fault)) = lines.iter().find(|(topic, _)| *topic == FAULT) {
        let _ = writeln!(err, "ulvs: {fault}");
        return 1;
    }
    // Whoever closed the output does not want the rest.
    let _ = if json {
        writeln!(out, "{:#}", tree(&lines))
    } else {
        out.write_all(table(&lines).as_bytes())
    };
    0
}

/// The topic stands where it begins.
fn table(lines: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut last = "";
    for (topic, sentence) in lines {
        let shown = if *topic == last { "" } else { topic };
        text += &format!("{shown:<WIDTH$}{sentence}\n");
        last = topic;
    }
    text
}

/// `verdict`, `reason` and `meaning` by themselves, the rest as `notes`.
fn tree(lines: &[(&str, &str)]) -> Value {
    let mut tree = Map::new();
    let mut notes = Vec::new();
    for (topic, sentence) in lines {
        match *topic {
            "verdict" | "reason" | "meaning" => {
                tree.insert((*topic).to_owned(), Value::from(*sentence));
            }
            topic => notes.push(json!({ "topic": topic, "text": sentence })),
        }
    }
    tree.insert("notes".to_owned(), Value::from(notes));
    Value::from(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "verdict\tdropped\nreason\tno_route\nserver\ta\nserver\tb\n";

    fn said(answer: &str, json: bool) -> (i32, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = print(answer, json, &mut out, &mut err);
        let text = |octets| String::from_utf8(octets).unwrap();
        (code, text(out), text(err))
    }

    #[test]
    fn topics_stand_where_they_begin() {
        let table = "verdict     dropped\nreason      no_route\nserver      a\n            b\n";
        assert_eq!(said(ANSWER, false), (0, table.to_owned(), String::new()));
    }

    #[test]
    fn json_keeps_the_order_of_notes() {
        let (code, out, _) = said(ANSWER, true);
        let tree: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &tree["reason"]), (0, &Value::from("no_route")));
        assert_eq!(tree["notes"][1], json!({ "topic": "server", "text": "b" }));
    }

    #[test]
    fn a_fault_is_a_sentence() {
        let (code, out, err) = said("fault\tno such interface\n", false);
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (1, "", "ulvs: no such interface\n")
        );
    }
}

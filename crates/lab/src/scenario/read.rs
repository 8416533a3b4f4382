//! Scenario files: TOML, and one sentence for every fault.

use std::path::Path;

use control::config::{Source, toml_reason};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::amounts::check_trace;
use super::{Arrivals, Fault, Scenario, ScenarioError, check};
use crate::workload::trace;

/// Longest scenario file, octets.
const TEXT_MAX: usize = 1 << 20;

/// Reads a scenario. `name` is the path that messages call the file, to whose folder a trace is relative.
///
/// # Errors
/// The first fault: not TOML, a key that there is not, a value that is impossible, a trace that cannot be used. No file
/// that is read makes the lab run, or ask for memory, without end.
pub fn read(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
    let source = Source { name, text };
    if text.len() > TEXT_MAX {
        let reason = format!("a scenario has at most {TEXT_MAX} octets, and this file has more");
        return Err(source.fault(0, &reason));
    }
    let tree = DeTable::parse(text).map_err(|error| source.toml_fault(&error))?;
    let mut scenario: Scenario =
        toml::from_str(text).map_err(|error| type_fault(&source, &tree, &error))?;
    let placed = |fault: Fault| source.fault(place(&tree, &fault.path), &fault.reason);
    check(&scenario).map_err(placed)?;
    if let Arrivals::Trace { file } = &mut scenario.arrivals {
        let folder = Path::new(name).parent().unwrap_or_else(|| Path::new(""));
        *file = folder.join(&file);
        let rows = trace::read(file, scenario.service.protocol)
            .map_err(|error| placed(Fault::new("arrivals.file", error.to_string())))?;
        check_trace(&scenario, &rows).map_err(placed)?;
    }
    Ok(scenario)
}

/// Where a value stands that is named by its keys and places, with dots between them; where it does not stand, where
/// what it belongs to stands.
fn place(tree: &Spanned<DeTable<'_>>, path: &str) -> usize {
    let mut at = 0;
    let mut steps = path.split('.');
    let Some(mut here) = steps.next().and_then(|key| tree.get_ref().get(key)) else {
        return at;
    };
    loop {
        at = here.span().start;
        let next = steps.next().and_then(|step| match here.get_ref() {
            DeValue::Table(table) => table.get(step),
            DeValue::Array(array) => array.get(step.parse::<usize>().ok()?),
            _ => None,
        });
        match next {
            Some(next) => here = next,
            None => return at,
        }
    }
}

/// A fault of the types. Those of a section with kinds (`kind = "poisson"`) are known only by the section: what is
/// wrong in it is looked for.
fn type_fault(
    source: &Source<'_>,
    tree: &Spanned<DeTable<'_>>,
    error: &toml::de::Error,
) -> ScenarioError {
    let message = error.message();
    let span = error.span().unwrap_or_default();
    let found = quoted(message, "unknown field `").map_or_else(
        || quoted(message, "invalid type: ").or_else(|| quoted(message, "invalid value: ")),
        Some,
    );
    let is_key = message.starts_with("unknown field `");
    let mut places = Vec::new();
    if let Some(found) = found {
        collect(tree.get_ref(), &mut |key, value| {
            let matches = if is_key {
                key.get_ref().as_ref() == found
            } else {
                described(value.get_ref()) == found
            };
            if matches {
                places.push(key.span().start);
            }
        });
    }
    places.sort_unstable();
    let inside = places.iter().find(|place| **place >= span.start);
    let at = inside.copied().unwrap_or(span.start);
    source.fault(at, &plain(&toml_reason(error)))
}

/// What stands between a beginning and the end of the quotation or the next comma.
fn quoted<'a>(message: &'a str, beginning: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(beginning)?;
    if beginning.ends_with('`') {
        return rest.split('`').next();
    }
    rest.rsplit_once(", expected").map(|(found, _)| found)
}

/// A value as serde's messages name it.
fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("string {text:?}"),
        DeValue::Integer(number) => format!("integer `{}`", number.as_str()),
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.fract() == 0.0 => format!("floating point `{number:.1}`"),
            Ok(number) => format!("floating point `{number}`"),
            Err(_) => format!("floating point `{}`", number.as_str()),
        },
        DeValue::Boolean(value) => format!("boolean `{value}`"),
        DeValue::Array(_) => "sequence".to_owned(),
        DeValue::Table(_) | DeValue::Datetime(_) => "map".to_owned(),
    }
}

/// Visits every key of every table.
fn collect<'a>(
    table: &'a DeTable<'a>,
    visit: &mut impl FnMut(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>),
) {
    let mut tables = vec![table];
    while let Some(table) = tables.pop() {
        for (key, value) in table {
            visit(key, value);
            match value.get_ref() {
                DeValue::Table(inner) => tables.push(inner),
                DeValue::Array(array) => {
                    let inner = array.iter().filter_map(|value| value.get_ref().as_table());
                    tables.extend(inner);
                }
                _ => {}
            }
        }
    }
}

/// serde's words for what was expected, as one who writes a scenario would say it.
fn plain(reason: &str) -> String {
    const WORDS: [(&str, &str); 5] = [
        (
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        ),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected f64", "expected a number"),
        ("expected a borrowed string", "expected a string"),
        ("expected struct ", "expected a section: "),
    ];
    if let Some(key) = reason.strip_prefix("missing field ") {
        return format!("the key {key} is missing here");
    }
    let mut reason = reason.to_owned();
    for (theirs, ours) in WORDS {
        reason = reason.replace(theirs, ours);
    }
    reason
}

//! What `ulvs stats` tells, and the equations that its numbers must obey.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Director, binary, stderr, stdout};

/// One reading of all counters.
#[derive(Clone, Debug)]
pub(crate) struct Counters(Value);

/// Where frames that a worker has had from its links or from other workers may be.
const CAME: [&str; 2] = ["shared_out/from_links", "shared_out/taken_over"];
const WENT: [&str; 5] = [
    "frames/received",
    "shared_out/handed_over",
    "shared_out/inbox_full",
    "shared_out/unclaimed_fragments",
    "shared_out/waiting_fragments",
];
/// What the director has decided on, and the decisions.
const DECIDED: [&str; 3] = ["frames/received", "fragments/dropped", "neighbours/dropped"];
const VERDICTS: [&str; 5] = [
    "frames/forwarded",
    "frames/answered",
    "frames/left_to_host",
    "frames/held",
    "dropped/*",
];

impl Counters {
    /// Asks the director.
    pub(crate) fn read(director: &Director) -> Self {
        // Not by a shell on the director's machine: entering a namespace waits for the whole kernel in a flood.
        let output = Command::new(binary())
            .args(["stats", "--json"])
            .env("ULVS_CONTROL", director.socket())
            .output()
            .expect("ulvs can be started");
        let text = stdout(&output);
        assert!(output.status.success(), "ulvs stats: {}", stderr(&output));
        Self::of(serde_json::from_str(&text).expect("ulvs stats --json prints JSON"))
    }

    /// What `ulvs stats --json` printed.
    pub(crate) const fn of(tree: Value) -> Self {
        Self(tree)
    }

    /// A number of all workers together: `frames/received`, or the sum of a group: `dropped/*`.
    pub(crate) fn total(&self, path: &str) -> u64 {
        number(&self.0["total"], path)
    }

    /// Frames that all links together received (`received`) or lost (`ring_full`).
    pub(crate) fn links(&self, name: &str) -> u64 {
        let links = self.0["total"]["link"].as_object();
        links
            .into_iter()
            .flatten()
            .filter_map(|(_, link)| link[name].as_u64())
            .sum()
    }

    /// Octets of memory that the daemon uses.
    pub(crate) fn resident(&self) -> u64 {
        self.total("memory/resident")
    }

    /// The counters of a group that are not 0.
    pub(crate) fn group(&self, group: &str) -> Vec<(String, u64)> {
        let counters = self.0["total"][group].as_object();
        counters
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)))
            .filter(|(_, value)| *value > 0)
            .collect()
    }

    /// By how much the counters of a group grew since an earlier reading, without those that did not.
    pub(crate) fn since(&self, before: &Self, group: &str) -> Vec<(String, u64)> {
        let grown = self.group(group).into_iter().map(|(name, count)| {
            let earlier = before.total(&format!("{group}/{name}"));
            (name, count - earlier.min(count))
        });
        grown.filter(|(_, count)| *count > 0).collect()
    }

    /// The equations that do not hold, a sentence each. `quiet`: no frame is under way, so that those hold too that
    /// join numbers of several workers.
    pub(crate) fn broken(&self, quiet: bool) -> Vec<String> {
        let mut broken = Vec::new();
        let workers = self.0["workers"].as_array().cloned().unwrap_or_default();
        for (index, worker) in workers.iter().enumerate() {
            let who = format!("worker {index}");
            check(&mut broken, &who, worker, &CAME, &WENT);
            check(&mut broken, &who, worker, &DECIDED, &VERDICTS);
            let ends = ["connections/ended", "connections/live"];
            check(&mut broken, &who, worker, &["connections/made"], &ends);
            let fates = ["released", "dropped", "waiting"].map(|fate| format!("fragments/{fate}"));
            let fates = fates.each_ref().map(String::as_str);
            check(&mut broken, &who, worker, &["fragments/kept"], &fates);
        }
        if quiet {
            let all = &self.0["total"];
            let fates = ["released", "dropped", "waiting"].map(|fate| format!("neighbours/{fate}"));
            let fates = fates.each_ref().map(String::as_str);
            check(&mut broken, "total", all, &["neighbours/kept"], &fates);
            let handed = ["shared_out/handed_over"];
            check(
                &mut broken,
                "total",
                all,
                &["shared_out/taken_over"],
                &handed,
            );
        }
        broken
    }
}

/// The number at a path, or the sum of a group.
fn number(tree: &Value, path: &str) -> u64 {
    let (group, name) = path.split_once('/').unwrap_or((path, "*"));
    match name {
        "*" => tree[group]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, value)| value.as_u64())
            .sum(),
        name => tree[group][name].as_u64().unwrap_or_default(),
    }
}

/// Notes where two sums differ.
fn check(broken: &mut Vec<String>, who: &str, tree: &Value, left: &[&str], right: &[&str]) {
    let sum = |paths: &[&str]| paths.iter().map(|path| number(tree, path)).sum::<u64>();
    let (a, b) = (sum(left), sum(right));
    if a != b {
        let (left, right) = (left.join(" + "), right.join(" + "));
        broken.push(format!("{who}: {left} = {a}, but {right} = {b}"));
    }
}

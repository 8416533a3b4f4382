//! `ulvs lab` as its users call it: what it prints and writes, and what it says of wrong input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Four servers, and one of them removed: every kind of metric, in a moment.
const SCENARIO: &str = r#"
name = "small"
summary = "A server of four is removed."
duration = 4.0
warmup = 0.5
schedulers = ["rr", "wlc", "sh -b sh-port", "random"]

[[servers]]
count = 4

[arrivals]
kind = "poisson"
load = 0.6

[[connections]]
work = { kind = "exponential", mean = 0.02 }

[[events]]
action = "remove"
at = 2.0
count = 1
"#;

/// A folder with the scenario in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("small.toml", SCENARIO);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the folder is ours");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs `ulvs lab` with these words in the folder.
    fn lab(&self, words: &str) -> Output {
        run(self.0.path(), words)
    }

    /// Does so, and expects that it works and says nothing on standard error; what it prints.
    fn works(&self, words: &str) -> String {
        let output = self.lab(words);
        let (printed, told) = texts(&output);
        assert!(
            output.status.success() && told.is_empty(),
            "{words}: {told}{printed}"
        );
        printed
    }

    /// Does so, and expects one sentence that begins with this, this exit code and nothing printed.
    fn fails(&self, words: &str, code: i32, beginning: &str) {
        let output = self.lab(words);
        let (printed, told) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{words}: {told}");
        assert!(told.starts_with(beginning), "{words}: {told}");
        assert_eq!(told.lines().count(), 1, "{words}: {told}");
        assert_eq!(printed, "", "{words}");
    }
}

fn run(folder: &Path, words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ulvs"))
        .arg("lab")
        .args(words.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("the binary runs")
}

fn texts(output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_run_prints_tables_and_writes_its_files() {
    let folder = Folder::new();
    let printed = folder.works("run small.toml --repeats 3 --seed 7 --out out");
    assert!(printed.starts_with("small: A server of four is removed.\n4 real servers, 1 events, "));
    for name in ["rr ", "wlc ", "sh -b sh-port ", "random* "] {
        assert!(
            printed.lines().any(|line| line.starts_with(name)),
            "{printed}"
        );
    }
    for metric in ["sojourn p99", "connections max/mean", "remapped flows"] {
        assert!(printed.contains(metric), "{metric}: {printed}");
    }
    let command = "ulvs lab run small.toml --repeats 3 --seed 7";
    let json = folder.read("out/results.json");
    assert!(json.contains(&format!("\"command\": \"{command}\"")));
    let csv = folder.read("out/results.csv");
    assert!(csv.starts_with("scenario,axis,point,scheduler,metric,unit,mean,half,least,most,"));
    assert!(csv.contains("\r\nsmall,,,sh -b sh-port,sojourn_p99,s,"));
    let page = folder.read("out/report.html");
    let page = page.replace("<span>", "").replace("</span>", "");
    for wanted in [command, "<svg", "Sojourn time", "Imbalance over time"] {
        assert!(page.contains(wanted), "{wanted}");
    }
}

#[test]
fn the_same_seed_gives_the_same_octets_and_another_does_not() {
    let folder = Folder::new();
    folder.works("run small.toml --repeats 2 --seed 7 --threads 1 --json a.json --html a.html");
    folder.works("run small.toml --repeats 2 --seed 7 --threads 2 --json b.json --csv b.csv");
    folder.works("run small.toml --repeats 2 --seed 8 --json c.json");
    let first = folder.read("a.json");
    assert_eq!(first, folder.read("b.json"));
    assert_ne!(first, folder.read("c.json"));
    // The page that is made of the JSON is the page that the run makes.
    folder.works("report a.json -o again.html");
    assert_eq!(folder.read("a.html"), folder.read("again.html"));
}

#[test]
fn a_comparison_says_what_changed() {
    let folder = Folder::new();
    folder.works("run small.toml --repeats 3 --json a.json");
    let same = folder.works("compare a.json a.json");
    assert!(same.starts_with("0 of "), "{same}");
    let faster = SCENARIO.replace("mean = 0.02", "mean = 0.006");
    folder.write("small.toml", &faster);
    folder.works("run small.toml --repeats 3 --json b.json");
    let output = folder.lab("compare a.json b.json");
    let (printed, told) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{told}{printed}");
    let is_shorter =
        |line: &&str| line.starts_with("  wlc: sojourn p50: ") && line.ends_with(" better");
    assert_eq!(printed.lines().filter(is_shorter).count(), 1, "{printed}");
    folder.fails("compare a.json none.json", 2, "ulvs: none.json: ");
}

#[test]
fn what_is_wrong_is_told_in_a_sentence() {
    let folder = Folder::new();
    folder.write("key.toml", &SCENARIO.replace("warmup", "wormup"));
    folder.write("load.toml", &SCENARIO.replace("load = 0.6", "load = 1.2"));
    folder.write("other.toml", SCENARIO);
    folder.fails("run", 1, "ulvs: no scenario is given: name a file");
    folder.fails("run none.toml", 1, "ulvs: none.toml: No such file");
    folder.fails("run key.toml", 1, "ulvs: key.toml:5: `wormup = 0.5`: ");
    folder.fails("run load.toml", 1, "ulvs: load.toml:13: ");
    folder.fails(
        "run small.toml other.toml",
        1,
        "ulvs: two scenarios are named small: ",
    );
    folder.fails(
        "run small.toml --scheduler wlx",
        1,
        "ulvs: scheduler \"wlx\": there is no scheduler",
    );
    folder.fails(
        "run small.toml --json no/x.json",
        1,
        "ulvs: no/x.json: cannot be written: ",
    );
    folder.fails(
        "run small.toml --repeats 0",
        2,
        "ulvs: invalid value '0' for '--repeats",
    );
    folder.fails(
        "show nothing",
        1,
        "ulvs: there is no shipped scenario nothing; ",
    );
    folder.fails("report small.toml -o x.html", 1, "ulvs: small.toml: ");
    folder.fails("cost --scheduler wlx", 1, "ulvs: scheduler \"wlx\": ");
}

#[test]
fn what_is_shipped_is_listed_shown_and_runs_by_its_name() {
    let folder = Folder::new();
    let listed = folder.works("list");
    for wanted in ["sojourn_p99", "  wlc ", "  random* ", "  steady "] {
        assert!(listed.contains(wanted), "{wanted}: {listed}");
    }
    let shown = folder.works("show steady");
    assert!(shown.contains("\nname = \"steady\"\n") || shown.starts_with("name = \"steady\"\n"));
    folder.write("mine.toml", &shown);
    let by_name = folder.works("run steady --quick --repeats 1 --scheduler rr");
    let by_file = folder.works("run mine.toml --quick --repeats 1 --scheduler rr");
    assert_eq!(by_name, by_file);
}

#[test]
fn costs_are_measured_printed_and_drawn() {
    let folder = Folder::new();
    let printed = folder.works("cost --quick --scheduler wlc --scheduler maglev -o cost.json");
    for wanted in ["A decision, ns", "State, octets", "Taking up a change, µs"] {
        assert!(printed.contains(wanted), "{wanted}: {printed}");
    }
    folder.works("run small.toml --repeats 1 --json a.json");
    folder.works("report a.json --cost cost.json -o page.html");
    let page = folder.read("page.html");
    assert!(page.contains("Cost of a decision") && page.contains("maglev*"));
    folder.fails(
        "report a.json --cost a.json -o page.html",
        1,
        "ulvs: a.json: missing field",
    );
}

/// docs/LAB.md has every key of a scenario in one that can be run as it stands there.
#[test]
fn the_scenario_of_the_guide_runs() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/LAB.md");
    let guide = std::fs::read_to_string(guide).expect("it is there");
    let block = guide.split("```toml\n").nth(1);
    let block = block.and_then(|rest| rest.split("```").next());
    let folder = Folder::new();
    folder.write("mine.toml", block.expect("it has a scenario"));
    let printed = folder.works("run mine.toml --quick --repeats 1");
    for wanted in [
        "mine, load 0.4: ",
        "mine, load 0.6: ",
        "maglev* ",
        "remapped flows",
    ] {
        assert!(printed.contains(wanted), "{wanted}: {printed}");
    }
}

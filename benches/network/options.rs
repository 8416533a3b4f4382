//! The command line of the bench.

use std::path::PathBuf;

use clap::Parser;

use crate::contender::{Contender, Kind};
use crate::director::Link;
use crate::measure::Test;

#[derive(Debug, Parser)]
#[command(
    name = "scripts/bench",
    about = "Measures ulvs beside its peers: docs/PERFORMANCE.md"
)]
struct Arguments {
    /// Rounds; each measures every contender in every test.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// One round of one second.
    #[arg(long)]
    quick: bool,
    /// These contenders only.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<Kind>,
    /// ulvs over these links only; all of them where none is named.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    links: Vec<Link>,
    /// These tests only.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    tests: Vec<Test>,
    /// Switch segmentation, checksum and receive offloads off on every interface.
    #[arg(long)]
    no_offloads: bool,
    /// Where bench.json and bench.html go.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// A build of ulvs, with a name; twice compares two builds. Default: the one that cargo built.
    #[arg(long = "ulvs", value_name = "NAME=PATH")]
    builds: Vec<String>,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Options {
    /// Rounds, one at least.
    pub(crate) rounds: usize,
    /// Seconds of one measurement, one at least.
    pub(crate) seconds: u32,
    /// In the order of the report.
    pub(crate) contenders: Vec<Contender>,
    /// In the order in which they are done.
    pub(crate) tests: Vec<Test>,
    /// Whether the interfaces keep the offloads they have by default.
    pub(crate) offloads: bool,
    /// The folder of the results.
    pub(crate) out: PathBuf,
    /// The names of the builds of ulvs, where there is more than one.
    pub(crate) builds: Vec<String>,
}

/// Reads the command line; ends the program with a sentence where it says nothing possible.
pub(crate) fn parse() -> Options {
    let given = Arguments::parse();
    let builds: Vec<(String, PathBuf)> = given.builds.iter().map(|text| build(text)).collect();
    let all = |kind: &Kind| given.only.is_empty() || given.only.contains(kind);
    let links = Link::ALL
        .into_iter()
        .filter(|link| given.links.is_empty() || given.links.contains(link));
    let mut contenders = Vec::new();
    for kind in Kind::ALL.into_iter().filter(all) {
        if !kind.is_ulvs() {
            contenders.push(Contender::peer(kind));
            continue;
        }
        for link in links.clone() {
            if let [] | [_] = builds.as_slice() {
                let named = builds.first().map(|(_, path)| path.clone());
                let path = named.unwrap_or_else(default_build);
                contenders.push(Contender::ulvs(kind, link, None, path));
            } else {
                let several = builds.iter();
                contenders.extend(
                    several
                        .map(|(name, path)| Contender::ulvs(kind, link, Some(name), path.clone())),
                );
            }
        }
    }
    let tests = Test::ALL
        .into_iter()
        .filter(|test| given.tests.is_empty() || given.tests.contains(test));
    Options {
        rounds: if given.quick { 1 } else { given.rounds.max(1) },
        seconds: if given.quick { 1 } else { given.seconds.max(1) },
        contenders,
        tests: tests.collect(),
        offloads: !given.no_offloads,
        out: given.out,
        builds: builds.into_iter().map(|(name, _)| name).collect(),
    }
}

/// The build to measure where none is named: `ULVS_BIN`, or what cargo built beside this program.
fn default_build() -> PathBuf {
    std::env::var_os("ULVS_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ulvs")), PathBuf::from)
}

fn build(text: &str) -> (String, PathBuf) {
    let Some((name, path)) = text.split_once('=') else {
        eprintln!("bench: --ulvs {text}: must read NAME=PATH");
        std::process::exit(2);
    };
    (name.to_owned(), PathBuf::from(path))
}

//! The command sequences of five LVS tutorials, typed as they stand on networks built as they
//! describe them. A module is a tutorial; what its text does with a kernel module or a package
//! manager is left out, and said so there.

mod dr_thresholds;
mod lab_dr_tun;
mod lvs_notes;
mod nat_wiki;
mod training_nat_dr;

use crate::harness::Director;

/// Asserts that `line` prints `expected`, trailing blanks aside.
fn assert_prints(director: &Director, line: &str, expected: &str) {
    let trim = |text: &str| {
        text.lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let printed = director.shell(line);
    assert_eq!(trim(&printed), trim(expected), "what {line} prints");
}

/// The sum of ActiveConn and InActConn over the real servers that `ipvsadm -Ln` lists.
fn connections(director: &Director) -> u32 {
    director
        .shell("ipvsadm -Ln")
        .lines()
        .filter(|line| line.starts_with("  -> ") && !line.contains("RemoteAddress"))
        .flat_map(|line| line.split_whitespace().skip(4))
        .map(|number| number.parse::<u32>().expect("a count is a number"))
        .sum()
}

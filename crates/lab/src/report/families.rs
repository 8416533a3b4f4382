//! Which schedulers stand in one plot: two dozen lines in one would tell nothing.

/// Lines that one plot shows in colour at most.
pub(super) const LINES: usize = 6;

/// Families by the scheduler's first word, in the order in which they are shown.
const FAMILIES: [(&str, &[&str]); 5] = [
    ("round robin", &["rr", "wrr"]),
    ("least load", &["lc", "wlc", "sed", "nq"]),
    ("client's hash", &["sh", "mh"]),
    ("virtual address", &["dh", "lblc", "lblcr"]),
    ("order and chance", &["fo", "ovf", "twos"]),
];
/// Those that end in `*`.
const FOREIGN: &str = "not in kernel IPVS";

/// Schedulers that stand in one plot: their places in the list that was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) title: String,
    pub(super) members: Vec<usize>,
}

fn title(name: &str) -> &'static str {
    let word = name.split_whitespace().next().unwrap_or_default();
    let known = FAMILIES.iter().find(|(_, members)| members.contains(&word));
    known.map_or(FOREIGN, |(title, _)| title)
}

/// All of them in one where they are few, else by what they look at; small families stand together.
pub(super) fn families(names: &[&str]) -> Vec<Family> {
    if names.len() <= LINES {
        return vec![Family {
            title: String::new(),
            members: (0..names.len()).collect(),
        }];
    }
    let mut found: Vec<Family> = Vec::new();
    for wanted in FAMILIES.iter().map(|(title, _)| *title).chain([FOREIGN]) {
        let numbered = names.iter().enumerate();
        let members = numbered.filter(|(_, name)| title(name) == wanted);
        let members: Vec<usize> = members.map(|(index, _)| index).collect();
        let plots = members.len().div_ceil(LINES).max(1);
        let each = members.len().div_ceil(plots).max(1);
        for (number, members) in members.chunks(each).enumerate() {
            let title = if plots == 1 {
                wanted.to_owned()
            } else {
                format!("{wanted}, {} of {plots}", number + 1)
            };
            found.push(Family {
                title,
                members: members.to_vec(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_stand_together_and_many_by_family() {
        let few = families(&["rr", "mine*"]);
        assert_eq!(few.len(), 1);
        assert_eq!(few[0].members, [0, 1]);
        let names = [
            "rr",
            "sh",
            "wlc",
            "mine*",
            "sh -b sh-port",
            "fo",
            "dh",
            "wrr",
        ];
        let many = families(&names);
        let mut all: Vec<usize> = many.iter().flat_map(|one| one.members.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..names.len()).collect::<Vec<_>>());
        assert_eq!(many[0].members, [0, 7]);
        assert_eq!(many[2].title, "client's hash");
        assert_eq!(many[2].members, [1, 4]);
    }

    #[test]
    fn a_large_family_takes_several_plots() {
        let names: Vec<String> = (0..14).map(|number| format!("own{number}*")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let many = families(&names);
        assert_eq!(many.len(), 3);
        assert!(many.iter().all(|one| one.members.len() <= LINES));
        assert_eq!(many[1].title, "not in kernel IPVS, 2 of 3");
    }
}

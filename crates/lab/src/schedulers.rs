//! Schedulers by what one types: name and flags.

use director::scheduler::{self, Entry};

use crate::run::RunError;

/// A scheduler with its flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As typed, with one space between words; those that kernel IPVS does not have end in `*`.
    pub label: String,
    /// Name of its entry.
    pub name: &'static str,
    /// Its flags' bits.
    pub flags: u32,
}

/// What `-s` and `-b` of these words mean: `wlc`, `sh -b sh-port,sh-fallback`.
///
/// # Errors
/// [`RunError::Scheduler`]: no such scheduler or flag.
pub fn choose(text: &str) -> Result<Choice, RunError> {
    let refused = |reason: String| RunError::Scheduler {
        text: text.to_owned(),
        reason,
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (name, names) = match words[..] {
        [name] => (name, ""),
        [name, "-b", names] => (name, names),
        _ => return Err(refused("write NAME or NAME -b FLAG,FLAG".to_owned())),
    };
    let bare = name.strip_suffix('*').unwrap_or(name);
    let entry = baselines::find(bare).ok_or_else(|| {
        refused("there is no such scheduler; `ulvs lab list` shows them".to_owned())
    })?;
    let mut flags = 0;
    for flag in names.split(',').filter(|flag| !flag.is_empty()) {
        let known = entry.flags.iter().find(|known| known.name == flag);
        flags |= known.ok_or_else(|| refused(no_flag(entry, flag)))?.flag;
    }
    let flags_typed = words.get(1..).unwrap_or_default().join(" ");
    Ok(Choice {
        label: format!("{} {flags_typed}", label(entry))
            .trim_end()
            .to_owned(),
        name: entry.name,
        flags,
    })
}

/// What these words mean, one for each.
///
/// # Errors
/// [`RunError::Scheduler`]: as [`choose`], or two of them mean the same, which results could not tell apart.
pub fn chosen(texts: &[String]) -> Result<Vec<Choice>, RunError> {
    let mut choices: Vec<Choice> = Vec::new();
    for text in texts {
        let choice = choose(text)?;
        if choices
            .iter()
            .any(|other| (other.name, other.flags) == (choice.name, choice.flags))
        {
            return Err(RunError::Scheduler {
                text: text.clone(),
                reason: "it is there twice; leave one out".to_owned(),
            });
        }
        choices.push(choice);
    }
    Ok(choices)
}

fn no_flag(entry: &Entry, flag: &str) -> String {
    let flags: Vec<&str> = entry.flags.iter().map(|known| known.name).collect();
    if flags.is_empty() {
        format!("{} has no flag {flag}, nor any other", entry.name)
    } else {
        format!(
            "{} has no flag {flag}; its flags are {}",
            entry.name,
            flags.join(", ")
        )
    }
}

/// The name, and `*` behind it if kernel IPVS does not have it.
fn label(entry: &Entry) -> String {
    let is_own = scheduler::find(entry.name).is_none();
    format!("{}{}", entry.name, if is_own { "*" } else { "" })
}

/// Every registered scheduler in the order of the registry, without flags and then with each of its flags; then those
/// that the kernel lacks, in the same way.
#[must_use]
pub fn all() -> Vec<Choice> {
    let entries = scheduler::ENTRIES.iter().chain(baselines::ENTRIES);
    let choices = entries.flat_map(|entry| {
        let plain = Choice {
            label: label(entry),
            name: entry.name,
            flags: 0,
        };
        let flagged = entry.flags.iter().map(|flag| Choice {
            label: format!("{} -b {}", label(entry), flag.name),
            name: entry.name,
            flags: flag.flag,
        });
        core::iter::once(plain).chain(flagged)
    });
    choices.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use director::service::{FLAG_SCHED_1, FLAG_SCHED_2};

    #[test]
    fn names_and_flags_are_read() {
        let choice = choose(" sh  -b sh-port,sh-fallback").unwrap();
        assert_eq!(choice.label, "sh -b sh-port,sh-fallback");
        assert_eq!(
            (choice.name, choice.flags),
            ("sh", FLAG_SCHED_1 | FLAG_SCHED_2)
        );
        assert_eq!(choose("wlc").unwrap().flags, 0);
        assert_eq!(choose("p2c").unwrap().label, "p2c*");
        assert_eq!(choose("p2c*").unwrap(), choose("p2c").unwrap());
        assert!(all().iter().any(|choice| choice.label == "maglev*"));
        assert!(all().iter().any(|choice| choice.label == "mh"));
        assert!(all().iter().any(|choice| choice.label == "sh -b sh-port"));
        for choice in all() {
            assert_eq!(choose(&choice.label).unwrap(), choice);
        }
    }

    #[test]
    fn what_is_not_there_is_refused_with_its_name() {
        for (text, reason) in [
            ("wlcc", "there is no such scheduler"),
            ("wlc -b sh-port", "wlc has no flag sh-port, nor any other"),
            (
                "sh -b mh-port",
                "sh has no flag mh-port; its flags are sh-fallback, sh-port",
            ),
            ("sh sh-port", "write NAME or NAME -b FLAG,FLAG"),
            ("", "write NAME or NAME -b FLAG,FLAG"),
        ] {
            let error = choose(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{error}");
        }
    }
}

//! Schedulers by what one types: name and flags.

use baselines::Spec;
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
    let spec: Spec = text.replace('*', "").parse().map_err(refused)?;
    let (_, flags) = spec.text.split_once(' ').unwrap_or_default();
    Ok(Choice {
        label: format!("{} {flags}", label(spec.entry))
            .trim_end()
            .to_owned(),
        name: spec.entry.name,
        flags: spec.flags,
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
            ("wlcc", "there is no scheduler \"wlcc\", only rr"),
            (
                "wlc -b sh-port",
                "\"sh-port\" is not a flag of wlc, which has none",
            ),
            ("sh sh-port", "a scheduler is a name"),
            ("", "a scheduler is a name"),
        ] {
            let error = choose(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{error}");
        }
    }
}

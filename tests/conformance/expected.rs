//! `expected.toml`: which cases are known not to pass, and why. The list must stay true: a listed case
//! that passes is an error, and so is a name that matches nothing.

use std::path::Path;

use serde::Deserialize;

/// The parsed list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// Single cases that differ.
    #[serde(default)]
    pub(crate) case: Vec<ExpectedCase>,
}

/// One case that is known to differ.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedCase {
    /// `TOPIC.CASE`; one `*` stands for anything.
    pub(crate) name: String,
    /// Which record differs, in words.
    pub(crate) record: String,
    /// Why that is right, or why it must wait.
    pub(crate) reason: String,
}

/// What is asked of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It must pass.
    Required,
    /// It must differ: its line in the list says so.
    Differs,
}

impl Expected {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence with the file's name.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
        let expected: Self =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        for case in &expected.case {
            if case.reason.trim().is_empty() || case.record.trim().is_empty() {
                return Err(format!(
                    "{}: case {} has no record or no reason",
                    path.display(),
                    case.name
                ));
            }
        }
        Ok(expected)
    }

    /// What is asked of the case.
    pub(crate) fn demand(&self, name: &str) -> Demand {
        if self.case.iter().any(|case| case.matches(name)) {
            Demand::Differs
        } else {
            Demand::Required
        }
    }
}

impl ExpectedCase {
    /// Whether this line is about the case.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self.name.split_once('*') {
            Some((start, end)) => {
                name.len() >= start.len() + end.len()
                    && name.starts_with(start)
                    && name.ends_with(end)
            }
            None => self.name == name,
        }
    }
}

//! Faults of a configuration file as sentences.

use core::ops::Range;

/// Longest piece of a line that a message shows, characters.
const SNIPPET_MAX: usize = 80;

/// A fault, one sentence: file, line, what stands there, what is wrong, what is possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {text}")]
pub struct ConfigError {
    /// The file, as its reader called it.
    pub file: String,
    /// Line number, from 1.
    pub line: usize,
    /// The rest of the sentence.
    pub text: String,
}

/// A TOML file's text with its name; makes sentences of what is wrong at a place of it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What messages call the file.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

impl Source<'_> {
    /// Number of the line that holds this octet, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|octet| **octet == b'\n').count() + 1
    }

    /// A fault at a place of the text: an octet from its beginning, the end where it has fewer.
    #[must_use]
    pub fn fault(&self, at: usize, reason: &str) -> ConfigError {
        let line = self.line(at);
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        ConfigError {
            file: self.name.to_owned(),
            line,
            text: sentence(text, reason),
        }
    }

    /// A place of the text as messages name it: file, line, and what stands there.
    pub(super) fn place(&self, at: usize) -> String {
        let line = self.line(at);
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        format!("{}:{line}: `{}`", self.name, text.trim())
    }

    /// A fault that the TOML reader found.
    #[must_use]
    pub fn toml_fault(&self, error: &toml::de::Error) -> ConfigError {
        let Range { start, .. } = error.span().unwrap_or_default();
        self.fault(start, &toml_reason(error))
    }
}

/// `` `what stands there`: reason``.
pub(super) fn sentence(line: &str, reason: &str) -> String {
    let line = line.trim();
    let snippet: String = line.chars().take(SNIPPET_MAX).collect();
    let dots = if snippet.len() < line.len() {
        "..."
    } else {
        ""
    };
    if snippet.is_empty() {
        reason.to_owned()
    } else {
        format!("`{snippet}{dots}`: {reason}")
    }
}

/// The TOML reader's words as an operator reads them: without the place, and with the key that was meant.
#[must_use]
pub fn toml_reason(error: &toml::de::Error) -> String {
    let message = error.message().trim().replace('\n', ", ");
    if let Some((found, _)) = message.split_once(", expected struct ") {
        return format!(
            "{found}, expected a section: its name in brackets, and its keys in the lines below"
        );
    }
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message;
    };
    let (key, known) = rest.split_once('`').unwrap_or((rest, ""));
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let nearest = names.iter().min_by_key(|name| distance(key, name));
    match nearest {
        Some(name) if distance(key, name) <= 2 => {
            format!("there is no key `{key}`, did you mean `{name}`?")
        }
        _ => format!(
            "there is no key `{key}`, the keys here are {}",
            names.join(", ")
        ),
    }
}

/// How many letters must be added, left out or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (index, letter) in a.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("worker", "workers"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}

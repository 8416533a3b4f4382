//! Words to options, by the rules of the popt library that the real ipvsadm uses: exact long names,
//! clusters of short options, `-tVALUE`, `-t=VALUE`, `--long=VALUE`, words that are no options kept for
//! later, everything after `--` kept for later.

use super::options::{OPTIONS, OptionRow, Takes};

/// Why a word is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unknown,
    MissingValue,
    UnwantedValue,
}

impl Fault {
    /// popt's words for it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown option",
            Self::MissingValue => "missing argument",
            Self::UnwantedValue => "option does not take an argument",
        }
    }
}

/// Reads the words behind the program name one option at a time.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    words: &'a [String],
    next: usize,
    /// The rest of a cluster of short options.
    cluster: &'a str,
    only_leftovers: bool,
    leftovers: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    /// `words` does not include the program name.
    pub(super) const fn new(words: &'a [String]) -> Self {
        Self {
            words,
            next: 0,
            cluster: "",
            only_leftovers: false,
            leftovers: Vec::new(),
        }
    }

    /// The next option and its value; `None` at the end.
    pub(super) fn option(
        &mut self,
    ) -> Result<Option<(&'static OptionRow, Option<&'a str>)>, Fault> {
        while self.cluster.is_empty() {
            let Some(word) = self.word() else {
                return Ok(None);
            };
            if self.only_leftovers || word == "-" || !word.starts_with('-') {
                self.leftovers.push(word);
            } else if word == "--" {
                self.only_leftovers = true;
            } else if let Some(long) = word.strip_prefix("--") {
                return self.long(long).map(Some);
            } else {
                self.cluster = word.strip_prefix('-').unwrap_or_default();
            }
        }
        self.short().map(Some)
    }

    fn long(&mut self, text: &'a str) -> Result<(&'static OptionRow, Option<&'a str>), Fault> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let row = OPTIONS
            .iter()
            .find(|row| row.long == name)
            .ok_or(Fault::Unknown)?;
        self.value(row, value)
    }

    fn short(&mut self) -> Result<(&'static OptionRow, Option<&'a str>), Fault> {
        let mut letters = self.cluster.chars();
        let letter = letters.next();
        let rest = letters.as_str();
        let row = OPTIONS
            .iter()
            .find(|row| row.short == letter)
            .ok_or(Fault::Unknown)?;
        self.cluster = "";
        match row.takes {
            Takes::Nothing if rest.starts_with('=') => Err(Fault::UnwantedValue),
            Takes::Nothing => {
                self.cluster = rest;
                Ok((row, None))
            }
            Takes::Value | Takes::MaybeValue if rest.is_empty() => self.value(row, None),
            Takes::Value | Takes::MaybeValue => {
                Ok((row, Some(rest.strip_prefix('=').unwrap_or(rest))))
            }
        }
    }

    /// Adds the value that `row` takes: `given` with it, or the next word.
    fn value(
        &mut self,
        row: &'static OptionRow,
        given: Option<&'a str>,
    ) -> Result<(&'static OptionRow, Option<&'a str>), Fault> {
        let value = match (row.takes, given) {
            (Takes::Nothing, Some(_)) => return Err(Fault::UnwantedValue),
            (Takes::Nothing, None) => None,
            (_, Some(value)) => Some(value),
            (Takes::Value, None) => Some(self.word().ok_or(Fault::MissingValue)?),
            (Takes::MaybeValue, None) => match self.words.get(self.next) {
                Some(word) if !word.starts_with('-') => self.word(),
                _ => None,
            },
        };
        Ok((row, value))
    }

    fn word(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// The word that was read last: what messages name as the bad option.
    pub(super) fn last_word(&self) -> &'a str {
        self.next
            .checked_sub(1)
            .and_then(|last| self.words.get(last))
            .map_or("", String::as_str)
    }

    /// The words that are no options, in order. Only complete once [`Arguments::option`] gave `None`.
    pub(super) fn leftovers(&self) -> &[&'a str] {
        &self.leftovers
    }
}

//! Rules of the configuration: `ipvsadm -R` lines, with comments.

use std::sync::Arc;

use director::shared::{Options, Shared};
use director::time::Instant;
use toml::Spanned;

use super::Config;
use super::error::{ConfigError, Source, sentence};
use crate::netlink::ConnectionEntry;
use crate::rules::{Command, NumericNames, Refusal, parse, refusal_text, words};
use crate::server::Server;
use crate::state::DesiredState;

/// Whose command lines rules are.
const PROGRAM: &str = "ipvsadm";
/// What every other line is told.
const RULES: &str = "rules add services and real servers: -A or -a, as `ipvsadm -S -n` prints them";

/// A rule with the place it stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// File, as its reader called it.
    pub file: String,
    /// Line number, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What it asks for.
    pub command: Command,
}

impl Rule {
    fn fault(&self, reason: &str) -> ConfigError {
        let text = sentence(&self.text, reason);
        ConfigError {
            file: self.file.clone(),
            line: self.line,
            text,
        }
    }
}

/// Reads the value of `rules`: lines of a multi-line string keep their line numbers.
pub(super) fn read_inline(
    source: &Source<'_>,
    rules: &Spanned<String>,
) -> Result<Vec<Rule>, ConfigError> {
    let start = rules.span().start;
    let raw = source.text.get(start..).unwrap_or_default();
    let is_multi_line = raw.starts_with("\"\"\"") || raw.starts_with("'''");
    // A line feed right behind the opening quotes is not part of the string.
    let skipped = raw
        .get(3..)
        .is_some_and(|rest| rest.starts_with(['\n', '\r']));
    let first = source.line(start) + usize::from(is_multi_line && skipped);
    read(source.name, first, rules.get_ref())
}

/// Reads lines of rules; the first is line `first` of the file. Empty lines and lines that begin with `#`
/// are passed over.
pub(super) fn read(name: &str, first: usize, text: &str) -> Result<Vec<Rule>, ConfigError> {
    let mut rules = Vec::new();
    for (line, text) in (first..).zip(text.lines()) {
        let words = words(text);
        if words.is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        let fault = |reason: &str| ConfigError {
            file: name.to_owned(),
            line,
            text: sentence(text, reason),
        };
        let command = parse(PROGRAM, &words, &NumericNames).map_err(|refusal| {
            // There is no help to look into here.
            let is_no_command = refusal == Refusal::try_help(PROGRAM);
            fault(if is_no_command {
                RULES
            } else {
                refusal.text.trim_end()
            })
        })?;
        match command {
            Command::AddService(..) | Command::AddServer(..) => {}
            _ => return Err(fault(RULES)),
        }
        rules.push(Rule {
            file: name.to_owned(),
            line,
            text: text.to_owned(),
            command,
        });
    }
    Ok(rules)
}

/// Carries everything out on a director that forwards nothing, and takes down what came of it.
pub(super) fn desired_state(config: &Config) -> Result<DesiredState, ConfigError> {
    let shared = Arc::new(Shared::new(Options::default()));
    let basis = DesiredState {
        timeouts: config.timeouts,
        sysctls: config.sysctls.clone(),
        services: Vec::new(),
    };
    // Checked when the file was read; a value that fails all the same is the file's fault, not a line's.
    basis.apply(&shared).map_err(|error| ConfigError {
        file: "configuration".to_owned(),
        line: 0,
        text: error.to_string(),
    })?;
    let server = Server::new(Arc::clone(&shared));
    let no_connections = |_: Instant| Vec::<ConnectionEntry>::new();
    for rule in config.rules() {
        if let Some(request) = rule.command.request() {
            server
                .answer(&request, Instant::START, &no_connections)
                .map_err(|errno| rule.fault(&refusal_text(&rule.command, errno)))?;
        }
    }
    Ok(DesiredState::of(&shared))
}

//! The rules of a replay: what `ipvsadm -S -n` prints, a director's state file, or its configuration.

use std::path::Path;

use baselines::Spec;
use control::config::{Config, MarkRule};
use control::state::DesiredState;
use director::shared::{Options, Shared};

use crate::error::ReplayError;

/// What a director is to have before the first frame.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Services, real servers, timeouts and settings.
    pub state: DesiredState,
    /// How packets get firewall marks.
    pub marks: Vec<MarkRule>,
    /// Connections at most.
    pub max_connections: usize,
    /// Where schedulers that draw lots begin, as a state file says.
    pub lots: Option<u64>,
}

/// What a replayed director is started with, but for its lots.
pub(crate) fn options() -> Options {
    Options {
        schedulers: baselines::ENTRIES,
        ..Options::default()
    }
}

impl Rules {
    /// Reads a file: a configuration when its name ends in `.toml`, a state file when a line of it begins with `--set`
    /// or `sysctl`, else the lines of `ipvsadm -S -n`.
    ///
    /// # Errors
    /// A sentence: the file cannot be read, or which line of it is at fault.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let text = read(&name, path)?;
        let is_toml = path.extension().is_some_and(|ending| ending == "toml");
        let rules = if is_toml {
            Self::of_configuration(path, &name, &text)?
        } else {
            Self::parse(&name, &text)?
        };
        if rules.state.services.is_empty() {
            return Err(ReplayError::new(format!(
                "{name}: there is no service in it: save them by `ipvsadm -S -n > FILE`"
            )));
        }
        Ok(rules)
    }

    /// Reads the text of a state file or of `ipvsadm -S -n`; `name` is what messages call it.
    ///
    /// # Errors
    /// A sentence: which line is at fault, and why.
    pub fn parse(name: &str, text: &str) -> Result<Self, ReplayError> {
        let is_state = |line: &str| line.starts_with("--set") || line.starts_with("sysctl");
        let mut config = Config::default();
        let state = if text.lines().any(is_state) {
            state(text)
                .map_err(|(line, reason)| ReplayError::new(format!("{name}:{line}: {reason}")))?
        } else {
            config
                .add_rules(name, text)
                .and_then(|()| config.desired_state())
                .map_err(|error| ReplayError::new(error.to_string()))?
        };
        Ok(Self {
            lots: control::lots::of_state(text),
            ..Self::with(state, &config)
        })
    }

    fn of_configuration(path: &Path, name: &str, text: &str) -> Result<Self, ReplayError> {
        let fault = |error: control::config::ConfigError| ReplayError::new(error.to_string());
        let mut config = Config::parse(name, text).map_err(fault)?;
        if let Some(file) = config.rules_file.clone() {
            let file = path.parent().unwrap_or_else(|| Path::new("")).join(file);
            let name = file.display().to_string();
            let text = read(&name, &file)?;
            config.add_rules(&name, &text).map_err(fault)?;
        }
        let state = config.desired_state().map_err(fault)?;
        Ok(Self::with(state, &config))
    }

    fn with(state: DesiredState, config: &Config) -> Self {
        Self {
            state,
            marks: config.marks.clone(),
            max_connections: config.max_connections,
            lots: None,
        }
    }

    /// What must be known of lots whose beginning nobody told, if a service's scheduler draws some.
    pub(crate) fn unknown_lots(&self) -> Option<String> {
        let services = self.state.services.iter();
        let mut names = services.map(|(service, _)| service.scheduler.as_str());
        let draws = |name: &&str| baselines::find(name).is_some_and(|it| (it.make)(0).draws_lots());
        let name = names.find(draws).filter(|_| self.lots.is_none())?;
        Some(format!(
            "-s {name} draws lots, and where the recorded director's began is not known, so that it chose otherwise; its \
             log says it (schedulers' lots begin at N) for --lots N, or give its state file as rules"
        ))
    }

    /// The same rules with this scheduler in every service: `wlc`, `mh -b mh-port,mh-fallback`.
    ///
    /// # Errors
    /// A sentence: there is no such scheduler or flag, and which there are.
    pub fn with_scheduler(&self, text: &str) -> Result<Self, ReplayError> {
        let spec: Spec = text
            .parse()
            .map_err(|sentence| ReplayError::new(format!("--scheduler {text:?}: {sentence}")))?;
        let mut rules = self.clone();
        for (service, _) in &mut rules.state.services {
            *service = spec.of(service);
        }
        Ok(rules)
    }
}

/// The state that a state file holds, tried on a director of its own.
///
/// # Errors
/// The first line that cannot be read or that a director refuses, and why.
fn state(text: &str) -> Result<DesiredState, (usize, String)> {
    let state = DesiredState::parse(text).map_err(|error| (error.line, error.reason))?;
    let refused = |state: &DesiredState| state.apply(&Shared::new(options())).err();
    let Some(error) = refused(&state) else {
        return Ok(state);
    };
    // Whatever goes well of the file's beginning ends before the fault.
    let is_good = |count: &usize| {
        let beginning: Vec<&str> = text.lines().take(*count).collect();
        let state = DesiredState::parse(&beginning.join("\n"));
        state.is_ok_and(|state| refused(&state).is_none())
    };
    let counts: Vec<usize> = (1..=text.lines().count()).collect();
    Err((counts.partition_point(is_good) + 1, error.to_string()))
}

fn read(name: &str, path: &Path) -> Result<String, ReplayError> {
    let octets = std::fs::read(path)
        .map_err(|error| ReplayError::new(format!("cannot read the rules {name}: {error}")))?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

//! From the running services to the wanted ones by the fewest commands, so that connections live on.

use std::collections::BTreeSet;

use control::state::DesiredState;
use director::destination::DestinationConfig;
use director::service::{ServiceConfig, ServiceKey};
use director::shared::{CommandError, Shared};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `-D`
    DeleteService(ServiceKey),
    /// `-A`
    AddService(ServiceConfig),
    /// `-E`
    EditService(ServiceConfig),
    /// `-d`
    DeleteDestination(ServiceKey, DestinationConfig),
    /// `-a`
    AddDestination(ServiceKey, DestinationConfig),
    /// `-e`
    EditDestination(ServiceKey, DestinationConfig),
}

/// The commands that lead from `running` to `wanted`. What is equal in both is not touched.
#[must_use]
pub fn actions(running: &DesiredState, wanted: &DesiredState) -> Vec<Action> {
    let mut actions = Vec::new();
    let keys: BTreeSet<ServiceKey> = wanted
        .services
        .iter()
        .map(|(config, _)| config.key)
        .collect();
    for (config, _) in running
        .services
        .iter()
        .filter(|(config, _)| !keys.contains(&config.key))
    {
        actions.push(Action::DeleteService(config.key));
    }
    for (config, destinations) in &wanted.services {
        let old = running
            .services
            .iter()
            .find(|(old, _)| old.key == config.key);
        match old {
            None => actions.push(Action::AddService(config.clone())),
            Some((old, _)) if old != config => actions.push(Action::EditService(config.clone())),
            Some(_) => {}
        }
        let had = old.map_or(&[][..], |(_, destinations)| destinations);
        destination_actions(config.key, had, destinations, &mut actions);
    }
    actions
}

fn destination_actions(
    key: ServiceKey,
    had: &[DestinationConfig],
    wanted: &[DestinationConfig],
    actions: &mut Vec<Action>,
) {
    let same = |left: &DestinationConfig, right: &DestinationConfig| {
        (left.address, left.port) == (right.address, right.port)
    };
    for old in had
        .iter()
        .filter(|old| !wanted.iter().any(|new| same(old, new)))
    {
        actions.push(Action::DeleteDestination(key, *old));
    }
    for new in wanted {
        match had.iter().find(|old| same(old, new)) {
            None => actions.push(Action::AddDestination(key, *new)),
            Some(old) if old != new => actions.push(Action::EditDestination(key, *new)),
            Some(_) => {}
        }
    }
}

/// Brings `wanted` about on a running director; returns how many commands that took. What is refused is logged.
pub fn reach(shared: &Shared, wanted: &DesiredState) -> usize {
    let running = DesiredState::of(shared);
    let mut done = 0;
    let mut count = |result: Result<(), String>| match result {
        Ok(()) => done += 1,
        Err(sentence) => tracing::error!("{sentence}"),
    };
    if running.timeouts != wanted.timeouts {
        count(
            shared
                .set_timeouts(wanted.timeouts)
                .map_err(|error| format!("--set: {error}")),
        );
    }
    for (name, value) in wanted
        .sysctls
        .iter()
        .filter(|one| !running.sysctls.contains(one))
    {
        count(
            shared
                .sysctls
                .write(name, value)
                .map_err(|error| error.to_string()),
        );
    }
    for action in actions(&running, wanted) {
        count(carry_out(shared, &action).map_err(|error| format!("{action:?}: {error}")));
    }
    done
}

/// Carries out a command.
///
/// # Errors
/// Why it is impossible.
fn carry_out(shared: &Shared, action: &Action) -> Result<(), CommandError> {
    match action {
        Action::DeleteService(key) => shared.delete_service(key),
        Action::AddService(config) => shared.add_service(config.clone()),
        Action::EditService(config) => shared.edit_service(config.clone()),
        Action::DeleteDestination(key, config) => {
            shared.delete_destination(key, config.address, config.port)
        }
        Action::AddDestination(key, config) => shared.add_destination(key, config),
        Action::EditDestination(key, config) => shared.edit_destination(key, config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "-A -t 10.0.0.1:80 -s wlc\n\
        -a -t 10.0.0.1:80 -r 10.2.0.1:80 -g -w 1\n\
        -a -t 10.0.0.1:80 -r 10.2.0.2:80 -g -w 1\n\
        -A -t 10.0.0.2:80 -s rr\n";
    const AFTER: &str = "-A -t 10.0.0.1:80 -s wlc\n\
        -a -t 10.0.0.1:80 -r 10.2.0.2:80 -g -w 5\n\
        -a -t 10.0.0.1:80 -r 10.2.0.3:80 -m -w 1\n\
        -A -u 10.0.0.1:53 -s rr\n\
        -a -u 10.0.0.1:53 -r 10.2.0.3:53 -m -w 1\n";

    fn shared(rules: &str) -> Shared {
        let shared = Shared::new(director::shared::Options::default());
        DesiredState::parse(rules).unwrap().apply(&shared).unwrap();
        shared
    }

    #[test]
    fn what_is_equal_is_not_touched() {
        let running = DesiredState::of(&shared(BEFORE));
        assert_eq!(actions(&running, &DesiredState::parse(BEFORE).unwrap()), []);
        assert_eq!(
            actions(&running, &DesiredState::parse(AFTER).unwrap()).len(),
            6
        );
    }

    #[test]
    fn the_commands_lead_there() {
        for (from, to) in [(BEFORE, AFTER), (AFTER, BEFORE), ("", AFTER), (BEFORE, "")] {
            let shared = shared(from);
            let wanted = DesiredState::parse(to).unwrap();
            assert!(reach(&shared, &wanted) > 1);
            let reached = DesiredState::of(&shared);
            assert_eq!(actions(&reached, &wanted), [], "{from} -> {to}");
            assert_eq!(reached.services.len(), wanted.services.len());
        }
    }
}

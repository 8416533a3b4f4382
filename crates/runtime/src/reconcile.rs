//! From the running services to the wanted ones by the fewest commands, so that connections live on.

use std::collections::{HashMap, HashSet};

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

/// The commands that lead from `running` to `wanted`: deleted services first, then service by service in the order of
/// `wanted`. What is equal in both is not touched. Looks once at each service and real server.
#[must_use]
pub fn actions(running: &DesiredState, wanted: &DesiredState) -> Vec<Action> {
    let mut actions = Vec::new();
    let kept: HashSet<ServiceKey> = wanted.services.iter().map(|(it, _)| it.key).collect();
    let mut had = HashMap::with_capacity(running.services.len());
    for (config, destinations) in &running.services {
        if !kept.contains(&config.key) {
            actions.push(Action::DeleteService(config.key));
        }
        had.insert(config.key, (config, destinations.as_slice()));
    }
    for (config, destinations) in &wanted.services {
        let old = had.get(&config.key).copied();
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

/// The same for one service's real servers, deleted ones first.
fn destination_actions(
    key: ServiceKey,
    had: &[DestinationConfig],
    wanted: &[DestinationConfig],
    actions: &mut Vec<Action>,
) {
    // What commands of others leave alone, nearly always.
    if had == wanted {
        return;
    }
    let place = |config: &DestinationConfig| (config.address, config.port);
    let kept: HashSet<_> = wanted.iter().map(place).collect();
    let known: HashMap<_, _> = had.iter().map(|old| (place(old), old)).collect();
    let gone = had.iter().filter(|old| !kept.contains(&place(old)));
    actions.extend(gone.map(|old| Action::DeleteDestination(key, *old)));
    for new in wanted {
        match known.get(&place(new)) {
            None => actions.push(Action::AddDestination(key, *new)),
            Some(&old) if old != new => actions.push(Action::EditDestination(key, *new)),
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
    }

    #[test]
    fn each_difference_is_one_command() {
        let (before, after) = [BEFORE, AFTER]
            .map(|it| DesiredState::parse(it).unwrap())
            .into();
        let ((web, old), (dns, new)) = (&before.services[0], &after.services[1]);
        let servers = &after.services[0].1;
        let expected = [
            Action::DeleteService(before.services[1].0.key),
            Action::DeleteDestination(web.key, old[0]),
            Action::EditDestination(web.key, servers[0]),
            Action::AddDestination(web.key, servers[1]),
            Action::AddService(dns.clone()),
            Action::AddDestination(dns.key, new[0]),
        ];
        assert_eq!(actions(&before, &after), expected);
        // Another order is no difference, another scheduler is.
        let mut turned = after.clone();
        turned.services.reverse();
        turned.services[1].1.reverse();
        assert_eq!(actions(&after, &turned), []);
        turned.services[0].0.scheduler = "wrr".to_owned();
        let edited = Action::EditService(turned.services[0].0.clone());
        assert_eq!(actions(&after, &turned), [edited]);
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

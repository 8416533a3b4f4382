//! `twos` draws lots, so its picks are counted and compared with the chances that the formula gives.

use std::net::{IpAddr, Ipv4Addr};

use director::assign::Scheduled;
use director::destination::{DestinationConfig, Method, TunnelConfig};
use director::protocol::Protocol;
use director::scheduler::Flow;
use director::service::{Family, ServiceConfig, ServiceKey};
use director::shared::{Options, Shared};
use director::time::Instant;

use crate::lots::Lots;

/// Standard deviations that a count may be off: one in three million by chance.
const DEVIATIONS: f64 = 5.0;
/// A class of fewer expected picks than this is counted together with the next one.
const LEAST_EXPECTED: f64 = 10.0;

/// A real server's weight (0: not in the lot) and its connections.
#[derive(Clone, Copy, Debug)]
struct Server {
    weight: i32,
    active: i32,
    inactive: i32,
}

/// One set of real servers, in list order, and `picks` picks that leave no connection.
///
/// # Errors
/// The picks are not spread as the formula says: how.
pub(crate) fn check(seed: u64, picks: u64) -> Result<(), String> {
    let mut lots = Lots::new(seed);
    let most = lots.one_of(&[2, 5, 40]);
    let weights = lots.one_of(&[2, 6, 1000]);
    let servers: Vec<Server> = (0..=lots.place(most))
        .map(|_| Server {
            weight: i32::try_from(lots.below(weights)).unwrap(),
            active: i32::try_from(lots.below(6)).unwrap(),
            inactive: i32::try_from(lots.below(300)).unwrap(),
        })
        .collect();
    let counts = counts(&servers, picks)?;
    let chances = chances(&servers);
    let Some(chances) = chances else {
        return if counts.iter().all(|&count| count == 0) {
            Ok(())
        } else {
            Err(format!("{servers:?}: none may be picked, {counts:?}"))
        };
    };
    let (statistic, limit) = chi_square(&counts, &chances, picks);
    if statistic <= limit {
        Ok(())
    } else {
        Err(format!(
            "{servers:?}: chi-square {statistic:.1}, at most {limit:.1}\ncounts {counts:?}\nchances {chances:?}"
        ))
    }
}

/// How often the director picks each real server.
fn counts(servers: &[Server], picks: u64) -> Result<Vec<u64>, String> {
    let shared = Shared::new(Options::default());
    let key = ServiceKey::Mark {
        family: Family::V4,
        mark: 1,
    };
    let config = ServiceConfig {
        key,
        scheduler: "twos".to_owned(),
        flags: 0,
        timeout: 0,
        netmask: u32::MAX,
        persistence_engine: None,
    };
    shared
        .add_service(config)
        .map_err(|error| error.to_string())?;
    // The newest is the first of the list.
    for (port, server) in (1..).zip(servers).collect::<Vec<_>>().into_iter().rev() {
        let config = DestinationConfig {
            address: Ipv4Addr::new(10, 2, 0, 1).into(),
            port,
            method: Method::Masq,
            tunnel: TunnelConfig::default(),
            weight: server.weight,
            upper_threshold: 0,
            lower_threshold: 0,
        };
        shared
            .add_destination(&key, &config)
            .map_err(|error| error.to_string())?;
    }
    let services = shared.snapshot();
    let service = services.get(&key).ok_or("no service")?;
    for (destination, server) in service.destinations.iter().zip(servers) {
        for connection in 0..server.active + server.inactive {
            destination.bind(false);
            if connection < server.active {
                destination.set_active(true);
            }
        }
    }
    let flow = Flow {
        protocol: Protocol::Udp,
        source: IpAddr::from([192, 0, 2, 1]),
        source_port: 1024,
        destination: IpAddr::from([10, 8, 0, 1]),
        destination_port: 53,
    };
    let mut counts = vec![0; servers.len()];
    for _ in 0..picks {
        match shared.schedule(service, &flow, None, Instant::START) {
            Scheduled::Assigned(assignment) => {
                assignment.destination.unbind(false);
                counts[usize::from(assignment.destination.port) - 1] += 1;
            }
            Scheduled::NoDestination => {}
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(counts)
}

/// Each real server's chance; `None` when all weights are 0. Two lots are drawn, each from 0 to the sum of the weights
/// inclusive; 0 falls to the first. Of both, the one with more connections for its weight is left.
fn chances(servers: &[Server]) -> Option<Vec<f64>> {
    let total: i32 = servers.iter().map(|server| server.weight).sum();
    if total == 0 {
        return None;
    }
    let mut zero_is_free = true;
    let lots: Vec<i32> = servers
        .iter()
        .map(|server| {
            let has_zero = server.weight > 0 && std::mem::take(&mut zero_is_free);
            server.weight + i32::from(has_zero)
        })
        .collect();
    let load = |server: &Server| i64::from(256 * server.active + server.inactive);
    let mut chances = vec![0.0; servers.len()];
    for (first, one) in servers.iter().enumerate() {
        for (second, other) in servers.iter().enumerate() {
            let lots = f64::from(lots[first]) * f64::from(lots[second]);
            let chance = lots / f64::from(total + 1).powi(2);
            let is_left = load(one) * i64::from(other.weight) > load(other) * i64::from(one.weight);
            chances[if is_left { second } else { first }] += chance;
        }
    }
    Some(chances)
}

/// Pearson's statistic, and what it may be (Wilson and Hilferty's approximation).
fn chi_square(counts: &[u64], chances: &[f64], picks: u64) -> (f64, f64) {
    let number = |count: u64| f64::from(u32::try_from(count).unwrap());
    let mut classes: Vec<(f64, f64)> = Vec::new();
    let mut open = (0.0, 0.0);
    for (&count, &chance) in counts.iter().zip(chances) {
        open = (open.0 + number(count), open.1 + chance * number(picks));
        if open.1 >= LEAST_EXPECTED {
            classes.push(std::mem::take(&mut open));
        }
    }
    if let Some(last) = classes.last_mut() {
        *last = (last.0 + open.0, last.1 + open.1);
    }
    let statistic = classes
        .iter()
        .map(|(count, expected)| (count - expected).powi(2) / expected)
        .sum();
    let classes = u64::try_from(classes.len()).unwrap();
    if classes < 2 {
        return (statistic, 1e-9);
    }
    let freedom = number(classes - 1);
    let spread = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - spread + DEVIATIONS * spread.sqrt()).powi(3);
    (statistic, limit)
}

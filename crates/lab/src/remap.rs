//! How many flows a change of the real servers moves, against how many had to.
//!
//! The flows are those of the latest clients. A director that starts with the list as it was before the change is
//! offered them in the order in which they came; another one that starts with the list behind the change is offered the
//! same flows in an order of its own, as they come after a restart or a failover. A flow is *remapped* when the two
//! give it different real servers. So schedulers that decide by the flow keep what they can, and those that decide by
//! turn or by load show that they remember nothing without the connection table. Directors with their tables would move
//! none but those of servers that went.
//!
//! *Least* is what nobody can avoid: the flows of servers that went, and for servers that came or got heavier the share
//! of all that the weights give them.

use director::scheduler::lots::mix;
use director::shared::CommandError;

use crate::director_model::{DirectorModel, Listed, Setup};
use crate::frames::{Flow, Kind};
use crate::scenario::Protocol;
use crate::statistics::count;

/// What a change did to the flows that were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moved {
    /// Flows that went elsewhere.
    pub(crate) moved: u64,
    /// Flows that had to.
    pub(crate) least: f64,
}

/// What becomes of `flows`, each of them another one, when the list changes.
pub(crate) fn moved(
    setup: &Setup,
    before: &[Listed],
    after: &[Listed],
    flows: &[Flow],
) -> Result<Moved, CommandError> {
    let mut order: Vec<usize> = (0..flows.len()).collect();
    let was = offer(setup, before, flows, &order)?;
    order.sort_by_key(|&number| mix(setup.seed ^ flows[number].hash()));
    let is = offer(setup, after, flows, &order)?;
    let moved = was.iter().zip(&is).filter(|(was, is)| was != is).count();
    let gone = |server: u32| weight(before, server) > 0 && weight(after, server) == 0;
    let least = if before.iter().any(|listed| gone(listed.server)) {
        count(was.iter().filter(|server| server.is_some_and(gone)).count())
    } else {
        gain(before, after) * count(flows.len())
    };
    Ok(Moved {
        moved: moved as u64,
        least,
    })
}

/// The real server of each flow, when they are offered in this order to a director that has just started.
fn offer(
    setup: &Setup,
    roster: &[Listed],
    flows: &[Flow],
    order: &[usize],
) -> Result<Vec<Option<u32>>, CommandError> {
    let alone = Setup {
        count: 1,
        ..setup.clone()
    };
    let begins = match setup.service.protocol {
        Protocol::Tcp => Kind::Syn,
        Protocol::Udp => Kind::Datagram,
    };
    let mut model = DirectorModel::new(alone)?;
    for &listed in roster {
        model.add(listed)?;
    }
    let mut servers = vec![None; flows.len()];
    for &number in order {
        servers[number] = model.handle(0, 0, &flows[number], begins);
        if begins == Kind::Syn {
            model.handle(0, 0, &flows[number], Kind::Data);
        }
    }
    Ok(servers)
}

/// The weight of a server; 0 when it is not listed.
fn weight(roster: &[Listed], server: u32) -> u32 {
    let listed = roster.iter().find(|listed| listed.server == server);
    listed.map_or(0, |listed| listed.weight)
}

/// The share of all flows that servers gain by weight.
fn gain(before: &[Listed], after: &[Listed]) -> f64 {
    let total = |roster: &[Listed]| -> f64 { roster.iter().map(|it| f64::from(it.weight)).sum() };
    let (was, is) = (total(before), total(after));
    if was <= 0.0 || is <= 0.0 {
        return 0.0;
    }
    let gains = after.iter().map(|listed| {
        let before = f64::from(weight(before, listed.server)) / was;
        (f64::from(listed.weight) / is - before).max(0.0)
    });
    gains.sum()
}

/// Share of these new flows for which two directors, as they are now, pick different real servers. Both take each up
/// and see its end at once, so that the next one meets the same load.
pub(crate) fn disagreement(model: &mut DirectorModel, now: u64, flows: &[Flow]) -> Option<f64> {
    let packets: &[Kind] = match model.setup().service.protocol {
        Protocol::Tcp => &[Kind::Syn, Kind::Data, Kind::Fin],
        Protocol::Udp => &[Kind::Datagram],
    };
    let mut alive = model.alive();
    let pair = (alive.next()?, alive.next()?);
    drop(alive);
    if flows.is_empty() {
        return None;
    }
    let differ = flows.iter().filter(|flow| {
        let mut offer = |director| {
            let reached = packets
                .iter()
                .map(|&kind| model.handle(now, director, flow, kind));
            reached.reduce(|first, _| first)
        };
        offer(pair.0) != offer(pair.1)
    });
    Some(count(differ.count()) / count(flows.len()))
}

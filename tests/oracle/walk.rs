//! A random walk: from a seed, the number of a case and a focus to its plan.

use crate::draw::Draw;
use crate::focus::{Action, Focus};
use crate::plan::{Plan, Speaker, Step};
use crate::world::World;

/// Actions between two looks at the tables.
const LOOK: u32 = 12;
/// Seconds: the shortest timer of TCP and UDP (CLOSE, 10 s) with time to look at the tables.
const LIMIT: f64 = 7.0;
/// The same of SCTP (INIT, 4 s).
const LIMIT_SCTP: f64 = 2.8;
/// Timers that a plan with waits sets: both ends of what it starts are far from every look.
const SHORT: &str = "ipvsadm --set 4 4 4";
/// Seconds of a wait: more than those and than SCTP's INIT, with the eighth by which the kernel may be late.
const WAIT: f64 = 6.0;

/// The plan of a case.
pub(crate) fn plan(seed: u64, index: u64, focus: &'static Focus) -> Plan {
    let mut world = World::new(Draw::new(seed, index), focus);
    if focus.name == "commands" {
        for _ in 0..focus.actions {
            world.line();
        }
        world.plan.limit = 60.0;
        return world.plan;
    }
    if focus.waits() {
        world.command(SHORT);
    }
    world.begin();
    for count in 1..=focus.actions {
        let action = world.draw.weighted(focus.mix);
        act(&mut world, action);
        if count % LOOK == 0 {
            world.plan.steps.push(Step::Show(&["ip_vs", "ip_vs_conn"]));
        }
    }
    world.plan.limit = if world.has_sctp() { LIMIT_SCTP } else { LIMIT };
    world.plan
}

fn act(world: &mut World, action: Action) {
    match action {
        Action::NewFlow => world.new_flow(),
        Action::Burst => world.burst(),
        Action::OldFlow => world.old_flow(),
        Action::ClientError => world.error(Speaker::ClientRouter),
        Action::ServerError => world.error(Speaker::ServerRouter),
        Action::Fragments => world.fragments(),
        Action::Odd => world.odd(),
        Action::Other => world.other(),
        Action::Configure => world.configure(),
        Action::Sysctl => world.sysctl(),
        Action::Ftp => world.ftp(),
        Action::Sip => world.sip(),
        Action::Line => world.line(),
        Action::Wait => world.plan.steps.push(Step::Sleep(WAIT)),
    }
}

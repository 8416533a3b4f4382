//! What happens to a million connections at once: they expire, their service goes, somebody lists them.

use std::time::Duration;

use control::listing;
use director::connection::Cursor;
use packet::Family;

use crate::gauge::Gauge;
use crate::one_service::{SYN, key, server};
use crate::world::{BATCH, World};
use crate::{Wanted, note, time};

const MILLION: u32 = 1_000_000;
/// Half-open connections live so long.
const LIFETIME: Duration = Duration::from_secs(60);

/// Who ends the connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deletion {
    Service,
    Server,
    Flush,
}

pub(crate) fn measure(wanted: &Wanted) {
    for (version, family) in [("v4", Family::V4), ("v6", Family::V6)] {
        for (kind, persistent) in [("", false), (" with templates", true)] {
            let name = format!("expiry of a million {version}{kind}");
            wanted.measure(&name, || expiry(&name, family, persistent));
        }
    }
    for (what, deletion) in [
        ("service", Deletion::Service),
        ("real server", Deletion::Server),
        ("flush", Deletion::Flush),
    ] {
        for (kind, persistent) in [("", false), (" with templates", true)] {
            let name = format!("deletion of a million: {what}{kind}");
            wanted.measure(&name, || delete(deletion, persistent));
        }
    }
    wanted.measure("list of a million", list);
    wanted.measure("drop_entry over a million", sacrifice);
}

/// A million connections expire within a second, while packets of others come.
fn expiry(name: &str, family: Family, persistent: bool) -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(family, persistent, 16);
    let begin = world.now;
    for first in (0..MILLION).step_by(BATCH as usize) {
        let part = f64::from(first) / f64::from(MILLION);
        world.now = begin.after(Duration::from_secs_f64(part));
        let _ = world.batch(first, BATCH.min(MILLION - first), SYN);
    }
    world.now = begin.after(LIFETIME);
    let (mut ticks, mut packets) = (Gauge::default(), Gauge::default());
    let mut other = MILLION;
    while world.len() > 0 && world.now < begin.after(2 * LIFETIME) {
        // Time goes on as the work takes it.
        let ((), spent) = ticks.step(|| world.tick());
        let (_, with_packets) = packets.step(|| world.batch(other, BATCH, SYN));
        other = if other > MILLION + 100_000 {
            MILLION
        } else {
            other + BATCH
        };
        world.now = world.now.after(spent + with_packets);
        if world.len() <= 110_000 && world.now > begin.after(LIFETIME + Duration::from_secs(1)) {
            break;
        }
    }
    let late = world
        .now
        .since(begin.after(LIFETIME + Duration::from_secs(1)));
    note(name, format!("the last of them {} late", time(late)));
    let mut templates = Gauge::default();
    if persistent {
        world.now = world.now.after(LIFETIME);
        while templates
            .step(|| world.shared.expire_templates(world.now, 10_000))
            .0
            >= 10_000
        {}
    }
    vec![
        ("tick", ticks),
        ("packets", packets),
        ("control", templates),
    ]
}

/// Their service or real server is deleted with `expire_nodest_conn`.
fn delete(deletion: Deletion, persistent: bool) -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, persistent, 1);
    let set = world.shared.set_sysctl("expire_nodest_conn", "1");
    set.expect("a setting");
    world.open(MILLION, &mut Gauge::default());
    let (mut command, mut ticks) = (Gauge::default(), Gauge::default());
    let (key, shared) = (key(Family::V4), &world.shared);
    command.step(|| match deletion {
        Deletion::Service => shared.delete_service(&key).expect("it is there"),
        Deletion::Server => {
            let address = server(Family::V4, 1);
            let deleted = shared.delete_destination(&key, address, 80);
            deleted.expect("it is there");
        }
        Deletion::Flush => shared.flush(),
    });
    while world.len() > 0 {
        ticks.step(|| world.tick());
        world.now = world.now.after(Duration::from_millis(1));
    }
    command.step(|| world.shared.tick(world.now));
    world.now = world.now.after(Duration::from_secs(1));
    command.step(|| world.shared.tick(world.now));
    // What the allocator has put off.
    ticks.step(|| vec![0_u8; 100_000]);
    vec![("tick", ticks), ("control", command)]
}

/// `ipvsadm -Lcn`, in the pieces that the control thread asks for.
fn list() -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, false, 16);
    world.open(MILLION, &mut Gauge::default());
    let mut pieces = Gauge::default();
    let mut cursor = Some(Cursor::default());
    let mut entries = Vec::new();
    while let Some(from) = cursor {
        let ((piece, next), _) = pieces.step(|| {
            let mut piece = Vec::new();
            let show = |_, connection: &_| piece.push(listing::connection(connection, world.now));
            let next = world.director.connections().list(from, 1024, show);
            (piece, next)
        });
        entries.extend(piece);
        cursor = next;
    }
    assert_eq!(entries.len(), MILLION as usize);
    vec![("piece", pieces)]
}

/// `drop_entry` at work: a 32nd of the table each second.
fn sacrifice() -> Vec<(&'static str, Gauge)> {
    let mut world = World::new(Family::V4, false, 16);
    world.open(MILLION, &mut Gauge::default());
    world
        .shared
        .set_sysctl("drop_entry", "3")
        .expect("a setting");
    let mut ticks = Gauge::default();
    let end = world.now.after(Duration::from_secs(10));
    while world.now < end {
        if world.is_due() {
            ticks.step(|| world.tick());
        }
        world.now = world.now.after(Duration::from_millis(1));
    }
    vec![("tick", ticks)]
}

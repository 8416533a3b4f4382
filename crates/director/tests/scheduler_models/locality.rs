//! `lblc` and `lblcr`: choices kept by virtual address.
//!
//! Once a minute a timer of the service counts; every thirtieth time, what was not used for the expiration goes. The
//! timer begins with the first connection: what it would have found before is an empty cache.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::loads::is_lighter;
use crate::service::{Arrival, Formula, Id, Scene, Server};

/// Milliseconds between two looks at all entries.
const FULL_CHECK: u64 = 30 * 60_000;

struct Kept<T> {
    used: u64,
    choice: T,
}

struct Cache<T> {
    kept: HashMap<IpAddr, Kept<T>>,
    next_check: Option<u64>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self {
            kept: HashMap::new(),
            next_check: None,
        }
    }
}

impl<T> Cache<T> {
    /// Lets the timer fire as often as it had to until now.
    fn expire(&mut self, arrival: Arrival) {
        let mut check = self.next_check.unwrap_or(arrival.now + FULL_CHECK);
        while check <= arrival.now {
            self.kept
                .retain(|_, kept| check - kept.used < arrival.expiration);
            check += FULL_CHECK;
        }
        self.next_check = Some(check);
    }

    fn get(&mut self, arrival: Arrival) -> Option<&mut T> {
        let kept = self.kept.get_mut(&arrival.virtual_address)?;
        kept.used = arrival.now;
        Some(&mut kept.choice)
    }

    fn put(&mut self, arrival: Arrival, choice: T) {
        let used = arrival.now;
        self.kept
            .insert(arrival.virtual_address, Kept { used, choice });
    }
}

/// Whether a kept choice has more active connections than its weight while some other has less than half of its own.
fn is_to_leave(scene: Scene<'_>, server: &Server) -> bool {
    let is_idle = |&id: &Id| 2 * scene.server(id).active < scene.server(id).weight;
    server.active > server.weight && scene.list.iter().any(is_idle)
}

/// One real server for a virtual address.
#[derive(Default)]
pub(crate) struct Lblc {
    cache: Cache<Id>,
}

impl Formula for Lblc {
    fn pick(&mut self, scene: Scene<'_>, arrival: Arrival) -> Option<Id> {
        self.cache.expire(arrival);
        if let Some(&mut id) = self.cache.get(arrival) {
            let server = scene.server(id);
            if server.listed && server.weight > 0 && !is_to_leave(scene, server) {
                return Some(id);
            }
        }
        let id = scene.first_unbeaten(scene.list, is_lighter)?;
        self.cache.put(arrival, id);
        Some(id)
    }
}

/// The real servers of a virtual address, the one that joined last first.
struct Set {
    members: Vec<Id>,
    changed: u64,
}

/// A set of real servers for a virtual address.
#[derive(Default)]
pub(crate) struct Lblcr {
    cache: Cache<Set>,
}

impl Set {
    fn lightest(&self, scene: Scene<'_>) -> Option<Id> {
        let listed = |id: &Id| scene.server(*id).listed;
        let members: Vec<Id> = self.members.iter().copied().filter(listed).collect();
        scene.first_unbeaten(&members, is_lighter)
    }

    /// Takes out the member with the most connections in proportion to its weight, after a time without a change.
    fn shrink(&mut self, scene: Scene<'_>, arrival: Arrival) {
        if self.members.len() < 2 || arrival.now <= self.changed + arrival.expiration {
            return;
        }
        let mut heaviest: Option<Id> = None;
        for &id in &self.members {
            let server = scene.server(id);
            let is_heavier = |most: Id| is_lighter(scene.server(most), server);
            if server.weight > 0 && heaviest.is_none_or(is_heavier) {
                heaviest = Some(id);
            }
        }
        if let Some(heaviest) = heaviest {
            self.members.retain(|&id| id != heaviest);
            self.changed = arrival.now;
        }
    }
}

impl Formula for Lblcr {
    fn pick(&mut self, scene: Scene<'_>, arrival: Arrival) -> Option<Id> {
        self.cache.expire(arrival);
        let Some(set) = self.cache.get(arrival) else {
            let id = scene.first_unbeaten(scene.list, is_lighter)?;
            let changed = arrival.now;
            self.cache.put(
                arrival,
                Set {
                    members: vec![id],
                    changed,
                },
            );
            return Some(id);
        };
        let lightest = set.lightest(scene);
        set.shrink(scene, arrival);
        if let Some(id) = lightest
            && !is_to_leave(scene, scene.server(id))
        {
            return Some(id);
        }
        let id = scene.first_unbeaten(scene.list, is_lighter)?;
        if !set.members.contains(&id) {
            set.members.insert(0, id);
            set.changed = arrival.now;
        }
        Some(id)
    }
}

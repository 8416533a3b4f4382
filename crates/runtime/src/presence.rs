//! The VIPs that this director is present at now: who answers for each, which multicast groups that takes, and
//! when to announce them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use director::net::Answer;
use link::sys::multicast::{Membership, solicited_node};

use crate::log::Told;
use crate::network::tables::Tables;
use crate::vips::{Placement, Wish, place};

/// Announcements of a new VIP and the time between two (ANNOUNCE_NUM and ANNOUNCE_INTERVAL of RFC 5227, 1.1).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(2);

/// An announcement to come.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    left: u8,
}

/// All VIPs of the director.
#[derive(Debug, Default)]
pub struct Presence {
    placements: BTreeMap<IpAddr, Placement>,
    memberships: HashMap<(u32, Ipv6Addr), Membership>,
    announcements: BTreeMap<(u32, IpAddr), Due>,
    told: Told,
}

impl Presence {
    /// Brings everything in line with the VIPs wanted and the host's tables. A VIP that nobody could answer for is
    /// told once and then owned: a router may send its packets here after all. Returns whether an answer changed.
    pub fn update(
        &mut self,
        tables: &Tables,
        wanted: &BTreeMap<IpAddr, Wish>,
        interfaces: &BTreeSet<u32>,
        now: Instant,
    ) -> bool {
        let mut placements = BTreeMap::new();
        for (&vip, wish) in wanted {
            let placement = place(tables, vip, wish).unwrap_or_else(|sentence| {
                self.tell(&sentence);
                Placement {
                    answer: Answer::Owned,
                    interface: None,
                }
            });
            placements.insert(vip, placement);
        }
        let changed = self.answers_of(&placements) != self.answers();
        for (vip, placement) in &placements {
            if self.placements.get(vip) != Some(placement) {
                tracing::info!("VIP {vip}: {}", describe(placement, tables));
            }
        }
        self.placements = placements;
        self.join(interfaces);
        self.plan_announcements(tables, interfaces, now);
        changed
    }

    /// Who answers for each VIP.
    #[must_use]
    pub fn answers(&self) -> HashMap<IpAddr, Answer> {
        self.answers_of(&self.placements)
    }

    fn answers_of(&self, placements: &BTreeMap<IpAddr, Placement>) -> HashMap<IpAddr, Answer> {
        placements
            .iter()
            .map(|(&vip, placement)| (vip, placement.answer))
            .collect()
    }

    /// The VIPs with interface that must be announced now.
    pub fn due(&mut self, now: Instant) -> Vec<(u32, IpAddr)> {
        let mut due = Vec::new();
        for (&key, announcement) in &mut self.announcements {
            if announcement.left > 0 && announcement.at <= now {
                announcement.left -= 1;
                announcement.at = now + ANNOUNCEMENT_INTERVAL;
                due.push(key);
            }
        }
        due
    }

    /// When the next announcement is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.announcements
            .values()
            .filter(|due| due.left > 0)
            .map(|due| due.at)
            .min()
    }

    /// Logs a sentence unless it was logged before.
    fn tell(&mut self, sentence: &str) {
        if self.told.is_new(sentence) {
            tracing::warn!("{sentence}");
        }
    }

    /// Neighbour solicitations for an owned IPv6 VIP go to its solicited-node group (RFC 4291, 2.7.1), which the
    /// host joins for its own addresses only.
    fn join(&mut self, interfaces: &BTreeSet<u32>) {
        let mut wanted = BTreeSet::new();
        for (vip, placement) in &self.placements {
            let (IpAddr::V6(vip), Answer::Owned) = (vip, placement.answer) else {
                continue;
            };
            for &interface in interfaces {
                if placement
                    .interface
                    .is_none_or(|connected| connected == interface)
                {
                    wanted.insert((interface, solicited_node(*vip)));
                }
            }
        }
        self.memberships.retain(|key, _| wanted.contains(key));
        for key in wanted {
            if self.memberships.contains_key(&key) {
                continue;
            }
            match Membership::join(key.0, key.1) {
                Ok(membership) => {
                    self.memberships.insert(key, membership);
                }
                Err(error) => {
                    let (interface, group) = key;
                    self.tell(&format!(
                        "cannot join the multicast group {group} on interface {interface}: {error}; \
                         neighbour solicitations for its VIPs may not arrive"
                    ));
                }
            }
        }
    }

    /// An owned VIP is announced when it is new and when its interface has come up.
    fn plan_announcements(&mut self, tables: &Tables, interfaces: &BTreeSet<u32>, now: Instant) {
        let mut wanted = BTreeSet::new();
        for (&vip, placement) in &self.placements {
            let up = |index: &u32| tables.links().get(index).is_some_and(|link| link.up);
            let interface = placement
                .interface
                .filter(|index| interfaces.contains(index) && up(index));
            if let (Answer::Owned, Some(interface)) = (placement.answer, interface) {
                wanted.insert((interface, vip));
            }
        }
        // What is down is forgotten, and so announced anew when it comes up.
        self.announcements.retain(|key, _| wanted.contains(key));
        for key in wanted {
            self.announcements.entry(key).or_insert(Due {
                at: now,
                left: ANNOUNCEMENTS,
            });
        }
    }
}

fn describe(placement: &Placement, tables: &Tables) -> String {
    let name = |index: u32| {
        tables
            .links()
            .get(&index)
            .map_or("?", |link| link.name.as_str())
    };
    match (placement.answer, placement.interface) {
        (Answer::Local, _) => "local, the host's kernel answers for it".into(),
        (Answer::Owned, Some(index)) => format!("owned, ulvs answers for it on {}", name(index)),
        (Answer::Owned, None) => "owned, sent here by a router".into(),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;

    use super::*;
    use crate::network::tables::tests::{link, world};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn wanted(list: &[&str]) -> BTreeMap<IpAddr, Wish> {
        list.iter().map(|vip| (ip(vip), Wish::default())).collect()
    }

    #[test]
    fn announces_twice_when_new_and_again_when_the_link_comes_up() {
        let (mut presence, mut tables) = (Presence::default(), world());
        let interfaces = BTreeSet::from([2, 3]);
        let start = Instant::now();
        let vips = wanted(&["10.1.0.9", "10.1.0.1"]);
        assert!(presence.update(&tables, &vips, &interfaces, start));
        assert_eq!(presence.answers()[&ip("10.1.0.9")], Answer::Owned);
        assert_eq!(presence.answers()[&ip("10.1.0.1")], Answer::Local);
        let announced = [(2, ip("10.1.0.9"))];
        assert_eq!(presence.due(start), announced);
        assert_eq!(presence.due(start), []);
        assert!(!presence.update(&tables, &vips, &interfaces, start));
        let later = start + ANNOUNCEMENT_INTERVAL;
        assert_eq!(presence.next_due(), Some(later));
        assert_eq!(presence.due(later), announced);
        assert_eq!(presence.next_due(), None);
        // The link flaps.
        for up in [false, true] {
            let RouteNetlinkMessage::NewLink(message) = link(2, "eth0", up) else {
                unreachable!()
            };
            tables.apply(&RouteNetlinkMessage::NewLink(message), false);
            presence.update(&tables, &vips, &interfaces, later);
        }
        assert_eq!(presence.due(later), announced);
    }

    #[test]
    fn a_vip_out_of_reach_is_told_once() {
        let (mut presence, tables) = (Presence::default(), world());
        let (interfaces, start) = (BTreeSet::from([2]), Instant::now());
        let vips = wanted(&["192.0.2.1"]);
        assert!(presence.update(&tables, &vips, &interfaces, start));
        assert!(!presence.update(&tables, &vips, &interfaces, start));
        let sentence = place(&tables, ip("192.0.2.1"), &Wish::default()).unwrap_err();
        assert!(!presence.told.is_new(&sentence));
        assert_eq!(presence.answers()[&ip("192.0.2.1")], Answer::Owned);
        assert_eq!(presence.due(start), []);
        assert!(presence.update(&tables, &wanted(&[]), &interfaces, start));
        assert!(presence.answers().is_empty());
    }
}

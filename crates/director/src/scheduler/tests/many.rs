//! Thousands of real servers: every pick is what a look at each of them would say.

use super::*;

/// What a look at every real server, one after the other, picks: the place of the first that none behind it beats.
fn looked_for(name: &str, list: &[Arc<Destination>]) -> Option<usize> {
    let overhead = |it: &Destination| i128::from(it.active()) * 256 + i128::from(it.inactive());
    let expected = |it: &Destination| i128::from(it.active()) + 1;
    let weight = |it: &Destination| i128::from(it.weight());
    let usable = || list.iter().enumerate().filter(|(_, it)| it.is_usable());
    let beats = |a: &Destination, b: &Destination| match name {
        "lc" => overhead(a) < overhead(b),
        "wlc" => overhead(a) * weight(b) < overhead(b) * weight(a),
        "fo" | "ovf" => weight(a) > weight(b),
        _ => expected(a) * weight(b) < expected(b) * weight(a),
    };
    let mut idle = usable().filter(|(_, it)| name == "nq" && it.active() == 0);
    if let Some((place, _)) = idle.next() {
        return Some(place);
    }
    let mut best: Option<(usize, &Arc<Destination>)> = None;
    for (place, server) in usable() {
        let is_full = name == "ovf" && server.active() > server.weight();
        if !is_full && best.is_none_or(|(_, best)| beats(server, best)) {
            best = Some((place, server));
        }
    }
    best.map(|(place, _)| place)
}

/// Many real servers in several blocks, of which some change between two picks, and the list itself now and then.
#[test]
fn many_servers_are_picked_as_by_a_look_at_each() {
    for name in ["lc", "wlc", "sed", "nq", "fo", "ovf"] {
        let mut random = crate::defence::Random::new(5);
        let mut draw = |limit: u32| usize::try_from(random.next() % limit).unwrap();
        let servers = (0..5000).map(|number| Server {
            weight: number % 7 * (number % 5),
            active: u8::try_from(number % 3).unwrap(),
            inactive: 1,
            limited: number % 11 == 0,
        });
        let mut list = destinations_of(servers);
        let mut scheduler = bound(find(name).unwrap(), &list);
        for step in 0..400 {
            let expected = looked_for(name, &list);
            let picked = pick(&mut scheduler, &list, &flow(1, 1), 0);
            assert_eq!(picked, expected, "{name}, step {step}");
            let Some(picked) = picked else {
                continue;
            };
            list[picked].bind(false);
            list[picked].set_active(true);
            for _ in 0..3 {
                let other = &list[draw(5000) % list.len()];
                if other.active() > 0 {
                    other.unbind(true);
                }
            }
            match draw(40) {
                0 => {
                    list.remove(picked);
                    scheduler.update(&list, Change::Removed(picked));
                }
                1 => {
                    let other = list.remove(draw(4000));
                    list.insert(0, other);
                    scheduler.update(&list, Change::Added(0));
                }
                2..6 => {
                    let mut config = list[picked].config();
                    config.weight = i32::try_from(draw(40)).unwrap();
                    list[picked].reconfigure(&config, false);
                }
                _ => {}
            }
        }
    }
}

/// Only one of many may be used: no scheduler that takes turns looks at the others one by one, and all find it.
#[test]
fn the_only_usable_server_of_many_is_found() {
    for place in [0, 63, 64, 4095, 4096, 4999] {
        let mut weights = vec![0; 5000];
        weights[place] = 3;
        let list = destinations_of(weights.iter().map(|&weight| Server {
            weight,
            active: 0,
            inactive: 0,
            limited: false,
        }));
        for name in [
            "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sed", "nq", "fo", "ovf", "twos",
        ] {
            let mut scheduler = bound(find(name).unwrap(), &list);
            for _ in 0..2 {
                let picked = pick(&mut scheduler, &list, &flow(1, 1), 0);
                assert_eq!(picked, Some(place), "{name}");
            }
        }
    }
}

/// `lblcr` with a set that grows over several blocks, as the kernel's list of it is gone through: the newest member first.
#[test]
fn a_large_set_is_gone_through_from_its_newest_member() {
    let list = destinations_of((0..300).map(|number| Server {
        weight: 1 + number % 3,
        active: 0,
        inactive: 0,
        limited: number % 50 == 0,
    }));
    let mut scheduler = bound(find("lblcr").unwrap(), &list);
    let mut random = crate::defence::Random::new(7);
    let mut set: Vec<usize> = Vec::new();
    for step in 0..3000 {
        let members: Vec<_> = set.iter().map(|&place| Arc::clone(&list[place])).collect();
        let least = looked_for("wlc", &members).map(|at| set[at]);
        let has_room = |server: &Arc<Destination>| 2 * server.active() < server.weight();
        let leaves =
            |place: usize| list[place].active() > list[place].weight() && list.iter().any(has_room);
        let expected = least.filter(|&place| !leaves(place)).or_else(|| {
            let place = looked_for("wlc", &list)?;
            if !set.contains(&place) {
                set.insert(0, place);
            }
            Some(place)
        });
        let picked = pick(&mut scheduler, &list, &flow(1, 1), 0);
        assert_eq!(picked, expected, "step {step}");
        if let Some(picked) = picked {
            list[picked].bind(false);
            list[picked].set_active(true);
        }
        let other = &list[usize::try_from(random.next() % 300).unwrap()];
        if step > 600 && other.active() > 0 {
            other.unbind(true);
        }
    }
    assert!(set.len() > 200, "{} members", set.len());
}

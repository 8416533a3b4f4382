//! Real servers: deleted ones that come back, and what workers share of them.

use std::net::Ipv6Addr;

use director::destination::TunnelKind;

use super::*;

/// BEHAVIOURS 29: the same value comes back, with its connections, until it has been idle for long.
#[test]
fn a_deleted_real_server_comes_back() {
    let shared = director(service(key(80), 0), &[destination(11, 80)]);
    let known = the_destination(&shared, &key(80), 11);
    let assignment = assigned(schedule(&shared, &flow(1, 1, 80), 0, at(0)));
    shared
        .delete_destination(&key(80), known.address, 80)
        .unwrap();
    assert!(!known.is_available());
    assert!(matches!(
        schedule(&shared, &flow(1, 2, 80), 0, at(0)),
        Scheduled::NoDestination
    ));
    shared.count_in(0, &known, 40);
    shared.tick(at(1000));
    shared.tick(at(2000));
    shared
        .add_destination(&key(80), &destination(11, 80))
        .unwrap();
    let again = the_destination(&shared, &key(80), 11);
    assert!(Arc::ptr_eq(&again, &known));
    assert!(again.is_available());
    assert_eq!(again.inactive(), 1);
    assert_eq!(
        again.stats.current().in_packets,
        0,
        "not counted while it was deleted"
    );

    shared
        .delete_destination(&key(80), known.address, 80)
        .unwrap();
    assignment.destination.unbind(false);
    for seconds in (2000..2240).step_by(10) {
        shared.tick(at(seconds));
    }
    shared
        .add_destination(&key(80), &destination(11, 80))
        .unwrap();
    let other = the_destination(&shared, &key(80), 11);
    assert!(
        !Arc::ptr_eq(&other, &known),
        "forgotten after two idle minutes"
    );
}

#[test]
fn real_servers_are_known_by_address() {
    let shared = director(service(key(80), 0), &[destination(11, 8080)]);
    let address = destination(11, 0).address;
    let is_known = |protocol, port| shared.is_real_server(protocol, address, port);
    assert!(is_known(Protocol::Tcp, 8080));
    assert!(!is_known(Protocol::Udp, 8080) && !is_known(Protocol::Tcp, 80));
    shared.add_service(service(key(81), 0)).unwrap();
    shared
        .add_destination(&key(81), &destination(11, 8080))
        .unwrap();
    shared.delete_service(&key(80)).unwrap();
    assert!(is_known(Protocol::Tcp, 8080), "still in the other service");
    shared.flush();
    assert!(!is_known(Protocol::Tcp, 8080));
}

/// Whatever the number of workers, `rr` deals in turn and no threshold is exceeded.
#[test]
fn workers_share_one_scheduler() {
    let mut destinations: Vec<_> = (11..15).map(|last| destination(last, 80)).collect();
    destinations[0].upper_threshold = 10;
    let shared = director(service(key(80), 0), &destinations);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let shared = &shared;
            scope.spawn(move || {
                for port in 1000..1100 {
                    let _ = assigned(schedule(shared, &flow(client, port, 80), 0, at(0)));
                }
            });
        }
    });
    let counts: Vec<_> = (11..15)
        .map(|last| the_destination(&shared, &key(80), last).inactive())
        .collect();
    assert_eq!(counts, [10, 130, 130, 130]);
}

#[test]
fn impossible_real_servers_change_nothing() {
    let shared = director(service(key(80), 0), &[destination(11, 80)]);
    let generation = shared.generation();
    let with = |change: &dyn Fn(&mut DestinationConfig)| {
        let mut config = destination(12, 80);
        change(&mut config);
        shared.add_destination(&key(80), &config)
    };
    let v6 = IpAddr::V6(Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x11));
    let group = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1));
    let gue = |config: &mut DestinationConfig| config.tunnel.kind = TunnelKind::Gue;
    let known = destination(11, 80);
    let unknown = destination(12, 80);
    for (result, error, errno) in [
        (
            with(&|config| config.weight = -1),
            CommandError::NegativeWeight,
            34,
        ),
        (
            with(&|config| config.lower_threshold = 1),
            CommandError::ThresholdsCrossed,
            34,
        ),
        (
            with(&|config| config.upper_threshold = 1 << 31),
            CommandError::ThresholdTooLarge,
            22,
        ),
        (
            with(&|config| config.address = v6),
            CommandError::MixedFamilies,
            22,
        ),
        (
            with(&|config| config.address = group),
            CommandError::NotUnicast,
            22,
        ),
        (with(&gue), CommandError::TunnelPort, 22),
        (
            shared.add_destination(&key(80), &known),
            CommandError::DestinationExists,
            17,
        ),
        (
            shared.add_destination(&key(81), &known),
            CommandError::NoService,
            3,
        ),
        (
            shared.edit_destination(&key(80), &unknown),
            CommandError::NoDestination,
            2,
        ),
        (
            shared.delete_destination(&key(80), unknown.address, 80),
            CommandError::NoDestination,
            2,
        ),
    ] {
        assert_eq!(result, Err(error));
        assert_eq!(error.errno(), errno);
    }
    assert_eq!(shared.generation(), generation);
    assert_eq!(shared.snapshot().in_order()[0].destinations.len(), 1);
}

/// A tunnel reaches the other address family.
#[test]
fn tunnels_mix_families() {
    let shared = director(service(key(80), 0), &[]);
    let config = DestinationConfig {
        address: Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x11).into(),
        method: Method::Tunnel,
        ..destination(0, 80)
    };
    shared.add_destination(&key(80), &config).unwrap();
    let assignment = assigned(schedule(&shared, &flow(1, 1, 80), 0, at(0)));
    assert_eq!(assignment.destination.address, config.address);
    assert_eq!(assignment.method, Method::Tunnel);
}

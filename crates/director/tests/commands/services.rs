//! Virtual services: how they are found, made, edited and deleted.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use director::service::FLAG_ONE_PACKET;
use director::shared::Timeouts;
use proptest::prelude::*;

use super::*;

/// Mark before address, exact port before the FTP service, that before the any-port service.
#[test]
fn services_are_found_in_the_kernels_order() {
    let shared = Shared::new(Options::default());
    let mark = ServiceKey::Mark {
        family: Family::V4,
        mark: 7,
    };
    for key in [mark, key(80), key(21), key(0)] {
        shared.add_service(service(key, FLAG_PERSISTENT)).unwrap();
    }
    let services = shared.snapshot();
    let found = |port, mark| {
        services
            .lookup(Protocol::Tcp, VIP, port, mark)
            .map(|s| s.config.key)
    };
    assert_eq!(found(80, 7), Some(mark));
    assert_eq!(found(80, 8), Some(key(80)));
    assert_eq!(found(20, 0), Some(key(21)), "FTP data");
    assert_eq!(found(40_000, 0), Some(key(21)), "passive FTP data");
    assert_eq!(found(443, 0), Some(key(0)), "not a data port");
    assert!(services.lookup(Protocol::Udp, VIP, 80, 0).is_none());
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    assert!(services.lookup(Protocol::Tcp, v6, 80, 7).is_none());
    shared.delete_service(&key(21)).unwrap();
    let after = shared.snapshot();
    let found = after.lookup(Protocol::Tcp, VIP, 20, 0).unwrap();
    assert_eq!(found.config.key, key(0));
    assert_eq!(services.len(), 4, "an old version stays as it was");
}

/// Connections of a service that was deleted and made again count at the new one, from zero.
#[test]
fn a_service_made_again_counts_from_zero() {
    let shared = director(service(key(80), 0), &[destination(11, 80)]);
    let assignment = assigned(schedule(&shared, &flow(1, 1, 80), 0, at(0)));
    shared.count_connection(0, &assignment.destination);
    shared.estimate();
    let before = Arc::clone(shared.snapshot().get(&key(80)).unwrap());
    assert_eq!(before.stats.shown().connections, 1);
    shared.delete_service(&key(80)).unwrap();
    assert!(!assignment.destination.is_available());
    let scheduled = shared.schedule(&before, &flow(1, 2, 80), None, at(0));
    assert!(
        matches!(scheduled, Scheduled::NoDestination),
        "an old version picks nothing"
    );
    shared.add_service(service(key(80), 0)).unwrap();
    shared
        .add_destination(&key(80), &destination(11, 80))
        .unwrap();
    shared.count_in(0, &assignment.destination, 40);
    shared.estimate();
    let after = Arc::clone(shared.snapshot().get(&key(80)).unwrap());
    let destination = the_destination(&shared, &key(80), 11);
    for stats in [&*after.stats, &destination.stats] {
        let shown = stats.shown();
        assert_eq!((shown.connections, shown.in_packets), (0, 1));
    }
    assert_eq!(shared.stats.shown().connections, 1);
}

/// A service of no scheduler exists and refuses.
#[test]
fn a_service_may_have_no_scheduler() {
    let config = ServiceConfig {
        scheduler: "none".to_owned(),
        ..service(key(80), 0)
    };
    let shared = director(config, &[destination(11, 80)]);
    assert!(matches!(
        schedule(&shared, &flow(1, 1, 80), 0, at(0)),
        Scheduled::NoDestination
    ));
    shared.edit_service(service(key(80), 0)).unwrap();
    assert!(matches!(
        schedule(&shared, &flow(1, 1, 80), 0, at(0)),
        Scheduled::Assigned(_)
    ));
}

proptest! {
    /// The parts of a version make up exactly the services that were added and not deleted.
    #[test]
    fn services_are_a_set(commands in proptest::collection::vec((any::<bool>(), 0..40_u16), 0..200)) {
        let shared = Shared::new(Options::default());
        let mut model = BTreeSet::new();
        for (add, port) in commands {
            let done = if add {
                shared.add_service(service(key(port), 0)).is_ok() == model.insert(port)
            } else {
                shared.delete_service(&key(port)).is_ok() == model.remove(&port)
            };
            prop_assert!(done);
        }
        let services = shared.snapshot();
        prop_assert_eq!(services.len(), model.len());
        let found: BTreeSet<_> = services.iter().map(|service| service.config.key.port()).collect();
        prop_assert_eq!(&found, &model);
        prop_assert!(model.iter().all(|&port| services.get(&key(port)).is_some()));
        let numbers: Vec<_> = services.in_order().iter().map(|service| service.number).collect();
        prop_assert!(numbers.is_sorted());
    }
}

#[test]
fn one_packet_is_for_udp() {
    let udp = ServiceKey::Address {
        protocol: Protocol::Udp,
        address: VIP,
        port: 53,
    };
    let shared = director(service(udp, FLAG_ONE_PACKET), &[destination(11, 0)]);
    let datagram = Flow {
        protocol: Protocol::Udp,
        ..flow(1, 1, 53)
    };
    let assignment = assigned(schedule(&shared, &datagram, 0, at(0)));
    assert!(assignment.one_packet);
    assert_eq!(
        assignment.port, 53,
        "a real server without a port keeps the packet's"
    );
    let shared = director(service(key(80), FLAG_ONE_PACKET), &[destination(11, 80)]);
    assert!(!assigned(schedule(&shared, &flow(1, 1, 80), 0, at(0))).one_packet);
}

#[test]
fn impossible_services_change_nothing() {
    let shared = director(service(key(80), 0), &[]);
    let generation = shared.generation();
    let edited = |change: &dyn Fn(&mut ServiceConfig)| {
        let mut config = service(key(81), 0);
        change(&mut config);
        shared.add_service(config)
    };
    let v6 = ServiceKey::Mark {
        family: Family::V6,
        mark: 1,
    };
    let too_long = Timeouts {
        tcp: u32::MAX,
        ..Timeouts::default()
    };
    let no = || "no".to_owned();
    for (result, error, errno) in [
        (
            shared.add_service(service(key(80), 0)),
            CommandError::ServiceExists,
            17,
        ),
        (
            shared.edit_service(service(key(81), 0)),
            CommandError::NoService,
            3,
        ),
        (shared.delete_service(&key(81)), CommandError::NoService, 3),
        (shared.zero(Some(&key(81))), CommandError::NoService, 3),
        (
            edited(&|config| config.scheduler = no()),
            CommandError::NoScheduler,
            2,
        ),
        (
            edited(&|config| config.persistence_engine = Some(no())),
            CommandError::NoPersistenceEngine,
            2,
        ),
        (
            edited(&|config| config.key = v6),
            CommandError::PrefixLength,
            22,
        ),
        (
            shared.set_timeouts(too_long),
            CommandError::TimeoutTooLong,
            22,
        ),
    ] {
        assert_eq!(result, Err(error));
        assert_eq!(error.errno(), errno);
    }
    assert_eq!(shared.generation(), generation);
    assert_eq!(shared.snapshot().len(), 1);
}

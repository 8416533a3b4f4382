//! Commands on the shared director, and what new connections make of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use director::assign::{Assignment, Scheduled};
use director::destination::{Destination, DestinationConfig, Method, TunnelConfig};
use director::protocol::Protocol;
use director::scheduler::Flow;
use director::service::{FLAG_ONE_PACKET, FLAG_PERSISTENT, ServiceConfig, ServiceKey};
use director::shared::{CommandError, Options, Shared, Timeouts};
use director::template::Template;
use director::time::Instant;
use packet::Family;
use proptest::prelude::*;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1));

fn key(port: u16) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: VIP,
        port,
    }
}

fn service(key: ServiceKey, flags: u32) -> ServiceConfig {
    ServiceConfig {
        key,
        scheduler: "rr".to_owned(),
        flags,
        timeout: 30,
        netmask: if key.family() == Family::V4 {
            u32::MAX
        } else {
            64
        },
        persistence_engine: None,
    }
}

fn destination(last: u8, port: u16) -> DestinationConfig {
    DestinationConfig {
        address: Ipv4Addr::new(10, 2, 0, last).into(),
        port,
        method: Method::DirectRoute,
        tunnel: TunnelConfig::default(),
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

fn flow(client: u8, source_port: u16, destination_port: u16) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        source: Ipv4Addr::new(192, 0, 2, client).into(),
        source_port,
        destination: VIP,
        destination_port,
    }
}

fn at(seconds: u64) -> Instant {
    Instant::START.after(Duration::from_secs(seconds))
}

/// A director with one service and its real servers.
fn director(config: ServiceConfig, destinations: &[DestinationConfig]) -> Shared {
    let shared = Shared::new(Options::default());
    let key = config.key;
    shared.add_service(config).unwrap();
    for destination in destinations {
        shared.add_destination(&key, destination).unwrap();
    }
    shared
}

fn schedule(shared: &Shared, flow: &Flow, mark: u32, now: Instant) -> Scheduled {
    let services = shared.snapshot();
    let service = services.lookup(flow.protocol, flow.destination, flow.destination_port, mark);
    shared.schedule(service.expect("a service"), flow, None, now)
}

fn assigned(scheduled: Scheduled) -> Assignment {
    match scheduled {
        Scheduled::Assigned(assignment) => assignment,
        other => panic!("{other:?}"),
    }
}

fn templates(shared: &Shared) -> Vec<Arc<Template>> {
    let mut templates = Vec::new();
    shared.for_each_template(|template| templates.push(Arc::clone(template)));
    templates
}

fn the_destination(shared: &Shared, key: &ServiceKey, last: u8) -> Arc<Destination> {
    let services = shared.snapshot();
    let service = services.get(key).unwrap();
    let config = destination(last, 80);
    Arc::clone(service.destination(config.address, config.port).unwrap())
}

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

#[test]
fn impossible_commands_change_nothing() {
    let shared = director(service(key(80), 0), &[destination(11, 80)]);
    let generation = shared.generation();
    let with = |change: &dyn Fn(&mut DestinationConfig)| {
        let mut config = destination(12, 80);
        change(&mut config);
        shared.add_destination(&key(80), &config)
    };
    let v6 = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x11);
    let cases = [
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
            with(&|config| config.address = v6.into()),
            CommandError::MixedFamilies,
            22,
        ),
        (
            with(&|config| config.address = Ipv4Addr::new(224, 0, 0, 1).into()),
            CommandError::NotUnicast,
            22,
        ),
        (
            shared.add_destination(&key(80), &destination(11, 80)),
            CommandError::DestinationExists,
            17,
        ),
        (
            shared.edit_destination(&key(80), &destination(12, 80)),
            CommandError::NoDestination,
            2,
        ),
        (
            shared.add_service(ServiceConfig {
                scheduler: "no".to_owned(),
                ..service(key(81), 0)
            }),
            CommandError::NoScheduler,
            2,
        ),
        (
            shared.add_service(ServiceConfig {
                persistence_engine: Some("no".to_owned()),
                ..service(key(81), 0)
            }),
            CommandError::NoPersistenceEngine,
            2,
        ),
        (
            shared.set_timeouts(Timeouts {
                tcp: u32::MAX,
                ..Timeouts::default()
            }),
            CommandError::TimeoutTooLong,
            22,
        ),
    ];
    for (result, error, errno) in cases {
        assert_eq!(result, Err(error));
        assert_eq!(error.errno(), errno);
    }
    assert_eq!(shared.generation(), generation);
    let services = shared.snapshot();
    assert_eq!(services.len(), 1);
    assert_eq!(services.get(&key(80)).unwrap().destinations.len(), 1);
}

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

/// [timeouts.template]: renewed by new connections only; extended by 60 s while one lives.
#[test]
fn templates_live_as_recorded() {
    let destinations = [destination(11, 80), destination(12, 80)];
    let shared = director(service(key(80), FLAG_PERSISTENT), &destinations);
    let first = assigned(schedule(&shared, &flow(10, 1001, 80), 0, at(0)));
    let second = assigned(schedule(&shared, &flow(10, 1002, 80), 0, at(5)));
    assert!(Arc::ptr_eq(&first.destination, &second.destination));
    let template = first.template.unwrap();
    assert_eq!((template.connections(), template.expires()), (2, at(35)));
    assert_eq!(template.destination.persistent(), 1);
    shared.release_template(&template, false);
    shared.expire_templates(at(34), usize::MAX);
    assert_eq!(template.expires(), at(35));
    shared.expire_templates(at(40), usize::MAX);
    assert_eq!(template.expires(), at(95));
    shared.release_template(&template, false);
    shared.expire_templates(at(94), usize::MAX);
    assert_eq!(templates(&shared).len(), 1);
    shared.expire_templates(at(95), usize::MAX);
    assert_eq!(templates(&shared).len(), 0);
    assert_eq!(template.destination.persistent(), 0);
    let third = assigned(schedule(&shared, &flow(10, 1003, 80), 0, at(96)));
    assert!(!Arc::ptr_eq(&third.template.unwrap(), &template));
}

/// Whoever comes first after a template's end finds it ended, however late the timers are.
#[test]
fn an_expired_template_is_not_found() {
    let destinations = [destination(11, 80), destination(12, 80)];
    let shared = director(service(key(80), FLAG_PERSISTENT), &destinations);
    let first = assigned(schedule(&shared, &flow(10, 1001, 80), 0, at(0)));
    let template = first.template.unwrap();
    shared.release_template(&template, false);
    let second = assigned(schedule(&shared, &flow(10, 1002, 80), 0, at(31)));
    assert!(!Arc::ptr_eq(&second.destination, &first.destination));
    assert_eq!(first.destination.persistent(), 0);
    assert_eq!(
        shared.expire_templates(at(31), usize::MAX),
        1,
        "its deadline is due"
    );
    assert_eq!(first.destination.persistent(), 0);
}

/// A connection that was thrown out takes an unused template along, unless it was ever established.
#[test]
fn a_dropped_connection_may_end_its_template() {
    let shared = director(service(key(80), FLAG_PERSISTENT), &[destination(11, 80)]);
    for (assured, left) in [(false, 0), (true, 1)] {
        let assignment = assigned(schedule(&shared, &flow(10, 1001, 80), 0, at(0)));
        let template = assignment.template.unwrap();
        if assured {
            template.assure();
        }
        shared.release_template(&template, true);
        assert_eq!(templates(&shared).len(), left);
    }
}

/// [persistence.quiesce], [persistence.deleted].
#[test]
fn templates_are_given_up() {
    let destinations = [destination(11, 80), destination(12, 80)];
    let shared = director(service(key(80), FLAG_PERSISTENT), &destinations);
    let first = assigned(schedule(&shared, &flow(10, 1001, 80), 0, at(0)));
    let mut config = destination(12, 80);
    config.weight = 0;
    shared.edit_destination(&key(80), &config).unwrap();
    let same = assigned(schedule(&shared, &flow(10, 1002, 80), 0, at(0)));
    assert!(
        Arc::ptr_eq(&same.destination, &first.destination),
        "weight 0 is followed"
    );
    shared
        .sysctls
        .write("expire_quiescent_template", "1")
        .unwrap();
    let other = assigned(schedule(&shared, &flow(10, 1003, 80), 0, at(0)));
    assert!(!Arc::ptr_eq(&other.destination, &first.destination));
    let ports: BTreeSet<_> = templates(&shared)
        .iter()
        .map(|template| (template.virtual_port(), template.destination_port()))
        .collect();
    assert_eq!(ports, BTreeSet::from([(80, 80), (65_535, 65_535)]));
    shared
        .delete_destination(&key(80), other.destination.address, 80)
        .unwrap();
    let none = schedule(&shared, &flow(10, 1004, 80), 0, at(0));
    assert!(matches!(none, Scheduled::NoDestination));
}

/// [fwmark.dr], [persistence.ftp]: one template for all addresses of a mark, for all ports of FTP.
#[test]
fn marks_and_ftp_have_one_template() {
    let mark = ServiceKey::Mark {
        family: Family::V4,
        mark: 0x0102_0304,
    };
    let shared = director(service(mark, FLAG_PERSISTENT), &[destination(11, 0)]);
    for port in [80, 443] {
        let assignment = assigned(schedule(&shared, &flow(10, 1001, port), 0x0102_0304, at(0)));
        assert_eq!(assignment.port, port);
    }
    let [template] = &templates(&shared)[..] else {
        panic!("one template")
    };
    assert_eq!(template.key().protocol, None);
    assert_eq!(
        template.key().virtual_address,
        IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4))
    );
    assert_eq!(
        (template.virtual_port(), template.destination_port()),
        (0, 0)
    );

    let shared = director(service(key(21), FLAG_PERSISTENT), &[destination(11, 2121)]);
    let control = assigned(schedule(&shared, &flow(10, 1001, 21), 0, at(0)));
    let data = assigned(schedule(&shared, &flow(10, 1002, 40_000), 0, at(0)));
    assert_eq!((control.port, data.port), (2121, 40_000));
    assert_eq!(templates(&shared).len(), 1);
    let active = schedule(&shared, &flow(10, 20, 21), 0, at(0));
    assert!(
        matches!(active, Scheduled::Pass),
        "source port 20 is never scheduled"
    );
    shared
        .delete_destination(&key(21), control.destination.address, 2121)
        .unwrap();
    let unknown = schedule(&shared, &flow(11, 1001, 40_000), 0, at(0));
    assert!(
        matches!(unknown, Scheduled::Pass),
        "not refused: it may be another service's"
    );
}

/// `-M 64`: clients of one IPv6 network share a template.
#[test]
fn ipv6_clients_are_masked() {
    let vip = Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, 0, 1);
    let key = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: vip.into(),
        port: 80,
    };
    let server = |last| DestinationConfig {
        address: Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, last).into(),
        ..destination(0, 80)
    };
    let shared = director(service(key, FLAG_PERSISTENT), &[server(0x11), server(0x12)]);
    let from = |network, host| Flow {
        source: Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host).into(),
        destination: vip.into(),
        ..flow(0, 1001, 80)
    };
    let pick = |flow: &Flow| {
        assigned(schedule(&shared, flow, 0, at(0)))
            .destination
            .address
    };
    assert_eq!(pick(&from(1, 1)), pick(&from(1, 2)));
    assert_ne!(pick(&from(1, 3)), pick(&from(2, 1)));
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

/// Without what its persistence engine looks for, a packet is dropped.
#[test]
fn a_persistence_engine_needs_data() {
    let config = ServiceConfig {
        persistence_engine: Some("sip".to_owned()),
        ..service(key(80), FLAG_PERSISTENT)
    };
    let shared = director(config, &[destination(11, 80), destination(12, 80)]);
    assert!(matches!(
        schedule(&shared, &flow(1, 1, 80), 0, at(0)),
        Scheduled::Drop
    ));
    let services = shared.snapshot();
    let service = services.get(&key(80)).unwrap();
    let call = |id: &[u8]| {
        let scheduled = shared.schedule(service, &flow(1, 1, 80), Some(id), at(0));
        assigned(scheduled).destination.address
    };
    assert_eq!(call(b"a"), call(b"a"));
    assert_ne!(call(b"a"), call(b"b"));
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

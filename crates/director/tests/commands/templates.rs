//! Persistence templates: how long they live, who finds them, when they are given up.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use director::template::{Ended, Template};

use super::*;

fn templates(shared: &Shared) -> Vec<Arc<Template>> {
    let mut templates = Vec::new();
    shared.for_each_template(|template| templates.push(Arc::clone(template)));
    templates
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
    shared.release_template(&template, Ended::InTime);
    shared.expire_templates(at(34), usize::MAX);
    assert_eq!(template.expires(), at(35));
    shared.expire_templates(at(40), usize::MAX);
    assert_eq!(template.expires(), at(95));
    shared.release_template(&template, Ended::InTime);
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
    shared.release_template(&template, Ended::InTime);
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

/// A connection that was thrown out takes an unused template along, unless that was ever assured; one whose real server
/// was deleted takes it along in any case ([found.nodest_templates]).
#[test]
fn a_connection_may_end_its_template() {
    let shared = director(service(key(80), FLAG_PERSISTENT), &[destination(11, 80)]);
    for (assured, ended, left) in [
        (false, Ended::InTime, 1),
        (false, Ended::Dropped, 0),
        (true, Ended::Dropped, 1),
        (true, Ended::Orphaned, 0),
        (false, Ended::Orphaned, 0),
    ] {
        let assignment = assigned(schedule(&shared, &flow(10, 1001, 80), 0, at(0)));
        let template = assignment.template.unwrap();
        if assured {
            template.assure();
        }
        shared.release_template(&template, ended);
        assert_eq!(templates(&shared).len(), left, "{ended:?}");
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

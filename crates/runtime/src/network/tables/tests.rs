//! Tables fed with the kernel's messages.

use super::*;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn link(index: u32, name: &str, up: bool) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.link_layer_type = LinkLayerType::Ether;
    if up {
        message.header.flags = LinkFlags::Up | LinkFlags::Running;
    }
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
    ];
    RouteNetlinkMessage::NewLink(message)
}

fn address(index: u32, text: &str, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix_len;
    message.attributes = vec![AddressAttribute::Local(ip(text))];
    message
}

pub(crate) fn route(
    to: &str,
    len: u8,
    kind: RouteType,
    attributes: Vec<RouteAttribute>,
) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = 2.into();
    message.header.destination_prefix_length = len;
    message.header.table = if kind == RouteType::Local { 255 } else { 254 };
    message.header.kind = kind;
    message.attributes = attributes;
    if len > 0 {
        let destination = RouteAttribute::Destination(ip(to).into());
        message.attributes.push(destination);
    }
    message
}

/// eth0 with 10.1.0.1/24 and a default route, eth1 without addresses, 10.9.0.0/16 blackholed.
pub(crate) fn world() -> Tables {
    let mut tables = Tables::default();
    tables.apply(&link(2, "eth0", true), false);
    tables.apply(&link(3, "eth1", true), false);
    tables.apply(
        &RouteNetlinkMessage::NewAddress(address(2, "10.1.0.1", 24)),
        false,
    );
    let add =
        |tables: &mut Tables, route| tables.apply(&RouteNetlinkMessage::NewRoute(route), false);
    let oif = RouteAttribute::Oif;
    add(
        &mut tables,
        route("10.1.0.1", 32, RouteType::Local, vec![oif(2)]),
    );
    add(
        &mut tables,
        route("10.1.0.0", 24, RouteType::Unicast, vec![oif(2)]),
    );
    let gateway = RouteAttribute::Gateway(ip("10.1.0.254").into());
    add(
        &mut tables,
        route("0.0.0.0", 0, RouteType::Unicast, vec![oif(2), gateway]),
    );
    add(
        &mut tables,
        route("10.9.0.0", 16, RouteType::BlackHole, vec![]),
    );
    tables
}

#[test]
fn the_kernel_order_of_tables_and_prefixes() {
    let tables = world();
    assert!(tables.is_local(ip("10.1.0.1")));
    assert!(!tables.is_local(ip("10.1.0.2")));
    let kind = |to: &str| {
        tables
            .lookup(ip(to))
            .map(|route| (route.kind, route.gateway))
    };
    assert_eq!(kind("10.1.0.2"), Some((RouteKind::Unicast, None)));
    assert_eq!(kind("10.9.1.1"), Some((RouteKind::Blackhole, None)));
    assert_eq!(
        kind("8.8.8.8"),
        Some((RouteKind::Unicast, Some(ip("10.1.0.254"))))
    );
    assert_eq!(tables.lookup(ip("fd00::1")), None);
    assert_eq!(tables.connected(ip("10.1.0.77")), Some(2));
    assert_eq!(tables.connected(ip("10.2.0.77")), None);
}

#[test]
fn routes_over_a_link_that_is_down_do_not_count() {
    let mut tables = world();
    assert_eq!(
        tables.apply(&link(2, "eth0", false), false),
        Change::Interface
    );
    assert_eq!(tables.lookup(ip("10.1.0.2")), None);
    assert_eq!(
        tables.apply(&link(2, "eth0", false), false),
        Change::Nothing
    );
    assert_eq!(
        tables.apply(&link(2, "eth0", true), false),
        Change::Interface
    );
    assert!(tables.lookup(ip("10.1.0.2")).is_some());
}

#[test]
fn replacing_and_deleting_routes() {
    let mut tables = world();
    let other = route(
        "10.1.0.0",
        24,
        RouteType::Unicast,
        vec![RouteAttribute::Oif(3)],
    );
    let added = RouteNetlinkMessage::NewRoute(other.clone());
    assert_eq!(tables.apply(&added, true), Change::Route);
    assert_eq!(tables.lookup(ip("10.1.0.2")).unwrap().interface, 3);
    assert_eq!(tables.apply(&added, true), Change::Nothing);
    let deleted = RouteNetlinkMessage::DelRoute(other);
    assert_eq!(tables.apply(&deleted, false), Change::Route);
    assert_eq!(tables.apply(&deleted, false), Change::Nothing);
    assert_eq!(
        tables.lookup(ip("10.1.0.2")).unwrap().gateway,
        Some(ip("10.1.0.254"))
    );
}

#[test]
fn neighbours_come_and_go() {
    let mut tables = world();
    let neighbour = |state| {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 2;
        message.header.state = state;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 1, 0, 7].into())),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 7]),
        ];
        RouteNetlinkMessage::NewNeighbour(message)
    };
    let key = (2, ip("10.1.0.7"));
    let changes = [
        (NeighbourState::Incomplete, Change::Nothing, false),
        (NeighbourState::Reachable, Change::Neighbour, true),
        (NeighbourState::Stale, Change::Nothing, true),
        (NeighbourState::Failed, Change::Neighbour, false),
    ];
    for (state, change, known) in changes {
        assert_eq!(tables.apply(&neighbour(state), false), change, "{state:?}");
        assert_eq!(tables.neighbours().contains_key(&key), known, "{state:?}");
    }
    tables.apply(&neighbour(NeighbourState::Permanent), false);
    let RouteNetlinkMessage::NewLink(gone) = link(2, "eth0", true) else {
        unreachable!()
    };
    tables.apply(&RouteNetlinkMessage::DelLink(gone), false);
    assert!(tables.neighbours().is_empty());
    assert!(tables.links().get(&2).is_none());
}

#[test]
fn prefixes() {
    for (network, len, address, inside) in [
        ("10.0.0.0", 0, "1.2.3.4", true),
        ("10.0.0.0", 8, "10.2.3.4", true),
        ("10.0.0.0", 8, "11.2.3.4", false),
        ("10.0.0.1", 32, "10.0.0.1", true),
        ("10.0.0.1", 32, "10.0.0.2", false),
        ("fd00::", 64, "fd00::1", true),
        ("fd00::", 64, "fd00:0:0:1::1", false),
        ("::", 0, "10.0.0.1", false),
    ] {
        assert_eq!(
            contains(ip(network), len, ip(address)),
            inside,
            "{address} in {network}/{len}"
        );
    }
}

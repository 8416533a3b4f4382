//! What a table promises, case by case.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use packet::Transport;

use super::{
    Connection, Cursor, FlowKey, Full, HashKind, NewConnection, State, StateRules, Table,
    TableConfig, tcp,
};
use crate::destination::Method;
use crate::protocol::{Direction, Protocol};
use crate::time::Instant;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1));
const VIP_2: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 0, 2));
const RIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 11));

fn table() -> Table {
    Table::new(&TableConfig {
        max_connections: 1000,
        hash: HashKind::Fold,
        seed: [1, 2],
    })
}

fn connection(port: u16, vip: IpAddr, method: Method) -> Connection {
    let new = NewConnection {
        protocol: Protocol::Tcp,
        client: (CLIENT, port),
        virtual_server: (vip, 80),
        server: (RIP, 8080),
        destination: None,
        template: None,
        method,
        mark: 0,
        client_interface: 2,
        client_vlan: 0,
    };
    Connection::new(new)
}

fn key(source: (IpAddr, u16), destination: (IpAddr, u16)) -> FlowKey {
    FlowKey {
        protocol: 6,
        source,
        destination,
    }
}

fn seconds(seconds: u64) -> Instant {
    Instant::START.after(Duration::from_secs(seconds))
}

fn segment(flags: u8) -> Transport {
    Transport::Tcp {
        source: 0,
        destination: 0,
        sequence: 0,
        acknowledgment: 0,
        flags,
        header_len: 20,
    }
}

#[test]
fn nat_is_found_from_both_sides_and_others_from_one() {
    let mut table = table();
    let nat = table
        .insert(connection(2001, VIP, Method::Masq), seconds(0))
        .unwrap();
    let route = table
        .insert(connection(2002, VIP, Method::DirectRoute), seconds(0))
        .unwrap();
    let find = |source, destination| table.find(&key(source, destination));
    assert_eq!(
        find((CLIENT, 2001), (VIP, 80)),
        Some((nat, Direction::ToServer))
    );
    assert_eq!(
        find((RIP, 8080), (CLIENT, 2001)),
        Some((nat, Direction::ToClient))
    );
    assert_eq!(
        find((CLIENT, 2002), (VIP, 80)),
        Some((route, Direction::ToServer))
    );
    assert_eq!(find((RIP, 8080), (CLIENT, 2002)), None);
    assert_eq!(find((CLIENT, 2003), (VIP, 80)), None);
}

/// Recording `misc.two_vips_same_rs` (BEHAVIOURS 19).
#[test]
fn the_newest_gets_the_replies() {
    let mut table = table();
    let ids = [VIP, VIP_2, VIP, VIP_2].map(|vip| {
        table
            .insert(connection(2001, vip, Method::Masq), seconds(0))
            .unwrap()
    });
    for &id in ids.iter().rev() {
        let found = table.find(&key((RIP, 8080), (CLIENT, 2001)));
        assert_eq!(found, Some((id, Direction::ToClient)));
        assert!(table.remove(id).is_some());
    }
    assert!(table.is_empty());
    assert_eq!(table.find(&key((RIP, 8080), (CLIENT, 2001))), None);
}

#[test]
fn a_packet_moves_the_end_of_life() {
    let rules = StateRules::default();
    let mut table = table();
    let id = table
        .insert(connection(2001, VIP, Method::Masq), seconds(0))
        .unwrap();
    let mut observe = |flags, direction, at| {
        table.observe(id, &segment(flags), direction, rules, seconds(at));
        let connection = table.get(id).unwrap();
        assert_eq!(
            connection.expires_in(seconds(at)).as_secs(),
            connection.timeout().into()
        );
        connection.state()
    };
    let (to_server, to_client) = (Direction::ToServer, Direction::ToClient);
    assert_eq!(observe(2, to_server, 1), State::Tcp(tcp::State::SynRecv));
    assert_eq!(observe(0x12, to_client, 1), State::Tcp(tcp::State::SynRecv));
    assert_eq!(
        observe(0x10, to_server, 2),
        State::Tcp(tcp::State::Established)
    );
    assert_eq!(
        observe(0x10, to_server, 3),
        State::Tcp(tcp::State::Established)
    );
    assert_eq!(observe(4, to_server, 4), State::Tcp(tcp::State::Close));
    let mut ended = 0;
    assert!(table.expire(seconds(13), 100, |_| ended += 1));
    assert_eq!(table.get(id).map(|it| it.packets()), Some(4));
    let tick = seconds(14).after(Duration::from_millis(5));
    assert!(table.expire(tick, 100, |_| ended += 1));
    assert_eq!((ended, table.get(id).is_none(), table.len()), (1, true, 0));
    assert_eq!(table.next_expiry(), None);
}

#[test]
fn an_expiring_connection_is_found_until_it_is_gone_and_lives_on_if_refreshed() {
    let mut table = table();
    let id = table
        .insert(connection(2001, VIP, Method::Masq), seconds(5))
        .unwrap();
    let ms = |milliseconds| seconds(7).after(Duration::from_millis(milliseconds));
    table.expire_now(id, seconds(7));
    let found = table.find(&key((CLIENT, 2001), (VIP, 80)));
    assert_eq!(found, Some((id, Direction::ToServer)));
    let mut listed = 0;
    let rest = table.list(Cursor::default(), 10, |_, connection| {
        listed += 1;
        assert_eq!(connection.expires_in(seconds(7)).as_secs(), 0);
    });
    assert_eq!((listed, rest), (1, None));
    assert!(table.expire(ms(1), 100, drop));
    assert_eq!(table.len(), 1);
    table.refresh(id, ms(1));
    assert!(table.expire(ms(100), 100, drop));
    assert_eq!(table.len(), 1, "it was wanted again");
    table.expire_now(id, ms(100));
    assert!(table.expire(ms(108), 100, drop));
    assert!(table.is_empty());
}

#[test]
fn a_full_table_refuses_and_changes_nothing() {
    let mut table = Table::new(&TableConfig {
        max_connections: 1,
        hash: HashKind::Sip13,
        seed: [1, 2],
    });
    let first = connection(1, VIP, Method::Tunnel);
    assert!(table.insert(first, seconds(0)).is_ok());
    let second = connection(2, VIP, Method::Tunnel);
    assert_eq!(table.insert(second, seconds(0)), Err(Full));
    assert_eq!(table.find(&key((CLIENT, 2), (VIP, 80))), None);
    assert_eq!(table.len(), 1);
}

#[test]
fn an_old_name_does_not_find_a_new_connection() {
    let mut table = table();
    let old = table
        .insert(connection(1, VIP, Method::Masq), seconds(0))
        .unwrap();
    assert!(table.remove(old).is_some());
    let new = table
        .insert(connection(2, VIP, Method::Masq), seconds(0))
        .unwrap();
    assert!(table.get(old).is_none() && table.remove(old).is_none());
    assert!(table.get(new).is_some());
}

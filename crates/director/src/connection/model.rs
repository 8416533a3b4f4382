//! The table against a list that is searched from end to end, under random operations.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use packet::Transport;
use proptest::prelude::*;

use super::{
    Connection, ConnectionId, Cursor, FlowKey, HashKind, NewConnection, StateRules, Table,
    TableConfig,
};
use crate::destination::Method;
use crate::protocol::{Direction, Protocol};
use crate::time::Instant;

/// The wheel's tick, nanoseconds.
const TICK: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
struct Flow {
    v6: bool,
    client: u8,
    port: u16,
    vip: u8,
    server: u8,
    masq: bool,
}

impl Flow {
    fn address(self, net: u8, host: u8) -> IpAddr {
        if self.v6 {
            Ipv6Addr::new(0xfd00, u16::from(net), 0, 0, 0, 0, 0, u16::from(host)).into()
        } else {
            Ipv4Addr::new(10, net, 0, host).into()
        }
    }

    fn connection(self) -> Connection {
        let new = NewConnection {
            protocol: Protocol::Tcp,
            client: (self.address(1, self.client), self.port),
            virtual_server: (self.address(8, self.vip), 80),
            server: (self.address(2, self.server), 8080),
            destination: None,
            template: None,
            method: if self.masq {
                Method::Masq
            } else {
                Method::DirectRoute
            },
            mark: 0,
            client_interface: 1,
            client_vlan: 0,
        };
        Connection::new(new)
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Insert(Flow),
    Remove(prop::sample::Index),
    Observe(prop::sample::Index, u8, bool),
    Refresh(prop::sample::Index),
    ExpireNow(prop::sample::Index),
    /// Time goes on, and what is due is expired with this budget at a time.
    Pass(Duration, u32),
    Find(Flow),
    /// Ends the connections of a client.
    Sweep(u8, u32),
}

/// Few enough values that flows meet again, some in the replies only.
fn flow() -> impl Strategy<Value = Flow> {
    (
        any::<bool>(),
        0..3_u8,
        1..12_u16,
        0..3_u8,
        0..2_u8,
        prop::bool::weighted(0.8),
    )
        .prop_map(|(v6, client, port, vip, server, masq)| Flow {
            v6,
            client,
            port,
            vip,
            server,
            masq,
        })
}

fn operation() -> impl Strategy<Value = Operation> {
    let any_index = any::<prop::sample::Index>;
    let time = prop_oneof![
        (0..20_000_000_u64).prop_map(Duration::from_nanos),
        (0..20_000_u64).prop_map(Duration::from_millis),
        (0..2_000_u64).prop_map(Duration::from_secs),
        (0..400_u64).prop_map(|days| Duration::from_secs(days * 86_400)),
    ];
    prop_oneof![
        8 => flow().prop_map(Operation::Insert),
        1 => any_index().prop_map(Operation::Remove),
        8 => (any_index(), any::<u8>(), any::<bool>())
            .prop_map(|(at, flags, reply)| Operation::Observe(at, flags, reply)),
        2 => any_index().prop_map(Operation::Refresh),
        1 => any_index().prop_map(Operation::ExpireNow),
        4 => (time, 1..50_u32).prop_map(|(time, budget)| Operation::Pass(time, budget)),
        4 => flow().prop_map(Operation::Find),
        1 => (0..3_u8, 1..20_u32).prop_map(|(client, max)| Operation::Sweep(client, max)),
    ]
}

/// What the table must hold, oldest first.
#[derive(Debug)]
struct Entry {
    id: ConnectionId,
    client: FlowKey,
    reply: Option<FlowKey>,
    deadline: Instant,
}

struct Model {
    table: Table,
    entries: Vec<Entry>,
    now: Instant,
}

impl Model {
    fn new(kind: HashKind) -> Self {
        let config = TableConfig {
            max_connections: 150,
            hash: kind,
            seed: [5, 6],
        };
        Self {
            table: Table::new(&config),
            entries: Vec::new(),
            now: Instant::START,
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Insert(flow) => self.insert(*flow),
            Operation::Find(flow) => {
                let connection = flow.connection();
                self.find(&connection.client_key());
                self.find(&connection.client_key().reversed());
                if let Some(key) = connection.reply_key() {
                    self.find(&key);
                }
            }
            Operation::Pass(time, budget) => self.pass(*time, *budget),
            Operation::Sweep(client, max) => self.sweep(*client, *max),
            Operation::Remove(at) => {
                if !self.entries.is_empty() {
                    let entry = self.entries.remove(at.index(self.entries.len()));
                    let removed = self.table.remove(entry.id).unwrap();
                    assert_eq!(removed.client_key(), entry.client);
                    assert!(self.table.get(entry.id).is_none());
                }
            }
            Operation::Observe(at, flags, reply) => self.with(at, |table, id, now| {
                let direction = if *reply {
                    Direction::ToClient
                } else {
                    Direction::ToServer
                };
                let segment = Transport::Tcp {
                    source: 0,
                    destination: 0,
                    sequence: 0,
                    acknowledgment: 0,
                    flags: *flags,
                    header_len: 20,
                };
                table.observe(id, &segment, direction, StateRules::default(), now);
            }),
            Operation::Refresh(at) => self.with(at, Table::refresh),
            Operation::ExpireNow(at) => {
                self.with(at, Table::expire_now);
                if !self.entries.is_empty() {
                    let at = at.index(self.entries.len());
                    self.entries[at].deadline = self.now.after(Duration::from_millis(3));
                }
            }
        }
        assert_eq!(self.table.len(), self.entries.len());
    }

    /// Does something to a connection that sets its deadline a timeout from now.
    fn with(
        &mut self,
        at: &prop::sample::Index,
        change: impl FnOnce(&mut Table, ConnectionId, Instant),
    ) {
        if self.entries.is_empty() {
            return;
        }
        let entry = &mut self.entries[at.index(self.table.len())];
        change(&mut self.table, entry.id, self.now);
        let timeout = self.table.get(entry.id).unwrap().timeout();
        entry.deadline = self.now.after(Duration::from_secs(timeout.into()));
    }

    fn insert(&mut self, flow: Flow) {
        let connection = flow.connection();
        let (client, reply) = (connection.client_key(), connection.reply_key());
        let inserted = self.table.insert(connection, self.now);
        assert_eq!(inserted.is_err(), self.entries.len() == 150);
        self.entries.extend(inserted.ok().map(|id| Entry {
            id,
            client,
            reply,
            deadline: self.now.after(Duration::from_secs(3)),
        }));
        self.find(&client);
    }

    fn find(&self, key: &FlowKey) {
        let expected = self.entries.iter().rev().find_map(|it| {
            if it.client == *key {
                Some((it.id, Direction::ToServer))
            } else {
                (it.reply == Some(*key)).then_some((it.id, Direction::ToClient))
            }
        });
        assert_eq!(self.table.find(key), expected, "{key:?}");
    }

    fn pass(&mut self, time: Duration, budget: u32) {
        self.now = self.now.after(time);
        let tick = self.now.as_nanos() / TICK;
        let due = |it: &Entry| it.deadline.as_nanos().div_ceil(TICK) <= tick;
        let mut expected: Vec<_> = self
            .entries
            .iter()
            .filter(|it| due(it))
            .map(|it| it.client)
            .collect();
        self.entries.retain(|it| !due(it));
        let mut expired = Vec::new();
        // Each connection may be met on each of the eight levels, each time after a jump.
        let mut steps = 16 * (self.entries.len() + expected.len() + 1);
        while !self
            .table
            .expire(self.now, budget, |it| expired.push(it.client_key()))
        {
            steps = steps
                .checked_sub(budget as usize)
                .expect("expiry takes too many steps");
        }
        let order = |key: &FlowKey| (key.source, key.destination);
        expected.sort_by_key(order);
        expired.sort_by_key(order);
        assert_eq!(expired, expected);
        let next = self.table.next_expiry();
        assert_eq!(next.is_none(), self.entries.is_empty());
        let first = self.entries.iter().map(|it| it.deadline).min();
        assert!(
            next.zip(first)
                .is_none_or(|(next, first)| next <= first.after(Duration::from_nanos(TICK)))
        );
    }

    fn sweep(&mut self, client: u8, max: u32) {
        let is_meant = |key: &FlowKey| match key.source.0 {
            IpAddr::V4(address) => address.octets()[3] == client,
            IpAddr::V6(address) => address.octets()[15] == client,
        };
        let mut cursor = Some(Cursor::default());
        while let Some(at) = cursor {
            let mut looked = 0;
            let ends = |connection: &Connection| {
                looked += 1;
                is_meant(&connection.client_key())
            };
            cursor = self.table.sweep(at, max, ends, drop);
            assert!(looked <= max);
        }
        self.entries.retain(|it| !is_meant(&it.client));
    }

    fn finish(&self) {
        let mut listed = Vec::new();
        let mut cursor = Some(Cursor::default());
        while let Some(at) = cursor {
            cursor = self.table.list(at, 3, |id, _| listed.push(id));
        }
        assert_eq!(listed.len(), self.entries.len());
        for entry in &self.entries {
            assert!(listed.contains(&entry.id));
            assert_eq!(self.table.get(entry.id).unwrap().deadline(), entry.deadline);
            self.find(&entry.client);
            if let Some(key) = entry.reply {
                self.find(&key);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_table_does_what_a_list_does(
        sip in any::<bool>(),
        operations in prop::collection::vec(operation(), 1..400),
    ) {
        let mut model = Model::new(if sip { HashKind::Sip13 } else { HashKind::Fold });
        for operation in &operations {
            model.apply(operation);
        }
        model.finish();
    }
}

/// Growth, mass expiry and sweeping in bounded steps, counted.
#[test]
fn no_operation_does_much_at_once() {
    const CONNECTIONS: u32 = 100_000;
    let mut table = Table::new(&TableConfig {
        max_connections: usize::MAX,
        hash: HashKind::Fold,
        seed: [5, 6],
    });
    let flow = |number: u32| {
        let [_, high, client, low] = number.to_be_bytes();
        Flow {
            v6: false,
            client,
            port: u16::from_be_bytes([high, low]),
            vip: 1,
            server: 1,
            masq: true,
        }
    };
    let mut most = 0;
    for number in 0..CONNECTIONS {
        let before = table.work();
        assert!(
            table
                .insert(flow(number).connection(), Instant::START)
                .is_ok()
        );
        most = most.max(table.work() - before);
    }
    // Two entries go in; each may split a bucket of a few dozen entries.
    assert!(most <= 2 * 40, "{most} steps for one insertion");
    let mean = table.work() / u64::from(CONNECTIONS);
    assert!(mean <= 8, "{mean} steps for an insertion on average");
    // Reads only; known flows, unknown ones and more than one batch.
    let keys = (0..200).map(|number| flow(number * 7).connection().client_key());
    let mut guesses: Vec<_> = keys.map(|key| table.guess(&key)).collect();
    table.prefetch(&mut guesses);
    let looked = (0..CONNECTIONS).filter(|&number| {
        table
            .find(&flow(number).connection().client_key())
            .is_some()
            && table
                .find(&flow(number).connection().reply_key().unwrap())
                .is_some()
    });
    assert_eq!(looked.count(), CONNECTIONS as usize);

    // All at once: a call ends no more connections than its budget says, and all are gone in the
    // end.
    let now = Instant::START.after(Duration::from_secs(4));
    let (mut ended, mut calls) = (0, 0);
    loop {
        let mut now_ended = 0;
        let before = table.work();
        let done = table.expire(now, 100, |_| now_ended += 1);
        assert!(now_ended <= 100 && table.work() - before <= 100 * 2 * 4);
        ended += now_ended;
        calls += 1;
        if done {
            break;
        }
    }
    assert_eq!((ended, table.len()), (CONNECTIONS, 0));
    assert!(calls <= 4 * CONNECTIONS / 100, "{calls} calls");
}

//! Two directors with the same configuration see the same packets: one by [`Director::handle`], one by the long way
//! alone. Nothing may tell them apart.

mod draft;
mod setting;

use core::time::Duration;
use std::sync::Arc;

use packet::tcp;
use proptest::prelude::*;

use self::draft::Draft;
use self::setting::{PEER, PORT, SERVERS, Setting};
use crate::connection::Cursor;
use crate::destination::Method;
use crate::director::Director;
use crate::frame::Output;
use crate::protocol::Protocol;
use crate::service::ServiceKey;
use crate::shared::Timeouts;
use crate::time::Instant;
use crate::verdict::Verdict;

/// Everything that can be seen of what became of a batch.
fn seen(verdicts: &[Verdict], output: &Output<'_>) -> String {
    let frames = output.frames.iter().map(|out| {
        let frame = &out.frame;
        format!(
            "{} {:02x?} {:?} {:?}",
            out.interface,
            frame.bytes(),
            frame.offload(),
            frame.vlan()
        )
    });
    format!(
        "{verdicts:?} {:?} {:?}",
        frames.collect::<Vec<_>>(),
        output.told
    )
}

/// Everything that a director remembers.
fn kept(director: &Director) -> String {
    let mut connections = Vec::new();
    let end = director
        .connections()
        .list(Cursor::default(), u32::MAX, |id, connection| {
            connections.push(format!("{id:?} {connection:?}"));
        });
    assert_eq!(end, None);
    let stats = &director.worker.shared.stats;
    format!("{connections:#?} {stats:?} {:?}", director.counters())
}

/// The same batch, by either way.
fn handle(
    director: &mut Director,
    setting: Setting,
    drafts: &[Draft],
    now: Instant,
    is_fast: bool,
) -> String {
    let mut octets: Vec<Vec<u8>> = drafts.iter().map(|draft| draft.write(setting)).collect();
    let octets = octets.iter_mut().zip(drafts);
    let packets: Vec<_> = octets
        .map(|(octets, draft)| draft.packet(setting, octets))
        .collect();
    let mut output = Output::default();
    director.refresh();
    if is_fast {
        director.prefetch(&packets);
    }
    let mut verdicts = Vec::new();
    for (packet, draft) in packets.into_iter().zip(drafts) {
        let interface = draft.interface(setting);
        verdicts.push(match is_fast {
            true => director.handle(now, interface, 0, packet, &mut output),
            false => director.long_way(now, interface, 0, packet, &mut output),
        });
    }
    format!("{} {}", seen(&verdicts, &output), tick(director, now))
}

/// What time alone brings about.
fn tick(director: &mut Director, now: Instant) -> String {
    let mut output = Output::default();
    director.tick(now, &mut output);
    seen(&[], &output)
}

/// What happens between two batches.
#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<Draft>),
    Sleep(u64),
    /// Lifetimes of established connections and of UDP, seconds.
    Timeouts(u32),
    Sysctl(&'static str, &'static str),
    /// A real server goes.
    Delete(u8),
    /// A real server comes, or is changed to direct routing.
    Add(u8, bool),
    /// The path to a real server takes so many octets.
    PathMtu(u8, u32),
    /// A neighbour is learned, of the clients' network (1) or the servers' (2).
    Learn(u8, u8),
    /// Routes change.
    Route,
}

impl Step {
    fn apply(
        &self,
        director: &mut Director,
        setting: Setting,
        now: &mut Instant,
        is_fast: bool,
    ) -> String {
        let shared = Arc::clone(&director.worker.shared);
        let key = ServiceKey::Address {
            protocol: setting.protocol,
            address: setting.vip(),
            port: PORT,
        };
        match self {
            Self::Batch(drafts) => return handle(director, setting, drafts, *now, is_fast),
            Self::Sleep(milliseconds) => {
                *now = now.after(Duration::from_millis(*milliseconds));
                director.refresh();
                return tick(director, *now);
            }
            Self::Timeouts(seconds) => {
                let (tcp, udp) = (*seconds, *seconds);
                let _ = shared.set_timeouts(Timeouts {
                    tcp,
                    tcp_fin: 0,
                    udp,
                });
            }
            Self::Sysctl(name, value) => shared.set_sysctl(name, value).unwrap(),
            Self::Delete(last) => {
                let _ = shared.delete_destination(&key, setting.server(*last), 8000);
            }
            Self::Add(last, directly) => {
                let mut server = setting.destination(*last);
                if *directly {
                    server.method = Method::DirectRoute;
                }
                let _ = shared.add_destination(&key, &server);
                let _ = shared.edit_destination(&key, &server);
            }
            Self::PathMtu(last, mtu) => {
                let mtus = &director.worker.host.path_mtus;
                let _ = mtus.learn(setting.server(*last), *mtu, *now);
            }
            Self::Learn(network, last) => {
                let address = setting.address(*network, *last);
                let neighbours = &director.worker.host.neighbours;
                neighbours.learn((*network).into(), address, PEER, *now);
            }
            Self::Route => {
                let generation = director.network.route_generation + 1;
                let network = setting.network(generation);
                director.worker.host.network.store(Arc::new(network));
            }
        }
        String::new()
    }
}

fn settings() -> impl Strategy<Value = Setting> {
    let protocol = prop_oneof![3 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)];
    let method = prop_oneof![3 => Just(Method::Masq), 2 => Just(Method::DirectRoute), 1 => Just(Method::Tunnel)];
    let rarely = || prop::bool::weighted(0.2);
    let mtu = prop_oneof![3 => Just(1500_u32), 1 => Just(1300)];
    let first = (any::<bool>(), protocol, method, rarely(), rarely());
    (first, mtu, prop::bool::weighted(0.8), rarely(), rarely()).prop_map(
        |(
            (is_v6, protocol, method, is_persistent, is_one_armed),
            server_mtu,
            knows,
            redirects,
            tells,
        )| Setting {
            is_v6,
            protocol,
            method,
            is_persistent,
            is_one_armed,
            server_mtu,
            knows_neighbours: knows,
            sends_redirects: redirects,
            tells_backups: tells,
        },
    )
}

fn drafts() -> impl Strategy<Value = Draft> {
    let flags = prop_oneof![
        2 => Just(tcp::SYN),
        6 => Just(tcp::ACK),
        2 => Just(tcp::ACK | tcp::PSH),
        1 => any::<u8>(),
    ];
    let seldom = || prop::bool::weighted(0.05);
    let payload = prop_oneof![4 => 0_usize..40, 1 => 1230_usize..1500];
    let hops = prop_oneof![9 => Just(0_u8), 1 => 61_u8..64];
    let odd = (
        seldom(),
        seldom(),
        seldom(),
        seldom(),
        prop::option::weighted(0.05, 1_u16..4000),
    );
    let ends = (0_u8..3, prop::option::of(0..SERVERS));
    (
        ends,
        flags,
        payload,
        hops,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        0_usize..7,
        odd,
    )
        .prop_map(
            |(
                (client, from_server),
                flags,
                payload,
                hops,
                may_fragment,
                is_partial,
                is_unsummed,
                padding,
                odd,
            )| Draft {
                client,
                from_server,
                flags,
                payload,
                hops,
                may_fragment,
                is_partial,
                is_unsummed,
                has_option: odd.0,
                is_fragment: odd.1,
                is_corrupt: odd.2,
                is_foreign: odd.3,
                padding,
                vlan: odd.4,
            },
        )
}

fn steps() -> impl Strategy<Value = Step> {
    let sysctl = prop::sample::select(vec![
        ("secure_tcp", "3"),
        ("secure_tcp", "0"),
        ("expire_nodest_conn", "1"),
        ("sloppy_tcp", "1"),
        ("sync_threshold", "2 3"),
    ]);
    prop_oneof![
        12 => prop::collection::vec(drafts(), 1..12).prop_map(Step::Batch),
        3 => (0_u64..2_000).prop_map(Step::Sleep),
        1 => (0_u64..400_000).prop_map(Step::Sleep),
        1 => (1_u32..1000).prop_map(Step::Timeouts),
        1 => sysctl.prop_map(|(name, value)| Step::Sysctl(name, value)),
        1 => (0..SERVERS).prop_map(Step::Delete),
        1 => (0..SERVERS, any::<bool>()).prop_map(|(last, directly)| Step::Add(last, directly)),
        1 => (0..SERVERS, 552_u32..1500).prop_map(|(last, mtu)| Step::PathMtu(last, mtu)),
        1 => (1_u8..3, 0_u8..20).prop_map(|(network, last)| Step::Learn(network, last)),
        1 => Just(Step::Route),
    ]
}

proptest! {
    #[test]
    fn nothing_tells_the_two_ways_apart(setting in settings(), steps in prop::collection::vec(steps(), 1..40)) {
        let (mut fast, mut slow) = (setting.director(), setting.director());
        let (mut fast_now, mut slow_now) = (Instant::START, Instant::START);
        for step in &steps {
            let one = step.apply(&mut fast, setting, &mut fast_now, true);
            let other = step.apply(&mut slow, setting, &mut slow_now, false);
            prop_assert_eq!(one, other, "{:?}", step);
            prop_assert_eq!(kept(&fast), kept(&slow), "{:?}", step);
        }
        // Connections end at the same moments.
        for _ in 0..60 {
            let step = Step::Sleep(17_000);
            let one = step.apply(&mut fast, setting, &mut fast_now, true);
            prop_assert_eq!(one, step.apply(&mut slow, setting, &mut slow_now, false));
            prop_assert_eq!(kept(&fast), kept(&slow));
        }
    }
}

/// What has waited for a link address goes before a packet of the fast path.
#[test]
fn what_waits_goes_first() {
    let setting = Setting {
        knows_neighbours: false,
        ..Setting::PLAIN
    };
    let draft = |flags| Draft {
        flags,
        ..Draft::default()
    };
    let steps = [
        Step::Batch(vec![draft(tcp::SYN), draft(tcp::ACK)]),
        Step::Learn(2, 10),
        Step::Learn(2, 11),
        Step::Batch(vec![draft(tcp::ACK)]),
    ];
    let outcomes = [true, false].map(|is_fast| {
        let (mut director, mut now) = (setting.director(), Instant::START);
        let step = |step: &Step| step.apply(&mut director, setting, &mut now, is_fast);
        steps.iter().map(step).collect::<Vec<_>>()
    });
    assert_eq!(outcomes[0], outcomes[1]);
}

/// The fast path is gone by.
#[test]
fn plain_packets_go_the_fast_way() {
    for (is_v6, protocol, method) in [
        (false, Protocol::Tcp, Method::Masq),
        (true, Protocol::Tcp, Method::Masq),
        (false, Protocol::Udp, Method::Masq),
        (true, Protocol::Udp, Method::DirectRoute),
        (false, Protocol::Tcp, Method::DirectRoute),
    ] {
        let setting = Setting {
            is_v6,
            protocol,
            method,
            ..Setting::PLAIN
        };
        let mut director = setting.director();
        let now = Instant::START;
        let (syn, ack) = (
            Draft {
                flags: tcp::SYN,
                ..Draft::default()
            },
            Draft {
                flags: tcp::ACK,
                ..Draft::default()
            },
        );
        let _ = handle(&mut director, setting, &[syn, ack], now, true);
        let answer = Draft {
            from_server: Some(1),
            ..ack
        };
        let drafts = if method == Method::Masq {
            vec![ack, answer]
        } else {
            vec![ack]
        };
        for draft in drafts {
            let mut octets = draft.write(setting);
            let mut packet = draft.packet(setting, &mut octets);
            let way = director.fast_path(now, draft.interface(setting), &mut packet);
            assert!(way.is_some(), "{setting:?} {draft:?}");
        }
    }
}

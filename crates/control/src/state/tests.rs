//! Saved states: the recorded form, and that reading is the reverse of writing.

use core::net::Ipv6Addr;

use director::persistence::ENGINES;
use director::service::NO_SCHEDULER;
use director::shared::Options;
use proptest::prelude::*;

use super::*;

/// Lines of [cli_formats] and [cli_edit], and what `ipvsadm -S` has no form for.
const RECORDED: &str = "\
--set 60 120 300
sysctl -w net.ipv4.vs.drop_entry=3
sysctl -w net.ipv4.vs.sync_threshold=5\t60
-A -t 10.8.0.1:80 -s wlc
-a -t 10.8.0.1:80 -r 10.2.0.11:8080 -m -w 1
-a -t 10.8.0.1:80 -r 10.2.0.12:80 -i -w 2 -x 10 -y 5 --tun-type ipip
-a -t 10.8.0.1:80 -r 10.2.0.14:80 -i -w 2 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.8.0.1:80 -r 10.2.0.16:80 -i -w 2 --tun-type gue --tun-port 6082 --tun-remcsum
-a -t 10.8.0.1:80 -r 10.2.0.17:80 -i -w 2 --tun-type gre --tun-csum
-A -t 10.8.0.2:0 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 10.8.0.2:0 -r 10.2.0.11:0 -g -w 65535
-A -t 10.8.0.2:443 -s mh -b mh-fallback,mh-port
-A -t 10.8.0.1:92 -s rr -b flag-1,flag-2,flag-3
-A -u 10.8.0.1:53 -s rr -p 5 -o
-A -u 10.8.0.2:5060 -s rr -p 60 --pe sip
-A --sctp-service 10.8.0.1:9 -s lc
-A -t [fd00:8::1]:80 -s rr -p 50 -M 64
-a -t [fd00:8::1]:80 -r [fd00:2::11]:8080 -m -w 1
-a -t [fd00:8::1]:80 -r 10.3.0.11:80 -i -w 1 --tun-type ipip
-A -f 2 -6 -s rr
-a -f 2 -6 -r [fd00:2::11]:0 -g -w 1
-A -f 7 -s wlc
";

#[test]
fn the_recorded_form_is_kept() {
    let state = DesiredState::parse(RECORDED).unwrap();
    assert_eq!(state.to_string(), RECORDED);
    let shared = Shared::new(Options::default());
    state.apply(&shared).unwrap();
    assert_eq!(DesiredState::of(&shared), state);
    let commented = format!("# saved by ulvs\n\n{RECORDED}");
    assert_eq!(DesiredState::parse(&commented), Ok(state));
}

#[test]
fn bad_lines_are_named() {
    let twice = "-A -t 10.8.0.1:80 -s rr";
    let error = DesiredState::parse(&format!("{twice}\n{twice}")).unwrap_err();
    assert_eq!(error.to_string(), "line 2: the service was added already");
    for (line, word) in [
        ("-A -t 10.8.0.1:80", "scheduler"),
        ("-A -s rr", "service"),
        ("-A -t 10.8.0.1 -s rr", "10.8.0.1"),
        ("-A -t 10.8.0.1:80 -s rr -b sh-port", "sh-port"),
        ("-A -t 10.8.0.1:80 -s rr --weight", "--weight"),
        ("-A -t 10.8.0.1:80 -s", "-s"),
        ("-a -t 10.8.0.1:80 -r 10.2.0.11:80 -g -w 1", "not added"),
        ("-X", "-X"),
        ("--set 1 2", "--set"),
        ("--set 1 2 x", "x"),
        ("sysctl -w net.ipv4.vs.drop_entry", "="),
    ] {
        let error = DesiredState::parse(&format!("\n{line}")).unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.reason.contains(word), "{line}: {error}");
    }
}

#[test]
fn a_refused_command_is_named() {
    let text = "-A -t 10.8.0.1:80 -s rr\n-a -t 10.8.0.1:80 -r 224.0.0.1:80 -g -w 1\n";
    let state = DesiredState::parse(text).unwrap();
    let error = state.apply(&Shared::new(Options::default())).unwrap_err();
    assert!(error.to_string().contains("224.0.0.1:80"), "{error}");
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<u32>()
            .prop_map(|bits| Ipv4Addr::from_bits(bits).into())
            .boxed(),
        Family::V6 => any::<u128>()
            .prop_map(|bits| Ipv6Addr::from_bits(bits).into())
            .boxed(),
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn key(family: Family) -> impl Strategy<Value = ServiceKey> {
    let protocol = proptest::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    prop_oneof![
        (protocol, address(family), any::<u16>()).prop_map(|(protocol, address, port)| {
            ServiceKey::Address {
                protocol,
                address,
                port,
            }
        }),
        (1_u32..).prop_map(move |mark| ServiceKey::Mark { family, mark }),
    ]
}

fn service() -> impl Strategy<Value = ServiceConfig> {
    let mut names: Vec<_> = scheduler::ENTRIES.iter().map(|entry| entry.name).collect();
    names.push(NO_SCHEDULER);
    let engines: Vec<_> = ENGINES.iter().map(|engine| engine.name).collect();
    let engine = proptest::option::of(proptest::sample::select(engines));
    let rest = (
        proptest::sample::select(names),
        0..64_u32,
        any::<u32>(),
        any::<u32>(),
        engine,
    );
    (family().prop_flat_map(key), rest).prop_map(
        |(key, (scheduler, flags, timeout, mask, engine))| {
            normal(ServiceConfig {
                key,
                scheduler: scheduler.to_owned(),
                flags,
                timeout,
                netmask: match key.family() {
                    Family::V4 => mask,
                    Family::V6 => mask % 128 + 1,
                },
                persistence_engine: engine.map(str::to_owned),
            })
        },
    )
}

fn destination() -> impl Strategy<Value = DestinationConfig> {
    let checksums = vec![
        TunnelChecksum::None,
        TunnelChecksum::Full,
        TunnelChecksum::Remote,
    ];
    let checksum = proptest::sample::select(checksums);
    let tunnel = prop_oneof![
        Just(TunnelConfig::default()),
        (1_u16.., checksum.clone()).prop_map(|(port, checksum)| TunnelConfig {
            kind: TunnelKind::Gue,
            port,
            checksum,
        }),
        checksum.prop_map(|checksum| TunnelConfig {
            kind: TunnelKind::Gre,
            port: 0,
            checksum,
        }),
    ];
    let method = prop_oneof![
        Just((Method::Masq, TunnelConfig::default())),
        Just((Method::DirectRoute, TunnelConfig::default())),
        tunnel.prop_map(|tunnel| (Method::Tunnel, tunnel)),
    ];
    let rest = (any::<u16>(), 0..=i32::MAX, any::<u32>(), any::<u32>());
    (family().prop_flat_map(address), method, rest).prop_map(
        |(address, (method, tunnel), (port, weight, upper_threshold, lower_threshold))| {
            DestinationConfig {
                address,
                port,
                method,
                tunnel,
                weight,
                upper_threshold,
                lower_threshold,
            }
        },
    )
}

fn state() -> impl Strategy<Value = DesiredState> {
    let destinations = proptest::collection::vec(destination(), 0..4);
    let services = proptest::collection::vec((service(), destinations), 0..5);
    let sysctls = proptest::collection::vec((0..SYSCTLS.len(), any::<i32>()), 0..4);
    (services, sysctls, any::<(u32, u32, u32)>()).prop_map(
        |(mut services, sysctls, (tcp, tcp_fin, udp))| {
            let mut keys = HashSet::new();
            services.retain(|(service, _)| keys.insert(service.key));
            let sysctls = sysctls
                .into_iter()
                .map(|(index, value)| (SYSCTLS[index].name.to_owned(), value.to_string()));
            DesiredState {
                timeouts: Timeouts { tcp, tcp_fin, udp },
                sysctls: sysctls.collect(),
                services,
            }
        },
    )
}

proptest! {
    #[test]
    fn reading_is_the_reverse_of_writing(state in state()) {
        prop_assert_eq!(DesiredState::parse(&state.to_string()), Ok(state));
    }

    #[test]
    fn no_text_panics(text in "(-[AatusrwpMbfxygimo6]|--set|sysctl|10.8.0.1:80|rr|=|[0-9]{1,3}|\\[|:|\n| )*") {
        let _ = DesiredState::parse(&text);
    }
}

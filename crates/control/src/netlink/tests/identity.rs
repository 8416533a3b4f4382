//! The codec against itself and against arbitrary bytes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::*;
use super::{only_request, read};

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Ipv4Addr::from(octets).into()),
        any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).into()),
    ]
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    prop_oneof![
        (any::<u16>(), address(), any::<u16>()).prop_map(|(protocol, address, port)| {
            ServiceKey::Address {
                protocol,
                address,
                port,
            }
        }),
        (prop::bool::ANY, any::<u32>()).prop_map(|(six, mark)| ServiceKey::Mark {
            family: if six {
                AddressFamily::Inet6
            } else {
                AddressFamily::Inet
            },
            mark
        }),
    ]
}

fn service() -> impl Strategy<Value = (ServiceKey, ServiceSettings)> {
    let engine = prop::option::of("[a-z]{0,16}");
    (
        service_key(),
        "[a-z]{0,15}",
        any::<(u32, u32, u32, u32)>(),
        engine,
    )
        .prop_map(
            |(key, scheduler, (value, mask, timeout, netmask), engine)| {
                let netmask = match key.family() {
                    AddressFamily::Inet => Netmask::V4(netmask.into()),
                    AddressFamily::Inet6 => Netmask::V6(netmask),
                };
                let flags = ServiceFlags { value, mask };
                (
                    key,
                    ServiceSettings {
                        scheduler,
                        flags,
                        timeout,
                        netmask,
                        engine,
                    },
                )
            },
        )
}

fn dest() -> impl Strategy<Value = (DestKey, DestSettings)> {
    (
        address(),
        any::<u16>(),
        0..8_u32,
        any::<(i32, u32, u32, u8, u16, u16)>(),
    )
        .prop_map(
            |(address, port, forward, (weight, upper, lower, kind, tunnel_port, flags))| {
                let settings = DestSettings {
                    forward,
                    weight,
                    upper_threshold: upper,
                    lower_threshold: lower,
                    tunnel_type: kind,
                    tunnel_port,
                    tunnel_flags: flags,
                };
                (DestKey { address, port }, settings)
            },
        )
}

fn daemon() -> impl Strategy<Value = DaemonAttrs> {
    let option = prop::option::of::<BoxedStrategy<u32>>;
    (
        option(any::<u32>().boxed()),
        prop::option::of("[a-z0-9]{0,15}"),
        prop::option::of(address()),
        any::<(Option<u32>, Option<u16>, Option<u16>, Option<u8>)>(),
    )
        .prop_map(
            |(state, interface, group, (sync_id, max_length, port, ttl))| DaemonAttrs {
                state,
                interface,
                sync_id,
                max_length,
                group,
                port,
                ttl,
            },
        )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    any::<(Option<u32>, Option<u32>, Option<u32>)>().prop_map(|(tcp, tcp_fin, udp)| Timeouts {
        tcp,
        tcp_fin,
        udp,
    })
}

fn setting() -> impl Strategy<Value = Setting> {
    let note = prop::option::of("[ -~]{0,100}");
    ("[a-z_.]{0,30}", "[0-9\t]{0,20}", note).prop_map(|(name, value, note)| Setting {
        name,
        value,
        note,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let full = || service().prop_map(|(key, settings)| ServiceAttrs::from_settings(key, &settings));
    let key = || service_key().prop_map(ServiceAttrs::from_key);
    let new_dest = || dest().prop_map(|(key, settings)| DestAttrs::from_settings(key, &settings));
    let dest_key = || dest().prop_map(|(key, _)| DestAttrs::from_key(key));
    prop_oneof![
        full().prop_map(Request::NewService),
        full().prop_map(Request::SetService),
        key().prop_map(Request::DelService),
        key().prop_map(Request::GetService),
        key().prop_map(Request::DumpDests),
        (key(), new_dest()).prop_map(|(service, dest)| Request::NewDest(service, dest)),
        (key(), new_dest()).prop_map(|(service, dest)| Request::SetDest(service, dest)),
        (key(), dest_key()).prop_map(|(service, dest)| Request::DelDest(service, dest)),
        daemon().prop_map(Request::NewDaemon),
        daemon().prop_map(Request::DelDaemon),
        timeouts().prop_map(Request::SetConfig),
        prop::option::of(key()).prop_map(Request::Zero),
        Just(Request::DumpServices),
        Just(Request::DumpDaemons),
        Just(Request::GetConfig),
        Just(Request::GetInfo),
        Just(Request::Flush),
        Just(Request::DumpConnections),
        Just(Request::DumpSettings),
        setting().prop_map(Request::SetSetting),
        "[a-z_]{0,20}".prop_map(Request::DumpText),
    ]
}

fn statistics() -> impl Strategy<Value = Statistics> {
    any::<[u64; 6]>().prop_map(|[a, b, c, d, e, f]| Statistics {
        connections: a,
        in_packets: b,
        out_packets: c,
        in_bytes: d,
        out_bytes: e,
        out_byte_rate: f,
        ..Statistics::default()
    })
}

fn connection() -> impl Strategy<Value = ConnectionEntry> {
    let data = prop::collection::vec(any::<u8>(), 0..255);
    (
        (address(), address(), any::<[u16; 4]>(), any::<(u64, u32)>()),
        "[A-Z_]{0,20}",
        prop::option::of(("[a-z]{1,16}", data)),
    )
        .prop_map(
            |((client, destination, ports, (expires_ms, flags)), state, engine)| ConnectionEntry {
                protocol: ports[3],
                client,
                client_port: ports[0],
                virtual_address: client,
                virtual_port: ports[1],
                destination,
                destination_port: ports[2],
                state,
                expires_ms,
                flags,
                engine,
            },
        )
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        (service(), statistics()).prop_map(|((key, settings), statistics)| {
            let settings = ServiceSettings {
                flags: ServiceFlags::exactly(settings.flags.value),
                ..settings
            };
            Reply::Service(ServiceReply {
                key,
                settings,
                statistics,
            })
        }),
        (dest(), any::<[u32; 3]>(), statistics()).prop_map(
            |((key, settings), [active, inactive, persistent], statistics)| {
                Reply::Dest(DestReply {
                    key,
                    settings,
                    active_connections: active,
                    inactive_connections: inactive,
                    persistent_connections: persistent,
                    statistics,
                })
            }
        ),
        daemon().prop_map(Reply::Daemon),
        timeouts().prop_map(Reply::Config),
        any::<(u32, u32)>().prop_map(|(version, table_size)| Reply::Info(Info {
            version,
            table_size
        })),
        connection().prop_map(Reply::Connection),
    ]
}

proptest! {
    #[test]
    fn request_round_trip(request in request(), sequence: u32, port: u32) {
        let datagram = request.encode(sequence, port);
        prop_assert_eq!(datagram.len() % 4, 0);
        let frame = only_request(&datagram);
        prop_assert_eq!(frame.header.sequence, sequence);
        prop_assert_eq!(frame.request.unwrap(), request);
    }

    #[test]
    fn typed_service_round_trip((key, settings) in service()) {
        let attrs = ServiceAttrs::from_settings(key, &settings);
        prop_assert_eq!(attrs.key(), Ok(key));
        prop_assert_eq!(attrs.settings(), Ok(settings));
    }

    #[test]
    fn typed_dest_round_trip((key, settings) in dest()) {
        let attrs = DestAttrs::from_settings(key, &settings);
        prop_assert_eq!(attrs.key(AddressFamily::Inet), Ok(key));
        prop_assert_eq!(attrs.settings(), Ok(settings));
    }

    #[test]
    fn reply_round_trip(reply in reply(), list in prop::bool::ANY) {
        let request = Request::GetInfo.encode(8, 9);
        let frame = only_request(&request);
        let answer = if list { Answer::List(vec![reply.clone()]) } else { Answer::One(reply.clone()) };
        let end = if list { ReplyFrame::Done } else { ReplyFrame::Acknowledged };
        let datagrams = respond(&frame, 9, &Ok(answer));
        prop_assert_eq!(read(&datagrams), vec![ReplyFrame::Data(reply), end]);
    }

    #[test]
    fn arbitrary_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for frame in requests(&bytes) {
            let _ = respond(&frame, 0, &Err(Errno::EINVAL));
        }
        let _ = replies(&bytes).count();
        let _ = (expected(&bytes), answered(&bytes));
    }

    /// Valid framing around arbitrary attributes reaches deeper than arbitrary bytes do.
    #[test]
    fn arbitrary_attributes_are_read(
        command in prop_oneof![1..18_u8, Just(64)],
        dump: bool,
        attributes in prop::collection::vec(
            (0..16_u16, prop::collection::vec((0..16_u16, prop::collection::vec(any::<u8>(), 0..20)), 0..8)),
            0..3
        ),
    ) {
        let flags = NLM_F_REQUEST | if dump { NLM_F_DUMP } else { 0 };
        let header = Header { kind: FAMILY_ID, flags, sequence: 0, port: 0 };
        let message = header.generic(command, |writer| {
            for (kind, members) in &attributes {
                writer.nest(*kind, |nest| {
                    for (kind, value) in members {
                        nest.put(*kind, value);
                    }
                });
            }
        });
        if let Ok(request) = only_request(&message).request {
            // Whatever could be read can be written and read again.
            let again = request.encode(0, 0);
            prop_assert_eq!(only_request(&again).request.unwrap(), request);
        }
        let _ = replies(&message).count();
    }
}

//! Commands over the wire, with the kernel's errors.

use std::net::Ipv4Addr;

use director::shared::Options;

use super::*;
use crate::netlink::{DaemonAttrs, NLM_F_MULTI, ReplyFrame, replies};

const PORT: u32 = 4321;

fn server() -> Server {
    Server::new(Arc::new(Shared::new(Options::default())))
}

fn nothing(_: Instant) -> Vec<ConnectionEntry> {
    Vec::new()
}

/// Sends one request as a client does; returns what came back.
fn ask(server: &Server, request: &Request) -> Vec<ReplyFrame> {
    let datagrams = server.handle(&request.encode(7, 0), PORT, Instant::START, &nothing);
    let mut frames = Vec::new();
    for datagram in datagrams {
        for reply in replies(&datagram) {
            let (header, frame) = reply.unwrap();
            assert_eq!((header.sequence, header.port), (7, PORT));
            let is_list = matches!(request, Request::DumpServices | Request::DumpDests(_));
            assert_eq!(is_list, header.flags & NLM_F_MULTI != 0);
            frames.push(frame);
        }
    }
    frames
}

fn done(server: &Server, request: &Request) {
    assert_eq!(
        ask(server, request),
        [ReplyFrame::Acknowledged],
        "{request:?}"
    );
}

fn fails(server: &Server, request: &Request, errno: Errno) {
    assert_eq!(
        ask(server, request),
        [ReplyFrame::Error(errno)],
        "{request:?}"
    );
}

fn web() -> WireKey {
    WireKey::Address {
        protocol: 6,
        address: Ipv4Addr::new(10, 8, 0, 1).into(),
        port: 80,
    }
}

fn settings(scheduler: &str) -> ServiceSettings {
    ServiceSettings {
        scheduler: scheduler.to_owned(),
        flags: ServiceFlags::exactly(0),
        timeout: 0,
        netmask: Netmask::V4(Ipv4Addr::BROADCAST),
        engine: None,
    }
}

fn service(scheduler: &str) -> ServiceAttrs {
    ServiceAttrs::from_settings(web(), &settings(scheduler))
}

fn key_attrs() -> ServiceAttrs {
    ServiceAttrs::from_key(web())
}

fn dest(last: u8, change: impl FnOnce(&mut DestSettings)) -> DestAttrs {
    let mut settings = DestSettings {
        forward: 3,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel_type: 0,
        tunnel_port: 0,
        tunnel_flags: 0,
    };
    change(&mut settings);
    let key = DestKey {
        address: Ipv4Addr::new(10, 2, 0, last).into(),
        port: 80,
    };
    DestAttrs::from_settings(key, &settings)
}

#[test]
fn services_come_and_go() {
    let server = server();
    fails(&server, &Request::SetService(service("rr")), Errno::ESRCH);
    fails(&server, &Request::NewService(service("no")), Errno::ENOENT);
    fails(&server, &Request::NewService(key_attrs()), Errno::EINVAL);
    done(&server, &Request::NewService(service("rr")));
    fails(&server, &Request::NewService(service("rr")), Errno::EEXIST);
    done(&server, &Request::SetService(service("wlc")));
    let frames = ask(&server, &Request::GetService(key_attrs()));
    let [
        ReplyFrame::Data(Reply::Service(reply)),
        ReplyFrame::Acknowledged,
    ] = frames.as_slice()
    else {
        panic!("{frames:?}")
    };
    assert_eq!(reply.key, web());
    let hashed = ServiceFlags::exactly(FLAG_HASHED);
    let expected = ServiceSettings {
        flags: hashed,
        ..settings("wlc")
    };
    assert_eq!(reply.settings, expected);
    assert_eq!(ask(&server, &Request::DumpServices).len(), 2);
    done(&server, &Request::DelService(key_attrs()));
    fails(&server, &Request::DelService(key_attrs()), Errno::ESRCH);
    assert_eq!(ask(&server, &Request::DumpServices), [ReplyFrame::Done]);
}

#[test]
fn flags_outside_the_mask_stay() {
    let server = server();
    let with = |value, mask| {
        let flags = ServiceFlags { value, mask };
        ServiceAttrs::from_settings(
            web(),
            &ServiceSettings {
                flags,
                ..settings("rr")
            },
        )
    };
    done(&server, &Request::NewService(with(1, u32::MAX)));
    done(&server, &Request::SetService(with(4, 4)));
    let flags = server.shared.snapshot().in_order()[0].config.flags;
    assert_eq!(flags, 5);
}

#[test]
fn destinations_are_listed_newest_first() {
    let server = server();
    let new = |dest| Request::NewDest(key_attrs(), dest);
    fails(&server, &new(dest(11, |_| ())), Errno::ESRCH);
    done(&server, &Request::NewService(service("rr")));
    done(&server, &new(dest(11, |_| ())));
    done(&server, &new(dest(12, |dest| dest.weight = 5)));
    fails(&server, &new(dest(12, |_| ())), Errno::EEXIST);
    fails(
        &server,
        &new(dest(13, |dest| dest.weight = -1)),
        Errno::ERANGE,
    );
    fails(
        &server,
        &new(dest(13, |dest| dest.lower_threshold = 1)),
        Errno::ERANGE,
    );
    fails(
        &server,
        &new(dest(13, |dest| dest.tunnel_type = 1)),
        Errno::EINVAL,
    );
    fails(
        &server,
        &Request::SetDest(key_attrs(), dest(13, |_| ())),
        Errno::ENOENT,
    );
    done(
        &server,
        &Request::SetDest(key_attrs(), dest(11, |dest| dest.weight = 0)),
    );
    let frames = ask(&server, &Request::DumpDests(key_attrs()));
    let seen: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            ReplyFrame::Data(Reply::Dest(reply)) => {
                Some((reply.key.address.to_string(), reply.settings.weight))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        seen,
        [("10.2.0.12".to_owned(), 5), ("10.2.0.11".to_owned(), 0)]
    );
    done(&server, &Request::DelDest(key_attrs(), dest(12, |_| ())));
    fails(
        &server,
        &Request::DelDest(key_attrs(), dest(12, |_| ())),
        Errno::ENOENT,
    );
    done(&server, &Request::Flush);
    assert_eq!(
        ask(&server, &Request::DumpDests(key_attrs())),
        [ReplyFrame::Done]
    );
}

#[test]
fn timeouts_of_0_stay() {
    let server = server();
    let set = |tcp| {
        Request::SetConfig(Timeouts {
            tcp,
            ..Timeouts::default()
        })
    };
    done(&server, &set(Some(60)));
    done(&server, &set(Some(0)));
    fails(&server, &set(Some(u32::MAX)), Errno::EINVAL);
    let frames = ask(&server, &Request::GetConfig);
    let timeouts = Timeouts {
        tcp: Some(60),
        tcp_fin: Some(120),
        udp: Some(300),
    };
    assert_eq!(frames[0], ReplyFrame::Data(Reply::Config(timeouts)));
}

/// A driver with one interface, `cl0`.
struct OneInterface;

impl ConnectionSource for OneInterface {
    fn connections(&self, _: Instant) -> Vec<ConnectionEntry> {
        Vec::new()
    }

    fn sync_mtu(&self, interface: &str) -> Result<u32, Errno> {
        (interface == "cl0").then_some(1500).ok_or(Errno::ENODEV)
    }
}

fn real_server(address: &str, method: Method) -> DestinationConfig {
    DestinationConfig {
        address: address.parse().unwrap(),
        port: 80,
        method,
        tunnel: TunnelConfig::default(),
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

fn daemon(state: u32, interface: &str) -> DaemonAttrs {
    DaemonAttrs {
        state: Some(state),
        interface: Some(interface.to_owned()),
        sync_id: Some(7),
        ..DaemonAttrs::default()
    }
}

/// [cli_errors], and a driver without a socket for daemons.
#[test]
fn no_daemon_runs() {
    let server = server();
    let master = DaemonAttrs {
        state: Some(1),
        ..DaemonAttrs::default()
    };
    fails(&server, &Request::NewDaemon(master.clone()), Errno::EINVAL);
    fails(&server, &Request::DelDaemon(master), Errno::ESRCH);
    let unclear = DaemonAttrs::default();
    fails(&server, &Request::DelDaemon(unclear), Errno::EINVAL);
    let whole = Request::NewDaemon(daemon(1, "cl0"));
    fails(&server, &whole, Errno::EOPNOTSUPP);
    assert!(!server.shared.sync.is_any());
}

/// [sync.*].
#[test]
fn daemons_start_are_listed_and_stop() {
    let server = server();
    let answer = |request| server.answer(&request, Instant::START, &OneInterface);
    let [master, backup] = [1, 2].map(|state| daemon(state, "cl0"));
    let nowhere = Request::NewDaemon(daemon(1, "cl1"));
    assert_eq!(answer(nowhere), Err(Errno::ENODEV));
    for attrs in [&backup, &master] {
        assert_eq!(answer(Request::NewDaemon(attrs.clone())), Ok(Answer::Done));
        let again = answer(Request::NewDaemon(attrs.clone()));
        assert_eq!(again, Err(Errno::EEXIST));
    }
    assert!(server.shared.sync.is_master() && server.shared.sync.is_backup());
    let Ok(Answer::List(listed)) = answer(Request::DumpDaemons) else {
        panic!("no list");
    };
    let whole = |attrs: &DaemonAttrs| {
        Reply::Daemon(DaemonAttrs {
            max_length: Some(1472),
            group: Some(Ipv4Addr::new(224, 0, 0, 81).into()),
            port: Some(8848),
            ttl: Some(1),
            ..attrs.clone()
        })
    };
    assert_eq!(listed, [whole(&master), whole(&backup)]);
    assert_eq!(answer(Request::DelDaemon(master.clone())), Ok(Answer::Done));
    let gone = answer(Request::DelDaemon(master));
    assert_eq!(gone, Err(Errno::ESRCH));
    assert!(!server.shared.sync.is_master() && server.shared.sync.is_backup());
    assert_eq!(server.daemons().iter().count(), 1);
}

/// The messages have no word for a real server of another family.
#[test]
fn daemons_and_real_servers_of_another_family_exclude_each_other() {
    let server = server();
    let answer = |request| server.answer(&request, Instant::START, &OneInterface);
    assert_eq!(answer(Request::NewService(service("rr"))), Ok(Answer::Done));
    let key = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: Ipv4Addr::new(10, 8, 0, 1).into(),
        port: 80,
    };
    let tunnelled = real_server("fd00:2::11", Method::Tunnel);
    server.shared.sync.set_master(true);
    let refused = server.shared.add_destination(&key, &tunnelled);
    assert_eq!(refused, Err(CommandError::MixedFamilies));
    server.shared.sync.set_master(false);
    assert_eq!(server.shared.add_destination(&key, &tunnelled), Ok(()));
    let refused = answer(Request::NewDaemon(daemon(1, "cl0")));
    assert_eq!(refused, Err(Errno::EINVAL));
}

#[test]
fn settings_are_listed_set_and_part_of_the_state() {
    let server = server();
    let answer = |request| server.answer(&request, Instant::START, &OneInterface);
    let setting = |name: &str, value: &str| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        note: None,
    };
    let generation = server.shared.generation();
    let set = |name, value| answer(Request::SetSetting(setting(name, value)));
    let now = Reply::Setting(setting("sync_threshold", "1\t2"));
    assert_eq!(
        set("net.ipv4.vs.sync_threshold", "1 2"),
        Ok(Answer::One(now))
    );
    assert_ne!(server.shared.generation(), generation);
    assert_eq!(set("sync_threshold", "2 1"), Err(Errno::EINVAL));
    assert_eq!(set("sync_thresholds", "1"), Err(Errno::ENOENT));
    let Ok(Answer::One(Reply::Setting(conntrack))) = set("conntrack", "1") else {
        panic!("not set");
    };
    assert!(
        conntrack
            .note
            .is_some_and(|note| note.starts_with("no effect: "))
    );
    let Ok(Answer::List(all)) = answer(Request::DumpSettings) else {
        panic!("no list");
    };
    assert_eq!(all.len(), SYSCTLS.len());
    let state = crate::state::DesiredState::of(&server.shared);
    let saved: Vec<&str> = state
        .sysctls
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(saved, ["conntrack", "sync_threshold"]);
}

#[test]
fn texts_come_in_pieces() {
    let server = server();
    let answer = |name: &str| {
        server.answer(
            &Request::DumpText(name.to_owned()),
            Instant::START,
            &OneInterface,
        )
    };
    let piece = b"prot port    usecnt name\nTCP  21      0      ftp              \n".to_vec();
    let whole = Answer::List(vec![Reply::Text(piece)]);
    assert_eq!(answer("ip_vs_app"), Ok(whole));
    assert_eq!(answer("ip_vs_ext"), Err(Errno::ENOENT));
    for number in 0..200_u8 {
        let address = Ipv4Addr::new(10, 8, 0, number).into();
        let key = ServiceKey::Address {
            protocol: Protocol::Tcp,
            address,
            port: 80,
        };
        let config = service_config(&service("rr"), 0).unwrap();
        let config = ServiceConfig { key, ..config };
        server.shared.add_service(config).unwrap();
        let real_server = real_server("10.2.0.11", Method::Masq);
        server.shared.add_destination(&key, &real_server).unwrap();
    }
    let Ok(Answer::List(pieces)) = answer("ip_vs") else {
        panic!("no text");
    };
    assert!(pieces.len() > 1);
    let text: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| match piece {
            Reply::Text(octets) => octets.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        String::from_utf8(text).unwrap().lines().count(),
        3 + 2 * 200
    );
}

#[test]
fn who_may_not_command_changes_nothing() {
    let server = server();
    let request = Request::NewService(service("rr")).encode(7, 0);
    let datagrams = Server::refuse(&request, PORT, Errno::EPERM);
    let (_, frame) = replies(&datagrams[0]).next().unwrap().unwrap();
    assert_eq!(frame, ReplyFrame::Error(Errno::EPERM));
    assert_eq!(ask(&server, &Request::DumpServices), [ReplyFrame::Done]);
}

#[test]
fn templates_are_listed_with_connections() {
    use director::assign::Scheduled;
    use director::scheduler::Flow;

    let server = server();
    let persistent = ServiceSettings {
        flags: ServiceFlags::exactly(1),
        timeout: 300,
        ..settings("rr")
    };
    let attrs = ServiceAttrs::from_settings(web(), &persistent);
    done(&server, &Request::NewService(attrs));
    done(&server, &Request::NewDest(key_attrs(), dest(11, |_| ())));
    let flow = Flow {
        protocol: Protocol::Tcp,
        source: Ipv4Addr::new(192, 0, 2, 10).into(),
        source_port: 1001,
        destination: Ipv4Addr::new(10, 8, 0, 1).into(),
        destination_port: 80,
    };
    let service = Arc::clone(&server.shared.snapshot().in_order()[0]);
    let scheduled = server
        .shared
        .schedule(&service, &flow, None, Instant::START);
    assert!(matches!(scheduled, Scheduled::Assigned(_)));
    let answer = server.answer(&Request::DumpConnections, Instant::START, &nothing);
    let Ok(Answer::List(list)) = answer else {
        panic!("{answer:?}")
    };
    let [Reply::Connection(entry)] = list.as_slice() else {
        panic!("{list:?}")
    };
    assert_eq!(entry.state, "NONE");
    assert_eq!(
        (entry.client_port, entry.virtual_port, entry.expires_ms),
        (0, 80, 300_000)
    );
}

//! The codec against hand-made bytes.

use core::net::Ipv4Addr;

use super::*;

mod identity;

const TCP: u16 = 6;

fn web() -> ServiceKey {
    ServiceKey::Address {
        protocol: TCP,
        address: Ipv4Addr::new(10, 8, 0, 1).into(),
        port: 80,
    }
}

fn settings() -> ServiceSettings {
    ServiceSettings {
        scheduler: "wlc".to_owned(),
        flags: ServiceFlags::exactly(0),
        timeout: 0,
        netmask: Netmask::V4(Ipv4Addr::BROADCAST),
        engine: None,
    }
}

fn only_request(datagram: &[u8]) -> RequestFrame<'_> {
    let mut found: Vec<_> = requests(datagram).collect();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// `-A -t 10.8.0.1:80 -s wlc` as tools on libnl lay it out: 16-octet address, NLA_F_NESTED on the nest.
#[test]
fn libnl_request_is_read() {
    let mut datagram = Vec::new();
    for chunk in [
        &104_u32.to_ne_bytes()[..],
        &FAMILY_ID.to_ne_bytes(),
        &(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes(),
        &7_u32.to_ne_bytes(),
        &4321_u32.to_ne_bytes(),
        &[1, 1, 0, 0],
        &[84, 0, 1, 0x80],
        &[6, 0, 1, 0, 2, 0, 0, 0],
        &[6, 0, 2, 0, 6, 0, 0, 0],
        &[20, 0, 3, 0, 10, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[6, 0, 4, 0, 0, 80, 0, 0],
        &[8, 0, 6, 0, b'w', b'l', b'c', 0],
        &[12, 0, 7, 0, 0, 0, 0, 0, 255, 255, 255, 255],
        &[8, 0, 8, 0, 0, 0, 0, 0],
        &[8, 0, 9, 0, 255, 255, 255, 255],
    ] {
        datagram.extend_from_slice(chunk);
    }
    let frame = only_request(&datagram);
    let Ok(Request::NewService(attrs)) = &frame.request else {
        panic!("{:?}", frame.request)
    };
    assert_eq!(attrs.key(), Ok(web()));
    assert_eq!(attrs.settings(), Ok(settings()));
    // Our own message differs by the nest flag only.
    let mut own = Request::NewService(attrs.clone()).encode(7, 4321);
    own[23] |= 0x80;
    assert_eq!(own, datagram);
}

/// moby/ipvs sends IPv4 addresses in four octets and no family with a destination.
#[test]
fn short_address_and_absent_dest_family() {
    let mut request = Request::DelDest(
        ServiceAttrs::from_key(web()),
        DestAttrs {
            family: None,
            ..DestAttrs::from_key(dest_key())
        },
    )
    .encode(1, 2);
    let nest = request.len() - 32;
    assert_eq!(request[nest..nest + 4], [32, 0, 2, 0]);
    let port = request[nest + 24..].to_vec();
    request.truncate(nest + 12);
    request[nest + 4] = 8;
    request.extend(port);
    request[nest] = 20;
    let length = u32::try_from(request.len()).unwrap();
    request[..4].copy_from_slice(&length.to_ne_bytes());
    let Ok(Request::DelDest(_, dest)) = only_request(&request).request else {
        panic!()
    };
    assert_eq!(dest.key(AddressFamily::Inet), Ok(dest_key()));
}

fn dest_key() -> DestKey {
    DestKey {
        address: Ipv4Addr::new(10, 2, 0, 11).into(),
        port: 8080,
    }
}

#[test]
fn missing_attributes_and_foreign_families() {
    assert_eq!(ServiceAttrs::default().key(), Err(Errno::EINVAL));
    let foreign = ServiceAttrs {
        family: Some(7),
        ..ServiceAttrs::from_key(web())
    };
    assert_eq!(foreign.key(), Err(Errno::EAFNOSUPPORT));
    let no_port = ServiceAttrs {
        port: None,
        ..foreign
    };
    assert_eq!(
        no_port.key(),
        Err(Errno::EINVAL),
        "missing comes before foreign"
    );
    assert_eq!(ServiceAttrs::from_key(web()).settings(), Err(Errno::EINVAL));
    assert_eq!(
        DestAttrs::default().key(AddressFamily::Inet),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        DestAttrs::from_key(dest_key()).settings(),
        Err(Errno::EINVAL)
    );
}

#[test]
fn commands_that_cannot_be() {
    let encoded = Request::GetInfo.encode(1, 2);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = encoded.clone();
        change(&mut bytes);
        only_request(&bytes).request.clone()
    };
    assert_eq!(with(&|_| ()), Ok(Request::GetInfo));
    assert_eq!(
        with(&|bytes| bytes[7] |= 3),
        Err(Errno::EOPNOTSUPP),
        "no list of infos"
    );
    assert_eq!(with(&|bytes| bytes[16] = 18), Err(Errno::EOPNOTSUPP));
    assert_eq!(
        with(&|bytes| bytes[16] = 14),
        Err(Errno::EOPNOTSUPP),
        "SET_INFO is a reply only"
    );
    assert_eq!(
        with(&|bytes| bytes[4] = 0x42),
        Err(Errno::ENOENT),
        "another family"
    );
    let short = with(&|bytes| {
        bytes.truncate(18);
        bytes[0] = 18;
    });
    assert_eq!(short, Err(Errno::EINVAL));
    assert_eq!(
        requests(&encoded[..18]).count(),
        0,
        "a cut-off message is no request"
    );
}

#[test]
fn acknowledgement_repeats_the_header() {
    let request = Request::Flush.encode(9, 77);
    let frame = only_request(&request);
    let datagrams = respond(&frame, 1234, &Ok(Answer::Done));
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&36_u32.to_ne_bytes());
    bytes.extend_from_slice(&[2, 0, 0, 1]);
    bytes.extend_from_slice(&9_u32.to_ne_bytes());
    bytes.extend_from_slice(&1234_u32.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&request[..16]);
    assert_eq!(datagrams, [bytes]);
}

#[test]
fn error_repeats_the_message_and_needs_no_asking() {
    let mut request = Request::DelService(ServiceAttrs::from_key(web())).encode(9, 77);
    request[6] = 1;
    let frame = only_request(&request);
    let datagrams = respond(&frame, 1234, &Err(Errno::ESRCH));
    assert_eq!(datagrams[0].len(), 20 + request.len());
    assert_eq!(datagrams[0][4..8], [2, 0, 0, 0]);
    assert_eq!(datagrams[0][16..20], (-3_i32).to_ne_bytes());
    assert_eq!(datagrams[0][20..], request);
    assert_eq!(read(&datagrams), [ReplyFrame::Error(Errno::ESRCH)]);
    assert!(
        respond(&frame, 1234, &Ok(Answer::Done)).is_empty(),
        "success unasked is silent"
    );
}

#[test]
fn refusal_with_a_sentence() {
    let mut request = Request::Flush.encode(9, 77);
    // As long as a kernel's, and one that ends within a word.
    for _ in 0..4 {
        let length = u32::try_from(request.len()).unwrap();
        request[..4].copy_from_slice(&length.to_ne_bytes());
        let frame = only_request(&request);
        let datagram = refuse(&frame, 1234, Errno::EPERM, "the VIP is taken");
        let said = ReplyFrame::Refused(Errno::EPERM, "the VIP is taken".to_owned());
        assert_eq!(read(std::slice::from_ref(&datagram)), [said]);
        // Cut off, it is still the refusal, or unreadable; never a panic.
        for length in 0..datagram.len() {
            let mut cut = datagram[..length].to_vec();
            if let Some(field) = cut.first_chunk_mut::<4>() {
                *field = u32::try_from(length).unwrap().to_ne_bytes();
            }
            for frame in replies(&cut) {
                assert!(!matches!(frame, Ok((_, ReplyFrame::Acknowledged))));
            }
        }
        request.push(0);
    }
}

fn read(datagrams: &[Vec<u8>]) -> Vec<ReplyFrame> {
    datagrams
        .iter()
        .flat_map(|datagram| replies(datagram).collect::<Vec<_>>())
        .map(|reply| reply.expect("own replies can be read").1)
        .collect()
}

#[test]
fn list_is_packed_and_ended() {
    let request = Request::DumpServices.encode(5, 0);
    let frame = only_request(&request);
    let service = ServiceReply {
        key: web(),
        settings: settings(),
        statistics: Statistics::default(),
    };
    let list = vec![Reply::Service(service.clone()); 200];
    let datagrams = respond(&frame, 3, &Ok(Answer::List(list)));
    assert!(datagrams.len() > 2);
    assert!(datagrams.iter().all(|datagram| datagram.len() <= 16384));
    let done = datagrams.last().unwrap();
    assert_eq!((done.len(), &done[4..8]), (20, &[3, 0, 2, 0][..]));
    let read = read(&datagrams);
    assert_eq!(read.len(), 201);
    assert_eq!(read[199], ReplyFrame::Data(Reply::Service(service)));
    assert_eq!(read[200], ReplyFrame::Done);
    assert_eq!(expected(&request), 1);
    assert_eq!(
        datagrams
            .iter()
            .map(|datagram| answered(datagram))
            .sum::<usize>(),
        1
    );
}

/// Layout of a kernel reply to GET_INFO: 36 octets.
#[test]
fn info_reply_bytes() {
    let request = Request::GetInfo.encode(5, 0);
    let answer = Ok(Answer::One(Reply::Info(Info::default())));
    let datagrams = respond(&only_request(&request), 3, &answer);
    assert_eq!(datagrams.len(), 2, "the data, then the acknowledgement");
    assert_eq!(datagrams[0].len(), 36);
    assert_eq!(
        datagrams[0][16..],
        [14, 1, 0, 0, 8, 0, 1, 0, 1, 2, 1, 0, 8, 0, 2, 0, 0, 16, 0, 0]
    );
}

/// Attribute order and sizes of a service reply, as `ip_vs_genl_fill_service` writes them.
#[test]
fn service_reply_layout() {
    let service = ServiceReply {
        key: web(),
        settings: ServiceSettings {
            engine: Some("sip".to_owned()),
            ..settings()
        },
        statistics: Statistics {
            connections: u64::from(u32::MAX) + 5,
            ..Statistics::default()
        },
    };
    let request = Request::GetService(ServiceAttrs::from_key(web())).encode(5, 0);
    let answer = Ok(Answer::One(Reply::Service(service)));
    let datagrams = respond(&only_request(&request), 3, &answer);
    let nest = attribute::Attributes::new(&datagrams[0][20..])
        .next()
        .unwrap()
        .1;
    let layout: Vec<_> = attribute::Attributes::new(nest)
        .map(|(kind, value)| (kind, value.len()))
        .collect();
    let first = [
        (1, 2),
        (2, 2),
        (3, 16),
        (4, 2),
        (6, 4),
        (11, 4),
        (7, 8),
        (8, 4),
        (9, 4),
        (10, 88),
    ];
    assert_eq!(layout[..10], first);
    assert_eq!(layout[10..], [(12, 120)]);
    let narrow = attribute::Attributes::new(nest)
        .find(|(kind, _)| *kind == 10)
        .unwrap()
        .1;
    assert_eq!(
        Statistics::decode_narrow(narrow).unwrap().connections,
        4,
        "wraps like a u32"
    );
}

#[test]
fn several_requests_in_one_datagram() {
    let mut datagram = Request::GetInfo.encode(1, 0);
    datagram.extend(Request::DumpServices.encode(2, 0));
    datagram.extend(Request::Flush.encode(3, 0));
    let found: Vec<_> = requests(&datagram)
        .map(|frame| frame.request.unwrap())
        .collect();
    assert_eq!(
        found,
        [Request::GetInfo, Request::DumpServices, Request::Flush]
    );
    assert_eq!(expected(&datagram), 3);
}

#[test]
fn errno_names_and_texts() {
    assert_eq!(Errno::ESRCH.name(), Some("ESRCH"));
    assert_eq!(Errno::ERANGE.to_string(), "Numerical result out of range");
    assert_eq!(
        Errno::from_number(250).unwrap().to_string(),
        "Unknown error 250"
    );
    assert_eq!(Errno::from_number(0), None);
}

//! Tests of the codec against the recorded messages, and of hostile ones.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use director::sync::{FLAGS_SEQUENCE, SequenceShift};
use director::time::Instant;
use proptest::prelude::*;

use super::*;
use crate::netlink::{DaemonAttrs, Errno};

const NOW: Instant = Instant::START;

/// The octets of a hexadecimal text.
fn octets(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// The one datagram of these entries.
fn datagram(entries: &[Entry], version: Version) -> Vec<u8> {
    let mut outbox = Outbox::new(7, 1472);
    for entry in entries {
        outbox.push(entry, version, 1, NOW);
    }
    outbox.poll(NOW.after(Duration::from_secs(2))).unwrap()
}

/// [sync.master_v1], the second datagram: a connection in CLOSE_WAIT and its template.
#[test]
fn version_1_is_as_recorded() {
    let recorded = octets(
        "00070050020100000006002400000100000703e900500050000000000000003cc000020a0a0800010a02000c\
         000600240000110000010000005000500000000000000064c000020a0a0800010a02000c",
    );
    let message = Message::decode(&recorded).unwrap();
    assert_eq!((message.version, message.sync_id), (Version::V1, 7));
    assert_eq!(message.problem, None);
    let [connection, template] = &message.entries[..] else {
        panic!("{message:?}");
    };
    assert_eq!((connection.state, connection.timeout), (7, 60));
    assert_eq!(
        connection.client,
        (Ipv4Addr::new(192, 0, 2, 10).into(), 1001)
    );
    assert!(template.is_template() && template.client.1 == 0);
    assert_eq!(datagram(&message.entries, Version::V1), recorded);
}

/// [sync.master_v0], the second datagram.
#[test]
fn version_0_is_as_recorded() {
    let recorded = octets(
        "02070034000603e900500050c000020a0a0800010a02000c010000070006000000500050c000020a0a080001\
         0a02000c11000001",
    );
    let message = Message::decode(&recorded).unwrap();
    assert_eq!((message.version, message.sync_id), (Version::V0, 7));
    assert_eq!(message.entries.len(), 2);
    assert_eq!(datagram(&message.entries, Version::V0), recorded);
}

#[test]
fn a_cut_off_entry_ends_the_message_and_a_strange_one_is_passed_over() {
    let entry = version1::write(&entry()).unwrap();
    let message = |entries: &[Vec<u8>]| {
        let size = u16::try_from(8 + entries.concat().len()).unwrap();
        let [high, low] = size.to_be_bytes();
        let count = u8::try_from(entries.len()).unwrap();
        let mut octets = vec![0, 1, high, low, count, 1, 0, 0];
        octets.extend(entries.concat());
        Message::decode(&octets).unwrap()
    };
    let with_option = |option: &[u8]| {
        let mut octets = entry.clone();
        octets.extend(option);
        octets[3] = u8::try_from(octets.len()).unwrap();
        octets
    };
    let unknown = message(&[with_option(&[9, 2, 0, 0]), entry.clone()]);
    assert_eq!((unknown.entries.len(), unknown.problem), (1, None));
    let optional = message(&[with_option(&[0x49, 2, 0, 0]), entry.clone()]);
    assert_eq!((optional.entries.len(), optional.problem), (2, None));
    let nameless = message(&[with_option(&[2, 2, 65, 65])]);
    assert_eq!((nameless.entries.len(), nameless.problem), (0, None));
    let twice = message(&[with_option(&[2, 2, 65, 65, 2, 2, 65, 65]), entry.clone()]);
    assert_eq!(twice.problem, Some(Problem::Option));
    let mut kind = entry.clone();
    kind[0] = 2;
    assert_eq!(message(&[entry.clone(), kind]).problem, Some(Problem::Kind));
    let mut longer = entry.clone();
    longer[2] = 0x0f;
    assert_eq!(message(&[longer]).problem, Some(Problem::Truncated));
    assert_eq!(Message::decode(&[0, 1]), Err(Problem::Short));
    assert_eq!(Message::decode(&[0, 1, 0, 5]), Err(Problem::Size));
}

#[test]
fn a_full_datagram_goes_at_once_and_the_rest_after_two_seconds() {
    let mut outbox = Outbox::new(1, 8 + 2 * 36);
    let entry = entry();
    for _ in 0..3 {
        outbox.push(&entry, Version::V1, 10, NOW);
    }
    assert_eq!(outbox.poll(NOW).map(|octets| octets.len()), Some(80));
    assert_eq!(outbox.poll(NOW), None);
    let due = NOW.after(Duration::from_secs(2));
    assert_eq!(outbox.next_deadline(), Some(due));
    assert_eq!(outbox.poll(due).map(|octets| octets.len()), Some(44));
    assert_eq!((outbox.poll(due), outbox.next_deadline()), (None, None));
    // Another version takes another datagram; where none may wait, it is lost.
    outbox.push(&entry, Version::V1, 0, due);
    outbox.push(&entry, Version::V0, 0, due);
    let later = due.after(Duration::from_secs(2));
    assert_eq!(outbox.poll(later).map(|octets| octets.len()), Some(28));
    assert_eq!(outbox.poll(later), None);
}

#[test]
fn a_datagram_has_at_most_255_entries() {
    let mut outbox = Outbox::new(1, u16::MAX);
    for _ in 0..256 {
        outbox.push(&entry(), Version::V1, 10, NOW);
    }
    let first = Message::decode(&outbox.poll(NOW).unwrap()).unwrap();
    assert_eq!(first.entries.len(), 255);
}

#[test]
fn daemons_have_the_kernels_defaults_and_limits() {
    let attrs = |state, max_length| DaemonAttrs {
        state: Some(state),
        interface: Some("cl0".to_owned()),
        sync_id: Some(7),
        max_length,
        ..DaemonAttrs::default()
    };
    let length = |state, max_length| {
        let daemon = Daemon::new(&attrs(state, max_length), |_| Ok(9000)).unwrap();
        daemon.max_length
    };
    assert_eq!([length(1, None), length(2, None)], [1472, 8972]);
    assert_eq!([length(1, Some(1000)), length(2, Some(1000))], [1000, 1024]);
    assert_eq!(length(1, Some(u16::MAX)), 65_507);
    let unknown = Daemon::new(&attrs(1, None), |_| Err(Errno::ENODEV));
    assert_eq!(unknown, Err(Errno::ENODEV));
    let unicast = DaemonAttrs {
        group: Some(Ipv4Addr::new(10, 0, 0, 1).into()),
        ..attrs(1, None)
    };
    assert_eq!(Daemon::new(&unicast, |_| Ok(1500)), Err(Errno::EINVAL));
    assert_eq!(
        Daemon::new(&attrs(3, None), |_| Ok(1500)),
        Err(Errno::EINVAL)
    );
}

fn entry() -> Entry {
    Entry {
        protocol: 6,
        flags: 0x0100,
        state: 1,
        client: (Ipv4Addr::new(192, 0, 2, 10).into(), 1001),
        virtual_server: (Ipv4Addr::new(10, 8, 0, 1).into(), 80),
        server: (Ipv4Addr::new(10, 2, 0, 11).into(), 8080),
        mark: 0,
        timeout: 900,
        shifts: None,
        engine: None,
    }
}

fn shift() -> impl Strategy<Value = SequenceShift> {
    any::<(u32, u32, u32)>().prop_map(|(initial, delta, previous_delta)| SequenceShift {
        initial,
        delta,
        previous_delta,
    })
}

prop_compose! {
    fn any_entry()(
        protocol: u8, flags: u32, state: u16, mark: u32, timeout: u32, is_ipv6: bool,
        addresses: [u128; 3], ports: [u16; 3],
        shifts in proptest::option::of([shift(), shift()]),
        engine in proptest::option::of(
            ("[a-z]{1,16}", proptest::collection::vec(any::<u8>(), 1..=255))
        ),
    ) -> Entry {
        let address = |bits: u128| if is_ipv6 {
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap()))
        };
        let [client, virtual_server, server] = addresses.map(address);
        Entry {
            protocol, flags, state, mark, timeout, shifts,
            client: (client, ports[0]),
            virtual_server: (virtual_server, ports[1]),
            server: (server, ports[2]),
            engine: engine.map(|(name, data)| (name, data.into())),
        }
    }
}

/// What is left of an entry in version 0.
fn in_version_0(entry: &Entry) -> Entry {
    Entry {
        flags: entry.flags & 0xffff,
        mark: 0,
        timeout: 0,
        shifts: (entry.flags & FLAGS_SEQUENCE != 0).then(|| entry.shifts.unwrap_or_default()),
        engine: None,
        ..entry.clone()
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in proptest::collection::vec(any_entry(), 1..8)) {
        let message = Message::decode(&datagram_of(&entries, Version::V1)).unwrap();
        prop_assert_eq!(message.problem, None);
        prop_assert_eq!(&message.entries, &entries);
        let old: Vec<Entry> = entries
            .iter()
            .filter(|entry| entry.client.0.is_ipv4())
            .map(in_version_0)
            .collect();
        if !old.is_empty() {
            let message = Message::decode(&datagram_of(&entries, Version::V0)).unwrap();
            prop_assert_eq!(message.problem, None);
            prop_assert_eq!(message.entries, old);
        }
    }

    #[test]
    fn no_datagram_panics(mut datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(&datagram);
        let size = u16::try_from(datagram.len()).unwrap();
        if let Some(field) = datagram.get_mut(2..4) {
            field.copy_from_slice(&size.to_be_bytes());
            let _ = Message::decode(&datagram);
        }
        if let Some(header) = datagram.first_chunk_mut::<8>() {
            (header[0], header[5], header[6], header[7]) = (0, 1, 0, 0);
            let _ = Message::decode(&datagram);
        }
    }

    /// Whatever is read again after a change in one place is still a message.
    #[test]
    fn no_changed_message_panics(entry in any_entry(), place: usize, value: u8) {
        let mut octets = datagram_of(&[entry], Version::V1);
        let place = place % octets.len();
        octets[place] = value;
        let _ = Message::decode(&octets);
    }
}

/// The one long datagram of these entries.
fn datagram_of(entries: &[Entry], version: Version) -> Vec<u8> {
    let mut outbox = Outbox::new(0, u16::MAX);
    for entry in entries {
        outbox.push(entry, version, 1, NOW);
    }
    outbox.poll(NOW.after(Duration::from_secs(2))).unwrap()
}

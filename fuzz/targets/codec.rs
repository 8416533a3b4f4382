//! Any bytes as a datagram on the control socket or from another director: reading never panics, what was read can be
//! written and reads the same, every request gets an answer that a client can read, and what another director tells
//! comes to an end.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use control::netlink::{Answer, Errno, Request, answered, expected, replies, requests, respond};
use control::sync::{Message, Outbox, Version};
use director::connection::{HashKind, TableConfig};
use director::director::{Director, Host};
use director::frame::Output;
use director::shared::{Options, Shared};
use director::sync::Entry;
use director::time::Instant;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    told(data);
    for frame in replies(data) {
        let _ = frame;
    }
    let mut acknowledgements = 0;
    for frame in requests(data) {
        let answer = match &frame.request {
            Ok(request) => {
                written_reads_the_same(request);
                Ok(if frame.header.is_dump() {
                    Answer::List(Vec::new())
                } else {
                    Answer::Done
                })
            }
            Err(errno) => Err(*errno),
        };
        for datagram in respond(&frame, 42, &answer) {
            acknowledgements += answered(&datagram);
            for reply in replies(&datagram) {
                reply.expect("our own answer can be read");
            }
        }
        let refused = respond(&frame, 42, &Err(Errno::EINVAL));
        assert!(
            refused
                .iter()
                .map(|datagram| answered(datagram))
                .sum::<usize>()
                >= 1
        );
    }
    assert!(
        acknowledgements >= expected(data),
        "a client would wait for ever"
    );
});

/// From the second time on: a name that is no UTF-8 is read as near as text comes to it.
fn written_reads_the_same(request: &Request) {
    let first = read(&request.encode(7, 42));
    let second = read(&first.encode(7, 42));
    assert_eq!(first, second);
}

/// The only request of our own datagram.
fn read(datagram: &[u8]) -> Request {
    let mut frames = requests(datagram);
    let frame = frames.next().expect("one request");
    assert!(frames.next().is_none());
    frame.request.expect("our own request can be read")
}

/// A message of another director.
fn told(data: &[u8]) {
    let mut datagram = data.to_vec();
    // The size is right: no mutation would find it.
    if let (Some(field), Ok(size)) = (datagram.get_mut(2..4), u16::try_from(data.len())) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    let Ok(message) = Message::decode(&datagram) else {
        return;
    };
    if message.entries.is_empty() {
        return;
    }
    for version in [Version::V0, Version::V1] {
        let first = written(&message.entries, version);
        let second = written(&first, version);
        assert_eq!(first, second);
    }
    let shared = Arc::new(Shared::new(Options::default()));
    let table = TableConfig {
        max_connections: 64,
        hash: HashKind::default(),
        seed: [3, 4],
    };
    let mut director = Director::new(Arc::clone(&shared), Arc::new(Host::default()), 0, &table);
    for entry in &message.entries {
        director.accept(Instant::START, entry);
    }
    // A life is at most 136 years long.
    let end = Instant::START.after(Duration::from_secs(1 << 33));
    for _ in 0..100 {
        director.tick(end, &mut Output::default());
    }
    assert!(director.connections().is_empty());
    shared.expire_templates(end, usize::MAX);
    shared.for_each_template(|template| panic!("lives for ever: {template:?}"));
}

/// The entries as they are read after they were written.
fn written(entries: &[Entry], version: Version) -> Vec<Entry> {
    let mut outbox = Outbox::new(1, 1400);
    for entry in entries {
        outbox.push(entry, version, usize::MAX, Instant::START);
    }
    let late = Instant::START.after(Duration::from_secs(60));
    let mut read = Vec::new();
    while let Some(datagram) = outbox.poll(late) {
        let message = Message::decode(&datagram).expect("our own message can be read");
        assert_eq!(message.problem, None);
        read.extend(message.entries);
    }
    read
}
